"""Training examples of the models with user embeddings: ratings, sampled negatives, whole rows.

A class turns a matrix into a data set, and defines the loss that new users are folded in by. It has

- ``batches``, the class of iterators over its data sets;
- ``batch_size(n)``, the size of a batch for ``batch_size="auto"``;
- ``dataset(X, device)``, the data set of a matrix;
- ``blocks(X, vector_size)``, slices of the new users that are folded in together;
- ``loss_of_vectors(module, X)``, the loss of new users as a function of their vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import gen_batches

from sklearn_recsys.neural._data.negatives import NegativeSampler, check_negatives_memory
from sklearn_recsys.neural._data.pair_batches import PairBatches, PairDataset
from sklearn_recsys.neural._data.row_batches import RowBatches, RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._history_index import mix, row_hashes

_FOLD_IN_EXAMPLES = 2**16  # of new users that are folded in together
_FOLD_IN_CELLS = 2**22  # scores of new users in memory at once


class _PairExamples:
    """Base of the examples that are pairs of a user and an item."""

    batches = PairBatches

    def batch_size(self, n):
        """Return a hundredth of the interactions, within bounds."""
        return min(max(n // 100, 32), 4096)

    def _blocks(self, X, per_cell):
        cells = X.indptr.astype(np.int64) * per_cell
        start = 0
        while start < X.shape[0]:
            stop = int(np.searchsorted(cells, cells[start] + _FOLD_IN_EXAMPLES, side="right")) - 1
            stop = min(max(stop, start + 1), X.shape[0])
            yield slice(start, stop)
            start = stop

    def loss_of_vectors(self, module, X):
        """Return the loss of rows as a function of their users' vectors."""
        device = module.item_vectors.device
        users, items = (
            torch.from_numpy(index.astype(np.int64)).to(device)
            for index in (cell_rows(X), X.indices)
        )
        users, items, targets = self._fixed_examples(X, users, items)

        def loss(vectors):
            losses, penalties = module.losses(vectors.index_select(0, users), items, targets)
            return (losses + penalties).sum()

        return loss


@dataclass
class RatedCells(_PairExamples):
    """Ratings, on the scale that the module predicts: (rating - offset) / unit."""

    offset: float
    unit: float

    def dataset(self, X, device):
        """Return the data set of ratings."""
        X = X.copy()
        X.data = self._scaled(X.data)
        return PairDataset(X)

    def blocks(self, X, vector_size):
        """Yield slices of rows."""
        yield from self._blocks(X, 1)

    def _scaled(self, ratings):
        return (ratings - np.float32(self.offset)) / np.float32(self.unit)

    def _fixed_examples(self, X, users, items):
        return users, items, torch.from_numpy(self._scaled(X.data)).to(users.device)


@dataclass
class SampledNegatives(_PairExamples):
    """Interactions and, for each, some sampled items that the user has no interaction with.

    An example is an item with its label; if `pairwise`, an interaction with a sampled item; if
    `listwise`, an interaction with all that are sampled for it.
    """

    n_negatives: int
    pairwise: bool = False
    listwise: bool = False

    def dataset(self, X, device):
        """Return the data set of interactions, whose negatives are sampled again in each epoch."""
        sampler = NegativeSampler.from_csr(X, device=device)
        return PairDataset(X, sampler, self.n_negatives, self.pairwise, self.listwise)

    def blocks(self, X, vector_size):
        """Yield slices of rows."""
        n = 1 + self.n_negatives
        longest = int(np.diff(X.indptr).max(initial=0))  # rows are not split
        check_negatives_memory(longest * n, self.n_negatives, 4 * vector_size)
        yield from self._blocks(X, n)

    def _fixed_examples(self, X, users, items):
        """Return examples of interactions, with negatives determined by the rows' content."""
        data = self.dataset(X, users.device)
        shares = torch.from_numpy(_shares(X, self.n_negatives)).to(users.device)
        return data.examples(users, items, data.sampler.quantiles(users, shares))


class WholeRows:
    """Rows with all their items: the expectation of the loss with sampled negatives."""

    batches = RowBatches

    def batch_size(self, n):
        """Return a twelfth of the rows, at most 512, rounded so that batches have equal sizes."""
        n_batches = max(12, -(-n // 512))
        return -(-n // n_batches)  # a small last batch would be a noisy step

    def dataset(self, X, device):
        """Return the data set of the rows that hold an interaction."""
        return RowDataset.of_filled_rows(X)

    def blocks(self, X, vector_size):
        """Yield slices of rows."""
        yield from gen_batches(X.shape[0], max(1, _FOLD_IN_CELLS // X.shape[1]))

    def loss_of_vectors(self, module, X):
        """Return the loss of rows as a function of their users' vectors."""
        rows = SparseRows.from_csr(X, module.item_vectors.device)

        def loss(vectors):
            losses, penalties, _ = module.row_losses(vectors, rows)
            return (losses + penalties).sum()

        return loss


def _shares(X, n):
    """Return `n` pseudo-random numbers in [0, 1) per cell, determined by the row's content."""
    cells = row_hashes(X)[cell_rows(X)] + mix(np.arange(X.nnz) - X.indptr[cell_rows(X)])
    hashes = mix(cells[:, None] + np.arange(n, dtype=np.uint64))
    return (hashes >> np.uint64(11)).astype(np.float64) / 2**53
