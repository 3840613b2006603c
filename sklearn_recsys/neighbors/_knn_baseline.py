"""Nearest neighbors on ratings: deviations from a baseline of biases.

Koren, "Factorization meets the neighborhood: a multifaceted collaborative filtering model", KDD
2008; "Factor in the neighbors: scalable and accurate collaborative filtering", TKDD 2010.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_recsys.base import ExplainMixin, RecommenderMixin
from sklearn_recsys.base._explain import weights_at
from sklearn_recsys.base._rating_units import RatingUnitsMixin
from sklearn_recsys.base._similar import SimilarItemsMixin, SimilarUsersMixin
from sklearn_recsys.neighbors._contributions import shared_votes, values_of_neighbors
from sklearn_recsys.neighbors._similarity import RowSimilarity
from sklearn_recsys.utils._biases import fit_biases, user_biases
from sklearn_recsys.utils._cells import cell_rows, support, take_rows, with_values
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Array, Instance, Number, Sparse
from sklearn_recsys.utils._threads import sparse_dot
from sklearn_recsys.utils._topk import top_n_cells
from sklearn_recsys.utils.validation import check_finite

_ROUNDING = 1e-6  # smaller residuals, on a scale from 1 to 5, are rounding errors
_AT_LEAST_0 = [Interval(Real, 0, None, closed="left")]


class _KNNBaseline(RatingUnitsMixin, RecommenderMixin, BaseEstimator):
    """The baseline, and weighted means of deviations from it."""

    _parameter_constraints: dict = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        **dict.fromkeys(("shrinkage", "l2", "user_l2", "item_l2"), _AT_LEAST_0),
    }

    def __init__(self, n_neighbors=200, *, shrinkage=100.0, l2=0.3, user_l2=4.0, item_l2=2.0):
        self.n_neighbors = n_neighbors
        self.shrinkage = shrinkage
        self.l2 = l2
        self.user_l2 = user_l2
        self.item_l2 = item_l2

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        tags.recommender_tags.exact = True
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "_mean_": Number(),
            "_item_biases_": Array("n_items"),
            "_penalties_": Array(2, low=0),
        }

    def _fit_baseline(self, X):
        """Set the baseline, and return the deviations of the training ratings from it."""
        self._penalties_ = np.array([self.l2, self.user_l2], dtype=np.float64)
        self._mean_, self._item_biases_ = fit_biases(X, self.user_l2, self.item_l2)
        self._fallback_ = (self._mean_ + self._item_biases_).astype(np.float32)
        return self._residuals(X)[1]

    def _residuals(self, X):
        """Return μ + b_u of each row, and the deviations of its ratings from the baseline."""
        of_users = user_biases(X, self._mean_, self._item_biases_, self._penalties_[1])
        of_users += self._mean_
        residuals = X.data - of_users[cell_rows(X)] - self._item_biases_[X.indices]
        residuals[np.abs(residuals) < _ROUNDING] = 0  # or neighbors would agree on noise
        return of_users, with_values(X, residuals)

    def _combined(self, of_users, deviations, weights):
        """Return baselines plus means of deviations, given their weighted sums and the weights."""
        weights = weights + self._penalties_[0]
        scores = of_users[:, None] + self._item_biases_
        scores += np.divide(deviations, weights, out=np.zeros_like(scores), where=weights > 0)
        return scores.astype(np.float32)


class ItemKNNBaseline(SimilarItemsMixin, ExplainMixin, _KNNBaseline):
    r"""Predict ratings from the user's ratings of similar items: item-based kNN-Baseline.

    The baseline is :math:`b_{ui} = \mu + b_u + b_i`, as of `BiasRecommender`. To it is added the
    mean of how much the user's ratings of similar items deviate from theirs [1]_:

    .. math::
        \hat r_{ui} = b_{ui} + \frac{\sum_j s_{ij} (r_{uj} - b_{uj})}{\lambda + \sum_j s_{ij}}

    where j runs over the user's items among the `n_neighbors` items most similar to i.

    Parameters
    ----------
    n_neighbors : int, default=200
        Neighbors stored for each item; only positive similarities count.
    shrinkage : float, default=100.0
        Similarities are multiplied by n / (n + shrinkage), where n is the number of users who rated
        both items.
    l2 : float, default=0.3
        The penalty λ on deviations from the baseline: the less similar the items that the user
        rated, the closer to the baseline. 0: a plain weighted mean.
    user_l2 : float, default=4.0
        Penalty on the biases of users, as of `BiasRecommender`.
    item_l2 : float, default=2.0
        Penalty on the biases of items.

    Attributes
    ----------
    similarity_ : csr_array of float32 of shape (n_items, n_items)
        Row i holds the similarities s of the neighbors of item i: the correlations of deviations
        from the baseline, over the users who rated both items, times the shrinkage.
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
    UserKNNBaseline : The same over users.
    ItemKNN : Ranks items by similarity, without predicting ratings.
    sklearn_recsys.dummy.BiasRecommender : The baseline alone.

    Notes
    -----
    The paper takes the n neighbors of an item among those that the user rated; here they are chosen
    once for all users, so that a prediction is a product of sparse matrices. In the paper λ is 0.

    `explain` shows a prediction as a weighted mean of votes: item j of the history votes for its
    own rating, moved by the difference of the baselines, with the weight of :math:`s_{ij}`. The
    weight of λ is a vote for the baseline, in equal parts of all items of the history.

    References
    ----------
    .. [1] Yehuda Koren. "Factorization meets the neighborhood: a multifaceted collaborative
       filtering model". KDD 2008, section 2.2, eq. 2 and 3. Also in "Factor in the neighbors:
       scalable and accurate collaborative filtering". TKDD 4 (1), 2010.

    Examples
    --------
    Each group of users gives five stars to one group of items, and one star to the other:

    >>> import numpy as np
    >>> from sklearn_recsys import ItemKNNBaseline
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = np.where(tastes, 5, 1) * (rng.random((80, 20)) < 0.6)
    >>> model = ItemKNNBaseline().fit(R)
    >>> new_user = [[5, 5, 5] + [0] * 14 + [1, 1, 1]]
    >>> np.flatnonzero(model.predict(new_user) > 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def _fitted_state(self):
        similarities = Sparse("n_items", "n_items", sorted=False)
        return {
            **super()._fitted_state(),
            "similarity_": similarities,
            "_weights_": similarities,
        }

    def _fit(self, X):
        items = self._fit_baseline(X).T.tocsr()
        similarity = RowSimilarity(items, "residual", self.shrinkage)
        self.similarity_ = similarity.top(items, self.n_neighbors, skip=np.arange(X.shape[1]))
        self._weights_ = self.similarity_.T.tocsr()  # from an item of the history to its score

    def _score_items(self, X):
        of_users, residuals = self._residuals(X)
        weights = sparse_dot(support(X), self._weights_)
        return self._combined(of_users, sparse_dot(residuals, self._weights_), weights)

    def _contributions(self, X, rows, items):
        of_users, residuals = self._residuals(X)
        lengths = np.diff(X.indptr)[rows]
        filled = np.repeat(np.arange(len(rows)), lengths)  # the pair of each contribution
        shares = weights_at(self._weights_, support(X), rows, items).astype(np.float64)
        sums = np.bincount(filled, shares, len(rows)) + self._penalties_[0]
        shares /= np.where(sums > 0, sums, 1)[filled]
        rest = 1 - np.bincount(filled, shares, len(rows))  # the weight of the baseline
        evenly = (rest / np.maximum(lengths, 1))[filled]
        baselines = (of_users[rows] + self._item_biases_[items])[filled]
        low, unit = self._rating_scale_.low, self._rating_scale_.unit
        votes = baselines * (shares + evenly) + shares * take_rows(residuals, rows).data
        return unit * votes + (low - unit) * (shares + evenly)

    def _item_neighbors(self, items, n):
        neighbors = self.similarity_[items]
        check_finite(neighbors.data, "ItemKNNBaseline has similarities that are")
        return top_n_cells(neighbors, neighbors.data, n)


class UserKNNBaseline(SimilarUsersMixin, ExplainMixin, _KNNBaseline):
    r"""Predict ratings from those of similar users: user-based kNN-Baseline.

    The baseline is :math:`b_{ui} = \mu + b_u + b_i`, as of `BiasRecommender`. To it is added the
    mean of how much the ratings of similar users deviate from theirs [1]_:

    .. math::
        \hat r_{ui} = b_{ui} + \frac{\sum_v s_{uv} (r_{vi} - b_{vi})}{\lambda + \sum_v s_{uv}}

    where v runs over the users who rated i among the `n_neighbors` training users most similar to
    u. A history that is a training row is not its own neighbor.

    Parameters
    ----------
    n_neighbors : int, default=200
        Neighbors of each history; only positive similarities count.
    shrinkage : float, default=100.0
        Similarities are multiplied by n / (n + shrinkage), where n is the number of items that both
        users rated.
    l2 : float, default=0.3
        The penalty λ on deviations from the baseline: the less similar the users who rated the
        item, the closer to the baseline. 0: a plain weighted mean.
    user_l2 : float, default=4.0
        Penalty on the biases of users, as of `BiasRecommender`.
    item_l2 : float, default=2.0
        Penalty on the biases of items.

    Attributes
    ----------
    rating_range_ : tuple of float
        The lowest and the highest training rating.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix, which is what the model searches for neighbors.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    ItemKNNBaseline : The same over items; more accurate on most data, and it predicts faster.
    UserKNN : Ranks items by similarity, without predicting ratings.
    sklearn_recsys.dummy.BiasRecommender : The baseline alone.

    Notes
    -----
    The similarity of two users is the correlation of their deviations from the baseline over the
    items that both rated, times the shrinkage. In [1]_ the n neighbors are chosen among the users
    who rated the item, and λ is 0.

    `explain` divides the vote of each neighbor in equal parts among the items that both users
    rated. The baseline belongs in equal parts to all items of the history.

    References
    ----------
    .. [1] Yehuda Koren. "Factorization meets the neighborhood: a multifaceted collaborative
       filtering model". KDD 2008, section 2.2, eq. 2 and 3. Also in "Factor in the neighbors:
       scalable and accurate collaborative filtering". TKDD 4 (1), 2010.

    Examples
    --------
    Each group of users gives five stars to one group of items, and one star to the other:

    >>> import numpy as np
    >>> from sklearn_recsys import UserKNNBaseline
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = np.where(tastes, 5, 1) * (rng.random((80, 20)) < 0.6)
    >>> model = UserKNNBaseline().fit(R)
    >>> new_user = [[5, 5, 5] + [0] * 14 + [1, 1, 1]]
    >>> np.flatnonzero(model.predict(new_user) > 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "_similarity_": Instance(RowSimilarity, shared=True),
            "_deviations_": Sparse("n_users", "n_items"),
        }

    def _fit(self, X):
        residuals = self._fit_baseline(X)
        self._similarity_ = RowSimilarity(residuals, "residual", self.shrinkage)
        self._deviations_ = residuals.astype(np.float32)

    def _score_items(self, X):
        of_users, residuals = self._residuals(X)
        neighbors = self._similarity_.top(residuals, self.n_neighbors, self._training_rows(X))
        weights = sparse_dot(neighbors, support(self._deviations_))
        return self._combined(of_users, sparse_dot(neighbors, self._deviations_), weights)

    def _contributions(self, X, rows, items):
        distinct, owners = np.unique(rows, return_inverse=True)
        X, fitted = X[distinct], self._deviations_
        of_users, residuals = self._residuals(X)
        neighbors = self._similarity_.top(residuals, self.n_neighbors, self._training_rows(X))
        similarities, values = values_of_neighbors(neighbors, owners, items, fitted)
        sums = similarities.sum(axis=1) + self._penalties_[0]
        votes = similarities.data * values / sums[cell_rows(similarities)]
        votes = shared_votes(with_values(similarities, votes), support(X), owners, support(fitted))
        low, unit = self._rating_scale_.low, self._rating_scale_.unit
        baselines = low + unit * (of_users[owners] + self._item_biases_[items] - 1)
        lengths = np.diff(X.indptr)[owners]
        return unit * votes + np.repeat(baselines / np.maximum(lengths, 1), lengths)

    def _user_neighbors(self, histories, n, skip):
        residuals = self._residuals(self._read(histories.X))[1]
        neighbors = self._similarity_.top(residuals, n, skip)
        return top_n_cells(neighbors, neighbors.data, n)
