"""Blends: weighted sums of the scores of several recommenders."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.compose._base import BaseComposite
from sklearn_recsys.compose._normalize import NORMALIZATIONS
from sklearn_recsys.utils._sklearn import StrOptions


class VotingRecommender(BaseComposite):
    """Blend of recommenders: a weighted mean of their scores, made comparable in each row.

    Parameters
    ----------
    estimators : list of tuple of (str, recommender)
        Names and recommenders; clones of them are fitted to the same matrix. A recommender that
        needs other values is a :class:`~sklearn_recsys.RecommenderPipeline` with a transformer
        before it.
    weights : array-like of float of shape (n_estimators,), default=None
        The weight of each recommender, not negative. None: all equal.
    normalization : {"auto", "standard", "minmax", "rank", "none"}, default="auto"
        What is done to each recommender's scores of a user before the mean is taken.
        ``"standard"``: mean 0 and standard deviation 1 over all items. ``"minmax"``: from 0 to 1.
        ``"rank"``: the reciprocal rank 1 / (60 + rank) of [1]_, with the mean rank for equal
        scores. ``"none"``: nothing. ``"auto"``: ``"none"`` if all recommenders predict ratings,
        ``"standard"`` otherwise.

    Attributes
    ----------
    estimators_ : list of recommenders
        The fitted recommenders, in the order of `estimators`.
    named_estimators_ : Bunch
        The fitted recommenders by name.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.
    rating_range_ : tuple of float
        The least and the greatest training rating, if all recommenders predict ratings.

    See Also
    --------
    SwitchRecommender : Chooses one recommender for each user.
    BackfillRecommender : Fills up what one recommender leaves open.
    sklearn.ensemble.VotingRegressor : The same for regressors.

    Notes
    -----
    The blend is a ranking as soon as one recommender is: its scores then have no unit. If one
    recommender reads the order of interactions, `X` holds their times, which the others read as
    their values: put a :class:`~sklearn.preprocessing.Binarizer` before those that read weights.

    References
    ----------
    .. [1] Gordon V. Cormack, Charles L. A. Clarke and Stefan Büttcher. "Reciprocal rank fusion
       outperforms Condorcet and individual rank learning methods". SIGIR 2009.

    Examples
    --------
    >>> from sklearn_recsys import EASE, ItemKNN, VotingRecommender
    >>> from sklearn_recsys.datasets import make_interactions
    >>> R = make_interactions(n_users=100, n_items=40, random_state=0)
    >>> blend = VotingRecommender([("ease", EASE(l2=10)), ("knn", ItemKNN())], weights=[2, 1])
    >>> blend.set_params(ease__l2=5).fit(R).recommend(R[:2], n=3)
    array([[17, 39, 32],
           [11, 37, 16]])
    """

    _parameter_constraints: dict = {
        "estimators": [list],
        "weights": ["array-like", None],
        "normalization": [StrOptions({"auto", *NORMALIZATIONS})],
    }

    def __init__(self, estimators, *, weights=None, normalization="auto"):
        self.estimators = estimators
        self.weights = weights
        self.normalization = normalization

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        own = tags.recommender_tags
        if own.values == "rating" and self.normalization not in ("auto", "none"):
            own.values = "weight"  # the normalized scores are not ratings
        return tags

    def _fit(self, X, user_features=None):
        self._checked_weights()
        super()._fit(X, user_features)

    def _checked_weights(self):
        """Return the weights as an array that sums to one."""
        n = len(self.estimators)
        if self.weights is None:
            return np.full(n, 1 / n)
        weights = np.asarray(self.weights, dtype=np.float64)
        valid = weights.shape == (n,) and np.isfinite(weights).all() and (weights >= 0).all()
        if not valid or not weights.any():
            raise ValueError(
                f"weights must be {n} numbers that are not negative, one for each recommender, and "
                f"not all zero; got {self.weights!r:.100}."
            )
        return weights / weights.sum()

    @property
    def _normalization(self):
        if self.normalization != "auto":
            return self.normalization
        return "none" if self._values == "rating" else "standard"

    def _score_items(self, X, user_features=None):
        normalized = NORMALIZATIONS[self._normalization]
        return sum(
            weight * normalized(model._scores(histories))
            for weight, model, histories in self._weighted(X, user_features)
        )

    def _score_pairs(self, X, rows, items, user_features=None):
        if self._normalization != "none":  # takes the scores of all items
            return super()._score_pairs(X, rows, items, user_features=user_features)
        return sum(
            weight * model._scores_at(histories, rows, items)
            for weight, model, histories in self._weighted(X, user_features)
        )

    def _weighted(self, X, user_features):
        """Yield the recommenders of some weight, with it and the users as they read them."""
        members = self._histories_of_members(X, user_features)
        for weight, (model, histories) in zip(self._checked_weights(), members, strict=True):
            if weight:
                yield np.float32(weight), model, histories
