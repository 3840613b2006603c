"""Stacking: how much each recommender counts is learned on held-out interactions."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from sklearn_recsys.base._histories import Histories
from sklearn_recsys.compose._base import BaseComposite
from sklearn_recsys.compose._normalize import min_max, standardized
from sklearn_recsys.compose._training import (
    HOLDOUT,
    candidate_pairs,
    check_can_predict,
    fitted_to_pairs,
    pair_scores,
    ranked_first,
    retrieved,
    standardized_pairs,
)
from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._rating_scale import RatingScale
from sklearn_recsys.utils._sklearn import HasMethods, Interval, StrOptions
from sklearn_recsys.utils._state import Array, Check, Maybe, Number

_PENALTY = 1e-4  # on the squared weights: keeps them finite where members make no mistake


class StackingRecommender(BaseComposite):
    r"""Stack of recommenders: a blend whose weights are learned on held-out interactions.

    A share of the interactions is held out, the recommenders are fitted to the rest, and how to
    combine their scores is learned from the held-out interactions [1]_. Then they are fitted to all
    interactions. So no score that the weights are learned from has seen what it should
    predict.

    Parameters
    ----------
    estimators : list of tuple of (str, recommender)
        Names and recommenders, clones of which are fitted twice.
    final_estimator : classifier or regressor, default=None
        Of scikit-learn's interface; a clone is fitted to pairs of users and items. Its features are
        the recommenders' scores, its target is 1 for a held-out interaction and 0 for any other
        item; the score is its decision function, its probability of 1, or its prediction. None:
        weights that are not negative. See Notes.
    holdout : float or int, default=0.2
        The share of each user's interactions to hold out, at least one of two or more, or how many
        of users who have more: sampled by a hash of the user's history, or the latest ones if
        a recommender reads their order.
    held_out : {"cells", "latest", "users"}, default="cells"
        ``"cells"``: the recommenders are first fitted to the other interactions of all users, which
        suits recommendations for training users. ``"latest"``: the same, and the values of `X` are
        positions or times, the latest of which are held out. ``"users"``: the share is also that of
        the users whose interactions are held out, a fifth if `holdout` is an integer, and the
        recommenders are first fitted to the others, which suits new users.
    n_candidates : int, default=20
        The pairs to learn from are the `n_candidates` best unseen items of each recommender: what
        matters is the order at the top of the lists.

    Attributes
    ----------
    weights_ : ndarray of float64 of shape (n_estimators,) or None
        The weight of each recommender, not negative; they sum to one unless all recommenders
        predict ratings. None with a `final_estimator`.
    intercept_ : float
        What is added to a weighted sum of predicted ratings, which are mapped to a scale from 1 to
        5 first; 0 for rankings.
    final_estimator_ : estimator or None
        The fitted `final_estimator`.
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
    TwoStageRecommender : Learns from other features than scores, too.
    VotingRecommender : A blend with given weights.
    sklearn.ensemble.StackingRegressor : The same for regressors.

    Notes
    -----
    `held_out` matters for models that fit the training rows closely, such as EASE: what was held
    out is a zero in the row that its weights are fitted to, so its scores of it are low in the
    histories of training users, but not in those of new users. The more is held out, the stronger
    the effect: for a task with one item of each user, an integer `holdout` of 1 learns the weights
    under the same conditions.

    The scores of a ranking are standardized over the items of each user, as in
    :class:`VotingRecommender`. The weights maximize the likelihood of the held-out items under a
    softmax over the candidates of a user, C_u, those of them that are held out being H_u (a
    conditional logit),

    .. math:: \sum_u \frac{1}{|H_u|} \sum_{i \in H_u} \log
        \frac{\exp w^\top s_{ui}}{\sum_{j \in C_u} \exp w^\top s_{uj}}.

    A `final_estimator` learns from the same pairs, and orders the candidates of a user before all
    other items, which follow in the order of their mean standardized scores. Its features are
    standardized over the candidates: between users, scores differ for other reasons than taste.

    With ``held_out="latest"``, recommenders that do not read an order need a
    :class:`~sklearn.preprocessing.Binarizer` in a pipeline.

    If all recommenders predict ratings, the held-out cells alone are the pairs, their ratings the
    target, and the default is a linear regression without negative coefficients: the stack predicts
    ratings, too.

    If every user has interacted with every item, there is nothing to learn from: all weights are
    equal, whatever the `final_estimator` is.

    References
    ----------
    .. [1] Leo Breiman. "Stacked regressions". Machine Learning 24, 1996.

    Examples
    --------
    >>> from sklearn_recsys import EASE, ItemKNN, PopularityRecommender, StackingRecommender
    >>> from sklearn_recsys.datasets import make_interactions
    >>> R = make_interactions(n_users=400, n_items=50, density=0.2, random_state=0)
    >>> stack = StackingRecommender(
    ...     [("ease", EASE(l2=10)), ("knn", ItemKNN()), ("popular", PopularityRecommender())]
    ... ).fit(R)
    >>> (stack.weights_ > 0.1).tolist()  # neighbors add nothing here
    [True, False, True]
    >>> stack.recommend(R[:2], n=1)
    array([[27],
           [29]])
    """

    _parameter_constraints: dict = {
        "estimators": [list],
        "final_estimator": [HasMethods(["fit", "predict"]), None],
        "holdout": HOLDOUT,
        "held_out": [StrOptions({"cells", "latest", "users"})],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimators,
        final_estimator=None,
        *,
        holdout=0.2,
        held_out="cells",
        n_candidates=20,
    ):
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.holdout = holdout
        self.held_out = held_out
        self.n_candidates = n_candidates

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.held_out == "latest":
            tags.recommender_tags.values = "order"
        tags.recommender_tags.exact = False  # which cells are held out depends on the item indices
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "weights_": Maybe(Array(len(self.estimators), low=0)),
            "intercept_": Number(),
            "final_estimator_": Maybe(Check(check_can_predict)),
        }

    # ---------------------------------------------------------------- learning

    _learns = True

    def _learn(self, X, user_features):
        values = self._values
        histories, y = self._fit_to_the_rest(X, user_features)
        self.weights_, self.intercept_, self.final_estimator_ = None, 0.0, None
        if values == "rating":
            pairs = cell_rows(y), y.indices
            features = self._rating_features(histories.X, *pairs, histories.user_features)
            target = self._rating_scale.apply(y.data)
        else:
            columns = [
                (self._ranking_features(scores, rows, items), target, rows + block.start)
                for block, _, scores, rows, items, target in candidate_pairs(
                    histories, y, self._standardized_scores, self.n_candidates
                )
            ]
            features, target, rows = map(np.concatenate, zip(*columns, strict=True))
        if values != "rating" and target.all():  # every user has every item
            self.weights_ = np.full(features.shape[1], 1 / features.shape[1])
        elif self.final_estimator is not None:
            self.final_estimator_ = fitted_to_pairs(clone(self.final_estimator), features, target)
        elif values == "rating":
            linear = LinearRegression(positive=True).fit(features, target)
            self.weights_, self.intercept_ = linear.coef_, float(linear.intercept_)
        else:
            self.weights_ = softmax_weights(features, target, rows)

    # ---------------------------------------------------------------- scores

    def _standardized_scores(self, histories):
        members = self._histories_of_members(histories.X, histories.user_features)
        return [standardized(model._scores(own)) for model, own in members]

    @property
    def _rating_scale(self):
        return RatingScale.of_range(*self.rating_range_)

    def _rating_features(self, X, rows, items, user_features=None):
        scores = [
            self._rating_scale.apply(model._scores_at(histories, rows, items))
            for model, histories in self._histories_of_members(X, user_features)
        ]
        return np.column_stack(scores)

    def _combined(self, features):
        """Return the scores of pairs with the members' scores as `features`, in their order."""
        if self.final_estimator_ is not None:
            return pair_scores(self.final_estimator_, features)
        return (features @ self.weights_ + self.intercept_).astype(np.float32)

    def _score_items(self, X, user_features=None):
        if self._values == "rating":
            members = self._histories_of_members(X, user_features)
            scale = self._rating_scale
            features = [scale.apply(model._scores(own)).ravel() for model, own in members]
            return scale.undo(self._combined(np.column_stack(features))).reshape(X.shape)
        histories = Histories(X, user_features)
        scores = self._standardized_scores(histories)
        if self.final_estimator_ is None:
            weights = self.weights_.astype(np.float32)
            return sum(weight * own for weight, own in zip(weights, scores, strict=True))
        rest = sum(scores)
        candidates = retrieved(scores, X, self.n_candidates)
        candidates[histories.is_cold] = False  # it has not learned from such users
        rows, items = np.nonzero(candidates)
        if not len(rows):
            return min_max(rest) / 2
        ranked = pair_scores(self.final_estimator_, self._ranking_features(scores, rows, items))
        return ranked_first(rest, rows, items, ranked)

    def _ranking_features(self, scores, rows, items):
        if self.final_estimator is None:
            return np.column_stack([own[rows, items] for own in scores])
        return standardized_pairs(scores, rows, items)

    def _score_pairs(self, X, rows, items, user_features=None):
        if self._values != "rating":  # standardized over all items
            return super()._score_pairs(X, rows, items, user_features=user_features)
        features = self._rating_features(X, rows, items, user_features)
        return self._rating_scale.undo(self._combined(features))


def softmax_weights(features, target, rows):
    """Return the weights of a conditional logit, not negative, scaled to sum to one.

    Parameters
    ----------
    features : ndarray of float of shape (n_pairs, n_features)
        The pairs of a row stand together.
    target : ndarray of float of shape (n_pairs,)
        1 for the pairs whose likelihood is maximized, of those of their row: at least one.
    rows : ndarray of int of shape (n_pairs,)
        The row of each pair, in ascending order.

    Returns
    -------
    weights : ndarray of float64 of shape (n_features,)
        All equal if no feature helps.
    """
    features = features.astype(np.float64)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    lengths = np.diff(starts, append=len(rows))
    n_rows = len(starts)
    wanted = target / np.repeat(np.add.reduceat(target, starts), lengths) @ features

    def loss(weights):
        logits = features @ weights
        greatest = np.maximum.reduceat(logits, starts)
        exponentials = np.exp(logits - np.repeat(greatest, lengths))
        sums = np.add.reduceat(exponentials, starts)
        expected = exponentials / np.repeat(sums, lengths) @ features
        value = (np.log(sums) + greatest).sum() - wanted @ weights
        gradient = (expected - wanted) / n_rows + _PENALTY * weights
        return value / n_rows + _PENALTY / 2 * weights @ weights, gradient

    n = features.shape[1]
    start = np.full(n, 1 / n)
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * n).x
    return weights / weights.sum() if weights.any() else start
