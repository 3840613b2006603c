"""CSR to minibatches: whole blocks of rows, as indices and values, never one row at a time.

A batch is dense nowhere. Products with it cost as much as it has interactions: an input layer is a
weighted embedding bag over the items present, and a loss over observed cells asks for the outputs
at these cells only.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import embedding_bag
from torch.utils.data import Dataset

from sklearn_recsys.neural._random import generator
from sklearn_recsys.utils._sparse import as_csr

with warnings.catch_warnings():  # torch says once in a process that its CSR tensors are in beta
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
        The parts of the csr_array: int64, int64 and float32.
    column_indptr, column_rows, column_order : Tensor of int64
        The cells by column: where each column begins, the row of each cell, and its place in
        `values`.
    numbers : Tensor of int64 of shape (n_rows,), default=None
        The data set's `numbers` of the rows that a batch was made of.
    features : Tensor of float32 of shape (n_rows, n_features), default=None
        What is known of the rows beside their cells.

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
    numbers: torch.Tensor | None = None
    features: torch.Tensor | None = None

    @classmethod
    def from_csr(cls, X, device="cpu", features=None):
        """Send a csr_array to a device.

        Parameters
        ----------
        X : csr_array of shape (n_rows, n_columns)
            The rows.
        device : str or torch.device, default="cpu"
            Where they go.
        features : ndarray of float32 of shape (n_rows, n_features), default=None
            What is known of the rows beside their cells.

        Returns
        -------
        rows : SparseRows
        """
        X = as_csr(X)
        order = sp.csr_array((np.arange(X.nnz), X.indices, X.indptr), shape=X.shape).tocsc()
        parts = (X.indptr, X.indices, order.indptr, order.indices, order.data)
        indptr, indices, *by_column = (
            torch.from_numpy(part.astype(np.int64)).to(device) for part in parts
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
        """
        return replace(self, values=values)

    def normalized(self):
        """Return the rows scaled to a Euclidean norm of one; empty rows stay empty.

        Returns
        -------
        rows : SparseRows
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
        """
        return _SparseMatmul.apply(self, weight)

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
        return _SampledMatmul.apply(self, left, right)


def _bag(indices, weight, indptr, values):
    return embedding_bag(
        indices, weight, indptr, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def _times(rows, values, dense):
    """Return the product of `rows`, holding `values`, with a dense (n_columns, ...)."""
    return _bag(rows.indices, dense, rows.indptr, values)


def _transposed_times(rows, values, dense):
    """Return the product of the transposed `rows`, holding `values`, with a dense (n_rows, ...)."""
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


class RowDataset(Dataset):
    """Rows of a csr_array, with the cells that the loss looks at.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        The input.
    targets : csr_array of shape (n_rows, n_columns), default=None
        What is to be predicted; None: `X`.

    Attributes
    ----------
    numbers : ndarray of int64 of shape (n_rows,)
        The row of the training matrix that each row is: 0, 1, …, unless something else is assigned.
    features : ndarray of float32 of shape (n_rows, n_features) or None
        What is known of the rows beside their cells: None, unless something is assigned.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.neural import RowDataset
    >>> len(RowDataset(csr_array([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])))
    3
    """

    def __init__(self, X, targets=None):
        self.X = _checked_rows(X, "X")
        self.targets = None if targets is None else _checked_rows(targets, "targets")
        self.numbers = np.arange(X.shape[0])
        self.features = None

    @classmethod
    def of_filled_rows(cls, X):
        """Return the data set of the rows that hold a cell; no loss learns from an empty one.

        Parameters
        ----------
        X : csr_array of shape (n_rows, n_columns)
            Input and targets.

        Returns
        -------
        dataset : RowDataset
            Its `numbers` are rows of `X`.
        """
        filled = np.flatnonzero(np.diff(X.indptr))
        if len(filled) == X.shape[0]:
            return cls(X)
        dataset = cls(X[filled])
        dataset.numbers = filled
        return dataset

    def __len__(self):
        return self.X.shape[0]


def _checked_rows(X, name):
    """Return a sparse matrix in CSR form, with its explicit zeros: values may be centered."""
    if not sp.issparse(X):
        raise TypeError(f"{name} must be a csr_array; got {type(X).__name__}.")
    X = as_csr(X, name)
    if not np.isfinite(X.data).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    return X


class RowBatches:
    """Iterate over a :class:`RowDataset` in whole batches, in the form that skorch takes.

    Parameters
    ----------
    dataset : RowDataset
        The rows.
    batch_size : int
        Rows per batch.
    device : str or torch.device, default="cpu"
        Where the batches go.
    shuffle : bool, default=False
        Whether every pass has an order of its own, drawn at random.
    """

    def __init__(self, dataset, batch_size, device="cpu", shuffle=False):
        self.dataset = dataset
        self.batch_size = batch_size
        self.device = device
        self.shuffle = shuffle

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        X, targets, features = self.dataset.X, self.dataset.targets, self.dataset.features
        for rows in self._batch_rows():
            known = None if features is None else features[rows]
            inputs = SparseRows.from_csr(X[rows], self.device, known)
            inputs.numbers = torch.from_numpy(self.dataset.numbers[rows]).to(self.device)
            outputs = inputs if targets is None else SparseRows.from_csr(targets[rows], self.device)
            yield inputs, outputs

    def _batch_rows(self):
        """Yield the rows of each batch, as a slice or an array."""
        n_rows = len(self.dataset)
        whole = not self.shuffle or self.batch_size >= n_rows
        order = (
            np.arange(n_rows) if whole else torch.randperm(n_rows, generator=generator()).numpy()
        )
        for start in range(0, n_rows, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield rows if whole else order[rows]


class HistoryBatches(RowBatches):
    """Iterate over rows of similar lengths in each batch, as what is padded to a rectangle needs.

    Rows are ordered by length, and batches are cut from this order. If they are shuffled, every
    pass varies the lengths by up to a tenth before ordering by them, and draws the order of the
    batches.
    """

    def _batch_rows(self):
        lengths = torch.from_numpy(np.diff(self.dataset.X.indptr))
        if self.shuffle:
            lengths = lengths * (1 + 0.1 * torch.rand(len(lengths), generator=generator()))
        order = lengths.argsort(stable=True).numpy()
        batches = range(len(self))
        if self.shuffle:
            batches = torch.randperm(len(self), generator=generator()).tolist()
        for batch in batches:
            yield order[batch * self.batch_size :][: self.batch_size]
