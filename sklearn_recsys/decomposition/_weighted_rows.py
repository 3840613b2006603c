"""The exact vectors of rows, given those of the columns: half of an alternating least squares step.

This is the computation on the CPU, by numpy, also for new users; `_sparse_rows` has conjugate
gradients on the CPU, `_torch_rows` both on a GPU.
"""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._fold_in import length_groups
from sklearn_recsys.utils._lapack import cholesky, cholesky_solve
from sklearn_recsys.utils._on_disk import is_on_disk
from sklearn_recsys.utils._threads import batches, map_blas_blocks

_BLOCK_BYTES = 2**21  # memory of the column vectors of a group, which stay in the cache


class WeightedRows:
    """The rows of a matrix of weights, in groups of similar length.

    The groups are made once, and used for every half step; those of a matrix on disk are read in
    every one. BLAS uses one thread in each of
    several parallel threads, so that the number of threads changes no bit of the results.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        Positive weights of the observed cells.
    n_factors : int
        Length of the vectors to solve for.
    block_bytes : int, default=2**21
        Memory of the float32 vectors of the columns that are read at once; longer rows are split.

    Attributes
    ----------
    lengths : ndarray of int of shape (n_rows,)
        Number of observed cells of each row.
    """

    def __init__(self, X, n_factors, block_bytes=_BLOCK_BYTES):
        self.n_factors = n_factors
        self.lengths = np.diff(X.indptr)
        self.max_cells = max(1, block_bytes // (4 * n_factors))
        groups = length_groups(self.lengths, lambda width: width, self.max_cells)
        # the longest rows first, so that no thread is left with them at the end
        self.groups = groups[::-1]
        self.X = X
        if not is_on_disk(X):
            self.groups, self.X = [self._padded(rows) for rows in self.groups], None

    solves_in_float64 = True

    def array(self, array):
        """Return an array as the methods take it."""
        return array

    def numpy(self, array):
        """Return the result of a method as an ndarray."""
        return array

    @staticmethod
    def gram(factors):
        """Return Σ_i y_i y_iᵀ over all columns.

        A product in BLAS's own threads would leave them waiting for work and take the cores from
        those of the half step.
        """
        return sum(
            map_blas_blocks(lambda rows: factors[rows].T @ factors[rows], len(factors), 2**13)
        )

    def solve(self, factors, prior, ridge):
        """Return the vectors that minimize each row's share of the loss.

        Row u has v_u = argmin Σ_i x_ui (1 − v · y_i)² + vᵀ prior v + ridge_u ‖v‖².

        Parameters
        ----------
        factors : ndarray of shape (n_columns, n_factors)
            The vectors y_i of the columns.
        prior : ndarray of shape (n_factors, n_factors)
            Σ_i y_i y_iᵀ over all columns, times the weight of unobserved cells. Its dtype is the
            precision of the computation.
        ridge : ndarray of shape (n_rows,)
            The penalty of each row.

        Returns
        -------
        vectors : ndarray of shape (n_rows, n_factors)
            Zero for rows without a cell.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a system is singular in the given precision.
        """
        vectors = np.zeros((len(ridge), self.n_factors), dtype=prior.dtype)
        at_once = max(1, self.max_cells // self.n_factors)  # systems

        def solve(rows, indices, weights):
            for part in batches(len(rows), at_once):
                A, b = normal_equations(
                    indices[part], weights[part], factors, prior, ridge[rows[part]], self.max_cells
                )
                failed = cholesky(A)
                if failed.any():
                    row = rows[part][failed.argmax()]
                    raise np.linalg.LinAlgError(f"The system of row {row} is singular.")
                cholesky_solve(A, b)
                vectors[rows[part]] = b

        self._for_each_group(solve)
        return vectors

    def _for_each_group(self, function):
        """Call ``function(rows, indices, weights)`` for each group, in parallel threads."""

        def call(block):
            with np.errstate(all="ignore"):  # `ALS` warns if its vectors diverge
                for group in self.groups[block]:
                    function(*(group if self.X is None else self._padded(group)))

        if len(self.lengths) == 1:  # a new user: limiting BLAS takes half as long as solving
            call(slice(None))
        else:
            map_blas_blocks(call, len(self.groups), 1)

    def _padded(self, rows):
        """Return rows, and the columns and the weights of their cells, padded with zeros."""
        X, lengths = self.X, self.lengths[rows]
        positions = np.arange(lengths.max())
        filled = positions < lengths[:, None]
        cells = np.where(filled, X.indptr[rows][:, None] + positions, 0)
        return rows, X.indices[cells], np.where(filled, X.data[cells], 0)


def normal_equations(indices, weights, factors, prior, ridge, max_cells):
    """Return the systems whose solutions are the vectors of some rows.

    Parameters
    ----------
    indices : ndarray of int of shape (n_rows, n_cells)
        The columns of the cells of each row.
    weights : ndarray of shape (n_rows, n_cells)
        Their weights x_i, zero where a row has fewer cells.
    factors, prior : ndarray
        As in `WeightedRows.solve`.
    ridge : ndarray of shape (n_rows,)
        The penalty of each row.
    max_cells : int
        Cells of a row that are read at once.

    Returns
    -------
    A : ndarray of shape (n_rows, n_factors, n_factors)
        prior + ridge I + Σ_i x_i y_i y_iᵀ.
    b : ndarray of shape (n_rows, n_factors)
        Σ_i x_i y_i.
    """
    dtype = prior.dtype
    A = b = 0
    for start in range(0, max(1, weights.shape[1]), max_cells):
        cells = slice(start, start + max_cells)
        roots = np.sqrt(weights[:, cells], dtype=dtype)
        # cast only after `take`, which avoids a float64 copy of all factors
        y = factors.take(indices[:, cells], axis=0).astype(dtype, copy=False)
        y *= roots[..., None]
        product = y.transpose(0, 2, 1) @ y  # numpy calls BLAS's symmetric product for it
        A = product if start == 0 else A + product
        b = b + (roots[:, None] @ y)[:, 0]
    A += prior
    diagonal = np.arange(len(prior))
    A[:, diagonal, diagonal] += ridge[:, None]
    return A, b
