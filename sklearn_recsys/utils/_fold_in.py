"""A user's exact parameters, given the item side: a ridge regression for every row at once."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._threads import map_blocks

_BLOCK_BYTES = 2**26


def ridge_rows(X, features):
    """Solve ``argmin_v Σ_i (x_i − v · features_i)² + ‖v‖²`` over the stored cells of each row.

    Penalties are scaled into the features. Solved in float64, in the smaller of the primal and the
    dual; rows of similar length are padded and solved together.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        The targets, with explicit zeros where a target is zero.
    features : ndarray of float64 of shape (n_items, n_features)
        The item side.

    Returns
    -------
    V : ndarray of float64 of shape (n_rows, n_features)
        Zero for rows without a cell.
    """
    n_features = features.shape[1]
    V = np.zeros((X.shape[0], n_features))
    lengths = np.diff(X.indptr)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    starts, position = [], 0
    while position < len(order):  # groups of bounded size and little padding
        width = lengths[order[position]]
        stop = np.searchsorted(lengths[order], max(width + 8, int(1.1 * width)), side="right")
        row_bytes = 8 * (int(lengths[order[stop - 1]]) + n_features) * (n_features + width)
        stop = min(stop, position + max(1, _BLOCK_BYTES // row_bytes))
        starts.append((position, stop))
        position = stop

    def solve(block):
        for start, stop in starts[block]:
            rows = order[start:stop]
            V[rows] = _ridge_group(X, features, rows, lengths)

    map_blocks(solve, len(starts), max(1, len(starts) // 16))
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
        return (At @ np.linalg.solve(K, targets))[..., 0]
    K = At @ A
    diagonal = np.arange(features.shape[1])
    K[:, diagonal, diagonal] += 1
    return np.linalg.solve(K, At @ targets)[..., 0]
