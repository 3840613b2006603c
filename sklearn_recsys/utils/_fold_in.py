"""Exact fold-in of users, given the item parameters: ridge regressions for all rows at once."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv

from sklearn_recsys.utils._threads import map_blas_blocks

_BLOCK_BYTES = 2**22  # memory of the systems that are solved at once: they stay in the cache


def length_groups(lengths, row_bytes, block_bytes):
    """Group rows of similar length, to be padded to the longest and processed together.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_rows,)
        Number of cells of each row.
    row_bytes : callable
        ``row_bytes(width)`` is the memory for a row padded to `width` cells.
    block_bytes : int
        Maximum memory of a group; every group holds at least one row.

    Returns
    -------
    groups : list of ndarray of int64
        All rows with cells, by increasing length.
    """
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    ordered = lengths[order]
    groups, position = [], 0
    while position < len(order):
        shortest = int(ordered[position])
        stop = np.searchsorted(ordered, max(shortest + 8, int(1.1 * shortest)), side="right")
        n_rows = max(1, block_bytes // row_bytes(int(ordered[stop - 1])))
        groups.append(order[position : min(stop, position + n_rows)])
        position += len(groups[-1])
    return groups


def ridge_rows(X, features, block_bytes=_BLOCK_BYTES):
    """Solve ``argmin_v Σ_i (x_i − v · features_i)² + ‖v‖²`` over the stored cells of each row.

    The penalty is 1: scale the features to set it. Systems are solved in float64, in the smaller of
    the primal and the dual form; rows of similar length are padded and solved together, if they are
    so short that this saves time.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        The targets, including explicit zeros.
    features : ndarray of float64 of shape (n_items, n_features)
        The item parameters.
    block_bytes : int, default=2**22
        Memory of the systems that are solved at once.

    Returns
    -------
    V : ndarray of float64 of shape (n_rows, n_features)
        Zero for rows without a cell.
    """
    n_features = features.shape[1]
    V = np.zeros((X.shape[0], n_features))
    lengths = np.diff(X.indptr)
    groups = length_groups(
        lengths, lambda width: 8 * (width + n_features) * (n_features + width), block_bytes
    )

    def solve(block):
        for rows in groups[block]:
            V[rows] = _ridge_group(X, features, rows, lengths)

    map_blas_blocks(solve, len(groups), 1)
    return V


def _ridge_group(X, features, rows, lengths):
    """Solve rows of similar length, padded to the longest."""
    width = lengths[rows].max()
    if len(rows) == 1:
        cells = np.arange(X.indptr[rows[0]], X.indptr[rows[0] + 1])[None]
        targets, A = X.data[cells][..., None], features.take(X.indices[cells], axis=0)
    else:
        positions = np.arange(width)
        filled = positions < lengths[rows][:, None]
        cells = np.where(filled, X.indptr[rows][:, None] + positions, 0)
        targets = np.where(filled, X.data[cells], 0.0)[..., None]  # (rows, width, 1)
        A = features.take(X.indices[cells], axis=0)  # (rows, width, features)
        A *= filled[..., None]
    At = A.transpose(0, 2, 1)
    if width < features.shape[1]:
        return (At @ _solve(A @ At, targets))[..., 0]
    return _solve(At @ A, At @ targets)[..., 0]


def _solve(K, targets):
    """Solve (K + I) x = targets; return NaN if that is singular, which only happens by overflow."""
    diagonal = np.arange(K.shape[1])
    K[:, diagonal, diagonal] += 1
    if len(K) == 1:  # a large system, for which half of the operations count
        _, solution, info = dposv(K[0].T, targets[0], overwrite_a=True)  # .T: LAPACK's order
        return np.full_like(targets, np.nan) if info > 0 else solution[None]
    try:
        return np.linalg.solve(K, targets)
    except np.linalg.LinAlgError:
        return np.full_like(targets, np.nan)
