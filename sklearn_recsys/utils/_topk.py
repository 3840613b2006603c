"""Stable top-n: best first, ties by item index, empty slots −1."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._threads import map_blocks


def _top_block(scores, n):
    """Return the column indices of the `n` best of each row, best first, ties by index."""
    n_columns = scores.shape[1]
    if n == n_columns:
        return np.argsort(-scores, axis=1, kind="stable")
    cut = n_columns - n
    order = np.argpartition(scores, cut - 1, axis=1)
    best = order[:, cut:]
    # the partition picks arbitrarily among scores equal to the n-th best: where some of those
    # were left out, take them by index instead
    nth = np.take_along_axis(scores, best, axis=1).min(axis=1)
    next_best = np.take_along_axis(scores, order[:, cut - 1 : cut], axis=1)[:, 0]
    tied = np.flatnonzero((next_best == nth) & (nth > -np.inf))
    if len(tied):
        rows = scores[tied]
        above = rows > nth[tied, None]
        level = rows == nth[tied, None]
        missing = n - above.sum(axis=1, keepdims=True)
        taken = above | (level & (np.cumsum(level, axis=1) <= missing))
        best[tied] = np.nonzero(taken)[1].reshape(-1, n)
    best = np.sort(best, axis=1)
    values = np.take_along_axis(scores, best, axis=1)
    return np.take_along_axis(best, np.argsort(-values, axis=1, kind="stable"), axis=1)


def top_n(scores, n):
    """Return the `n` best columns of each row.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_columns)
        Greater is better; −inf is never returned. Without NaN.
    n : int
        Width of the answer; may exceed the number of columns.

    Returns
    -------
    ids : ndarray of int64 of shape (n_rows, n)
        Best first, ties by column index, −1 where nothing is left.
    values : ndarray of shape (n_rows, n)
        Their scores, −inf where nothing is left.
    """
    n_rows, n_columns = scores.shape
    ids = np.full((n_rows, n), -1, dtype=np.int64)
    values = np.full((n_rows, n), -np.inf, dtype=scores.dtype)
    width = min(n, n_columns)

    def block(rows):
        best = _top_block(scores[rows], width)
        found = np.take_along_axis(scores[rows], best, axis=1)
        values[rows, :width] = found
        ids[rows, :width] = np.where(found > -np.inf, best, -1)

    if width:
        map_blocks(block, n_rows, max(1, 2**19 // n_columns))
    return ids, values


def top_n_cells(cells, scores, n):
    """Return the `n` best stored cells of each row, in the form of `top_n`.

    Parameters
    ----------
    cells : csr_array of shape (n_rows, n_columns)
        Its stored cells compete.
    scores : ndarray of shape (nnz,)
        A score for each stored cell, in their order.
    n : int
        Width of the answer.
    """
    n_rows = cells.shape[0]
    ids = np.full((n_rows, n), -1, dtype=np.int64)
    values = np.full((n_rows, n), -np.inf, dtype=scores.dtype)
    rows = np.repeat(np.arange(n_rows), np.diff(cells.indptr))
    order = np.lexsort((cells.indices, -scores, rows))  # rows stay in place
    rank = np.arange(len(rows)) - cells.indptr[rows]
    kept = (rank < n) & (scores[order] > -np.inf)
    ids[rows[kept], rank[kept]] = cells.indices[order][kept]
    values[rows[kept], rank[kept]] = scores[order][kept]
    return ids, values
