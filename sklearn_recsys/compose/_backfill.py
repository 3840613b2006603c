"""Backfill: what one recommender leaves open is filled up by the next."""

from __future__ import annotations

from numbers import Real

import numpy as np

from sklearn_recsys.compose._base import BaseComposite
from sklearn_recsys.compose._normalize import min_max
from sklearn_recsys.utils._sklearn import Interval


class BackfillRecommender(BaseComposite):
    """The first recommender's items, then those of the second that are left, and so on.

    A recommender whose scores are sums over few neighbors scores most items zero, and has no
    opinion on their order. Such items are left to the next one.

    Parameters
    ----------
    estimators : list of tuple of (str, recommender)
        Names and recommenders, the most trusted one first; the last one ranks whatever is left.
    threshold : float, default=0.0
        An item belongs to a recommender that scores it higher than that. The last one takes all
        others.

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

    See Also
    --------
    SwitchRecommender : Chooses one recommender for each user.
    VotingRecommender : A mean of the scores of all recommenders.

    Notes
    -----
    An item's score is the number of recommenders after the one that it belongs to, plus that one's
    score of it, scaled to the range from 0 to ½ over the user's items.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import BackfillRecommender, ItemKNN, PopularityRecommender
    >>> R = csr_array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 1], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]])
    >>> knn, popular = ItemKNN(), PopularityRecommender()
    >>> model = BackfillRecommender([("knn", knn), ("popular", popular)]).fit(R)
    >>> model.recommend(0, n=3)  # item 4 goes together with 0 and 1, item 3 is popular
    array([[4, 3, 2]])
    """

    _parameter_constraints: dict = {
        "estimators": [list],
        "threshold": [Interval(Real, None, None, closed="neither")],
    }

    def __init__(self, estimators, *, threshold=0.0):
        self.estimators = estimators
        self.threshold = threshold

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if tags.recommender_tags.values == "rating":
            tags.recommender_tags.values = "weight"  # the scores are not ratings
        return tags

    def _score_items(self, X, user_features=None):
        result = np.empty(X.shape, dtype=np.float32)
        is_open = np.ones(X.shape, dtype=bool)
        n_after = len(self.estimators_)
        for model, histories in self._histories_of_members(X, user_features):
            n_after -= 1
            scores = model._scores(histories)
            found = is_open & (scores > self.threshold) if n_after else is_open
            result[found] = (n_after + min_max(scores) / 2)[found]
            is_open &= ~found
        return result
