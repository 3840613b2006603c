"""Stable top-n: best first, ties by item index, empty slots −1."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._memory import check_list_memory
from sklearn_recsys.utils._threads import map_blocks

_GROUPS = 8  # groups of columns per result: more groups prune more but take longer to scan


def _at(values, columns):
    """Take columns row by row: `np.take_along_axis` takes longer than sorting one row."""
    return values[np.arange(len(values))[:, None], columns]


def _candidates(scores, n):
    """Return the columns that may be among the `n` best of each row, by index, and their scores.

    Columns are divided into groups; the n-th best of the group maxima is a lower bound of the n-th
    best score. All lower scores are pruned in two passes, which cost far less than a partition.
    Rows are padded with −1 and −inf. Returns None if pruning would not help.
    """
    n_rows, n_columns = scores.shape
    n_groups = _GROUPS * n
    size = n_columns // n_groups
    if size < 2:
        return None
    maxima = scores[:, : size * n_groups].reshape(n_rows, size, n_groups).max(axis=1)
    bound = np.partition(maxima, n_groups - n, axis=1)[:, n_groups - n]
    bound = np.maximum(bound, np.finfo(scores.dtype).min)  # -inf never qualifies
    cells = np.flatnonzero(scores >= bound[:, None])
    rows, columns = np.divmod(cells, n_columns)
    lengths = np.bincount(rows, minlength=n_rows)
    width = lengths.max(initial=n)
    if 4 * width > n_columns:  # many ties
        return None
    positions = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    ids = np.full((n_rows, width), -1, dtype=np.int64)
    values = np.full((n_rows, width), -np.inf, dtype=scores.dtype)
    ids[rows, positions] = columns
    values[rows, positions] = scores[rows, columns]
    return ids, values


def _top_block(scores, n):
    """Return the column indices of the `n` best of each row, best first, ties by index."""
    candidates = _candidates(scores, n)
    if candidates is None:
        return _top_columns(scores, n)
    ids, values = candidates
    return _at(ids, _top_columns(values, n))


def _top_row(scores, n):
    """Return the columns of at most `n` best scores of one row, best first, ties by index.

    The same as `_top_block` in fewer calls, whose overhead is most of the time for one row.
    """
    bound = np.finfo(scores.dtype).min  # -inf never qualifies
    n_groups = _GROUPS * n
    size = len(scores) // n_groups
    if size >= 2:
        maxima = scores[: size * n_groups].reshape(size, n_groups).max(axis=0)
        maxima.partition(n_groups - n)
        bound = max(bound, maxima[n_groups - n])
    columns = np.flatnonzero(scores >= bound)
    return columns[np.argsort(-scores[columns], kind="stable")[:n]]


def _top_columns(scores, n):
    """Return the same as `_top_block`, by a partition of all columns."""
    n_columns = scores.shape[1]
    if n == n_columns:
        return np.argsort(-scores, axis=1, kind="stable")
    cut = n_columns - n
    order = np.argpartition(scores, cut - 1, axis=1)
    best = order[:, cut:]
    # the partition picks arbitrarily among scores equal to the n-th best: if it dropped some of
    # them, choose among them by index instead
    nth = _at(scores, best).min(axis=1)
    next_best = _at(scores, order[:, cut - 1 : cut])[:, 0]
    tied = np.flatnonzero((next_best == nth) & (nth > -np.inf))
    if len(tied):
        rows = scores[tied]
        above = rows > nth[tied, None]
        equal = rows == nth[tied, None]
        n_missing = n - above.sum(axis=1, keepdims=True)
        selected = above | (equal & (np.cumsum(equal, axis=1) <= n_missing))
        best[tied] = np.nonzero(selected)[1].reshape(-1, n)
    best = np.sort(best, axis=1)
    values = _at(scores, best)
    return _at(best, np.argsort(-values, axis=1, kind="stable"))


def top_n(scores, n):
    """Return the `n` best columns of each row.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_columns)
        Higher is better; columns of −inf are never returned. Must not contain NaN.
    n : int
        Width of the result; may exceed the number of columns.

    Returns
    -------
    ids : ndarray of int64 of shape (n_rows, n)
        Best first, ties by column index, −1 in empty slots.
    values : ndarray of shape (n_rows, n)
        Their scores, −inf in empty slots.
    """
    n_rows, n_columns = scores.shape
    check_list_memory(n_rows, n, n_columns)
    ids = np.full((n_rows, n), -1, dtype=np.int64)
    values = np.full((n_rows, n), -np.inf, dtype=scores.dtype)
    width = min(n, n_columns)
    if n_rows == 1 and width:
        best = _top_row(scores[0], width)
        ids[0, : len(best)] = best
        values[0, : len(best)] = scores[0, best]
        return ids, values

    def block(rows):
        best = _top_block(scores[rows], width)
        best_scores = _at(scores[rows], best)
        best_scores[best < 0] = -np.inf
        values[rows, :width] = best_scores
        ids[rows, :width] = np.where(best_scores > -np.inf, best, -1)

    if width:
        map_blocks(block, n_rows, max(1, 2**19 // n_columns))
    return ids, values


def best_cells(cells, scores, n):
    """Return the `n` best stored cells of each row.

    Parameters
    ----------
    cells : csr_array of shape (n_rows, n_columns)
        Its stored cells are the candidates.
    scores : ndarray of shape (nnz,)
        A score for each stored cell, in their order; cells of −inf are never returned.
    n : int
        Maximum number of cells per row.

    Returns
    -------
    positions : ndarray of int64
        Indices into the stored cells: row by row, best first, ties by column.
    rows : ndarray of int64
        Their rows.
    ranks : ndarray of int64
        Their ranks in the row, from 0.
    """
    rows = cell_rows(cells)
    order = np.lexsort((cells.indices, -scores, rows))  # sorted within rows, so `rows` still holds
    ranks = np.arange(len(rows)) - cells.indptr[rows]
    best = (ranks < n) & (scores[order] > -np.inf)
    return order[best], rows[best], ranks[best]


def top_n_cells(cells, scores, n):
    """Return the `n` best stored cells of each row, in the format of `top_n`.

    Parameters
    ----------
    cells : csr_array of shape (n_rows, n_columns)
        Its stored cells are the candidates.
    scores : ndarray of shape (nnz,)
        A score for each stored cell, in their order.
    n : int
        Width of the result.
    """
    check_list_memory(cells.shape[0], n, cells.shape[1])
    ids = np.full((cells.shape[0], n), -1, dtype=np.int64)
    values = np.full((cells.shape[0], n), -np.inf, dtype=scores.dtype)
    positions, rows, ranks = best_cells(cells, scores, n)
    ids[rows, ranks] = cells.indices[positions]
    values[rows, ranks] = scores[positions]
    return ids, values
