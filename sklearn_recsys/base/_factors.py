"""Mixin of the models that embed users and items in one vector space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
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

    def transform(self, X) -> NDArray[np.float32]:
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

    def export_vectors(
        self, users=None, *, user_features=None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return vectors of users and items whose inner products are the scores.

        They are for indexes of approximate nearest neighbors by the inner product, such as those of
        faiss, hnswlib and voyager. Biases, the unit of ratings, and what users without a history
        get are folded in, as additional entries. A model whose scores of a user's own items differ,
        such as `ELSA`, agrees on all others.

        Parameters
        ----------
        users : None, int, 1-D array-like of int or bool, or matrix, default=None
            As in `recommend`: training rows, or histories of any users.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of `users`, if the model was fitted with some.

        Returns
        -------
        user_vectors : ndarray of float32 of shape (n_rows, n_factors + 3)
            A vector for each user.
        item_vectors : ndarray of float32 of shape (n_items, n_factors + 3)
            A vector for each item, the same in every call: they are indexed once, and searched with
            the vectors of any users.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_recsys import ALS
        >>> from sklearn_recsys.datasets import make_interactions
        >>> R = make_interactions(n_users=100, n_items=40, random_state=0)
        >>> model = ALS(n_factors=8, random_state=0).fit(R[:80])
        >>> users, items = model.export_vectors(R[80:])
        >>> np.allclose(users @ items.T, model.predict(R[80:]), atol=1e-5)
        True
        """
        histories = self._as_read(self._histories(users, user_features))
        with np.errstate(over="ignore", invalid="ignore"):  # _finite_vectors refuses the result
            vectors, item_vectors, user_biases, item_biases = self._score_vectors(histories)
        zero, one = self._in_units_of_X(np.arange(2, dtype=np.float32)).astype(np.float64)
        unit, n_items = one - zero, len(item_vectors)
        item_vectors = unit * item_vectors.astype(np.float64)
        item_biases = unit * (np.zeros(n_items) + item_biases)
        fallback = unit * self._fallback_.astype(np.float64) + zero
        shift = item_biases.mean()  # goes to the users: what all items share has no meaning
        # Graphs of neighbors are built on the products of items with each other, in which entries
        # that serve as addends must not count: small in the items, large in the users.
        small = 1e-3 * np.sqrt(np.mean(item_vectors**2) + np.mean((item_biases - shift) ** 2))
        small = max(small, 1e-12)  # of a model whose vectors are zero
        largest = max(np.abs(fallback).max(), np.finfo(np.float32).tiny)
        columns = (item_vectors, item_biases - shift, np.full(n_items, small))
        item_side = np.column_stack([*columns, fallback * (small / largest)])
        n_rows, cold = len(histories), histories.is_cold
        addends = np.zeros(n_rows) + unit * user_biases + zero + shift
        columns = (vectors, np.ones(n_rows), addends / small, np.zeros(n_rows))
        user_side = np.column_stack(columns)
        user_side[cold] = 0
        user_side[cold, -1] = largest / small
        sides = (user_side.astype(np.float32), item_side.astype(np.float32))
        return tuple(self._finite_vectors(side) for side in sides)

    def _score_vectors(self, histories):
        """Return vectors of users and items, and biases of both (numbers or arrays).

        The scores are the inner products of the vectors plus the biases. Models with biases, or
        with other vectors than `item_factors_`, override this.
        """
        users = self._user_factors(histories.X, **histories.features)
        return users, self.item_factors_, 0.0, 0.0

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
