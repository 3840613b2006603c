"""Dropping rare users and items."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sklearn_recsys.utils._frames import as_pandas_frame, take_rows
from sklearn_recsys.utils._sklearn import Interval, validate_params
from sklearn_recsys.utils.validation import check_csr


@validate_params(
    {
        "min_user": [Interval(Integral, 0, None, closed="left"), None],
        "min_item": [Interval(Integral, 0, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def filter_k_core(events, *, user="user", item="item", min_user=5, min_item=5, max_iter=None):
    """Drop rare users and items until every remaining one has enough interactions.

    Parameters
    ----------
    events : DataFrame or {sparse matrix, sparse array} of shape (n_users, n_items)
        Tidy events, one per row, or a user × item matrix.
    user, item : hashable, default="user" and "item"
        Names of the columns of a frame; not used for a matrix.
    min_user : int or None, default=5
        Minimum number of distinct items of every remaining user. 0 or None: no limit.
    min_item : int or None, default=5
        Minimum number of distinct users of every remaining item. 0 or None: no limit.
    max_iter : int or None, default=None
        Maximum number of rounds, even if the limits do not hold by then. Each round drops the users
        and the items that are below their limits when it starts. None: until nothing changes.

    Returns
    -------
    filtered : DataFrame or csr_array
        The remaining events, with their original index and order, as a frame of the same library;
        or the matrix of the remaining rows and columns.
    rows, columns : ndarray of int64
        Only for a matrix: the indices of the remaining rows and columns.

    Raises
    ------
    ValueError
        If nothing remains.

    See Also
    --------
    InteractionEncoder : Turns the remaining events into a matrix.

    Notes
    -----
    Distinct (user, item) pairs are counted, so repeated events of one pair count once. The result
    is the largest set of users and items for which the limits hold (the k-core of the bipartite
    graph), which does not depend on the order of dropping.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.preprocessing import filter_k_core
    >>> events = pd.DataFrame({"user": [1, 1, 2, 2, 3], "item": ["a", "b", "a", "b", "a"]})
    >>> filter_k_core(events, min_user=2, min_item=2)
       user item
    0     1    a
    1     1    b
    2     2    a
    3     2    b
    """
    limits = (min_user or 0, min_item or 0)
    if sp.issparse(events):
        X = check_csr(events)
        users = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        keep_users, keep_items = _k_core(users, X.indices, X.shape, limits, max_iter)
        rows, columns = np.flatnonzero(keep_users), np.flatnonzero(keep_items)
        _refuse_empty(len(rows) * len(columns), X.shape, limits)
        return X[rows][:, columns], rows, columns
    frame = as_pandas_frame(events, "events", " of events, a sparse user × item matrix")
    users, n_users = _codes(frame, user)
    items, n_items = _codes(frame, item)
    pairs = pd.unique(users * n_items + items)
    pair_users, pair_items = np.divmod(pairs, max(n_items, 1))
    keep_users, keep_items = _k_core(pair_users, pair_items, (n_users, n_items), limits, max_iter)
    keep_events = keep_users[users] & keep_items[items]
    _refuse_empty(keep_events.sum(), (n_users, n_items), limits)
    return take_rows(events, keep_events)


def _codes(events, column):
    """Return the ids of a column as int64 codes, and the number of distinct ids."""
    if column not in events.columns:
        raise ValueError(
            f"events has no column {column!r}; its columns are {list(events.columns)}. Name the "
            "columns with user=… and item=…."
        )
    codes, ids = pd.factorize(events[column])
    if np.any(codes < 0):
        raise ValueError(f"Column {column!r} holds NaN in {np.sum(codes < 0)} events; drop them.")
    return codes.astype(np.int64, copy=False), len(ids)


def _k_core(users, items, shape, limits, max_iter):
    """Return masks of the remaining users and items, given the distinct pairs."""
    min_user, min_item = limits
    keep_users = np.ones(shape[0], dtype=bool)
    keep_items = np.ones(shape[1], dtype=bool)
    n_rounds = 0
    while max_iter is None or n_rounds < max_iter:
        keep_users &= np.bincount(users, minlength=shape[0]) >= min_user
        keep_items &= np.bincount(items, minlength=shape[1]) >= min_item
        keep_pairs = keep_users[users] & keep_items[items]
        n_rounds += 1
        if np.all(keep_pairs):
            break
        users, items = users[keep_pairs], items[keep_pairs]
    return keep_users, keep_items


def _refuse_empty(n_remaining, shape, limits):
    """Raise if the filter drops everything."""
    if n_remaining == 0:
        raise ValueError(
            f"Nothing is left of {shape[0]} users and {shape[1]} items if every user must have "
            f"{limits[0]} items and every item {limits[1]} users. Lower min_user or min_item."
        )
