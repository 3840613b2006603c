"""What the cells of a row add to its scores."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv

from sklearn_recsys.decomposition._weighted_rows import normal_equations

_MAX_CELLS = 2**15  # of a row at once, which bounds the memory


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
        As in `WeightedRows.solve`.

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
        indices, weights = X.indices[cells], X.data[cells].astype(np.float64)
        row_of_one = indices[None], weights[None], factors, prior, ridge[[row]]
        (A,), _ = normal_equations(*row_of_one, _MAX_CELLS)
        scored = factors[items[pairs]].astype(np.float64)  # (pairs, factors)
        _, solved, info = dposv(A, scored.T)
        if info > 0:
            raise np.linalg.LinAlgError(f"The system of row {row} is singular.")
        result.append(((factors[indices] @ solved).T * weights).ravel())
    return np.concatenate(result)
