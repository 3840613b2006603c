"""Minibatches of user-item pairs, with negatives sampled again in every epoch."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch.utils.data import Dataset

from sklearn_recsys.neural._data.negatives import check_negatives_memory
from sklearn_recsys.neural._data.random import generator
from sklearn_recsys.neural._data.row_batches import RowBatches
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.utils._cells import cell_rows

_BATCHES_OF_USERS = 128  # that the cells of a group of users are split into, at most


class PairDataset(Dataset):
    """The stored cells of a csr_array.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The interactions.
    sampler : NegativeSampler, default=None
        Samples the negatives; None: no negatives, and the values of the cells are the targets.
    n_negatives : int, default=0
        Negatives for each interaction.
    pairwise : bool, default=False
        Whether an example is an interaction with a negative, rather than one item with a label.
    listwise : bool, default=False
        Whether an example is an interaction with all of its negatives.

    Attributes
    ----------
    histories : csr_array of shape (n_users, n_items) or None
        The rows that `HistoryPairBatches` takes the users' histories from: None, unless assigned.
    """

    def __init__(self, X, sampler=None, n_negatives=0, pairwise=False, listwise=False):
        check_negatives_memory(n_negatives, n_negatives)
        self.X = X
        self.sampler = sampler
        self.n_negatives = n_negatives
        self.pairwise = pairwise
        self.listwise = listwise
        self.histories = None

    @property
    def n_examples(self):
        """The number of examples, unless users without a free item have none of some."""
        if self.sampler is None or self.listwise:
            return len(self)
        return len(self) * (self.n_negatives + (not self.pairwise))

    def __len__(self):
        return self.X.nnz

    def examples(self, users, items, negatives):
        """Return users, items and targets of the examples that interactions make.

        The target is the negative item of a pairwise example, the row of negatives of a listwise
        one, and the label of others.
        """
        n = negatives.shape[1]
        if self.listwise:
            examples = users, items, negatives
            valid = negatives[:, 0] >= 0
        elif self.pairwise:
            examples = users.repeat_interleave(n), items.repeat_interleave(n), negatives.flatten()
            valid = examples[2] >= 0
        else:
            labels = torch.zeros(len(users) * (1 + n), device=users.device)
            labels[: len(users)] = 1
            all_items = torch.cat([items, negatives.flatten()])
            examples = torch.cat([users, users.repeat_interleave(n)]), all_items, labels
            valid = all_items >= 0
        if valid.all():
            return examples
        # a user without a free item has no negative
        return tuple(values[valid] for values in examples)


class ChunkBatches(RowBatches):
    """Base of the iterators over a data set in chunks.

    Parameters
    ----------
    dataset, batch_size, device, shuffle
        See `RowBatches`.
    chunk_size : int, default=2**16
        Interactions whose negatives are sampled, or candidates that are ranked, at once.
    """

    def __init__(self, dataset, batch_size, device="cpu", shuffle=False, *, chunk_size=2**16):
        super().__init__(dataset, batch_size, device, shuffle)
        self.chunk_size = chunk_size


class PairBatches(ChunkBatches):
    """Iterate over the examples of a :class:`PairDataset` in batches, on the device.

    `batch_size` counts examples.
    """

    cells = None  # first and last cell of a process, which of others' ratings reads nothing

    def __len__(self):
        return -(-self.dataset.n_examples // self.batch_size)

    def __iter__(self):
        X, sampler = self.dataset.X, self.dataset.sampler
        device = self.device if sampler is None else sampler.device
        users, items = (
            torch.from_numpy(index.astype(np.int64)).to(device)
            for index in (cell_rows(X), X.indices)
        )
        n_cells = len(self.dataset)
        order = self._order(n_cells).to(device)
        if sampler is None:
            values = torch.from_numpy(X.data).to(device)
            for cells in order.split(self.batch_size):
                if self.cells is not None:
                    cells = cells[(cells >= self.cells[0]) & (cells < self.cells[1])]
                # several times as fast as indexing
                yield tuple(x.index_select(0, cells) for x in (users, items, values))
            return
        # each chunk holds whole batches, except for the last one
        size = self.batch_size * max(1, self.chunk_size // self.batch_size)
        for cells in order.split(size):
            negatives = sampler.sample(users[cells], self.dataset.n_negatives)
            examples = self.dataset.examples(users[cells], items[cells], negatives)
            n_examples = len(examples[0])
            for batch in self._order(n_examples).to(device).split(self.batch_size):
                if not len(batch):  # no user of these interactions has a free item
                    continue
                yield tuple(values.index_select(0, batch).to(self.device) for values in examples)

    def _order(self, n):
        return torch.randperm(n, generator=generator()) if self.shuffle else torch.arange(n)


class HistoryPairBatches(PairBatches):
    """Iterate over rated cells in batches, with the histories of their users.

    The cells of some users at a time, `chunk_size` or a little less, are shuffled and split into
    batches. So the histories of a batch are those of these users alone, and an epoch over them
    takes a multiple of the interactions.

    It yields users, items, values, the row of each example in the histories, and the histories as
    :class:`SparseRows`.
    """

    def __iter__(self):
        X, histories = self.dataset.X, self.dataset.histories
        n_batches = min(self.chunk_size // self.batch_size, _BATCHES_OF_USERS)
        size = self.batch_size * max(1, n_batches)
        order = self._order(X.shape[0]).numpy()
        X = X[order]  # the cells of a chunk are those of consecutive rows
        rows = cell_rows(X)
        for start in range(0, X.nnz, size):
            cells = slice(start, start + size)
            first, last = rows[cells][[0, -1]]
            users = order[first : last + 1]
            members = SparseRows.from_csr(histories[users], self.device)
            positions = rows[cells] - first
            examples = tuple(
                torch.from_numpy(values).to(self.device)
                for values in (
                    users[positions],
                    X.indices[cells].astype(np.int64),
                    X.data[cells],
                    positions,
                )
            )
            for batch in self._order(len(positions)).to(self.device).split(self.batch_size):
                yield *(values[batch] for values in examples), members


class CandidateDataset(Dataset):
    """Items to rank for some users, the held-out one first.

    Parameters
    ----------
    users : ndarray of int64 of shape (n_rows,)
        Training rows.
    candidates : ndarray of int64 of shape (n_rows, n_candidates)
        Item indices.
    """

    def __init__(self, users, candidates):
        self.users = users
        self.candidates = candidates

    def __len__(self):
        return len(self.users)


class CandidateBatches(ChunkBatches):
    """Iterate over a :class:`CandidateDataset` in chunks, whatever the `batch_size`."""

    def _n_users(self):
        return max(1, self.chunk_size // self.dataset.candidates.shape[1])

    def __len__(self):
        return -(-len(self.dataset) // self._n_users())

    def __iter__(self):
        for rows in gen_batches(len(self.dataset), self._n_users()):
            yield tuple(
                torch.from_numpy(values[rows]).to(self.device)
                for values in (self.dataset.users, self.dataset.candidates)
            )
