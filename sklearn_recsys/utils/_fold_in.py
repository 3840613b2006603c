"""Exact fold-in of users, given the item parameters: ridge regressions for all rows at once."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._lapack import cholesky, cholesky_solve
from sklearn_recsys.utils._threads import map_blas_blocks

_BLOCK_BYTES = 2**22  # memory of the systems that are solved at once: they stay in the cache
_MIXED = 100  # least size of systems that are faster to solve in float32 first
_TOLERANCE = 1e-5  # relative residual before the refinement


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

    The penalty is 1: scale the features to set it. Systems are solved to the precision of float64,
    in the smaller of the primal and the dual form; rows of similar length are padded and solved
    together, if they are so short that this saves time.

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
        targets, A = X.data[cells], features.take(X.indices[cells], axis=0)
    else:
        positions = np.arange(width)
        filled = positions < lengths[rows][:, None]
        cells = np.where(filled, X.indptr[rows][:, None] + positions, 0)
        targets = np.where(filled, X.data[cells], 0.0)  # (rows, width)
        A = features.take(X.indices[cells], axis=0)  # (rows, width, features)
        A *= filled[..., None]
    At = A.transpose(0, 2, 1)
    if width < features.shape[1]:
        return (At @ _solve(A, targets)[..., None])[..., 0]
    return _solve(At, (At @ targets[..., None])[..., 0])


def _solve(M, b):
    """Return the solutions of (M Mᵀ + I) x = b; NaN if singular, which only happens by overflow.

    Large systems are decomposed in float32, twice as fast, and the solutions refined once by their
    residuals in float64, which squares the relative error.
    """
    if M.shape[1] < _MIXED:
        return _solve_in_float64(M, b)
    with np.errstate(over="ignore", invalid="ignore"):
        K = _plus_identity(M.astype(np.float32))
        cholesky(K)
        x = b.astype(np.float32)
        cholesky_solve(K, x)
        x = x.astype(np.float64)
        residuals = b - x - (M @ (M.transpose(0, 2, 1) @ x[..., None]))[..., 0]
        step = residuals.astype(np.float32)
        cholesky_solve(K, step)
        x += step
        # the least eigenvalue is 1: an error is not larger than its residual
        rough = ~(np.linalg.norm(residuals, axis=1) <= _TOLERANCE * np.linalg.norm(b, axis=1))
    if rough.any():
        x[rough] = _solve_in_float64(M[rough], b[rough])
    return x


def _solve_in_float64(M, b):
    K, x = _plus_identity(M), b.copy()
    failed = cholesky(K)
    cholesky_solve(K, x)
    x[failed] = np.nan
    return x


def _plus_identity(M):
    """Return M Mᵀ + I."""
    K = M @ M.transpose(0, 2, 1)
    diagonal = np.arange(K.shape[1])
    K[:, diagonal, diagonal] += 1
    return K
