"""Events to a user × item matrix: one value for each pair of a user and an item."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils.validation import check_csr


def matrix_of_events(users, items, value, time, shape, values, duplicates, column):
    """Resolve duplicates and build the csr_array.

    Parameters
    ----------
    users, items : ndarray of int of shape (n_events,)
        Their rows and columns; events with a code of −1 are dropped.
    value, time : ndarray of shape (n_events,) or None
        Their values and times; None where `values` and `duplicates` do not depend on them.
    shape : tuple of int
        ``(n_users, n_items)``.
    values, duplicates : str
        The parameters of InteractionEncoder.
    column : hashable
        The name of the column of `value`, for error messages.

    Returns
    -------
    X : csr_array of `shape`
    """
    valid = (users >= 0) & (items >= 0)
    if not np.all(valid):
        users, items = users[valid], items[valid]
        value = value if value is None else value[valid]
        time = time if time is None else time[valid]

    # both sorts are stable: events of one pair at equal times stay in the order of their rows
    pairs = users.astype(np.int64) * shape[1] + items
    order = np.argsort(pairs, kind="stable") if time is None else np.lexsort((time, pairs))
    pairs = pairs[order]
    starts = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)])
    counts = np.diff(np.append(starts, len(pairs)))
    rows, columns = np.divmod(pairs[starts], max(shape[1], 1))

    if values == "one":
        data = np.ones(len(starts), dtype=np.float32)
    elif values == "count":
        data = counts.astype(np.float32)
    elif values == "position":
        data = _positions(rows, order[starts + counts - 1], time)
    else:
        data = _aggregate(value[order], starts, counts, duplicates)
        if values == "rating":
            with np.errstate(over="ignore"):
                data = data.astype(np.float32)
        if np.any(data == 0):
            raise ValueError(
                f"{np.sum(data == 0)} value(s) of column {column!r} come out as 0, and a zero in a "
                "user × item matrix means 'not observed'. Shift the scale (for example by adding "
                "1)."
            )
        if not np.all(np.isfinite(data)):
            raise ValueError(f"Column {column!r} holds values too large for float32.")
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=shape[0])))
    return check_csr(sp.csr_array((data, columns, indptr), shape=shape))


def _positions(rows, last, time):
    """Return positions 1 … n within each run of equal `rows`, ordered by time, ties by event.

    `last` holds the event of each pair that counts.
    """
    order = np.lexsort((last, rows) if time is None else (last, time[last], rows))
    counts = np.bincount(rows)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    positions = np.empty(len(rows), dtype=np.int64)
    positions[order] = np.arange(1, len(rows) + 1) - before
    return positions


def _aggregate(value, starts, counts, rule):
    """Apply the rule for duplicates to values sorted by pair and time."""
    if len(value) == 0:
        return value
    if rule == "last":
        return value[starts + counts - 1]
    if rule == "max":
        return np.maximum.reduceat(value, starts)
    total = np.add.reduceat(value, starts)
    return total / counts if rule == "mean" else total
