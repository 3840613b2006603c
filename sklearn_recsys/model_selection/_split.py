"""Splits of a user × item matrix into training cells and held-out cells."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state, check_scalar

from sklearn_recsys.model_selection._common import (
    check_nonempty,
    check_order,
    check_own_times,
    check_size,
    check_times,
    held_out_counts,
    older_than_train,
    warn_future_leak,
    warn_positions,
)
from sklearn_recsys.model_selection._events import (
    after_cutoff,
    find_cutoff,
    is_events,
    split_at,
    split_last,
)
from sklearn_recsys.utils._cells import last_cells, take_cells
from sklearn_recsys.utils._frames import is_frame


def leave_last_out(
    X, order=None, *, n=1, min_train=1, user="user"
) -> tuple[Any, Any]:  # matrices, or frames of events as X is
    """Hold out the last interactions of every user.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items) or DataFrame
        Interactions, zero means *not observed*; or a frame of events, one per row, with a column of
        times.
    order : {array-like, sparse matrix, sparse array} of shape (n_users, n_items), default=None
        Time or position of every interaction in `X`: int64 or float64, counted from 1, since zeros
        are not stored. It may have more cells than `X`, so the order of the whole data can be used
        to split its training part again. None: the values of `X` are the order
        (``InteractionEncoder(values="timestamp")`` or ``"position"``). For a frame of events: the
        name of its column of times; None: ``"timestamp"``. Equal times are in the frame's order.
    n : int, default=1
        Number of interactions held out of a row.
    min_train : int, default=1
        Rows with fewer than ``n + min_train`` interactions stay completely in `X_train`.
    user : hashable, default="user"
        Name of the column of users of a frame; not used for a matrix.

    Returns
    -------
    X_train, X_test : csr_array of shape (n_users, n_items) or DataFrame
        Disjoint; their sum is `X`, with the same values and dtype. For a frame, its rows, as from
        :func:`temporal_split`.

    Raises
    ------
    ValueError
        If `order` has a different shape from `X` or lacks cells of it, if `order` is None and all
        values of `X` are equal, or if no row is long enough.

    Warns
    -----
    UserWarning
        If `order` is None and in more than half of the rows the last training value equals the
        first held-out value, as it often does if `X` holds ratings.

    See Also
    --------
    temporal_split : Split at one moment for all users.
    random_holdout : Hold out random interactions.

    Notes
    -----
    Among equal times in a row the higher item index counts as later, because a matrix does not
    store the order of the events that it was made from. The encoder's positions do (a stable sort
    by time, then by input row) and have no ties: prefer them.

    No interaction is predicted from its own user's future. But the model is trained on later
    interactions of other users; :func:`temporal_split` avoids this with one cutoff for all users.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.model_selection import leave_last_out
    >>> R = np.array([[5, 3, 0, 4], [0, 2, 0, 0], [1, 0, 5, 0]])
    >>> times = np.array([[30, 10, 0, 20], [0, 5, 0, 0], [7, 0, 9, 0]])
    >>> R_train, R_test = leave_last_out(R, times)
    >>> R_test.toarray()
    array([[5, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 5, 0]])
    """
    n = check_scalar(n, "n", Integral, min_val=1)
    min_train = check_scalar(min_train, "min_train", Integral, min_val=0)
    if is_events(X, order, user):
        return split_last(X, order, n, min_train, user)
    X = check_nonempty(X, order)
    times = check_times(X.data, name="X") if order is None else check_order(order, X)
    lengths = np.diff(X.indptr)
    counts = held_out_counts(lengths, n, min_train)
    if not counts.any():
        raise ValueError(
            f"No row has the n + min_train = {n + min_train} interactions that are needed to hold "
            f"out {n}; the longest has {lengths.max()}."
        )
    test = last_cells(X, times, counts)
    if order is None:
        check_own_times(X, test)
    return take_cells(X, ~test), take_cells(X, test)


def random_holdout(
    X, test_size=0.2, *, per_user=False, min_train=None, order=None, random_state=None
) -> tuple[Any, Any]:
    """Hold out random interactions.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
        Interactions; zero means *not observed*.
    test_size : float or int, default=0.2
        Share (float) or number (int) of interactions held out: of all of them, or of every row
        with ``per_user=True``. A row's share is rounded down, but at least one interaction is held
        out of a row with two or more; none is held out of a row that is too short for an int
        `test_size` and `min_train`.
    per_user : bool, default=False
        Sample within every row instead of from all interactions.
    min_train : int, default=None
        Minimum number of interactions of every row that stay in `X_train`; shorter rows stay
        completely. None: 1 with ``per_user=True``, otherwise 0, that is plain sampling from all
        cells, as in papers on rating prediction.
    order : {array-like, sparse matrix, sparse array} of shape (n_users, n_items), default=None
        Times or positions of the cells of `X`, if available. They do not change the split; they are
        only used for a warning.
    random_state : int, RandomState instance or None, default=None
        Seed of the sampling.

    Returns
    -------
    X_train, X_test : csr_array of shape (n_users, n_items)
        Disjoint; their sum is `X`, with the same values and dtype.

    Raises
    ------
    ValueError
        If `test_size` is out of range, `min_train` leaves too few interactions to hold out, or
        `order` has a different shape from `X` or lacks cells of it.

    Warns
    -----
    UserWarning
        If `order` is given and test interactions are older than their user's newest training
        interaction: the model is trained on the future. The warning states their share.

    See Also
    --------
    leave_last_out : Hold out the last interactions of every user.
    cell_kfold : Hold out every interaction once.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.model_selection import random_holdout
    >>> R = np.arange(1, 21).reshape(4, 5)
    >>> R_train, R_test = random_holdout(R, 0.4, per_user=True, random_state=0)
    >>> (R_test > 0).sum(axis=1)
    array([2, 2, 2, 2])
    >>> bool(np.all((R_train + R_test).toarray() == R))
    True
    """
    X = check_nonempty(X, order)
    min_train = int(bool(per_user)) if min_train is None else min_train
    check_scalar(min_train, "min_train", Integral, min_val=0)
    times = None if order is None else check_order(order, X)
    rng = check_random_state(random_state)
    lengths = np.diff(X.indptr)
    if per_user:
        check_size(test_size, "test_size")
        counts = held_out_counts(lengths, test_size, min_train)
        if not counts.any():
            raise ValueError(
                f"No row is long enough to hold out test_size={test_size!r} and keep "
                f"min_train={min_train}; the longest has {lengths.max()} interactions."
            )
        test = last_cells(X, rng.permutation(X.nnz), counts)
    else:
        n_test = check_size(test_size, "test_size", X.nnz)
        cells = np.arange(X.nnz)
        if min_train:
            first = last_cells(X, rng.permutation(X.nnz), np.minimum(lengths, min_train))
            cells = np.flatnonzero(~first)
        if n_test > cells.size:
            raise ValueError(
                f"test_size={test_size!r} asks for {n_test} interactions, but min_train="
                f"{min_train} leaves {cells.size} to sample from; lower one of them."
            )
        test = np.zeros(X.nnz, dtype=bool)
        rng.shuffle(cells)
        test[cells[:n_test]] = True
        del cells
    if times is not None:
        warn_future_leak(older_than_train(X, times, test), np.count_nonzero(test))
    return take_cells(X, ~test), take_cells(X, test)


def temporal_split(X, order=None, *, test_size=None, cutoff=None) -> tuple[Any, Any]:
    """Split at one moment for all users: train on the past, test on the future.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items) or DataFrame
        Interactions, zero means *not observed*; or a frame of events, one per row.
    order : {array-like, sparse matrix, sparse array} of shape (n_users, n_items) or hashable, \
            default=None
        Time of every interaction in `X`, in the same cells: int64 or float64, comparable between
        users (not positions). `X` itself if its values are the times. For a frame of events: the
        name of its column of times, numbers or datetimes; None: ``"timestamp"``.
    test_size : float or int, default=None
        Share (float) or number (int) of the newest interactions that are held out; 0.2 if `cutoff`
        is also None. All interactions at the time of the cutoff are held out, so it may be more.
    cutoff : int, float, str, datetime or datetime64, default=None
        Hold out the interactions at or after this time instead: a number in the units of `order`,
        or a date such as ``"2024-03-31"`` for datetimes and for seconds since 1970. A date without
        a time zone is in the time zone of the column, or in UTC.

    Returns
    -------
    X_train, X_test : csr_array of shape (n_users, n_items) or DataFrame
        Disjoint; their sum is `X`, with the same values and dtype. Rows may be empty in either. For
        a frame, rows of the frame in their original order and with their index, as frames of the
        same library.

    Raises
    ------
    ValueError
        If `test_size` and `cutoff` are both given or one is invalid, if all interactions fall on
        one side, or if `order` has a different shape from `X` or lacks cells of it.

    Warns
    -----
    UserWarning
        If `order` is 1, 2, … in every row: these are positions, not times.

    See Also
    --------
    leave_last_out : Hold out the last interactions of every user.

    Notes
    -----
    No training interaction is newer than any test interaction. Users and items that first occur
    in the test are unknown to a model fitted on `X_train`.

    A matrix has one time for each pair of a user and an item, so repeated events of a pair are all
    on one side. In a frame every event is on the side that it belongs to: split the frame first,
    then encode it, with ``unknown="ignore"`` for users and items that first occur in the test.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.model_selection import temporal_split
    >>> from sklearn_recsys.preprocessing import InteractionEncoder
    >>> events = pd.DataFrame({
    ...     "user": ["ann", "ann", "bob", "ann"],
    ...     "item": ["tea", "milk", "tea", "tea"],
    ...     "timestamp": pd.to_datetime(["2024-01-05", "2024-02-01", "2024-02-03", "2024-04-01"]),
    ... })
    >>> past, future = temporal_split(events, cutoff="2024-03-01")
    >>> future["item"].tolist()
    ['tea']
    >>> encoder = InteractionEncoder(values="one", unknown="ignore")
    >>> X, y = encoder.fit_transform(past), encoder.transform(future)

    Matrices:

    >>> import numpy as np
    >>> times = np.array([[30, 10, 0, 20], [0, 5, 0, 0], [7, 0, 25, 0]])
    >>> past, future = temporal_split(times, times, cutoff=25)
    >>> future.toarray()
    array([[30,  0,  0,  0],
           [ 0,  0,  0,  0],
           [ 0,  0, 25,  0]])
    """
    if is_events(X, order):
        return split_at(X, order, test_size, cutoff)
    if order is None and is_frame(X):
        raise ValueError(
            f'X has no column "timestamp"; its columns are {list(X.columns)}. Name the column of '
            "times with order=…; for a matrix, as from InteractionEncoder, pass a matrix of times."
        )
    X = check_nonempty(X, order)
    if order is None:
        raise TypeError("temporal_split of a matrix needs order, the times of its cells.")
    times = check_order(order, X)
    warn_positions(X, times)
    test = after_cutoff(times, find_cutoff(times, test_size, cutoff))
    return take_cells(X, ~test), take_cells(X, test)
