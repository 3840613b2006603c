"""Non-personalized recommenders: the baselines to beat."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils._history_index import item_hashes, mix, row_hashes
from sklearn_recsys.utils._state import Array, Number


class PopularityRecommender(RecommenderMixin, BaseEstimator):
    """Recommend the items that most users interacted with.

    Attributes
    ----------
    item_counts_ : ndarray of float32 of shape (n_items,)
        Number of training users with a positive value for each item.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    RandomRecommender : Recommends in random order.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import PopularityRecommender
    >>> R = csr_array([[1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]])
    >>> PopularityRecommender().fit(R).recommend([0, 3], n=2)
    array([[ 2, -1],
           [ 1,  0]])
    """

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "binary"
        tags.recommender_tags.personalized = False
        tags.recommender_tags.exact = True
        return tags

    def _fitted_state(self):
        return {**super()._fitted_state(), "item_counts_": Array("n_items")}

    def _fit(self, X):
        # bincount counts in integers: a sum of float32 ones would stop at 2**24
        self.item_counts_ = item_counts(X).astype(np.float32)

    def _score_items(self, X):
        return np.tile(self.item_counts_, (X.shape[0], 1))

    def _score_pairs(self, X, rows, items):
        return self.item_counts_[items]


class RandomRecommender(RecommenderMixin, BaseEstimator):
    """Recommend in random order.

    The order depends only on the seed and the content of a history: it is the same in every row of
    a matrix, and in every call.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same order in every fit.

    Attributes
    ----------
    seed_ : int
        The seed sampled in `fit`.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    PopularityRecommender : Recommends by popularity.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import RandomRecommender
    >>> R = csr_array([[1, 1, 0, 0], [0, 1, 0, 1]])
    >>> RandomRecommender(random_state=0).fit(R).recommend(n=2).shape
    (2, 2)
    """

    _parameter_constraints: dict = {"random_state": ["random_state"]}

    def __init__(self, random_state=None):
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.personalized = False
        return tags

    def _fitted_state(self):
        return {**super()._fitted_state(), "seed_": Number(0, 2**31, type=Integral)}

    def _fit(self, X):
        self.seed_ = int(check_random_state(self.random_state).randint(2**31))
        empty_history = sp.csr_array((1, X.shape[1]), dtype=X.dtype)
        self._fallback_ = self._score_items(empty_history)[0]

    def _score_items(self, X):
        users = mix(row_hashes(X) + np.uint64(self.seed_))
        return _uniform(users[:, None] + item_hashes(np.arange(X.shape[1])))

    def _score_pairs(self, X, rows, items):
        users = mix(row_hashes(X) + np.uint64(self.seed_))
        return _uniform(users[rows] + item_hashes(items))


def _uniform(hashes):
    """Return float32 numbers in [0, 1) from uint64 values."""
    return (mix(hashes) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
