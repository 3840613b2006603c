"""Nearest neighbors among dense vectors and among sparse rows; rows scaled to length one."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.utils import gen_batches

from sklearn_recsys.utils._cells import cell_rows, take_cells
from sklearn_recsys.utils._threads import even_blocks, map_blocks, row_blocks, rows_per_block
from sklearn_recsys.utils._topk import best_cells, top_n
from sklearn_recsys.utils.validation import check_finite, check_list_memory

_SPARSE = 0.1  # share of stored cells below which ranking them beats ranking a dense row


def cosine_neighbors(vectors, others, n, skip=None):
    """Return the `n` nearest of the `others` to each vector.

    A vector of zeros points nowhere: it has no neighbors, and is nobody's.

    Parameters
    ----------
    vectors : ndarray of shape (n_rows, n_factors)
        Whose neighbors are asked for.
    others : ndarray of shape (n_others, n_factors)
        Among whom they are looked for.
    n : int
        Neighbors of each.
    skip : ndarray of int of shape (n_rows,), default=None
        An index each that is not a neighbor, the row itself; −1 for none.

    Returns
    -------
    ids : ndarray of int64 of shape (n_rows, n)
        Nearest first, ties by index, −1 in empty slots.
    similarities : ndarray of float32 of shape (n_rows, n)
        Their cosines, −inf in empty slots.
    """
    vectors, others = (unit_rows(part).astype(np.float32) for part in (vectors, others))
    nowhere = ~others.any(axis=1)
    width = min(n, len(others))
    check_list_memory(len(vectors), n, len(others))
    ids = np.full((len(vectors), n), -1, dtype=np.int64)
    similarities = np.full((len(vectors), n), -np.inf, dtype=np.float32)
    for rows in row_blocks(len(vectors), 4 * len(others)):
        cosines = vectors[rows] @ others.T
        cosines[:, nowhere] = -np.inf
        cosines[~vectors[rows].any(axis=1)] = -np.inf
        if skip is not None:
            own = np.flatnonzero(skip[rows] >= 0)
            cosines[own, skip[rows][own]] = -np.inf
        ids[rows, :width], similarities[rows, :width] = top_n(cosines, width)
    return ids, similarities


def scaled_rows(X):
    """Scale rows by powers of two, which is exact, to a greatest magnitude in [0.5, 1).

    What only depends on the directions of the rows can then neither overflow nor underflow.

    Parameters
    ----------
    X : {ndarray, csr_array} of float of shape (n_rows, n_columns)
        Finite values.

    Returns
    -------
    scaled : {ndarray, csr_array} of shape (n_rows, n_columns)
        In the form and dtype of `X`. Rows of zeros stay as they are.
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
    return sp.csr_array((data, X.indices, X.indptr), shape=X.shape)


def unit_rows(X):
    """Scale rows to a Euclidean norm of one, whatever their magnitude.

    Parameters
    ----------
    X : {ndarray, csr_array} of float of shape (n_rows, n_columns)
        Finite values.

    Returns
    -------
    unit : {ndarray, csr_array} of shape (n_rows, n_columns)
        In the form and dtype of `X`. Rows of zeros stay as they are.
    """
    X = scaled_rows(X)
    if not sp.issparse(X):
        norms = np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
        return (X / np.where(norms > 0, norms, 1)).astype(X.dtype)
    rows = cell_rows(X)
    norms = np.sqrt(np.bincount(rows, weights=X.data.astype(np.float64) ** 2))
    norms[norms == 0] = 1
    data = (X.data / norms[rows]).astype(X.dtype)
    return sp.csr_array((data, X.indices, X.indptr), shape=X.shape)


def is_sparse_enough(X):
    """Return whether so few cells are stored that ranking them beats ranking everything."""
    return X.nnz < _SPARSE * X.shape[0] * X.shape[1]


def similar_rows(P, things, similarity, k, skip, *, row_bytes=24):
    """Return the `k` most similar things of each row, positive similarities only.

    The cost follows what is stored: a thing that shares no cell with a row is not looked at.

    Parameters
    ----------
    P : csr_array of shape (n_rows, n_features)
        The rows to find neighbors for.
    things : csr_array of shape (n_features, n_things)
        Where it stores nothing in common with a row, the similarity is zero.
    similarity : callable
        ``similarity(P[rows])`` returns a float32 array, or a csr_array where few are not zero.
    k : int
        Neighbors per row.
    skip : ndarray of int64 of shape (n_rows,)
        The thing that is no neighbor of the row (itself), or −1.
    row_bytes : int, default=24
        What `similarity` takes for each similarity, temporaries included.

    Returns
    -------
    neighbors : csr_array of float32 of shape (n_rows, n_things)
        The similarities that were kept, at most `k` in a row.
    """
    n_rows, n_things = P.shape[0], things.shape[1]
    k = min(k, n_things)

    def ranked(rows):
        own = skip[rows]
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
            values = similarity(P[rows])
        # NaN would count as no neighbor, silently
        check_finite(values.data if sp.issparse(values) else values, "Similarities are")
        if sp.issparse(values):
            values = take_cells(
                values, (values.data > 0) & (values.indices != own[cell_rows(values)])
            )
            best = np.zeros(values.nnz, dtype=bool)
            best[best_cells(values, values.data, k)[0]] = True
            return take_cells(values, best)
        named = np.flatnonzero(own >= 0)
        values[named, own[named]] = 0
        values[values <= 0] = -np.inf
        ids, values = top_n(values, k)
        filled = ids >= 0
        indptr = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
        shape = (len(ids), n_things)
        return sp.csr_array((values[filled], ids[filled].astype(np.int32), indptr), shape=shape)

    # no row has more similarities than it has cells in common with all things
    weights = np.diff(things.indptr)[P.indices]
    in_common = np.bincount(cell_rows(P), weights=weights, minlength=n_rows)
    thin = np.flatnonzero((in_common > 0) & (in_common < _SPARSE * n_things))
    rest = np.flatnonzero(in_common >= max(1, _SPARSE * n_things))
    block_cells = rows_per_block(row_bytes)
    blocks = [thin[block] for block in even_blocks(in_common[thin], block_cells)]
    size = min(256, max(1, block_cells // n_things))
    blocks += [rest[block] for block in gen_batches(len(rest), size)] if len(rest) else []
    if not blocks:
        return sp.csr_array((n_rows, n_things), dtype=np.float32)
    found = map_blocks(lambda block: ranked(blocks[block.start]), len(blocks), 1)
    found = sp.vstack(found, format="csr")
    rows = np.concatenate(blocks)
    found = found[np.argsort(rows)]
    found.sort_indices()
    lengths = np.zeros(n_rows, dtype=found.indptr.dtype)
    lengths[np.sort(rows)] = np.diff(found.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(found.indices.dtype)
    return sp.csr_array((found.data, found.indices, indptr), shape=(n_rows, n_things))
