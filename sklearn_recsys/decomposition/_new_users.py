"""The vectors of new users, computed without torch, which is slow to import."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv

from sklearn_recsys.utils._threads import map_blocks

_MAX_CELLS = 2**15  # cells of a row at once; longer rows are split to bound the memory


def solve_rows(X, factors, prior, ridge, max_cells=_MAX_CELLS):
    """Return the vectors that minimize each row's share of the loss, in float64.

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
    max_cells : int, default=2**15
        Cells of a row that are summed at once.

    Returns
    -------
    vectors : ndarray of float64 of shape (n_rows, n_factors)
        Zero for rows without a cell.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a system is singular in float64.
    """
    n_factors = factors.shape[1]
    vectors = np.zeros((X.shape[0], n_factors))
    diagonal = np.arange(n_factors)

    def solve(block):
        for row in range(block.start, block.stop):
            start, stop = X.indptr[row : row + 2].tolist()
            if start == stop:
                continue
            A, b = prior.copy(), np.zeros(n_factors)
            A[diagonal, diagonal] += ridge[row]
            for cell in range(start, stop, max_cells):
                cells = slice(cell, min(cell + max_cells, stop))
                weights = X.data[cells].astype(np.float64)
                y = factors.take(X.indices[cells], axis=0).astype(np.float64)  # (cells, factors)
                b += weights @ y
                y *= np.sqrt(weights)[:, None]
                A += y.T @ y  # numpy calls BLAS's symmetric product for it
            _, vectors[row], info = dposv(A, b)
            if info > 0:
                raise np.linalg.LinAlgError(f"The system of row {row} is singular.")

    map_blocks(solve, X.shape[0], 64)
    return vectors
