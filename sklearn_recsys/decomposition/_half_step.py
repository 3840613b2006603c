"""A half step of alternating least squares: the vectors of all rows, given those of the columns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from sklearn.utils import gen_batches

from sklearn_recsys.utils._fold_in import length_groups
from sklearn_recsys.utils._threads import controller

_BLOCK_BYTES = {"cpu": 2**22, "cuda": 2**27}  # fits a core's cache; large enough to keep a GPU busy


class WeightedRows:
    """The rows of a matrix of weights, on a device, in groups of similar length.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        Positive weights of the observed cells.
    n_factors : int
        Length of the vectors to solve for.
    device : torch.device
        Where to compute.
    dtype : torch.dtype
        The precision of the computation.
    """

    def __init__(self, X, n_factors, device, dtype):
        self.n_factors, self.device, self.dtype = n_factors, device, dtype
        lengths = np.diff(X.indptr)
        self.lengths = torch.from_numpy(lengths).to(device)
        self.starts = torch.from_numpy(X.indptr[:-1].astype(np.int64)).to(device)
        self.indices = torch.tensor(X.indices, device=device)
        self.roots = torch.tensor(X.data, device=device, dtype=dtype).sqrt_()
        row_values = dtype.itemsize * n_factors
        self.block_bytes = _BLOCK_BYTES.get(device.type, 2**24)
        self.max_width = max(1, self.block_bytes // row_values)  # longer rows are split
        groups = length_groups(
            lengths,
            lambda width: row_values * (min(width, self.max_width) + n_factors),
            self.block_bytes,
        )
        self.groups = [
            (torch.from_numpy(rows).to(device), int(lengths[rows].max())) for rows in groups
        ]

    def weighted_factors(self, rows, positions, factors):
        """Return √x_i y_i and √x_i of some cells of each row, padded with zeros.

        Parameters
        ----------
        rows : Tensor of int64 of shape (n_rows,)
        positions : slice
            Positions of the cells within the rows.
        factors : Tensor of shape (n_columns, n_factors)
            The vectors y_i of the columns.

        Returns
        -------
        weighted : Tensor of shape (n_rows, n_positions, n_factors)
        roots : Tensor of shape (n_rows, n_positions)
        """
        positions = torch.arange(positions.start, positions.stop, device=self.device)
        filled = positions < self.lengths[rows, None]
        cells = torch.where(filled, self.starts[rows, None] + positions, 0)
        roots = torch.where(filled, self.roots[cells], 0)
        # index_select is several times faster than factors[indices]; casting after it avoids a
        # float64 copy of all factors
        weighted = factors.index_select(0, self.indices[cells].ravel()).to(self.dtype)
        return weighted.view(*cells.shape, self.n_factors).mul_(roots[..., None]), roots

    def normal_equations(self, rows, width, factors, prior, ridge):
        """Return A = prior + ridge I + Σ x_i y_i y_iᵀ and b = Σ x_i y_i of each of the rows."""
        A = prior.repeat(len(rows), 1, 1)  # (n_rows, n_factors, n_factors)
        A.diagonal(dim1=1, dim2=2).add_(ridge[rows, None])
        b = A.new_zeros(len(rows), 1, self.n_factors)  # row vectors: torch multiplies them faster
        for positions in gen_batches(width, self.max_width):
            weighted, roots = self.weighted_factors(rows, positions, factors)
            A.baddbmm_(weighted.mT, weighted)
            b.baddbmm_(roots[:, None], weighted)
        return A, b

    def solve(self, factors, prior, ridge):
        """Return the vectors that minimize each row's share of the loss.

        Row u has v_u = argmin Σ_i x_ui (1 − v · y_i)² + vᵀ prior v + ridge_u ‖v‖².

        Parameters
        ----------
        factors : Tensor of shape (n_columns, n_factors)
            The vectors y_i of the columns.
        prior : Tensor of shape (n_factors, n_factors)
            Σ_i y_i y_iᵀ over all columns, times the weight of unobserved cells.
        ridge : Tensor of shape (n_rows,)
            The penalty of each row.

        Returns
        -------
        vectors : Tensor of shape (n_rows, n_factors)
            Zero for rows without a cell.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a system is singular in the given precision.
        """
        vectors = torch.zeros(len(ridge), self.n_factors, dtype=self.dtype, device=self.device)

        def solve(rows, width):
            A, b = self.normal_equations(rows, width, factors, prior, ridge)
            try:
                L = torch.linalg.cholesky(A)
            except torch.linalg.LinAlgError as error:  # the caller must not depend on torch
                raise np.linalg.LinAlgError(str(error)) from None
            vectors[rows] = torch.cholesky_solve(b.mT, L)[..., 0]

        self._for_each_group(solve)
        return vectors

    def improve(self, vectors, factors, prior, ridge, n_steps):
        """Return vectors closer to those of `solve`, by conjugate gradient steps from `vectors`."""
        improved = torch.zeros_like(vectors)

        def improve(rows, width):
            if width <= self.max_width:  # products with the factors are cheaper than building A
                weighted, roots = self.weighted_factors(rows, slice(0, width), factors)
                b = roots[:, None] @ weighted
                penalty = ridge[rows, None, None]

                def times(v):
                    return v @ prior + penalty * v + (v @ weighted.mT) @ weighted
            else:
                A, b = self.normal_equations(rows, width, factors, prior, ridge)
                times = partial(torch.matmul, other=A)
            improved[rows] = _conjugate_gradients(times, b, vectors[rows, None], n_steps)[:, 0]

        self._for_each_group(improve)
        return improved

    def _for_each_group(self, function):
        """Call ``function(rows, width)`` for each group, on a CPU in parallel threads.

        One thread per group is faster than many threads on one small group, especially if other
        processes use the cores.
        """
        if self.device.type != "cpu" or torch.get_num_threads() == 1:
            for rows, width in self.groups:
                function(rows, width)
            return
        n_bytes = self.indices.numel() * self.n_factors * self.dtype.itemsize
        threads = min(torch.get_num_threads(), max(1, n_bytes // self.block_bytes))
        with ThreadPoolExecutor(threads, initializer=_use_one_thread) as pool:
            # the groups with the longest rows first, so that no thread is left with them at the end
            for done in [pool.submit(function, *group) for group in self.groups[::-1]]:
                done.result()  # raises the exceptions of the threads


def _use_one_thread():
    """Limit torch to this one thread; OpenMP stores the limit per thread."""
    torch.get_num_threads()  # initializes torch's own setting, which would later undo the limit
    controller().limit(limits=1, user_api="openmp")


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
