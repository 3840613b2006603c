"""Operations on the stored cells of canonical csr_arrays."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils._on_disk import (
    by_rows,
    cell_slices,
    column_sums,
    is_on_disk,
    row_slice,
    row_slices,
    some_cells,
)
from sklearn_recsys.utils._threads import row_blocks


def cell_rows(X):
    """Return the row of each stored cell."""
    if X.shape[0] == 1:
        return np.zeros(X.indptr[1], dtype=np.int64)
    return np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))


def all_equal(values, value):
    """Return whether all of an array's values equal one, without an array of the comparisons."""
    return all((values[part] == value).all() for part in cell_slices(len(values)))


def take_rows(X, rows):
    """Return ``X[rows]`` for an integer array, which for one row shares the arrays of `X`.

    scipy's indexing of one row takes longer than many models take to score it.
    """
    if len(rows) != 1:
        return X[rows]
    start, stop = X.indptr[rows[0]], X.indptr[rows[0] + 1]
    indptr = np.array([0, stop - start], dtype=X.indptr.dtype)
    return sp.csr_array((X.data[start:stop], X.indices[start:stop], indptr), (1, X.shape[1]))


def cell_keys(X):
    """Return a unique number for each cell: sorted, and comparable between equal shapes."""
    return cell_rows(X) * np.int64(X.shape[1]) + X.indices


def item_counts(X):
    """Return the number of stored cells of each column."""
    return column_sums(X)


def shared_cells(X):
    """Return, for each column, the stored cells of the rows that store one in it, in float64.

    This bounds the number of other columns that share a row with it.
    """
    bounds = np.zeros(X.shape[1])
    for rows in row_slices(X):
        block = row_slice(X, rows)
        lengths = np.diff(block.indptr)
        bounds += np.bincount(block.indices, np.repeat(lengths, lengths), X.shape[1])
    return bounds


def item_degrees(X):
    """Return the sum of the absolute values of each column, in float64."""
    return column_sums(X, lambda values: np.abs(values).astype(np.float64))


def item_squares(X):
    """Return the sum of the squared values of each column, in float64."""
    return column_sums(X, lambda values: values.astype(np.float64) ** 2)


def with_values(X, values):
    """Return a csr_array of other values in the stored cells of `X`, whose indices it shares."""
    return sp.csr_array((values, X.indices, X.indptr), shape=X.shape)


def support(X):
    """Return a csr_array of ones, of the dtype of `X`, in its stored cells."""
    return X if is_on_disk(X) and all_equal(X.data, 1) else _support(X)


@by_rows
def _support(X):
    return with_values(X, np.ones_like(X.data))


def normalized(X, user_normalization, item_normalization, degrees=None):
    """Divide the cells of a matrix by powers of the degrees of their rows and columns.

    X̃ = D_u^(−a) X D_i^(−b), where D_u and D_i hold the sums of the absolute values of the rows and
    of the columns: with a = b = ½ the normalized adjacency matrix of the graph of users and items.

    Parameters
    ----------
    X : csr_array of float32 of shape (n_users, n_items)
        A canonical matrix.
    user_normalization : float
        The exponent a; 0 leaves the rows as they are.
    item_normalization : float
        The exponent b; 0 leaves the columns as they are.
    degrees : ndarray of float64 of shape (n_items,), default=None
        The `item_degrees` of X, if they are known already.

    Returns
    -------
    X : csr_array of float32 of shape (n_users, n_items)
        The input itself if both exponents are 0.

    Raises
    ------
    ValueError
        If the results are too large for float32.
    """
    if user_normalization == item_normalization == 0:
        return X
    of_items = item_degrees(X) if degrees is None else degrees
    return _normalized(X, user_normalization, item_normalization, of_items)


@by_rows
def _normalized(X, user_normalization, item_normalization, of_items):
    rows = cell_rows(X)
    of_users = np.bincount(rows, np.abs(X.data).astype(np.float64), X.shape[0])
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # see below
        # rows and columns without a cell are divided by zero, and not read
        of_users, of_items = of_users**-user_normalization, of_items**-item_normalization
        data = (X.data * of_users[rows] * of_items[X.indices]).astype(np.float32)
    if not np.isfinite(data).all():
        raise ValueError(
            f"Divided by the degrees to the powers of user_normalization = {user_normalization} "
            f"and item_normalization = {item_normalization}, values are too large for float32."
        )
    return sp.csr_array((data, X.indices, X.indptr), shape=X.shape)


def in_cells(X, other):
    """Return, for each stored cell of `X`, whether `other` (of its shape) stores it too."""
    keys = cell_keys(other)
    if not len(keys):
        return np.zeros(X.nnz, dtype=bool)
    own_keys = cell_keys(X)
    positions = np.searchsorted(keys, own_keys)
    return keys[np.minimum(positions, len(keys) - 1)] == own_keys


def take_cells(X, mask):
    """Return `X` with only the stored cells where `mask` holds."""
    if is_on_disk(X):
        return some_cells(X, mask)
    n_before = np.concatenate([[0], np.cumsum(mask)])
    indptr = n_before[X.indptr].astype(X.indptr.dtype)
    return sp.csr_array((X.data[mask], X.indices[mask], indptr), shape=X.shape)


def union_cells(X, other):
    """Return a csr_array of ones at every cell that either stores."""
    rows = np.concatenate([cell_rows(X), cell_rows(other)])
    columns = np.concatenate([X.indices, other.indices])
    union = sp.csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=X.shape)
    union.sort_indices()
    return union


def products_at(left, right, rows, columns):
    """Return ``(left @ right.T)[rows, columns]`` from blocks of bounded memory."""
    products = np.empty(len(rows), dtype=np.result_type(left, right))
    for cells in row_blocks(len(rows), 2 * products.itemsize * left.shape[1]):
        np.einsum("ij,ij->i", left[rows[cells]], right[columns[cells]], out=products[cells])
    return products


def rank_cells(X):
    """Return ranks 1, 2, … of the stored cells of each row by increasing value, ties by column."""
    rows = cell_rows(X)
    order = sort_within_rows(X, X.data)
    ranks = np.empty(X.nnz, dtype=np.int64)
    ranks[order] = np.arange(X.nnz) - X.indptr[rows] + 1
    return ranks


def value_ranks(X):
    """Return dense ranks 1, 2, … of the values of each row: equal values have equal ranks."""
    rows = cell_rows(X)
    order = np.lexsort((X.data, rows))
    data, rows = X.data[order], rows[order]
    starts = np.ones(X.nnz, dtype=np.int64)  # 1 at the first of each run of equal values of a row
    starts[1:] = (data[1:] != data[:-1]) | (rows[1:] != rows[:-1])
    runs = starts.cumsum()
    ranks = np.empty(X.nnz, dtype=np.int64)
    ranks[order] = runs - runs[X.indptr[rows]] + 1
    return ranks


def sort_within_rows(X, keys):
    """Return the permutation of the stored cells that sorts `keys` within every row, stably."""
    rows = cell_rows(X)
    if np.can_cast(keys.dtype, np.int64):
        low = int(keys.min(initial=0))
        span = int(keys.max(initial=0)) - low + 1
        if span * X.shape[0] < 2**63:
            # keys that increase from row to row: timsort sorts each row and need not merge them
            return np.argsort(rows * span + (keys.astype(np.int64) - low), kind="stable")
    return np.lexsort((keys, rows))


def last_cells(X, keys, counts):
    """Return a mask of the ``counts[row]`` cells with the largest `keys` of every row.

    The sort is stable: among equal keys the higher item index comes later.
    """
    order = sort_within_rows(X, keys)
    first = np.repeat(X.indptr[1:] - counts, np.diff(X.indptr))
    mask = np.zeros(X.nnz, dtype=bool)
    mask[order[np.arange(X.nnz) >= first]] = True
    return mask
