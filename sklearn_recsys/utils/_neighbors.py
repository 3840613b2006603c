"""Nearest neighbors among dense vectors and among sparse rows; rows scaled to unit length."""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse as sp
from sklearn.utils import gen_batches

from sklearn_recsys.utils._cells import cell_rows, take_cells, with_values
from sklearn_recsys.utils._memory import check_list_memory, check_memory
from sklearn_recsys.utils._on_disk import by_rows, row_slice, row_slices
from sklearn_recsys.utils._threads import even_blocks, map_blocks, row_blocks, rows_per_block
from sklearn_recsys.utils._topk import best_cells, top_n
from sklearn_recsys.utils.progress import progress
from sklearn_recsys.utils.validation import check_finite

_CELLS = 2**22  # of rows that are multiplied at a time, which are copied
_SPARSE = 0.1  # share of stored cells below which ranking them beats ranking a dense row


def cosine_neighbors(vectors, others, n, skip=None):
    """Return the `n` nearest of the `others` to each vector, by cosine similarity.

    A zero vector has no direction: it has no neighbors and is not a neighbor.

    Parameters
    ----------
    vectors : ndarray of shape (n_rows, n_factors)
        The vectors to find neighbors for.
    others : ndarray of shape (n_others, n_factors)
        The vectors to search.
    n : int
        Number of neighbors per vector.
    skip : ndarray of int of shape (n_rows,), default=None
        For each row the index to skip, usually the row itself, or −1.

    Returns
    -------
    ids : ndarray of int64 of shape (n_rows, n)
        Nearest first, ties by index, −1 in empty slots.
    similarities : ndarray of float32 of shape (n_rows, n)
        Their cosines, −inf in empty slots.
    """
    vectors, others = (unit_rows(array).astype(np.float32) for array in (vectors, others))
    is_zero = ~others.any(axis=1)
    width = min(n, len(others))
    check_list_memory(len(vectors), n, len(others))
    ids = np.full((len(vectors), n), -1, dtype=np.int64)
    similarities = np.full((len(vectors), n), -np.inf, dtype=np.float32)
    for rows in row_blocks(len(vectors), 4 * len(others)):
        cosines = vectors[rows] @ others.T
        cosines[:, is_zero] = -np.inf
        cosines[~vectors[rows].any(axis=1)] = -np.inf
        if skip is not None:
            has_skip = np.flatnonzero(skip[rows] >= 0)
            cosines[has_skip, skip[rows][has_skip]] = -np.inf
        ids[rows, :width], similarities[rows, :width] = top_n(cosines, width)
    return ids, similarities


def scaled_rows(X):
    """Scale rows by powers of two, which is exact, to a maximum magnitude in [0.5, 1).

    Results that only depend on the directions of the rows then neither overflow nor underflow.

    Parameters
    ----------
    X : {ndarray, csr_array} of float of shape (n_rows, n_columns)
        Finite values.

    Returns
    -------
    scaled : {ndarray, csr_array} of shape (n_rows, n_columns)
        In the format and dtype of `X`. Rows of zeros are unchanged.
    """
    if not sp.issparse(X):
        peaks = np.abs(X).max(axis=1, initial=0, keepdims=True)
        return np.ldexp(X, -np.frexp(peaks)[1])
    lengths = np.diff(X.indptr)
    filled = lengths > 0
    exponents = np.zeros(X.shape[0], dtype=np.int32)
    if filled.any():
        peaks = np.maximum.reduceat(np.abs(X.data), X.indptr[:-1][filled])
        exponents[filled] = np.frexp(peaks)[1]
    data = np.ldexp(X.data, -np.repeat(exponents, lengths))
    return with_values(X, data)


@by_rows
def unit_rows(X):
    """Scale rows to unit Euclidean norm, even very large and very small ones.

    Parameters
    ----------
    X : {ndarray, csr_array} of float of shape (n_rows, n_columns)
        Finite values.

    Returns
    -------
    unit : {ndarray, csr_array} of shape (n_rows, n_columns)
        In the format and dtype of `X`. Rows of zeros are unchanged.
    """
    X = scaled_rows(X)
    if not sp.issparse(X):
        norms = np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
        return (X / np.where(norms > 0, norms, 1)).astype(X.dtype)
    rows = cell_rows(X)
    norms = np.sqrt(np.bincount(rows, weights=X.data.astype(np.float64) ** 2))
    norms[norms == 0] = 1
    data = (X.data / norms[rows]).astype(X.dtype)
    return with_values(X, data)


def is_sparse_enough(X):
    """Return whether few enough cells are stored that ranking only them is faster."""
    return X.nnz < _SPARSE * X.shape[0] * X.shape[1]


def similar_rows(P, fitted, similarity, k, skip, *, row_bytes=24):
    """Return the `k` fitted rows most similar to each row, positive similarities only.

    The cost is proportional to the stored cells: fitted rows without a common cell are skipped.

    Parameters
    ----------
    P : csr_array of shape (n_rows, n_features)
        The rows to find neighbors for.
    fitted : csr_array of shape (n_features, n_fitted)
        The rows to search, as columns. The similarity of rows without a common cell must be zero.
    similarity : callable
        ``similarity(P[rows])`` returns a float32 array or csr_array.
    k : int
        Number of neighbors per row; with `n_fitted` or more, all neighbors are returned.
    skip : ndarray of int64 of shape (n_rows,)
        For each row the fitted row to skip, usually the row itself, or −1.
    row_bytes : int, default=24
        Memory that `similarity` takes per similarity, including temporaries.

    Returns
    -------
    neighbors : csr_array of float32 of shape (n_rows, n_fitted)
        The similarities of the neighbors, at most `k` per row.

    Raises
    ------
    MemoryError
        If the result may not fit, before it is computed.
    """
    n_rows, n_fitted = P.shape[0], fitted.shape[1]
    k = min(k, n_fitted)

    def ranked(rows):
        with np.errstate(over="ignore", invalid="ignore"):  # the results are checked instead
            values = similarity(P[rows])
        return nearest(values, k, skip[rows])

    # the number of cells in common with all fitted rows bounds the number of similarities
    weights, n_common = np.diff(fitted.indptr), np.zeros(n_rows)
    for rows in row_slices(P):
        block = row_slice(P, rows)
        n_common[rows] = np.bincount(
            cell_rows(block), weights[block.indices], minlength=block.shape[0]
        )
    check_memory(
        16 * int(np.minimum(n_common, k).sum()),  # an index and a value, before and after merging
        f"A list of up to {k:,} neighbors for {n_rows:,} rows",
        "Use fewer neighbors.",
    )
    sparse_rows = np.flatnonzero((n_common > 0) & (n_common < _SPARSE * n_fitted))
    dense_rows = np.flatnonzero(n_common >= max(1, _SPARSE * n_fitted))
    block_cells = rows_per_block(row_bytes)
    blocks = [sparse_rows[block] for block in even_blocks(n_common[sparse_rows], block_cells)]
    size = min(256, max(1, block_cells // n_fitted))
    lengths = np.diff(P.indptr)
    for block in gen_batches(len(dense_rows), size) if len(dense_rows) else ():
        rows = dense_rows[block]
        blocks += [rows[part] for part in even_blocks(lengths[rows], _CELLS)]
    if not blocks:
        return sp.csr_array((n_rows, n_fitted), dtype=np.float32)
    report = partial(progress, description="Neighbors")
    results = map_blocks(lambda block: ranked(blocks[block.start]), len(blocks), 1, report)
    return _merged(results, blocks, (n_rows, n_fitted))


def nearest(values, k, skip):
    """Return the `k` largest positive similarities of each row, ties by column.

    Parameters
    ----------
    values : ndarray or csr_array of float32 of shape (n_rows, n_fitted)
        The similarities.
    k : int
        Number of neighbors per row; with `n_fitted` or more, all neighbors are returned.
    skip : ndarray of int64 of shape (n_rows,)
        For each row the column to skip, or −1.

    Returns
    -------
    neighbors : csr_array of float32 of shape (n_rows, n_fitted)
        The similarities of the neighbors, at most `k` per row, with sorted indices.
    """
    # otherwise NaN would silently mean "not a neighbor"
    check_finite(values.data if sp.issparse(values) else values, "Similarities are")
    if k >= values.shape[1]:  # nothing to rank
        values = sp.csr_array(values)
    elif sp.issparse(values) and not is_sparse_enough(values):
        values = values.toarray()
    values = values.astype(np.float32, copy=False)
    if sp.issparse(values):
        values = take_cells(values, (values.data > 0) & (values.indices != skip[cell_rows(values)]))
        values = _best_of_rows(values, k)
        values.sort_indices()
        return values
    has_skip = np.flatnonzero(skip >= 0)
    values[has_skip, skip[has_skip]] = 0
    values[values <= 0] = -np.inf
    n_fitted = values.shape[1]
    ids, values = top_n(values, k)
    filled = ids >= 0
    indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    cells = (values[filled], ids[filled].astype(np.int32), indptr)
    best = sp.csr_array(cells, shape=(len(ids), n_fitted))
    best.sort_indices()
    return best


def _best_of_rows(X, n):
    """Return a csr_array of positive float32 with the `n` best cells of each row, ties by column.

    Sorting one array of numbers takes a tenth of the time of sorting cells by several keys.
    """
    lengths = np.diff(X.indptr)
    is_long = lengths > n
    if not is_long.any():
        return X
    rows = cell_rows(X)
    # the bits of positive numbers grow with them: sorted by row, then by descending value
    keys = (rows.astype(np.uint64) << np.uint64(32)) | ~X.data.view(np.uint32)
    last = np.full(X.shape[0], np.iinfo(np.uint64).max)
    last[is_long] = np.sort(keys)[X.indptr[:-1][is_long] + n - 1]
    X = take_cells(X, keys <= last[rows])
    is_long = np.diff(X.indptr) > n  # some cells equal the n-th
    if is_long.any():
        chosen = np.repeat(~is_long, np.diff(X.indptr))
        tied = X[is_long]
        chosen[np.flatnonzero(~chosen)[best_cells(tied, tied.data, n)[0]]] = True
        X = take_cells(X, chosen)
    return X


def _merged(blocks, rows, shape):
    """Return one csr_array of blocks of rows, whose memory is freed one after the other.

    Parameters
    ----------
    blocks : list of csr_array of shape (n_rows_of_block, n_columns)
        Emptied on return.
    rows : list of ndarray of int64
        The row of the result of each row of each block.
    shape : tuple of int
        The shape of the result; rows in no block are empty.
    """
    lengths = np.zeros(shape[0], dtype=np.int64)
    for block, own in zip(blocks, rows, strict=True):
        lengths[own] = np.diff(block.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices, data = np.empty(indptr[-1], dtype=np.int32), np.empty(indptr[-1], dtype=np.float32)
    for own in reversed(rows):
        block = blocks.pop()
        cells = np.repeat(indptr[own] - block.indptr[:-1], np.diff(block.indptr))
        cells += np.arange(block.nnz)
        indices[cells], data[cells] = block.indices, block.data
    if indptr[-1] <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return sp.csr_array((data, indices, indptr), shape=shape)
