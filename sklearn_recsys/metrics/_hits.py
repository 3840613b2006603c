"""Validation of ranked lists and matching of hits, shared by all ranking metrics."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils._cells import with_values
from sklearn_recsys.utils._labels import check_same_rows
from sklearn_recsys.utils._neighbors import scaled_rows
from sklearn_recsys.utils._topk import best_cells
from sklearn_recsys.utils.validation import check_csr, check_indices

BLOCK_SLOTS = 2**17  # slots per block: its keys stay in the processor's cache
_MAX_EXPONENT = 1000  # 2**1024 overflows float64
NOTHING_HELD_OUT = (
    "No row of y_true has anything held out, so there is nothing to evaluate. Check the split: "
    "y_true must hold at least one nonzero cell."
)


def check_k(k):
    """Return `k` as an int of at least 1."""
    if not isinstance(k, Integral) or isinstance(k, bool):
        raise TypeError(f"k must be an integer of at least 1; got {k!r}.")
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}.")
    return int(k)


def check_lists(y_pred, k, n_items=None, *, catalog="the catalog"):
    """Validate `y_pred` and return its first `k` columns, or all if it has fewer, as int64."""
    k = check_k(k)
    expected = "ranked item ids, best first, of shape (n_rows, at least k), with -1 for empty slots"
    if sp.issparse(y_pred):
        raise TypeError(f"y_pred must be a dense array of {expected}; got a sparse {y_pred.format}")
    y_pred = np.asarray(y_pred)
    if y_pred.ndim != 2:
        raise ValueError(
            f"y_pred must hold {expected}; got shape {y_pred.shape}. Reshape it with "
            "y_pred.reshape(1, -1) if it is the list of one row."
        )
    y_pred = y_pred[:, :k]
    if y_pred.dtype.kind == "f" and np.all(y_pred == np.floor(y_pred)):
        y_pred = y_pred.astype(np.int64)
    if y_pred.dtype.kind not in "iu":
        raise ValueError(
            f"y_pred must hold {expected}; got values of dtype {y_pred.dtype}. Rank scores first, "
            "as `recommend` does, and encode raw ids."
        )
    if y_pred.size:
        low, high = y_pred.min(), y_pred.max()
        if low < -1:
            raise ValueError(f"y_pred must hold item ids, or -1 for an empty slot; got {low}.")
        if n_items is not None and high >= n_items:
            raise ValueError(
                f"y_pred holds the item id {high}, but {catalog} has {n_items} items "
                f"(ids 0 … {n_items - 1})."
            )
    y_pred = y_pred.astype(np.int64, copy=False)
    for rows in list_blocks(*y_pred.shape):
        ordered = np.sort(y_pred[rows], axis=1)
        repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if repeated.any():
            row, slot = np.argwhere(repeated)[0]
            raise ValueError(
                f"Row {rows.start + row} of y_pred lists item {ordered[row, slot]} more than once, "
                "which would count it twice. List each item once per row."
            )
    return y_pred


def _check_rows(y_true, y_pred):
    """Raise unless `y_true` and `y_pred` have the same number of rows."""
    if len(y_pred) != y_true.shape[0]:
        raise ValueError(
            f"y_true and y_pred must have the same rows; got {y_true.shape[0]} rows in y_true and "
            f"{len(y_pred)} in y_pred."
        )


def list_blocks(n_rows, width):
    """Yield slices of rows that hold about `BLOCK_SLOTS` slots each."""
    step = max(1, BLOCK_SLOTS // max(1, width))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def find_hits(y_true, y_pred, k):
    """Find the hits and count the held-out items.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        The held-out items.
    y_pred : array-like of int of shape (n_rows, n_slots)
        Ranked item ids.
    k : int
        Only the first k slots are used.

    Returns
    -------
    hits : ndarray of bool of shape (n_rows, min(k, n_slots))
        Whether the item in a slot is held out.
    n_relevant : ndarray of int64 of shape (n_rows,)
        The number of items held out.
    """
    check_same_rows(y_true, y_pred, "y_pred", "y_true")
    one_each = not sp.issparse(y_true) and np.ndim(y_true) == 1
    if one_each:
        y_true = check_indices(y_true, np.iinfo(np.int64).max, name="y_true")
        n_items = None
    else:
        y_true = check_csr(y_true, name="y_true")
        n_items = y_true.shape[1]
    y_pred = check_lists(y_pred, k, n_items, catalog="y_true")
    _check_rows(y_true, y_pred)
    if one_each:
        return y_pred == y_true[:, np.newaxis], np.ones(len(y_true), dtype=np.int64)

    hits = np.empty(y_pred.shape, dtype=bool)
    for rows, found, _ in _found_cells(y_true, y_pred):
        hits[rows] = found
    return hits, np.diff(y_true.indptr).astype(np.int64)


def _found_cells(y_true, y_pred):
    """Yield row slices, masks of their slots that are hits, and the stored cells of the hits."""
    n_items = y_true.shape[1]
    for rows in list_blocks(*y_pred.shape):
        # the key of a cell is row * n_items + item; keys are sorted because the CSR is canonical
        first = np.arange(rows.stop - rows.start, dtype=np.int64) * n_items
        cells = slice(y_true.indptr[rows.start], y_true.indptr[rows.stop])
        lengths = np.diff(y_true.indptr[rows.start : rows.stop + 1])
        keys = np.repeat(first, lengths) + y_true.indices[cells]
        wanted = y_pred[rows] + first[:, np.newaxis]
        positions = np.searchsorted(keys, wanted)
        found = (np.append(keys, -1)[positions] == wanted) & (y_pred[rows] >= 0)
        yield rows, found, cells.start + positions


def find_gains(y_true, y_pred, k, gains):
    """Return the gains of the slots, and those of an ideal ranking of the held-out items.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        The held-out items with their relevance, at least 0; relevance is 1 if `y_true` is 1-D.
    y_pred : array-like of int of shape (n_rows, n_slots)
        Ranked item ids.
    k : int
        Only the first k slots are used.
    gains : {"linear", "exponential"}
        The gain of an item: its relevance r, or 2^r − 1.

    Returns
    -------
    gained : ndarray of float64 of shape (n_rows, min(k, n_slots))
        Scaled by a factor for each row, so that they cannot overflow.
    ideal : csr_array of float64 of shape (n_rows, at most k)
        The largest gains of each row in descending order, scaled by the same factor.
    """
    if not sp.issparse(y_true) and np.ndim(y_true) == 1:
        hits, _ = find_hits(y_true, y_pred, k)
        return hits.astype(np.float64), sp.csr_array(np.ones((len(hits), 1)))
    check_same_rows(y_true, y_pred, "y_pred", "y_true")
    y_true = _as_gains(check_csr(y_true, name="y_true"), gains)
    y_pred = check_lists(y_pred, k, y_true.shape[1], catalog="y_true")
    _check_rows(y_true, y_pred)
    gained = np.zeros(y_pred.shape)
    for rows, found, cells in _found_cells(y_true, y_pred):
        gained[rows][found] = y_true.data[cells[found]]
    cells, rows, ranks = best_cells(y_true, y_true.data, k)
    shape = (len(gained), ranks.max(initial=0) + 1)
    return gained, sp.csr_array((y_true.data[cells], (rows, ranks)), shape=shape)


def _as_gains(y_true, gains):
    """Replace the values of held-out cells by their gains, scaled row by row."""
    values = y_true.data.astype(np.float64)
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0:
        raise ValueError(
            f"Graded gains need a relevance of at least 0, but y_true holds {low:g}: shift the "
            'ratings, or weight all held-out items equally with gains="binary".'
        )
    if gains == "exponential":
        if high > _MAX_EXPONENT:
            raise ValueError(
                f"Exponential gains are 2 ** relevance - 1, but y_true holds {high:g}, more than "
                f'{_MAX_EXPONENT}: use gains="linear", or take logarithms of counts.'
            )
        values = np.expm1(values * np.log(2))
    return scaled_rows(with_values(y_true, values))


def padded_hits(y_true, y_pred, k):
    """Return `find_hits` with hits of shape (n_rows, k); missing slots are padded as misses."""
    hits, n_relevant = find_hits(y_true, y_pred, k)
    return np.pad(hits, ((0, 0), (0, k - hits.shape[1]))), n_relevant


def average_rows(values, average, nothing=NOTHING_HELD_OUT) -> Any:
    """Return the mean of `values` over the rows that have one, or `values` if `average` is None."""
    if average is not None and not (isinstance(average, str) and average == "mean"):
        raise ValueError(f"average must be 'mean' or None (one value per row); got {average!r}.")
    defined = ~np.isnan(values)
    if not defined.any():
        raise ValueError(nothing)
    return values if average is None else float(values[defined].mean())
