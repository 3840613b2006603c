"""Users with a history, which places them, and an embedding of their own in addition."""

from __future__ import annotations

import torch
from torch import nn

from sklearn_recsys.base import FactorsMixin
from sklearn_recsys.neural._base.validation import hold_out_one_each


class OwnEmbeddingsMixin(FactorsMixin):
    """Mixin for models whose training users have an embedding in addition to their history.

    The embedding of any other user is zero, so new users need no training. The module has
    `user_embeddings`; ``_fold_in(X)`` returns the vectors of histories, and ``_finish`` sets
    `user_factors_`, those of the training users, and `item_factors_`. The mixin must precede
    `NeuralRecommender` among the bases.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "binary"
        return tags

    @property
    def _metric(self):
        return "valid_ndcg"

    def _prepare(self, X, resume):
        """Give the rows of `partial_fit` their embeddings, and others zero."""
        if not resume:
            return
        trained = self.net_.module_.user_embeddings.detach()
        rows = torch.from_numpy(self._training_rows(X)).to(trained.device)
        is_trained = rows >= 0
        embeddings = trained.new_zeros(X.shape[0], trained.shape[1])
        embeddings[is_trained] = trained[rows[is_trained]]
        self.net_.module_.user_embeddings = nn.Parameter(embeddings)
        self.net_.initialize_optimizer()  # its moments belong to the former rows

    def _split(self, X, rng):
        if not self.early_stopping:
            return X, None
        return hold_out_one_each(X, self.validation_fraction, rng)

    def _decay(self, n_examples):
        return 0.0  # the module adds the penalty of what an example touches

    def _user_factors(self, X):
        rows = self._training_rows(X)
        is_trained = rows >= 0
        vectors = self._fold_in(X)
        vectors[is_trained] = self.user_factors_[rows[is_trained]]
        return vectors

    def _score_items(self, X):
        return self._user_factors(X) @ self.item_factors_.T
