"""The fitted factors and biases of matrix factorizations."""

from __future__ import annotations

from sklearn_recsys.base import FactorsMixin
from sklearn_recsys.neural._nn.layers import split_biases
from sklearn_recsys.utils._state import Array


class BiasedFactorsMixin(FactorsMixin):
    """Mixin for models with a `DotProductModule`: it sets the factors and biases after training.

    It must precede `TransductiveRecommender` among the bases.
    """

    def _fitted_state(self):
        biases = {"item_biases_": Array("n_items"), "user_biases_": Array("n_users")}
        return {**super()._fitted_state(), **biases}

    def _finish(self, X, split):
        super()._finish(X, split)
        users, items = (
            vectors.detach().cpu().numpy()
            for vectors in (self.net_.module_.user_vectors, self.net_.module_.item_vectors)
        )
        self.item_factors_, self.item_biases_ = split_biases(items)
        self.user_factors_, self.user_biases_ = split_biases(users)

    def _user_factors(self, X):
        return split_biases(self._vectors(X).cpu().numpy())[0]

    def _score_vectors(self, histories):
        users, user_biases = split_biases(self._vectors(histories.X).cpu().numpy())
        return users, self.item_factors_, user_biases, self.item_biases_
