"""The base of the models that read a user's whole row and rank every item."""

from __future__ import annotations

from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._base.validation import hold_out_users
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows


class InductiveRanker(NeuralRecommender):
    """Base of the autoencoders on implicit interactions: a new user is a forward pass.

    For early stopping a share of the *users* is left out of training; 20 % of their interactions
    are held out, and NDCG@100 on these is what training is stopped by (`valid_ndcg` in the training
    curve). Where that leaves fewer than 20 users, all rows are trained on, for `max_epochs`. A
    model writes ``_make_module(X)``, which returns a `RankingModule`.
    """

    @property
    def _metric(self):
        return "valid_ndcg"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "binary"
        return tags

    def _split(self, X, rng):
        """Return data sets of the users to train on, and of those to stop by."""
        if not self.early_stopping:
            return RowDataset(X), None
        latest = self._values == "order"
        return hold_out_users(X, self.validation_fraction, rng, latest=latest)

    def _make_datasets(self, train, valid):
        return train, valid

    def _score_items(self, X):
        return self._evaluated(self.net_.module_, self._sparse_rows(X))

    def _sparse_rows(self, X):
        """Return histories in the form that the module reads."""
        return SparseRows.from_csr(X, self.net_.device)
