"""Minibatches of CSR rows: sliced as blocks, never one row at a time."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch.utils.data import Dataset

from sklearn_recsys.neural._data.random import generator
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.utils._on_disk import cell_slices, some_rows
from sklearn_recsys.utils._sparse import as_csr


class RowDataset(Dataset):
    """Rows of a csr_array, with the target cells of the loss.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        The input.
    targets : csr_array of shape (n_rows, n_columns), default=None
        The cells to predict; None: `X`.

    Attributes
    ----------
    training_rows : ndarray of int64 of shape (n_rows,)
        The row of the training matrix for each row: 0, 1, …, unless other ones are assigned.
    features : ndarray of float32 of shape (n_rows, n_features) or None
        Features of the rows: None, unless assigned.

    See Also
    --------
    SparseRows : The minibatches that it becomes.
    NeuralRecommender : Makes data sets of the training and the held-out rows.

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
        self.training_rows = np.arange(X.shape[0])
        self.features = None

    @classmethod
    def of_filled_rows(cls, X):
        """Return the data set of the non-empty rows; a loss learns nothing from empty ones.

        Parameters
        ----------
        X : csr_array of shape (n_rows, n_columns)
            Input and targets.

        Returns
        -------
        dataset : RowDataset
            Its `training_rows` are rows of `X`.
        """
        filled = np.flatnonzero(np.diff(X.indptr))
        if len(filled) == X.shape[0]:
            return cls(X)
        dataset = cls(some_rows(X, filled))
        dataset.training_rows = filled
        return dataset

    def __len__(self):
        return self.X.shape[0]


def _checked_rows(X, name):
    """Return a matrix in CSR form, keeping explicit zeros, because values may be centered."""
    if not sp.issparse(X):
        raise TypeError(f"{name} must be a csr_array; got {type(X).__name__}.")
    X = as_csr(X, name)
    if not all(np.isfinite(X.data[part]).all() for part in cell_slices(X.nnz)):
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
        Whether each pass has a new random order.
    """

    process, n_processes = 0, 1  # each process gets its share of every batch

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
            if self.n_processes > 1:
                rows = np.arange(len(self.dataset))[rows] if isinstance(rows, slice) else rows
                rows = rows[self.share_of(len(rows))]
            row_features = None if features is None else features[rows]
            inputs = SparseRows.from_csr(X[rows], self.device, row_features)
            training_rows = torch.from_numpy(self.dataset.training_rows[rows])
            inputs.training_rows = training_rows.to(self.device)
            outputs = inputs if targets is None else SparseRows.from_csr(targets[rows], self.device)
            yield inputs, outputs

    def share_of(self, n):
        """Return the slice of a batch of n examples that this process trains on."""
        return slice(*(n * i // self.n_processes for i in (self.process, self.process + 1)))

    def _batch_rows(self):
        """Yield the rows of each batch, as a slice or an array."""
        n_rows = len(self.dataset)
        in_order = not self.shuffle or self.batch_size >= n_rows
        order = (
            np.arange(n_rows) if in_order else torch.randperm(n_rows, generator=generator()).numpy()
        )
        for start in range(0, n_rows, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield rows if in_order else order[rows]


class HistoryBatches(RowBatches):
    """Iterate over batches of rows with similar lengths, so that little padding is needed.

    Rows are sorted by length, and consecutive rows form batches. If shuffled, every pass perturbs
    the lengths by up to a tenth before sorting, and shuffles the batches.
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
