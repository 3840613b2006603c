"""Stable top-n: best first, ties by item index, empty slots −1."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._threads import map_blocks
from sklearn_recsys.utils.validation import check_list_memory

_GROUPS = 8  # of columns, for each of the n best: more cut closer, and take longer to look through


def _at(values, columns):
    """Return what `np.take_along_axis` does for rows, which takes longer than one user's sort."""
    return values[np.arange(len(values))[:, None], columns]


def _candidates(scores, n):
    """Return the columns that may hold the `n` best of each row, by rising index, and their scores.

    Columns are put in groups; the n-th best of the groups' maxima is no better than the n-th best
    score. What lies below it is out, by two passes over the scores that cost far less than a
    partition. Rows are filled up with −1 and −inf. None: too little would be cut away.
    """
    n_rows, n_columns = scores.shape
    n_groups = _GROUPS * n
    size = n_columns // n_groups
    if size < 2:
        return None
    maxima = scores[:, : size * n_groups].reshape(n_rows, size, n_groups).max(axis=1)
    bound = np.partition(maxima, n_groups - n, axis=1)[:, n_groups - n]
    bound = np.maximum(bound, np.finfo(scores.dtype).min)  # -inf is none
    cells = np.flatnonzero(scores >= bound[:, None])
    rows, columns = np.divmod(cells, n_columns)
    lengths = np.bincount(rows, minlength=n_rows)
    width = lengths.max(initial=n)
    if 4 * width > n_columns:  # many ties
        return None
    places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    ids = np.full((n_rows, width), -1, dtype=np.int64)
    values = np.full((n_rows, width), -np.inf, dtype=scores.dtype)
    ids[rows, places] = columns
    values[rows, places] = scores[rows, columns]
    return ids, values


def _top_block(scores, n):
    """Return the column indices of the `n` best of each row, best first, ties by index."""
    left = _candidates(scores, n)
    if left is None:
        return _top_columns(scores, n)
    ids, values = left
    return _at(ids, _top_columns(values, n))


def _top_columns(scores, n):
    """Return what `_top_block` does, by a partition of all columns."""
    n_columns = scores.shape[1]
    if n == n_columns:
        return np.argsort(-scores, axis=1, kind="stable")
    cut = n_columns - n
    order = np.argpartition(scores, cut - 1, axis=1)
    best = order[:, cut:]
    # the partition picks arbitrarily among scores equal to the n-th best: where some of those
    # were left out, take them by index instead
    nth = _at(scores, best).min(axis=1)
    next_best = _at(scores, order[:, cut - 1 : cut])[:, 0]
    tied = np.flatnonzero((next_best == nth) & (nth > -np.inf))
    if len(tied):
        rows = scores[tied]
        above = rows > nth[tied, None]
        level = rows == nth[tied, None]
        missing = n - above.sum(axis=1, keepdims=True)
        taken = above | (level & (np.cumsum(level, axis=1) <= missing))
        best[tied] = np.nonzero(taken)[1].reshape(-1, n)
    best = np.sort(best, axis=1)
    values = _at(scores, best)
    return _at(best, np.argsort(-values, axis=1, kind="stable"))


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
    check_list_memory(n_rows, n, n_columns)
    ids = np.full((n_rows, n), -1, dtype=np.int64)
    values = np.full((n_rows, n), -np.inf, dtype=scores.dtype)
    width = min(n, n_columns)

    def block(rows):
        best = _top_block(scores[rows], width)
        found = _at(scores[rows], best)
        found[best < 0] = -np.inf
        values[rows, :width] = found
        ids[rows, :width] = np.where(found > -np.inf, best, -1)

    if width:
        map_blocks(block, n_rows, max(1, 2**19 // n_columns))
    return ids, values


def best_cells(cells, scores, n):
    """Return the `n` best stored cells of each row.

    Parameters
    ----------
    cells : csr_array of shape (n_rows, n_columns)
        Its stored cells compete.
    scores : ndarray of shape (nnz,)
        A score for each stored cell, in their order; those of −inf are never returned.
    n : int
        Cells of a row.

    Returns
    -------
    positions : ndarray of int64
        Which stored cells they are: row by row, best first, ties by column.
    rows : ndarray of int64
        Their rows.
    ranks : ndarray of int64
        Their ranks in the row, from 0.
    """
    rows = cell_rows(cells)
    order = np.lexsort((cells.indices, -scores, rows))  # rows stay in place
    ranks = np.arange(len(rows)) - cells.indptr[rows]
    best = (ranks < n) & (scores[order] > -np.inf)
    return order[best], rows[best], ranks[best]


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
    check_list_memory(cells.shape[0], n, cells.shape[1])
    ids = np.full((cells.shape[0], n), -1, dtype=np.int64)
    values = np.full((cells.shape[0], n), -np.inf, dtype=scores.dtype)
    positions, rows, ranks = best_cells(cells, scores, n)
    ids[rows, ranks] = cells.indices[positions]
    values[rows, ranks] = scores[positions]
    return ids, values
