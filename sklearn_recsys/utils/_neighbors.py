"""Rows of length one, and cosine neighbours in a space of factors."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._threads import row_blocks
from sklearn_recsys.utils._topk import top_n
from sklearn_recsys.utils.validation import check_list_memory


def cosine_neighbors(vectors, others, n, skip=None):
    """Return the `n` nearest of the `others` to each vector.

    A vector of zeros points nowhere: it has no neighbours, and is nobody's.

    Parameters
    ----------
    vectors : ndarray of shape (n_rows, n_factors)
        Whose neighbours are asked for.
    others : ndarray of shape (n_others, n_factors)
        Among whom they are looked for.
    n : int
        Neighbours of each.
    skip : ndarray of int of shape (n_rows,), default=None
        An index each that is not a neighbour, the row itself; −1 for none.

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
