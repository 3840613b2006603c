"""Conjugate gradient steps for all rows at once on the CPU, by torch's sparse products."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import torch
from torch.nn.functional import embedding_bag

with warnings.catch_warnings():  # torch warns once per process that its CSR tensors are in beta
    warnings.filterwarnings("ignore", "Sparse CSR tensor support")
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)


class SparseRows:
    """The rows of a matrix of weights, for conjugate gradient steps.

    A step needs the products of each row's vector with the vectors of its columns, at the stored
    cells only, and a weighted sum of these: two products of a sparse matrix, which torch computes
    in threads, without padding and without copies of the vectors.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        Positive weights of the observed cells.

    Attributes
    ----------
    lengths : ndarray of int of shape (n_rows,)
        Number of observed cells of each row.
    """

    solves_in_float64 = False

    def __init__(self, X):
        self.lengths = np.diff(X.indptr)
        # copies, because torch warns about arrays that it may not write to
        self.indptr, self.indices, self.weights = map(torch.tensor, (X.indptr, X.indices, X.data))
        self.pattern = torch.sparse_csr_tensor(
            self.indptr, self.indices, self.weights, X.shape, check_invariants=False
        )
        self.cells = self.pattern.clone()  # memory of a result, as allocating it takes time

    @staticmethod
    def array(array):
        """Return an array as `improve` takes it: a copy, aligned as torch aligns its results."""
        return torch.tensor(array)

    @staticmethod
    def numpy(tensor):
        """Return what `improve` returns as an ndarray."""
        return tensor.numpy()

    @staticmethod
    def gram(factors):
        """Return Σ_i y_i y_iᵀ over all columns."""
        return factors.T @ factors

    def improve(self, vectors, factors, prior, ridge, n_steps):
        """Return vectors closer to those of `WeightedRows.solve`, by steps from `vectors`.

        Parameters
        ----------
        vectors : Tensor of float32 of shape (n_rows, n_factors)
        factors, prior : Tensor of float32
            As in `WeightedRows.solve`.
        ridge : ndarray of shape (n_rows,)
        n_steps : int

        Returns
        -------
        vectors : Tensor of float32 of shape (n_rows, n_factors)
            Zero for rows without a cell.
        """
        penalty = torch.from_numpy(ridge.astype(np.float32))[:, None]
        times = partial(self._times, factors=factors, prior=prior, penalty=penalty)
        # b − v A = Σ x_i (1 − v · y_i) y_i − v (prior + penalty)
        residual = -times(vectors, constant=1)
        vectors = _conjugate_gradients(times, residual, vectors, n_steps)
        return vectors.mul_(torch.from_numpy(self.lengths > 0)[:, None])

    def _times(self, v, factors, prior, penalty, constant=0):
        """Return v A − constant · b of each row, where A and b are its normal equations."""
        torch.sparse.sampled_addmm(self.pattern, v, factors.T, beta=0.0, out=self.cells)
        cells = self.cells.values()
        if constant:
            cells -= constant
        cells *= self.weights
        product = torch.addcmul(v @ prior, v, penalty)
        product += embedding_bag(
            self.indices,
            factors,
            self.indptr,
            mode="sum",
            per_sample_weights=cells,
            include_last_offset=True,
        )
        return product


def _conjugate_gradients(times, residual, v, n_steps):
    """Take steps from v toward the solutions of symmetric systems; ``times(v)`` is v A."""
    tiny = torch.finfo(v.dtype).tiny  # avoids 0 / 0 for systems that are already solved
    direction = residual
    squares = _row_products(residual, residual)
    for step in range(n_steps):
        product = times(direction)
        length = squares / _row_products(direction, product).clamp_min_(tiny)
        v = torch.addcmul(v, length, direction)
        if step < n_steps - 1:
            residual = torch.addcmul(residual, length, product, value=-1)
            previous, squares = squares, _row_products(residual, residual)
            direction = torch.addcmul(residual, squares / previous.clamp_min_(tiny), direction)
    return v


def _row_products(a, b):
    """Return the dot product of each row of two matrices, as a column."""
    return torch.linalg.vecdot(a, b)[:, None]
