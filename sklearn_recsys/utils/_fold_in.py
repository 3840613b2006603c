"""Exact fold-in of users, given the item parameters: ridge regressions for all rows at once."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._threads import map_blocks

_BLOCK_BYTES = 2**26  # memory of the systems that are solved at once


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
    the primal and the dual form; rows of similar length are padded and solved together.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        The targets, including explicit zeros.
    features : ndarray of float64 of shape (n_items, n_features)
        The item parameters.
    block_bytes : int, default=2**26
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

    map_blocks(solve, len(groups), max(1, len(groups) // 16))
    return V


def _ridge_group(X, features, rows, lengths):
    """Solve rows of similar length, padded to the longest."""
    width = lengths[rows].max()
    positions = np.arange(width)
    filled = positions < lengths[rows][:, None]
    cells = np.where(filled, X.indptr[rows][:, None] + positions, 0)
    targets = np.where(filled, X.data[cells], 0.0)[..., None]  # (rows, width, 1)
    A = features[X.indices[cells]] * filled[..., None]  # (rows, width, features)
    At = A.transpose(0, 2, 1)
    if width < features.shape[1]:
        K = A @ At
        K[:, positions, positions] += 1
        return (At @ _solve(K, targets))[..., 0]
    K = At @ A
    diagonal = np.arange(features.shape[1])
    K[:, diagonal, diagonal] += 1
    return _solve(K, At @ targets)[..., 0]


def _solve(K, targets):
    """Solve regular systems; return NaN if they are singular, which only happens by overflow."""
    try:
        return np.linalg.solve(K, targets)
    except np.linalg.LinAlgError:
        return np.full_like(targets, np.nan)
