"""Batches of histories, and items that all of their users are contrasted with."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_recsys.neural._data.random import generator
from sklearn_recsys.neural._data.row_batches import RowBatches, RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows


class ContrastDataset(RowDataset):
    """Histories, with the number of negatives that a batch of them shares."""

    n_negatives = 1


class ContrastBatches(RowBatches):
    """Iterate over batches of histories, as the arguments of a loss by contrast.

    The columns of a batch are its items and negatives alone, so that the cost of an update does not
    depend on the number of items.
    """

    def __iter__(self):
        X, n_negatives = self.dataset.X, self.dataset.n_negatives
        n_items = X.shape[1]
        for batch in self._batch_rows():
            rows = X[batch]
            sampled = torch.randperm(n_items, generator=generator())[:n_negatives].numpy()
            items, columns = np.unique(np.concatenate([rows.indices, sampled]), return_inverse=True)
            rows.indices, negatives = np.split(columns, [rows.nnz])
            rows.resize(rows.shape[0], len(items))
            batch_rows = SparseRows.from_csr(rows, self.device)
            training_rows = torch.from_numpy(self.dataset.training_rows[batch])
            batch_rows.training_rows = training_rows.to(self.device)
            yield (
                batch_rows,
                *(torch.from_numpy(i.astype(np.int64)).to(self.device) for i in (items, negatives)),
            )
