"""Half steps of alternating least squares on a GPU, by torch."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from sklearn.utils import gen_batches

from sklearn_recsys.utils._fold_in import length_groups

_BLOCK_BYTES = 2**27  # large enough to keep a GPU busy


class TorchRows:
    """The rows of a matrix of weights, on a device, in groups of similar length.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        Positive weights of the observed cells.
    n_factors : int
        Length of the vectors to solve for.
    device : torch.device
        Where to compute.
    block_bytes : int, default=2**27
        Memory of the float32 vectors and systems of a group.

    Attributes
    ----------
    lengths : ndarray of int of shape (n_rows,)
        Number of observed cells of each row.
    """

    def __init__(self, X, n_factors, device, block_bytes=_BLOCK_BYTES):
        self.n_factors, self.device = n_factors, device
        self.solves_in_float64 = device.type != "mps"
        self.lengths = np.diff(X.indptr)
        self.n_cells = self.array(self.lengths)
        self.starts = self.array(X.indptr[:-1].astype(np.int64))
        self.indices = self.array(X.indices)
        self.weights = self.array(X.data)
        self.max_width = max(1, block_bytes // (4 * n_factors))  # longer rows are split
        groups = length_groups(
            self.lengths,
            lambda width: 4 * n_factors * (min(width, self.max_width) + n_factors),
            block_bytes,
        )
        self.groups = [(self.array(rows), int(self.lengths[rows].max())) for rows in groups]

    def array(self, array, dtype=None):
        """Return a copy of an array on the device."""
        return torch.tensor(array, dtype=dtype, device=self.device)

    def numpy(self, tensor):
        """Return the result of a method as an ndarray."""
        return tensor.cpu().numpy()

    @staticmethod
    def gram(factors):
        """Return Σ_i y_i y_iᵀ over all columns."""
        return factors.T @ factors

    def weighted_factors(self, rows, positions, factors, dtype):
        """Return √x_i y_i and √x_i of some cells of each row, padded with zeros.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n_rows,)
        positions : slice
            Positions of the cells within the rows.
        factors : Tensor of shape (n_columns, n_factors)
            The vectors y_i of the columns.
        dtype : torch.dtype

        Returns
        -------
        weighted : Tensor of shape (n_rows, n_positions, n_factors)
        roots : Tensor of shape (n_rows, n_positions)
        """
        positions = torch.arange(positions.start, positions.stop, device=self.device)
        filled = positions < self.n_cells[rows, None]
        cells = torch.where(filled, self.starts[rows, None] + positions, 0)
        roots = torch.where(filled, self.weights[cells], 0).to(dtype).sqrt_()
        # index_select is several times faster than factors[indices]; casting after it avoids a
        # float64 copy of all factors
        weighted = factors.index_select(0, self.indices[cells].ravel()).to(dtype)
        return weighted.view(*cells.shape, self.n_factors).mul_(roots[..., None]), roots

    def normal_equations(self, rows, width, factors, prior, ridge):
        """Return A = prior + ridge I + Σ x_i y_i y_iᵀ and b = Σ x_i y_i of each of the rows."""
        A = prior.repeat(len(rows), 1, 1)  # (n_rows, n_factors, n_factors)
        A.diagonal(dim1=1, dim2=2).add_(ridge[rows, None])
        b = A.new_zeros(len(rows), 1, self.n_factors)  # row vectors: torch multiplies them faster
        for positions in gen_batches(width, self.max_width):
            weighted, roots = self.weighted_factors(rows, positions, factors, prior.dtype)
            A.baddbmm_(weighted.mT, weighted)
            b.baddbmm_(roots[:, None], weighted)
        return A, b

    def solve(self, factors, prior, ridge):
        """Return what `WeightedRows.solve` does, of tensors; only `ridge` is an array."""
        vectors = prior.new_zeros(len(ridge), self.n_factors)
        ridge = self.array(ridge, prior.dtype)
        for rows, width in self.groups:
            A, b = self.normal_equations(rows, width, factors, prior, ridge)
            try:
                L = torch.linalg.cholesky(A)
            except torch.linalg.LinAlgError as error:  # the caller must not depend on torch
                raise np.linalg.LinAlgError(str(error)) from None
            vectors[rows] = torch.cholesky_solve(b.mT, L)[..., 0]
        return vectors

    def improve(self, vectors, factors, prior, ridge, n_steps):
        """Return what `SparseRows.improve` does; only `ridge` is an array."""
        improved = torch.zeros_like(vectors)
        ridge = self.array(ridge, prior.dtype)
        for rows, width in self.groups:
            if width <= self.max_width:  # products with the factors are cheaper than building A
                cells = slice(0, width)
                weighted, roots = self.weighted_factors(rows, cells, factors, prior.dtype)
                b = roots[:, None] @ weighted
                times = partial(_times, weighted, prior, ridge[rows, None, None])
            else:
                A, b = self.normal_equations(rows, width, factors, prior, ridge)
                times = partial(torch.matmul, other=A)
            improved[rows] = _conjugate_gradients(times, b, vectors[rows, None], n_steps)[:, 0]
        return improved


def _times(weighted, prior, penalty, v):
    """Return v A of each row."""
    return v @ prior + penalty * v + (v @ weighted.mT) @ weighted


def _conjugate_gradients(times, b, v, n_steps):
    """Take steps toward v A = b for a batch of symmetric systems; ``times(v)`` is v A."""
    tiny = torch.finfo(b.dtype).tiny  # avoids 0 / 0 for systems that are already solved
    residual = b - times(v)  # (n_rows, 1, n_factors)
    direction = residual
    squares = (residual * residual).sum(-1, keepdim=True)
    for _ in range(n_steps):
        product = times(direction)
        step = squares / (direction * product).sum(-1, keepdim=True).clamp_min(tiny)
        v = v + step * direction
        residual = residual - step * product
        previous, squares = squares, (residual * residual).sum(-1, keepdim=True)
        direction = residual + squares / previous.clamp_min(tiny) * direction
    return v
