"""Rows of a CSR matrix on a device, as indices and values, and products with them.

A batch is never dense. The cost of a product is linear in its interactions: an input layer is a
weighted embedding bag over the items present, and a loss over observed cells computes the outputs
at these cells only.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import embedding_bag

from sklearn_recsys.utils._sparse import as_csr

with warnings.catch_warnings():  # torch warns once per process that its CSR tensors are in beta
    warnings.simplefilter("ignore", UserWarning)
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)


@dataclass
class SparseRows:
    """Rows of a csr_array as tensors, and the same cells ordered by column.

    Parameters
    ----------
    shape : tuple of int
        ``(n_rows, n_columns)``.
    indptr, indices, values : Tensor
        The arrays of the csr_array: int64, int64 and float32.
    column_indptr, column_rows, column_order : Tensor of int64
        The cells by column: where each column begins, the row of each cell, and its position in
        `values`.
    training_rows : Tensor of int64 of shape (n_rows,), default=None
        The row of the training matrix for each row.
    features : Tensor of float32 of shape (n_rows, n_features), default=None
        Features of the rows.

    See Also
    --------
    RankingModule : The base of modules that read such rows.
    RowDataset : The rows that minibatches are taken from.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.neural import SparseRows
    >>> rows = SparseRows.from_csr(csr_array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    >>> rows.matmul(torch.ones(3, 1)).tolist()
    [[3.0], [3.0]]
    >>> rows.sample(torch.tensor([[1.0], [10.0]]), torch.tensor([[1.0], [2.0], [3.0]])).tolist()
    [1.0, 3.0, 20.0]
    """

    shape: tuple[int, int]
    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    column_indptr: torch.Tensor
    column_rows: torch.Tensor
    column_order: torch.Tensor
    training_rows: torch.Tensor | None = None
    features: torch.Tensor | None = None

    @classmethod
    def from_csr(cls, X, device="cpu", features=None):
        """Send a csr_array to a device.

        Parameters
        ----------
        X : csr_array of shape (n_rows, n_columns)
            The rows.
        device : str or torch.device, default="cpu"
            Where to store them.
        features : ndarray of float32 of shape (n_rows, n_features), default=None
            Features of the rows.

        Returns
        -------
        rows : SparseRows
            The rows on the device.
        """
        X = as_csr(X)
        order = sp.csr_array((np.arange(X.nnz), X.indices, X.indptr), shape=X.shape).tocsc()
        arrays = (X.indptr, X.indices, order.indptr, order.indices, order.data)
        indptr, indices, *by_column = (
            torch.from_numpy(array.astype(np.int64)).to(device) for array in arrays
        )
        values = torch.from_numpy(X.data.astype(np.float32)).to(device)
        rows = cls(X.shape, indptr, indices, values, *by_column)
        if features is not None:
            rows.features = torch.from_numpy(features).to(device)
        return rows

    def __len__(self):
        return self.shape[0]

    @property
    def rows(self):
        """The row of each stored cell."""
        lengths = self.indptr.diff()
        return torch.arange(len(self), device=lengths.device).repeat_interleave(
            lengths, output_size=len(self.indices)
        )

    def with_values(self, values):
        """Return the same cells with other values.

        Parameters
        ----------
        values : Tensor of shape (n_cells,)
            In the order of the stored cells.

        Returns
        -------
        rows : SparseRows
            With the same indices, which are not copied.
        """
        return replace(self, values=values)

    def normalized(self):
        """Return the rows scaled to a Euclidean norm of one; empty rows stay empty.

        Returns
        -------
        rows : SparseRows
            With scaled values.
        """
        rows = self.rows
        squares = self.values.new_zeros(len(self)).index_add_(0, rows, self.values.square())
        return self.with_values(self.values * squares.rsqrt()[rows])

    def matmul(self, weight):
        """Return the product with a dense matrix, differentiable in it.

        Parameters
        ----------
        weight : Tensor of shape (n_columns, n_outputs)
            The matrix.

        Returns
        -------
        product : Tensor of shape (n_rows, n_outputs)
            Dense, on the device of the rows.
        """
        return _SparseMatmul.apply(self, weight.to(self.values.dtype))

    def sample(self, left, right):
        """Return ``(left @ right.T)`` at the stored cells only, differentiable in both.

        Parameters
        ----------
        left : Tensor of shape (n_rows, n_factors)
            One vector per row.
        right : Tensor of shape (n_columns, n_factors)
            One vector per column.

        Returns
        -------
        values : Tensor of shape (n_cells,)
            In the order of the stored cells.
        """
        dtype = self.values.dtype
        return _SampledMatmul.apply(self, left.to(dtype), right.to(dtype))


def newest_items(rows, max_length):
    """Return the newest items of histories in their order, padded at the end.

    Parameters
    ----------
    rows : SparseRows of shape (n_rows, n_items)
        Their values are 1, 2, … in the order of the interactions.
    max_length : int
        Maximum number of items of a history.

    Returns
    -------
    items : Tensor of int64 of shape (longest, n_rows)
        At most the newest `max_length` of each row, then −1.
    lengths : Tensor of int64 of shape (n_rows,)
        Number of items of each row.
    """
    lengths = rows.indptr.diff()
    skipped = (lengths - max_length).clamp(min=0)
    lengths = lengths - skipped
    row = rows.rows
    step = rows.values.long() - 1 - skipped[row]
    newest = step >= 0
    items = rows.indices.new_full((int(lengths.max()), len(rows)), -1)
    items[step[newest], row[newest]] = rows.indices[newest]
    return items, lengths


def _bag(indices, weight, indptr, values):
    return embedding_bag(
        indices, weight, indptr, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def _times(rows, values, dense):
    """Return the product of `rows`, with other `values`, and a dense (n_columns, ...) array."""
    return _bag(rows.indices, dense, rows.indptr, values)


def _transposed_times(rows, values, dense):
    """Return the product of `rows` transposed, with other `values`, and a (n_rows, ...) array."""
    return _bag(rows.column_rows, dense, rows.column_indptr, values[rows.column_order])


class _SparseMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, weight):
        ctx.rows = rows
        return _times(rows, rows.values, weight)

    @staticmethod
    def backward(ctx, grad):
        return None, _transposed_times(ctx.rows, ctx.rows.values, grad.contiguous())


class _SampledMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, left, right):
        ctx.rows = rows
        ctx.save_for_backward(left, right)
        pattern = torch.sparse_csr_tensor(
            rows.indptr,
            rows.indices,
            torch.zeros_like(rows.values),
            rows.shape,
            check_invariants=False,
        )
        return torch.sparse.sampled_addmm(pattern, left, right.T, beta=0).values()

    @staticmethod
    def backward(ctx, grad):
        left, right = ctx.saved_tensors
        grad = grad.contiguous()
        return (
            None,
            _times(ctx.rows, grad, right),
            _transposed_times(ctx.rows, grad, left.contiguous()),
        )
