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
    vectors = np.zeros((X.shape[0], factors.shape[1]))

    def solve(block):
        for row in range(block.start, block.stop):
            if X.indptr[row] < X.indptr[row + 1]:
                A, b = _normal_equations(X, row, factors, prior, ridge[row], max_cells)
                _, vectors[row], info = dposv(A, b)
                if info > 0:
                    raise np.linalg.LinAlgError(f"The system of row {row} is singular.")

    map_blocks(solve, X.shape[0], 64)
    return vectors


def contributions(X, rows, items, factors, prior, ridge):
    """Return the contribution of each cell of some rows to the scores of columns, in float64.

    The score of column i is y_i · v_u with v_u = A_u⁻¹ Σ_j x_uj y_j, so cell j adds x_uj y_jᵀ A_u⁻¹
    y_i to it (Hu et al. 2008, section 5).

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        Positive weights of the observed cells.
    rows, items : ndarray of int of shape (n_pairs,)
        The rows, ascending, and the columns whose scores are to be explained.
    factors, prior, ridge : ndarray
        As in `solve_rows`.

    Returns
    -------
    contributions : ndarray of float64
        One for each stored cell of ``X[rows]``.
    """
    result = [np.empty(0)]
    for row in np.unique(rows):
        pairs = slice(*np.searchsorted(rows, [row, row + 1]))
        cells = slice(X.indptr[row], X.indptr[row + 1])
        if cells.start == cells.stop:
            continue
        A, _ = _normal_equations(X, row, factors, prior, ridge[row], _MAX_CELLS)
        scored = factors[items[pairs]].astype(np.float64)  # (pairs, factors)
        _, solved, info = dposv(A, scored.T)
        if info > 0:
            raise np.linalg.LinAlgError(f"The system of row {row} is singular.")
        weights = X.data[cells].astype(np.float64)
        result.append(((factors[X.indices[cells]] @ solved).T * weights).ravel())
    return np.concatenate(result)


def _normal_equations(X, row, factors, prior, ridge, max_cells):
    """Return A = prior + ridge I + Σ_i x_i y_i y_iᵀ and b = Σ_i x_i y_i of a row."""
    A, b = prior.copy(), np.zeros(len(prior))
    np.fill_diagonal(A, A.diagonal() + ridge)
    for start in range(*X.indptr[row : row + 2].tolist(), max_cells):
        cells = slice(start, min(start + max_cells, X.indptr[row + 1]))
        weights = X.data[cells].astype(np.float64)
        y = factors.take(X.indices[cells], axis=0).astype(np.float64)  # (cells, factors)
        b += weights @ y
        y *= np.sqrt(weights)[:, None]
        A += y.T @ y  # numpy calls BLAS's symmetric product for it
    return A, b
