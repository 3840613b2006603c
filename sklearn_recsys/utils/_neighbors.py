"""Cosine neighbours in a space of factors."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._threads import row_blocks
from sklearn_recsys.utils._topk import top_n


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
    vectors, others = _unit_rows(vectors), _unit_rows(others)
    nowhere = ~others.any(axis=1)
    ids = np.empty((len(vectors), n), dtype=np.int64)
    similarities = np.empty((len(vectors), n), dtype=np.float32)
    for rows in row_blocks(len(vectors), 4 * len(others)):
        cosines = vectors[rows] @ others.T
        cosines[:, nowhere] = -np.inf
        cosines[~vectors[rows].any(axis=1)] = -np.inf
        if skip is not None:
            own = np.flatnonzero(skip[rows] >= 0)
            cosines[own, skip[rows][own]] = -np.inf
        ids[rows], similarities[rows] = top_n(cosines, n)
    return ids, similarities


def _unit_rows(vectors):
    """Return the rows as float32 of length one, but for those of zeros."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
