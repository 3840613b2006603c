"""What recommenders learn from the scores of their members: cells held out of the members' fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier

from sklearn_recsys.utils._cells import cell_rows, in_cells, take_cells
from sklearn_recsys.utils._content_split import hold_out_by_content
from sklearn_recsys.utils._history_index import item_hashes, mix, row_hashes
from sklearn_recsys.utils._topk import top_n


@dataclass(eq=False, slots=True)
class HeldOut:
    """Interactions that the members are not fitted to.

    Parameters
    ----------
    fit_rows : ndarray of int64 of shape (n_fit_users,)
        The users that the members are fitted to.
    X_fit : csr_array of shape (n_fit_users, n_items)
        Their interactions, without those held out.
    rows : ndarray of int64 of shape (n_rows,)
        The users with interactions held out.
    X_input, y : csr_array of shape (n_rows, n_items)
        Their histories, without the held-out cells, and these.
    """

    fit_rows: np.ndarray
    X_fit: sp.csr_array
    rows: np.ndarray
    X_input: sp.csr_array
    y: sp.csr_array


def hold_out(X, share, *, of, latest, name):
    """Hold out a share of the interactions; raise ValueError if there are none to hold out.

    Both the users and the cells are sampled by a hash of the contents of a row.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The training matrix.
    share : float
        The share to hold out of each row, at least one cell, and of the users.
    of : {"cells", "users"}
        Whether to fit to the other cells of all users, or to the other users.
    latest : bool
        Whether to hold out the cells with the largest values, which are positions then.
    name : str
        The class that learns from the held-out cells, for the message.

    Returns
    -------
    held_out : HeldOut
    """
    rows = np.flatnonzero(np.diff(X.indptr) > 1)
    all_rows = fit_rows = np.arange(X.shape[0])
    if of == "users":
        n_users = max(1, int(share * len(rows)))
        rows = np.sort(rows[np.argsort(row_hashes(X[rows]), kind="stable")[:n_users]])
        fit_rows = np.setdiff1d(all_rows, rows)
    X_input, y = hold_out_by_content(X[rows], share, latest=latest)
    if not y.nnz or not len(fit_rows):
        raise ValueError(
            f"{name} learns from interactions that it holds out of X: it needs two users, and two "
            f"interactions of one of them. Got n_samples = {X.shape[0]}, n_features = "
            f"{X.shape[1]} and {X.nnz} interactions."
        )
    if of == "users":
        X_fit = X[fit_rows]
    else:
        X_fit = take_cells(X, ~in_cells(X, _with_rows(y, rows, X.shape)))
    return HeldOut(fit_rows, X_fit, rows, X_input, y)


def _with_rows(y, rows, shape):
    """Return a matrix with the rows of `y` at `rows`, and no cells in the others."""
    lengths = np.zeros(shape[0], dtype=y.indptr.dtype)
    lengths[rows] = np.diff(y.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sp.csr_array((y.data, y.indices, indptr), shape=shape)


def retrieved(scores, seen, n):
    """Return a mask of the items that any member ranks among its `n` best.

    Parameters
    ----------
    scores : list of ndarray of float32 of shape (n_rows, n_items)
        Those of each member.
    seen : csr_array of shape (n_rows, n_items)
        Cells that are not ranked.
    n : int
        Number of items of each member.

    Returns
    -------
    mask : ndarray of bool of shape (n_rows, n_items)
    """
    mask = np.zeros(seen.shape, dtype=bool)
    rows = np.arange(len(mask))[:, None]
    for own in scores:
        own = own.copy()
        own[cell_rows(seen), seen.indices] = -np.inf
        ids, values = top_n(own, min(n, own.shape[1]))
        mask[rows, ids] |= values > -np.inf
    return mask


def sampled(eligible, X, n):
    """Return a mask of about `n` items of each row, sampled from the eligible ones by a hash.

    The sample depends on a row's contents alone, not on its position or a random state.

    Parameters
    ----------
    eligible : ndarray of bool of shape (n_rows, n_items)
        The items to sample from.
    X : csr_array of shape (n_rows, n_items)
        The rows that are hashed.
    n : int or ndarray of int of shape (n_rows,)
        Number of items: the expected one, as each is sampled on its own.

    Returns
    -------
    mask : ndarray of bool of shape (n_rows, n_items)
    share : ndarray of float64 of shape (n_rows,)
        The probability of each eligible item to be sampled.
    """
    share = np.minimum(n / np.maximum(eligible.sum(axis=1), 1), 1)
    hashes = mix(row_hashes(X)[:, None] + item_hashes(np.arange(X.shape[1])))
    return eligible & (hashes < (share * 2.0**64)[:, None]), share


def fitted_to_pairs(estimator, features, target, **params):
    """Fit a classifier or regressor to pairs, in place, and return it."""
    if is_classifier(estimator):
        target = target.astype(np.int64)
    return estimator.fit(features, target, **params)


def pair_scores(estimator, features):
    """Return the scores of pairs: greater is better, for classifiers that of class 1.

    Parameters
    ----------
    estimator : classifier or regressor
        A fitted one.
    features : ndarray of float32 of shape (n_pairs, n_features)
        Those of each pair.

    Returns
    -------
    scores : ndarray of float32 of shape (n_pairs,)
    """
    if not len(features):
        return np.empty(0, dtype=np.float32)
    if is_classifier(estimator) and hasattr(estimator, "decision_function"):
        scores = estimator.decision_function(features)
    elif is_classifier(estimator) and hasattr(estimator, "predict_proba"):
        scores = estimator.predict_proba(features)[:, -1]
    else:
        scores = estimator.predict(features)
    return np.asarray(scores, dtype=np.float32).reshape(len(features))
