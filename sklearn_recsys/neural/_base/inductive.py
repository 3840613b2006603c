"""The base of the models that read a user's whole row and rank every item."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.utils._content_split import hold_out_by_content

_FEWEST_USERS = 20  # fewer held-out users tell too little to stop by


class InductiveRanker(NeuralRecommender):
    """Base of the autoencoders on implicit interactions: a new user is a forward pass.

    For early stopping a share of the *users* is left out of training; 20 % of their interactions
    are held out, and NDCG@100 on these is what training is stopped by (`valid_ndcg` in the training
    curve). Where that leaves fewer than 20 users, all rows are trained on, for `max_epochs`. A
    model writes ``_make_module(X)``, which returns a `RankingModule`.
    """

    _metric = "valid_ndcg"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "binary"
        return tags

    def _make_datasets(self, X, rng):
        if not self.early_stopping:
            return RowDataset(X), None
        able = rng.permutation(np.flatnonzero(np.diff(X.indptr) > 1))
        valid = np.sort(able[: round(self.validation_fraction * X.shape[0])])
        rest = np.setdiff1d(np.arange(X.shape[0]), valid)
        if len(valid) < _FEWEST_USERS or not X[rest].nnz:
            return RowDataset(X), None
        train = RowDataset(X[rest])
        train.numbers = rest
        held_out = RowDataset(*hold_out_by_content(X[valid], latest=self._values == "order"))
        held_out.numbers = valid
        return train, held_out

    def _score_items(self, X):
        return self._evaluated(self.net_.module_, self._sparse_rows(X))

    def _sparse_rows(self, X):
        """Return histories in the form that the module reads."""
        return SparseRows.from_csr(X, self.net_.device)
