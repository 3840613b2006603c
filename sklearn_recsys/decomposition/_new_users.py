"""The vectors of new users by numpy: a fitted model answers without torch, which loads slowly."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._fold_in import length_groups
from sklearn_recsys.utils._threads import map_blocks

_BLOCK_BYTES = 2**22  # what a core's cache holds
_MAX_CELLS = 2**15  # of a row at once: longer ones go in pieces


def solve_rows(X, factors, prior, ridge):
    """Return the vectors that minimize each row's part of the loss, in float64.

    Row u has v_u = argmin Σ_i x_ui (1 − v · y_i)² + vᵀ prior v + ridge_u ‖v‖².

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        Positive weights of the observed cells.
    factors : ndarray of shape (n_columns, n_factors)
        The vectors y_i of the columns.
    prior : ndarray of float64 of shape (n_factors, n_factors)
        Σ_i y_i y_iᵀ over all columns, times the weight of unobserved cells.
    ridge : ndarray of float64 of shape (n_rows,)
        The penalty of each row.

    Returns
    -------
    vectors : ndarray of float64 of shape (n_rows, n_factors)
        Zero for rows without a cell.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a system is singular to the precision.
    """
    n_factors = factors.shape[1]
    vectors = np.zeros((X.shape[0], n_factors))
    lengths = np.diff(X.indptr)
    groups = length_groups(
        lengths,
        lambda width: 8 * n_factors * (min(width, _MAX_CELLS) + n_factors),
        _BLOCK_BYTES,
    )
    diagonal = np.arange(n_factors)

    def solve(block):
        for rows in groups[block]:
            A = np.repeat(prior[None], len(rows), axis=0)  # (rows, factors, factors)
            A[:, diagonal, diagonal] += ridge[rows, None]
            b = np.zeros((len(rows), 1, n_factors))
            for start in range(0, lengths[rows].max(), _MAX_CELLS):
                slots = np.arange(start, min(start + _MAX_CELLS, lengths[rows].max()))
                filled = slots < lengths[rows, None]
                cells = np.where(filled, X.indptr[rows, None] + slots, 0)
                weights = np.where(filled, X.data[cells], 0.0)[:, None]  # (rows, 1, slots)
                y = factors[X.indices[cells]].astype(np.float64)  # (rows, slots, factors)
                A += (y.swapaxes(1, 2) * weights) @ y
                b += weights @ y
            np.linalg.cholesky(A)  # raises where a system is singular to the precision
            vectors[rows] = np.linalg.solve(A, b.swapaxes(1, 2))[..., 0]

    map_blocks(solve, len(groups), max(1, len(groups) // 16))
    return vectors
