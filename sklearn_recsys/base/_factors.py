"""Mixin of the models that embed users and items in one vector space."""

from __future__ import annotations

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from sklearn_recsys.base._similar import SimilarItemsMixin, SimilarUsersMixin
from sklearn_recsys.utils._neighbors import cosine_neighbors
from sklearn_recsys.utils._state import Array
from sklearn_recsys.utils.validation import check_finite


class FactorsMixin(
    SimilarItemsMixin, SimilarUsersMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
):
    """Vectors of users for other models, and neighbors among users and among items.

    A model sets `item_factors_` and `user_factors_`, float32 arrays with a vector for each item
    and each training user, and implements ``_user_factors(X)``, which returns the vectors of users
    with canonical histories.

    See Also
    --------
    RecommenderMixin : The contract of every recommender.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_recsys.base import FactorsMixin, RecommenderMixin
    >>> class Halves(FactorsMixin, RecommenderMixin, BaseEstimator):
    ...     def _fit(self, X):
    ...         self.item_factors_ = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    ...         self.user_factors_ = self._user_factors(X)
    ...
    ...     def _user_factors(self, X):
    ...         return X @ self.item_factors_
    ...
    ...     def _score_items(self, X):
    ...         return self._user_factors(X) @ self.item_factors_.T
    >>> model = Halves().fit(csr_array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    >>> model.similar_items(0, n=1)
    (array([[1]]), array([[1.]], dtype=float32))
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "item_factors_": Array("n_items", "n_factors"),
            "user_factors_": Array("n_users", "n_factors"),
        }

    @property
    def _n_features_out(self):
        return self.item_factors_.shape[1]

    def transform(self, X):
        """Return the vectors of users, known or new, given the vectors of the items.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The histories of known or new users.

        Returns
        -------
        vectors : ndarray of float32 of shape (n_rows, n_factors)
            The user vectors that the model scores items with.
        """
        return self._factors_of(self._checked_histories(X))

    def _finite_vectors(self, vectors):
        return check_finite(vectors, f"{type(self).__name__} has vectors that are")

    def _factors_of(self, histories):
        histories = self._as_read(histories)
        with np.errstate(over="ignore", invalid="ignore"):  # check_finite refuses the result
            vectors = self._user_factors(histories.X, **histories.features)
        return self._finite_vectors(vectors)

    def _item_neighbors(self, items, n):
        vectors = self._finite_vectors(self.item_factors_)
        return cosine_neighbors(vectors[items], vectors, n, skip=items)

    def _user_neighbors(self, histories, n, skip):
        self._own_interactions()
        others = self._finite_vectors(self.user_factors_)
        return cosine_neighbors(self._factors_of(histories), others, n, skip=skip)
