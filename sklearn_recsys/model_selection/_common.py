"""Shared by the splits: validation of orders and sizes, reductions over rows, warnings."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.exceptions import LeakWarning, ValuesWarning
from sklearn_recsys.utils._cells import cell_rows, in_cells
from sklearn_recsys.utils._labels import check_same_labels
from sklearn_recsys.utils._warnings import warn
from sklearn_recsys.utils.validation import check_csr


def check_nonempty(X, order=None):
    """Return `X` as a canonical csr_array with at least one interaction.

    If `X` and `order` are both frames, their labels must be equal.
    """
    check_same_labels(X, order, "order")
    X = check_csr(X)
    if X.nnz == 0:
        raise ValueError(
            f"X holds no interaction (shape {X.shape}); expected a user × item matrix with at "
            "least one stored nonzero value."
        )
    # plain ndarrays: in numpy < 2 even copies of a read-only memmap are read-only
    arrays = tuple(np.asarray(array) for array in (X.data, X.indices, X.indptr))
    return sp.csr_array(arrays, shape=X.shape)


def check_order(order, X, *, name="order"):
    """Return the times of the stored cells of the canonical `X`, one value per cell."""
    order = check_csr(order, name=name)
    if order.shape != X.shape:
        raise ValueError(
            f"{name} must have the shape of X, {X.shape}; got shape {order.shape}. Encode it with "
            'the same encoder, values="timestamp" or values="position".'
        )
    missing = np.count_nonzero(~in_cells(X, order))
    if missing:
        raise ValueError(
            f"{name} must store a time or position for every cell that X stores; {missing} of "
            f"{X.nnz} are missing. Zeros count as not stored: count positions and times from 1."
        )
    return check_times(order.data[in_cells(order, X)], name=name)


def check_times(times, *, name):
    """Refuse times in a float type that cannot distinguish neighboring seconds."""
    if times.dtype.kind == "f" and times.dtype.itemsize < 8:
        exact = 2 ** (np.finfo(times.dtype).nmant + 1)
        if np.abs(times).max() > exact:
            raise ValueError(
                f"{name} holds values up to {times.max():.0f} as {times.dtype}, which cannot "
                f"distinguish all times above {exact}; pass int64 or float64."
            )
    return times


def check_size(size, name, total=None):
    """Check a share in (0, 1) or a count of at least 1; with `total`, return the count."""
    if isinstance(size, Integral) and not isinstance(size, bool):
        count = int(size)
        valid = count >= 1 and (total is None or count < total)
    elif isinstance(size, Real) and not isinstance(size, bool):
        valid = 0 < size < 1
        count = None if total is None or not valid else min(max(round(size * total), 1), total - 1)
        valid = valid and (total is None or total > 1)
    else:
        raise TypeError(
            f"{name} must be a share (float between 0 and 1) or a count (int); got {size!r}."
        )
    if not valid:
        limit = "" if total is None else f" and less than the total of {total}"
        raise ValueError(
            f"{name} must be a share, a float strictly between 0 and 1, or a count, an int of at "
            f"least 1{limit}; got {size!r}."
        )
    return count


def held_out_counts(lengths, size, min_train):
    """Return how many cells to hold out of rows with `lengths` cells: a count or floored share."""
    if isinstance(size, Integral):
        return np.where(lengths >= size + min_train, size, 0)
    # 1e-9, because 0.29 * 100 is 28.999999999999996
    counts = np.floor(size * lengths + 1e-9).astype(np.int64)
    counts[(counts == 0) & (lengths >= 2)] = 1
    return np.minimum(counts, np.maximum(lengths - min_train, 0))


def reduce_rows(ufunc, X, values, mask):
    """Reduce the values of the cells in `mask` within every row; return 0 for rows without any.

    The second result is a mask of the rows with such cells.
    """
    lengths = np.bincount(cell_rows(X)[mask], minlength=X.shape[0])
    has_cells = lengths > 0
    reduced = np.zeros(X.shape[0], dtype=values.dtype)
    if has_cells.any():
        starts = np.cumsum(lengths) - lengths
        reduced[has_cells] = ufunc.reduceat(values[mask], starts[has_cells])
    return reduced, has_cells


def older_than_train(X, times, test):
    """Count the test cells that are older than their row's newest training cell."""
    newest, has_train = reduce_rows(np.maximum, X, times, ~test)
    rows = cell_rows(X)[test]
    return int(np.count_nonzero(has_train[rows] & (times[test] < newest[rows])))


def warn_future_leak(n_older, n_test):
    """Warn if test cells are older than their user's newest training cell."""
    if n_older:
        warn(
            f"The model is trained on the future: {100 * n_older / n_test:.3g} % of the test "
            "interactions are older than their user's newest training interaction. "
            "leave_last_out and temporal_split avoid this.",
            LeakWarning,
        )


def check_own_times(X, test):
    """Raise or warn if the values of `X`, which were used as times, do not look like times."""
    newest, in_train = reduce_rows(np.maximum, X, X.data, ~test)
    oldest, in_test = reduce_rows(np.minimum, X, X.data, test)
    is_split = in_train & in_test
    if not is_split.any():
        return
    if X.data.min() == X.data.max():
        raise ValueError(
            f"Without order, the values of X are used as times, but all of them are {X.data[0]}. "
            "Pass order, a matrix of times or positions "
            '(InteractionEncoder(values="position")).'
        )
    tied = np.mean(newest[is_split] == oldest[is_split])
    if tied > 0.5:
        warn(
            f"Without order, the values of X are used as times, but in {100 * tied:.0f} % of the "
            "rows the last training value equals the first test value, and the item index broke "
            "the tie. If they are ratings or counts, pass order, a matrix of times or positions "
            '(InteractionEncoder(values="position")).',
            ValuesWarning,
        )


def warn_positions(X, times):
    """Warn if the times are 1 … length in every row: these are positions, not common times."""
    all_cells = np.ones(X.nnz, dtype=bool)
    first, filled = reduce_rows(np.minimum, X, times, all_cells)
    last, _ = reduce_rows(np.maximum, X, times, all_cells)
    lengths = np.diff(X.indptr)
    are_positions = np.all(first[filled] == 1) and np.all(last == lengths)
    if are_positions and np.count_nonzero(lengths > 1) > 1:
        warn(
            "order ranges from 1 to the number of interactions in every row: it looks like "
            "positions, which cannot be compared between users. Pass times "
            '(InteractionEncoder(values="timestamp")).',
            ValuesWarning,
        )
