"""Non-personalized recommenders: the baselines to beat."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.utils._biases import fit_biases, user_biases
from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils._history_index import item_hashes, mix, row_hashes
from sklearn_recsys.utils._sklearn import Interval
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
    BiasRecommender : The baseline for ratings.

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
    >>> lists = RandomRecommender(random_state=0).fit(R).recommend(n=2)
    >>> [sorted(items) for items in lists.tolist()]  # in a random order, without seen items
    [[2, 3], [0, 2]]
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


class BiasRecommender(RecommenderMixin, BaseEstimator):
    r"""Predict ratings by biases of users and items: the baseline for rating models.

    A rating is predicted by :math:`\mu + b_u + b_i`: the mean of all ratings, how much more than
    that the user gives, and how much more the item gets [1]_. Every user is recommended the items
    of the highest bias.

    Parameters
    ----------
    user_l2 : float, default=4.0
        Penalty on the biases of users: with n ratings, a bias is shrunk to n / (n + user_l2) of the
        mean deviation.
    item_l2 : float, default=2.0
        The same for items.

    Attributes
    ----------
    mean_ : float
        The mean of the training ratings.
    user_biases_ : ndarray of float64 of shape (n_users,)
        The biases of the training users, in rating units.
    item_biases_ : ndarray of float64 of shape (n_items,)
        The biases of the items, zero for items without a rating.
    user_l2_ : float
        The penalty of the fit, for the biases of new users.
    rating_range_ : tuple of float
        The lowest and the highest training rating.
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
    ItemKNNBaseline : Adds how much the ratings of similar items deviate from the biases.
    MatrixFactorization : Adds dot products of users' and items' vectors.

    Notes
    -----
    The biases minimize :math:`\sum (r_{ui} - \mu - b_u - b_i)^2 + \lambda_u \sum b_u^2 + \lambda_i
    \sum b_i^2`, the problem after eq. 1 of [1]_ with a penalty for each side. It is solved exactly.
    A new user's bias has a closed form, given those of the items, which training users have, too.

    References
    ----------
    .. [1] Yehuda Koren. "Factorization meets the neighborhood: a multifaceted collaborative
       filtering model". KDD 2008, section 2.1.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import BiasRecommender
    >>> R = csr_array([[5, 4, 0], [4, 3, 1], [0, 5, 3]])
    >>> model = BiasRecommender(user_l2=0, item_l2=0).fit(R)
    >>> model.predict(csr_array([[0, 5, 0]])).round(1)  # a new user, who gives high ratings
    array([[5., 5., 3.]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "user_l2": [Interval(Real, 0, None, closed="left")],
        "item_l2": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, *, user_l2=4.0, item_l2=2.0):
        self.user_l2 = user_l2
        self.item_l2 = item_l2

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        tags.recommender_tags.personalized = False
        tags.recommender_tags.exact = True
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "mean_": Number(),
            "item_biases_": Array("n_items"),
            "user_biases_": Array("n_users"),
            "user_l2_": Number(low=0),
        }

    def _fit(self, X):
        self.user_l2_ = float(self.user_l2)
        self.mean_, self.item_biases_ = fit_biases(X, self.user_l2_, self.item_l2)
        self.user_biases_ = self._user_biases(X)
        self._fallback_ = (self.mean_ + self.item_biases_).astype(np.float32)

    def _user_biases(self, X):
        return user_biases(X, self.mean_, self.item_biases_, self.user_l2_)

    def _score_items(self, X):
        users = self.mean_ + self._user_biases(X)
        return (users[:, None] + self.item_biases_).astype(np.float32)

    def _score_pairs(self, X, rows, items):
        users = self.mean_ + self._user_biases(X)
        return (users[rows] + self.item_biases_[items]).astype(np.float32)


def _uniform(hashes):
    """Return float32 numbers in [0, 1) from uint64 values."""
    return (mix(hashes) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
