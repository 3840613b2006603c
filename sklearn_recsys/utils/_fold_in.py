"""A user's exact parameters, given the item side: a ridge regression for every row at once."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._threads import map_blocks

_BLOCK_BYTES = 2**26  # of the systems that are solved at once


def length_groups(lengths, row_bytes, block_bytes):
    """Group rows of similar length, to be padded to the longest and worked on together.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_rows,)
        Cells of each row.
    row_bytes : callable
        ``row_bytes(width)`` is what a row padded to `width` cells takes.
    block_bytes : int
        What a group may take; it holds at least one row.

    Returns
    -------
    groups : list of ndarray of int64
        Every row with a cell, by rising length.
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

    Penalties are scaled into the features. Solved in float64, in the smaller of the primal and the
    dual; rows of similar length are padded and solved together.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        The targets, with explicit zeros where a target is zero.
    features : ndarray of float64 of shape (n_items, n_features)
        The item side.
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
    slots = np.arange(width)
    filled = slots < lengths[rows][:, None]
    cells = np.where(filled, X.indptr[rows][:, None] + slots, 0)
    targets = np.where(filled, X.data[cells], 0.0)[..., None]  # (rows, width, 1)
    A = features[X.indices[cells]] * filled[..., None]  # (rows, width, features)
    At = A.transpose(0, 2, 1)
    if width < features.shape[1]:
        K = A @ At
        K[:, slots, slots] += 1
        return (At @ _solved(K, targets))[..., 0]
    K = At @ A
    diagonal = np.arange(features.shape[1])
    K[:, diagonal, diagonal] += 1
    return _solved(K, At @ targets)[..., 0]


def _solved(K, targets):
    """Solve systems whose identity keeps them regular: singular ones overflowed, and are NaN."""
    try:
        return np.linalg.solve(K, targets)
    except np.linalg.LinAlgError:
        return np.full_like(targets, np.nan)
