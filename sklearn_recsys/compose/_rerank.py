"""A recommender whose lists are reranked."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _BaseComposition

from sklearn_recsys.base import RecommenderMixin, UserFeaturesMixin
from sklearn_recsys.base._histories import Histories
from sklearn_recsys.base._why_not import Stage
from sklearn_recsys.compose._reranker import FittedRerankers, Reranker, take
from sklearn_recsys.utils._fit_progress import fit_progress
from sklearn_recsys.utils._sklearn import Interval, available_if, fit_context, with_callbacks
from sklearn_recsys.utils._state import (
    Instance,
    Interactions,
    Labels,
    Optional,
    Size,
)
from sklearn_recsys.utils._threads import row_blocks
from sklearn_recsys.utils._warnings import warn


def _estimator_has(name):
    """Return a check that the wrapped recommender has a method."""

    def check(self):
        return hasattr(getattr(self, "estimator_", self.estimator), name)

    return check


class RerankedRecommender(UserFeaturesMixin, _BaseComposition):
    """Rerank the lists of a recommender: for diversity, calibration, quotas or rules.

    The recommender ranks its best candidates, from which the rerankers, one after the other, choose
    and order the items of the lists. `recommend` and the ranking metrics of `score` see the new
    lists; scores, `predict` and rating metrics are those of the recommender.

    Parameters
    ----------
    estimator : recommender
        The recommender; a clone of it is fitted.
    rerankers : list of tuple of (str, Reranker)
        Names and rerankers. Those that weigh scores, :class:`MaximalMarginalRelevance` and
        :class:`Calibration`, of which there can be one, come before anything reorders the items;
        what requires items, `minimum` in :class:`CategoryQuota` or ``"must"`` in
        :class:`ItemRules`, comes last, and chooses from what those before it leave.
    n_candidates : int, default=100
        The number of candidates, at least the length of the list. Where lists of these break a
        guarantee or have empty slots, all items of the user are candidates; rerankers that weigh
        scores move the first `n_candidates` alone.

    Attributes
    ----------
    estimator_ : recommender
        The fitted recommender.
    rerankers_ : list of tuple of (str, Reranker)
        The fitted rerankers.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    Warns
    -----
    RecommenderWarning
        If a user has too few eligible items for a guarantee; the list has as many as there are.

    See Also
    --------
    Reranker : The base class, for your own rerankers.
    sklearn_recsys.metrics.relevance_loss_at_k : What reranking costs.

    Notes
    -----
    `return_scores` gives the recommender's scores, which do not descend along a reranked list. What
    reads scores, such as a blend or a switch, sees those: rerank it rather than its members.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import ItemKNN
    >>> from sklearn_recsys.compose import CategoryQuota, RerankedRecommender
    >>> R = csr_array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [0, 1, 0, 1, 1], [0, 0, 1, 0, 1]])
    >>> quota = CategoryQuota(["a", "a", "a", "a", "b"], minimum={"b": 1})
    >>> model = RerankedRecommender(ItemKNN(), [("quota", quota)]).fit(R)
    >>> model.recommend([0], n=1), model.estimator_.recommend([0], n=1)
    (array([[4]]), array([[3]]))
    """

    _parameter_constraints: dict = {
        "estimator": [RecommenderMixin],
        "rerankers": [list, tuple],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, estimator, rerankers, *, n_candidates=100):
        self.estimator = estimator
        self.rerankers = rerankers
        self.n_candidates = n_candidates

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if isinstance(self.estimator, RecommenderMixin):
            wrapped = get_tags(self.estimator)
            tags.input_tags = wrapped.input_tags
            tags.recommender_tags = wrapped.recommender_tags
        tags.recommender_tags.ranks_by_score &= not self.rerankers
        return tags

    def _fitted_state(self):
        return {
            "interactions_": Interactions(),
            "n_features_in_": Size("n_items"),
            "feature_names_in_": Optional(Labels("n_items", strings=True)),
            "item_labels_": Optional(Labels("n_items")),
            "estimator_": Instance(RecommenderMixin, shared=True),
            "rerankers_": FittedRerankers(),
        }

    def get_params(self, deep=True) -> dict[str, Any]:
        """Get the parameters, and those of the recommender and the rerankers.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those of the recommender, as ``estimator__parameter``, and of the
            rerankers, as ``name__parameter``, too.

        Returns
        -------
        params : dict
            Parameter names and their values.
        """
        return self._get_params("rerankers", deep=deep)

    def set_params(self, **params) -> Self:
        """Set the parameters, and those of the recommender and the rerankers.

        Parameters
        ----------
        **params : dict
            Parameters by name: ``estimator__parameter`` for the recommender's,
            ``name__parameter`` for those of a reranker, ``name`` to replace one.

        Returns
        -------
        self : object
            The estimator.
        """
        self._set_params("rerankers", **params)
        return self

    # ---------------------------------------------------------------- fitting

    @fit_context(prefer_skip_nested_validation=False)  # the wrapped ones validate their parameters
    def partial_fit(self, X, y=None) -> Self:
        """Add new users, as if they had been the last rows of `X` in `fit`.

        The recommender and the rerankers are fitted again, to all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_new_users, n_items)
            The interactions of the new users. The first call is a `fit`.
        y : Ignored
            As in `fit`.

        Returns
        -------
        self : object
            The fitted estimator. A call that raises leaves a fitted one as it was.
        """
        if self.__sklearn_is_fitted__() and self._has_features:
            raise ValueError(
                "RerankedRecommender was fitted with user_features, which it does not keep: fit it "
                "on all users."
            )
        return self._add_users(X)

    @with_callbacks
    def _fit_interactions(self, X, y=None, user_features=None):
        self._check_rerankers()
        labels = self._labels_for_members()
        params = {} if user_features is None else {"user_features": user_features}
        with fit_progress(self, X, y) as progress:
            progress.begin(1)
            estimator = clone(self.estimator)
            with progress.member("estimator", estimator):
                self.estimator_ = _fitted(estimator, X, labels, self._user_labels, **params)
            self._fit_rerankers(X, labels)
        return self

    def _fit_rerankers(self, X, labels):
        """Fit the rerankers to the matrix of the fitted recommender, and keep it."""
        own = self.estimator_.interactions_
        if own.shape == X.shape and own.nnz == X.nnz and np.array_equal(own.data, X.data):
            X = own  # one matrix for both
        self.rerankers_ = [
            (name, _fitted(clone(reranker), X, labels, self._user_labels))
            for name, reranker in self.rerankers
        ]
        self._set_interactions(X)

    def _check_rerankers(self):
        """Raise unless the rerankers are named, and in an order that keeps their guarantees."""
        pairs = self.rerankers
        if not all(
            isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[1], Reranker)
            for pair in pairs
        ):
            raise ValueError(
                "The 'rerankers' parameter of RerankedRecommender must be a list of (name, "
                f"Reranker) pairs; got {pairs!r:.200}."
            )
        self._validate_names([name for name, _ in pairs])
        reads_scores = [name for name, reranker in pairs if reranker.reads_scores]
        if len(reads_scores) > 1:
            raise ValueError(
                f"The rerankers {reads_scores} all weigh scores, and each would undo the one "
                "before it: use one of them."
            )
        for name, reranker in pairs[:-1]:
            if reranker.comes_last:
                raise ValueError(
                    f"The reranker {name!r} requires items, which a later one could drop: put it "
                    "last."
                )

    def _check_portable(self):
        """Raise ValueError unless a file has given rerankers of the right form."""
        if not isinstance(self.rerankers, (list, tuple)):
            raise ValueError("its rerankers are not a list")
        self._check_rerankers()

    # ---------------------------------------------------------------- lists

    def _rank_block(self, histories, n, eligible):
        n_items = histories.X.shape[1]
        users = self._with_training_rows(histories)
        width = min(max(n, self.n_candidates), n_items)
        ids, scores = self.estimator_._rank_block(histories, width, eligible)
        lists, list_scores = self._reranked(ids, scores, n, users)
        is_good = self._is_met(lists, users) & (lists[:, min(n, n_items) - 1] >= 0)
        again = np.flatnonzero(~is_good & (ids[:, -1] >= 0)) if width < n_items else []
        for part in row_blocks(len(again), 64 * n_items):
            rows = again[part]
            ids, scores = self.estimator_._rank_block(histories[rows], n_items, eligible[rows])
            lists[rows], list_scores[rows] = self._reranked(ids, scores, n, users[rows])
        if not is_good.all():
            self._warn_of_unmet(lists, users)
        return lists, list_scores

    def _with_training_rows(self, histories):
        """Return the users with their training rows, if a reranker reads them."""
        reads_users = any(reranker.reads_users for _, reranker in self.rerankers_)
        if not reads_users or histories.training_rows is not None:
            return histories
        rows = self._training_rows(self._read(histories.X))
        return Histories(histories.X, training_rows=rows)

    def _reranked(self, ids, scores, n, users):
        """Return the lists that the rerankers make of candidates, and their scores."""
        n_weighed = max(n, self.n_candidates)
        for place, (_, reranker) in enumerate(self.rerankers_, start=1):
            width = n if place == len(self.rerankers_) else ids.shape[1]
            if reranker.reads_scores:
                head = min(n_weighed, ids.shape[1])
                best = ids[:, :head], scores[:, :head]
                positions = reranker.positions(*best, min(width, head), users)
                if width > head:  # the others follow as they are
                    tail = np.arange(head, ids.shape[1])[None].repeat(len(ids), axis=0)
                    positions = np.hstack([positions, tail])
            else:
                positions = reranker.positions(ids, scores, width, users)
            ids, scores = take(ids, positions, -1), take(scores, positions, -np.inf)
        shape = ((0, 0), (0, max(0, n - ids.shape[1])))
        ids = np.pad(ids[:, :n], shape, constant_values=-1)
        return ids, np.pad(scores[:, :n], shape, constant_values=-np.inf)

    def _is_met(self, lists, users):
        """Return whether each list has what the rerankers guarantee."""
        is_met = np.ones(len(lists), dtype=bool)
        for _, reranker in self.rerankers_:
            is_met &= reranker.is_met(lists, users)
        return is_met

    def _warn_of_unmet(self, lists, users):
        for name, reranker in self.rerankers_:
            if not reranker.is_met(lists, users).all():
                warn(
                    f"Some users have too few eligible items for the reranker {name!r} "
                    f"({type(reranker).__name__}): their lists have as many as there are."
                )

    def _why_not(self, histories, item, n, eligible):
        width = min(max(n, self.n_candidates), histories.X.shape[1])
        *stages, last = self.estimator_._why_not(histories, item, width, eligible)
        if eligible.why_not(histories.X, item) is not None:
            return [*stages, last]
        is_candidate = last.reason == "recommended"
        stages.append(last._replace(reason="candidate") if is_candidate else last)
        ids, scores = self._rank(histories, n, eligible)
        last_score = scores[0, np.flatnonzero(ids[0] != -1)[-1:]].max(initial=-np.inf)
        name, (slots,) = type(self).__name__, np.nonzero(ids[0] == item)
        if len(slots):
            stages.append(Stage(name, "recommended", slots[0] + 1, scores[0, slots[0]], last_score))
        elif is_candidate:
            stages.append(Stage(name, "reranked lower", -1, last.score, last_score))
        return stages

    # ---------------------------------------------------------------- the wrapped recommender

    @property
    def _has_features(self):
        return self.estimator_._has_features

    @property
    def _n_encoded_features(self):
        return self.estimator_._n_encoded_features

    def _with_features(self, histories, user_features):
        return self.estimator_._with_features(histories, user_features)

    def _scores(self, histories):
        return self.estimator_._scores(histories)

    def _scores_at(self, histories, rows, items):
        return self.estimator_._scores_at(histories, rows, items)

    def _in_rating_range(self, scores):
        return self.estimator_._in_rating_range(scores)

    def _explained(self, histories, rows, items):
        return self.estimator_._explained(histories, rows, items)

    @available_if(_estimator_has("similar_items"))
    def similar_items(self, items, n=10) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the items most similar to each of `items`, as the recommender does.

        Parameters
        ----------
        items : int or array-like of int of shape (n_queries,)
            Item indices.
        n : int, default=10
            Items per row.

        Returns
        -------
        ids : ndarray of int64 of shape (n_queries, n)
            Nearest first, except the item itself; −1 in empty slots.
        similarities : ndarray of float32 of shape (n_queries, n)
            Their similarities, −inf in empty slots.
        """
        return self.estimator_.similar_items(items, n)

    @available_if(_estimator_has("similar_users"))
    def similar_users(self, users=None, n=10) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the training users most similar to each of `users`, as the recommender does.

        Parameters
        ----------
        users : None, int, 1-D array-like of int or bool, or matrix, default=None
            As in `recommend`.
        n : int, default=10
            Users per row.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            Training rows, nearest first, except the user; −1 in empty slots.
        similarities : ndarray of float32 of shape (n_rows, n)
            Their similarities, −inf in empty slots.
        """
        return self.estimator_.similar_users(users, n)


def _fitted(estimator, X, labels, user_labels, **params):
    """Return an estimator, fitted to `X` while it knows the labels of the columns and the rows."""
    estimator._item_labels, estimator._user_labels = labels, user_labels
    try:
        estimator.fit(X, **params)
    finally:
        del estimator._item_labels, estimator._user_labels
    return estimator
