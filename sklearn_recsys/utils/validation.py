"""Validation of input: the only place in the package that checks the type of ``X``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.utils._cells import rank_cells, with_values
from sklearn_recsys.utils._labels import (
    check_distinct_labels,
    check_item_labels,
    set_item_labels,
)
from sklearn_recsys.utils._on_disk import by_rows
from sklearn_recsys.utils._sparse import as_csr, canonical_csr, is_canonical
from sklearn_recsys.utils._warnings import warn

_USER_COLUMNS = set("user customer visitor session member account reader listener u".split())
_ITEM_COLUMNS = set(
    "item movie product article sku track song artist book business game video news page i".split()
)


def _refuse_events_frame(X):
    """Raise if `X` looks like a tidy frame of events rather than a user × item matrix."""
    columns = getattr(X, "columns", None)
    if columns is None:
        return
    names = {_column_kind(name): name for name in list(columns)[::-1]}
    if "user" in names and "item" in names:
        user, item = names["user"], names["item"]
        arguments = [] if (user, item) == ("user", "item") else [repr(user), repr(item)]
        if "rating" not in list(columns):
            arguments.append('values="one"')
        raise ValueError(
            f"X looks like a frame of events (columns {list(columns)}), but a user × item matrix "
            "was expected: one row per user, one column per item. Encode it with "
            f"InteractionEncoder({', '.join(arguments)}).fit_transform(events)."
        )


def _warn_of_event_rows(X):
    """Warn if the rows of an array look like events: two columns of ids, and one or two more."""
    if sp.issparse(X) or X.shape[0] < 20 or X.shape[1] not in (3, 4):
        return
    if all(len(np.unique(ids)) >= 10 and (ids == np.floor(ids)).all() for ids in X[:, :2].T):
        warn(
            f"X has {X.shape[1]} columns, and the first two hold whole numbers, as ids do. If the "
            "rows are events, encode pandas.DataFrame(X, columns=['user', 'item', 'rating', ...]) "
            "with InteractionEncoder; a matrix has a row per user and a column per item.",
            ValuesWarning,
        )


def _column_kind(name):
    """Return "user" or "item" for the name of a column of such ids, else None."""
    word = re.sub(r"[^a-z]|(id|no|key)s?$", "", str(name).lower()).removesuffix("s")
    return "user" if word in _USER_COLUMNS else "item" if word in _ITEM_COLUMNS else None


def _advised(error, source, name, n_items=None):
    """Return an error of scikit-learn's checks, with what to do about it where that is known.

    `source` is the caller's argument `name`, and `n_items` the number of columns in fit.
    """
    message, advice = str(error), ""
    if "contains NaN" in message:
        fill = f"{name}.fillna(0)" if hasattr(source, "fillna") else f"numpy.nan_to_num({name})"
        if sp.issparse(source):
            fill = "a sparse matrix without these cells"
        return ValueError(
            f"Input {name} contains NaN. Unobserved cells must be zero: use {fill} if NaN means "
            "'not observed', or encode the events with InteractionEncoder."
        )
    if name != "X" and message.startswith("Input X"):
        message = message.replace("Input X", f"Input {name}", 1)
    if isinstance(source, Mapping) or any(words in message for words in _NO_NUMBERS):
        advice = (
            f" {name} must be a user × item matrix of numbers: one row per user, one column per "
            "item. Events, such as pairs of ids, are encoded with InteractionEncoder."
        )
    elif n_items is not None and "Expected 2D array" in message:
        advice = " For users of the training matrix pass rows of it, model.interactions_[[0, 1]]."
    elif n_items is not None and "features, but" in message:
        advice = f" Each row is a user, with one column for each of the {n_items} items of fit."
        if np.shape(source)[0] == n_items:
            advice += " There are as many rows: is it transposed?"
    return error if message + advice == str(error) else type(error)(message + advice)


# in messages about text, dicts and lists of different lengths
_NO_NUMBERS = (
    "could not convert string",
    "arrays of bytes/strings",
    "argument must be a string or a real number",
    "inhomogeneous shape",
)


def check_csr(X, *, dtype=None, name="X", copy=False):
    """Validate a user × item matrix outside an estimator.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
        The matrix; zero means *not observed*.
    dtype : dtype, default=None
        Convert the values to this dtype; None keeps their dtype (timestamps stay int64 or float64).
    name : str, default="X"
        Name for error messages.
    copy : bool, default=False
        Whether the result must not share memory with `X`.

    Returns
    -------
    X : csr_array of shape (n_users, n_items)
        Sorted indices, no duplicates (they are summed), no explicit zeros, int32 indices if they
        fit. The input is never modified.

    Raises
    ------
    ValueError
        If a sparse matrix is corrupt, or values are not finite.
    """
    _refuse_events_frame(X)
    if sp.issparse(X) and X.ndim != 2:
        raise ValueError(f"{name} must be 2-D (n_users, n_items); got shape {X.shape}.")
    source, X = X, as_csr(X, name)
    if dtype is not None and not copy and is_canonical(X, dtype):
        return X
    try:
        with np.errstate(over="ignore"):  # values too large for float32 are refused
            X = check_array(
                X,
                accept_sparse="csr",
                dtype="numeric" if dtype is None else dtype,
                ensure_min_samples=0,
                ensure_min_features=0,
                input_name=name,
            )
    except (TypeError, ValueError) as error:
        raise _advised(error, source, name) from None
    X = canonical_csr(X, name=name, copy=copy)
    summed = dtype is None and sp.issparse(source) and source.dtype not in (X.dtype, np.float16)
    if summed:
        narrow = X.data.astype(source.dtype)  # duplicates were summed in a wide type
        if np.array_equal(narrow, X.data):
            X = with_values(X, narrow)
    return X


def check_interactions(estimator, X, *, reset, dtype=np.float32, order=False, copy=False, name="X"):
    """Validate `X` for an estimator by scikit-learn's checks; return a canonical float32 csr_array.

    Parameters
    ----------
    estimator : estimator
        Its `n_features_in_`, `feature_names_in_` and `item_labels_` (the column labels of a frame,
        of any type) are set (`reset=True`) or compared.
    X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
        The matrix; zero means *not observed*.
    reset : bool
        True in ``fit``.
    dtype : dtype or list of dtype, default=np.float32
        The dtype of the result, as in :func:`sklearn.utils.check_array`.
    order : bool, default=False
        Whether the values are times or positions: they become 1, 2, … in each row (ties by item)
        before anything is cast to float32, which would merge unix times closer than 64 s.
    copy : bool, default=False
        Whether the result must not share memory with `X`.
    name : str, default="X"
        The name of the caller's argument, for error messages.

    Returns
    -------
    X : csr_array of shape (n_users, n_items)
        Sorted indices, no duplicates, no explicit zeros, int32 indices if they fit.
    """
    _refuse_events_frame(X)
    if sp.issparse(X) and X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got a 1-D sparse array of shape {X.shape} instead. "
            "Reshape your data with X.reshape(1, -1) if it is the history of one user."
        )
    check_distinct_labels(X, name)
    if not reset:
        check_item_labels(estimator, X, name)
    dtype = "numeric" if order else dtype
    source = X
    try:
        X = as_csr(X, name)
        if not (reset or order or copy) and _is_as_fitted(estimator, X, dtype):
            return X
        with np.errstate(over="ignore"):  # values too large for float32 are refused
            X = validate_data(estimator, X, accept_sparse="csr", dtype=dtype, reset=reset)
    except (TypeError, ValueError) as error:
        n_items = None if reset else getattr(estimator, "n_features_in_", None)
        raise _advised(error, source, name, n_items) from None
    if reset:
        _warn_of_event_rows(X)
        set_item_labels(estimator, source)
    X = canonical_csr(X, name=name, copy=copy)
    if order and reset:
        _warn_of_ties(X, type(estimator).__name__)
    return _ranked(X) if order else X


def _warn_of_ties(X, name):
    """Warn if the values of rows cannot be their order, as they are ratings or ones."""
    if X.shape[0] < 100:  # toys may have few times
        return
    n_values = len(np.unique(X.data[: 2**20]))
    if n_values <= 10 and X.nnz > n_values * X.shape[0]:
        warn(
            f"{name} reads the values of X as times or positions, but X has {n_values} different "
            "value(s), fewer than a row has interactions on average, and items with equal values "
            'are in the order of the columns. Use InteractionEncoder(values="position").',
            ValuesWarning,
        )


@by_rows
def _ranked(X):
    return with_values(X, rank_cells(X).astype(np.float32))


def check_finite(values, what):
    """Refuse results that contain NaN or infinities.

    Parameters
    ----------
    values : ndarray of float
        Scores or vectors.
    what : str
        The beginning of the error message, such as ``"EASE scores items as"``.

    Returns
    -------
    values : ndarray of float
        The input.
    """
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        problem = "NaN" if np.isnan(values.min()) else "infinite"
        raise ValueError(
            f"{what} {problem}. If the model was trained, it may have diverged: a lower learning "
            "rate, or smaller values, help."
        )
    return values


def _is_as_fitted(estimator, X, dtype):
    """Return whether a fitted estimator can read an intact `X` without further checks."""
    return (
        dtype is np.float32
        and is_canonical(X, dtype)
        and X.shape[1] == getattr(estimator, "n_features_in_", None)
        # scikit-learn warns that X has none
        and getattr(estimator, "feature_names_in_", None) is None
    )


def check_indices(indices, size, *, name, what="item"):
    """Return a 1-D int64 array of indices in ``[0, size)``.

    Integer-valued floats count as integers. Anything else raises ValueError.
    """
    indices = np.asarray(indices)
    if indices.ndim != 1:
        raise ValueError(f"{name} must be 1-D; got an array of shape {indices.shape}.")
    if indices.size == 0:
        return np.empty(0, dtype=np.int64)
    whole = indices.dtype.kind == "f" and np.all(indices == np.floor(indices))
    if not whole and indices.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold integers ({what} indices); got {indices.dtype}.")
    low, high = indices.min(), indices.max()
    if low < 0 or high >= size:
        raise ValueError(
            f"{name} must hold {what} indices in 0 … {size - 1}; got values from {low} to {high}."
        )
    return indices.astype(np.int64, copy=False)


def check_length(n):
    """Return the length `n` of a list of recommendations as an int, or raise ValueError."""
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n must be an integer of at least 1; got {n!r}.")
    return int(n)
