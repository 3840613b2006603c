"""Validation of arguments that accompany a matrix: held-out items, item sets, item features."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils._labels import check_feature_rows
from sklearn_recsys.utils._sparse import check_sparse
from sklearn_recsys.utils.validation import check_csr, check_indices


def check_held_out(y, shape, *, name="y"):
    """Return held-out cells as a canonical csr_array of `shape`.

    Parameters
    ----------
    y : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        A matrix of held-out cells, or one held-out item index per row.
    shape : tuple of int
        ``(n_rows, n_items)``, the shape of the histories.
    name : str, default="y"
        Name for error messages.

    Returns
    -------
    y : csr_array of shape (n_rows, n_items)
    """
    n_rows, n_items = shape
    if not sp.issparse(y) and np.ndim(y) == 1:
        if len(y) != n_rows:
            raise ValueError(
                f"{name} must hold one held-out item per row of X ({n_rows}); got {len(y)}."
            )
        items = check_indices(y, n_items, name=name)
        data = np.ones(n_rows, dtype=np.float32)
        return sp.csr_array((data, items, np.arange(n_rows + 1)), shape=shape)
    y = check_csr(y, name=name)
    if y.shape != tuple(shape):
        raise ValueError(
            f"{name} must have the shape of X, {tuple(shape)}, or hold one item index per row; "
            f"got shape {y.shape}."
        )
    return y


def check_item_features(features, n_items, labels=None):
    """Refuse features that are corrupt or do not have one row per item in the order of `X`.

    Parameters
    ----------
    features : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
        The features; their values are not checked.
    n_items : int
        Number of columns of `X`.
    labels : Index of length n_items, default=None
        The columns of `X`, if it is a frame. A frame of features must have them as its index;
        default labels 0, 1, … are not compared.
    """
    if sp.issparse(features):
        check_sparse(features, "item_features")
    n_rows = features.shape[0] if hasattr(features, "shape") else len(features)
    if n_rows != n_items:
        raise ValueError(
            "item_features must have one row per item, that is, per column of X: expected "
            f"{n_items}, got {n_rows}."
        )
    check_feature_rows(features, labels)


def check_item_sets(items, shape, *, name):
    """Return sets of items as a boolean mask for all users or as a csr_array with a row per user.

    Parameters
    ----------
    items : array-like or sparse
        1-D item indices (or a boolean mask over the items) for all users; 2-D integers, a row of
        item indices per user, −1 for an empty slot; or a sparse or boolean matrix of `shape`, whose
        nonzero cells are the sets.
    shape : tuple of int
        ``(n_rows, n_items)``.
    name : str
        Name for error messages.

    Returns
    -------
    items : ndarray of bool of shape (n_items,) or csr_array of shape (n_rows, n_items)
    """
    n_rows, n_items = shape
    if sp.issparse(items):
        items = check_csr(items, name=name)
        if items.shape != tuple(shape):
            raise ValueError(
                f"A sparse {name} must have a row for each user and a column for each item, "
                f"{tuple(shape)}; got shape {items.shape}."
            )
        return items
    try:
        items = np.asarray(items)
    except ValueError:  # ragged
        raise ValueError(
            f"The rows of {name} must have the same length; pad them with -1."
        ) from None
    if items.shape[-1:] == (n_items,) and items.dtype != bool:
        ordered = np.sort(items, axis=-1)
        repeated = (ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] != -1)
        if repeated.any():
            raise ValueError(
                f"{name} holds a number for each item, and some are repeated, so they are not item "
                "indices. If it is a mask or a matrix, pass it as booleans or sparse."
            )
    if items.ndim == 1:
        if items.dtype == bool:
            if len(items) != n_items:
                raise ValueError(
                    f"A boolean {name} must have length n_items = {n_items}; got {len(items)}."
                )
            return items
        mask = np.zeros(n_items, dtype=bool)
        mask[check_indices(items, n_items, name=name)] = True
        return mask
    if items.ndim != 2 or len(items) != n_rows:
        raise ValueError(
            f"{name} must be 1-D item indices for all users, or have a row for each of the "
            f"{n_rows} users; got shape {items.shape}."
        )
    if items.dtype == bool:
        return check_item_sets(sp.csr_array(items), shape, name=name)
    rows = np.repeat(np.arange(n_rows), items.shape[1])
    items = items.ravel()
    filled = items != -1
    items = check_indices(items[filled], n_items, name=name)
    mask = sp.csr_array((np.ones(len(items), dtype=np.int8), (rows[filled], items)), shape=shape)
    mask.data[:] = 1  # building the matrix summed repeated items
    return mask
