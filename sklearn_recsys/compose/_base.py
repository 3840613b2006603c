"""What recommenders made of recommenders share: named members, their fits and their features."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils import Bunch, get_tags
from sklearn.utils.metaestimators import _BaseComposition

from sklearn_recsys.base import RecommenderMixin, UserFeaturesMixin
from sklearn_recsys.base._histories import Histories
from sklearn_recsys.base._user_features import check_aligned
from sklearn_recsys.compose._training import hold_out
from sklearn_recsys.utils._sklearn import VisualBlock, fit_context, safe_indexing
from sklearn_recsys.utils._state import FittedModels
from sklearn_recsys.utils.progress import progress

_KINDS = ("order", "weight", "rating", "binary")  # of values; the members' first one is read


class BaseComposite(UserFeaturesMixin, _BaseComposition):
    """Base class of recommenders that combine the scores of named recommenders.

    A composite has a parameter ``estimators``, a list of (name, recommender), whose clones are
    fitted to the same matrix, and are `estimators_` then. It implements ``_score_items`` by means
    of `_histories_of_members`. One that learns from the members' scores implements ``_learn``.
    """

    _members_param = "estimators"  # the name of that parameter

    @property
    def named_estimators_(self):
        """The fitted recommenders by name, a :class:`sklearn.utils.Bunch`."""
        return Bunch(**dict(zip(self._names(), self.estimators_, strict=True)))

    def get_params(self, deep=True) -> dict[str, Any]:
        """Get the parameters, and those of the recommenders.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those of the recommenders, too, as ``name__parameter``.

        Returns
        -------
        params : dict
            Parameter names and their values.
        """
        return self._get_params(self._members_param, deep=deep)

    def set_params(self, **params) -> Self:
        """Set the parameters, and those of the recommenders.

        Parameters
        ----------
        **params : dict
            Parameters by name: ``name__parameter`` for those of a recommender, ``name`` to replace
            one.

        Returns
        -------
        self : object
            The estimator.
        """
        self._set_params(self._members_param, **params)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        members = [get_tags(model).recommender_tags for model in self._members()]
        if members:
            own = tags.recommender_tags
            read = {member.values for member in members}
            own.values = next(kind for kind in _KINDS if kind in read)
            if own.values == "rating" and len(read) > 1:
                own.values = "weight"  # a ranking, whose scores have no unit
            own.personalized = any(member.personalized for member in members)
            own.exact = all(member.exact for member in members)
        return tags

    @property
    def _given_members(self):
        return getattr(self, self._members_param)

    def _members(self):
        """Return the recommenders among the `estimators` parameter, whatever its value is."""
        given = self._given_members if isinstance(self._given_members, (list, tuple)) else []
        pairs = [pair for pair in given if isinstance(pair, (list, tuple)) and len(pair) == 2]
        return [model for _, model in pairs if isinstance(model, RecommenderMixin)]

    def _names(self):
        return [name for name, _ in self._given_members]

    def _sk_visual_block_(self):
        members = self._given_members
        return VisualBlock(
            "parallel",
            [model for _, model in members],
            names=[f"{name}: {type(model).__name__}" for name, model in members],
            name_details=[str(model) for _, model in members],
            dash_wrapped=False,
        )

    def _fitted_state(self):
        own = {"user_features_", "n_user_features_in_", "user_feature_names_in_"}
        state = {name: rule for name, rule in super()._fitted_state().items() if name not in own}
        return {**state, "estimators_": FittedModels()}

    def _check_portable(self):
        """Raise ValueError unless a file has given `estimators` of the right form."""
        self._check_estimators(ValueError)

    def _check_estimators(self, error=TypeError):
        """Raise an error unless `estimators` is a list of pairs of a name and a recommender."""
        given = self._given_members
        if not given or len(self._members()) != len(given):
            raise error(
                f"{self._members_param} of {type(self).__name__} must be a list of (name, "
                f"recommender) pairs, with at least one; got {given!r:.100}."
            )
        self._validate_names(self._names())

    # ---------------------------------------------------------------- fitting

    @fit_context(prefer_skip_nested_validation=False)  # the recommenders validate their parameters
    def fit(self, X, y=None, *, user_features=None) -> Self:
        """Fit clones of the recommenders to a user × item matrix.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
            The interactions; zero means *not observed*. CSR is the native form.
        y : Ignored
            Exists so that scikit-learn's tools can carry held-out cells to `score`.
        user_features : {array-like, sparse matrix, sparse array, DataFrame} of shape \
                (n_users, n_user_features), default=None
            A row for each row of `X`, in its order, for the recommenders that read such features.

        Returns
        -------
        self : object
            The fitted estimator. A fit that raises leaves it unfitted.
        """
        self._forget()
        check_aligned(X, user_features)
        return self._fit_matrix(X, y=y, user_features=user_features)

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X, y=None) -> Self:
        """Add new users, as if they had been the last rows of `X` in `fit`.

        The recommenders are fitted again, to all rows.

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
                f"{type(self).__name__} was fitted with user_features, which it does not keep: "
                "fit it on all users."
            )
        return self._add_users(X)

    _has_tasks = True
    _learns = False  # whether `_learn` fits the members, too

    def _fit_interactions(self, X, y=None, user_features=None):
        # not UserFeaturesMixin's: the members encode and keep the features, each in its own way
        self._check_estimators()
        return RecommenderMixin._fit_interactions(self, X, y, user_features=user_features)

    def _fit(self, X, user_features=None):
        if user_features is not None and not self._reads_user_features():
            raise ValueError(f"No recommender of {type(self).__name__} reads user_features.")
        self._progress.begin(len(self._members()) * (2 if self._learns else 1))
        self._learn(X, user_features)
        self._fit_members(X, user_features)
        if not self._has_features:  # or no user counts as one without a history
            self._fallback_ = self._score_items(sp.csr_array((1, X.shape[1]), dtype=np.float32))[0]

    def _reads_user_features(self):
        return any(map(_reads_features, self._members()))

    def _learn(self, X, user_features):
        """Set the fitted attributes that are learned from the scores of the members.

        It may fit the members to a part of `X`: all of them are fitted to `X` afterwards.
        """

    def _fit_to_the_rest(self, X, user_features):
        """Fit the members to `X` without held-out cells; return histories and these cells.

        For composites that have the parameters `holdout` and `held_out`.
        """
        held = hold_out(
            X,
            self.holdout,
            of="users" if self.held_out == "users" else "cells",
            latest=self._values == "order",
            name=type(self).__name__,
        )
        own = None
        if user_features is not None:
            own = safe_indexing(user_features, held.rows)
            user_features = safe_indexing(user_features, held.fit_rows)
        self._fit_members(held.X_fit, user_features, held.fit_rows)
        return self._with_features(Histories(held.X_input), own), held.y

    def _fit_members(self, X, user_features=None, rows=None):
        """Fit the members to a matrix with these rows of the training matrix; None: all."""
        members = list(zip(self._names(), self._members(), strict=True))
        shown = progress(members, type(self).__name__, len(members), unit="recommender")
        self.estimators_ = [self._fit_member(*member, X, user_features, rows) for member in shown]

    def _fit_member(self, name, model, X, user_features=None, rows=None):
        """Return a clone of a recommender, fitted to `X`, whose arrays it shares if it can."""
        model = clone(model)
        params = {}
        if user_features is not None and _reads_features(model):
            params["user_features"] = user_features
        model._item_labels = self._labels_for_members()
        model._user_labels = self._user_labels
        if rows is not None and self._user_labels is not None:
            ids, column = self._user_labels
            model._user_labels = ids if ids is None else ids[rows], column
        try:
            with self._progress.member(name, model):
                model.fit(X, **params)
        finally:
            del model._item_labels, model._user_labels
        own = model.interactions_
        if own.nnz == X.nnz and own.dtype == X.dtype and np.array_equal(own.data, X.data):
            model._set_interactions(X)
        return model

    # ---------------------------------------------------------------- features of users

    @property
    def _has_features(self):
        return any(model._has_features for model in self.estimators_)

    def _with_features(self, histories, user_features):
        """Return users with the encoded features of all members side by side."""
        if user_features is not None and not self._has_features:
            raise ValueError(
                f"user_features were passed, but {type(self).__name__} was fitted without any."
            )
        encoded = [
            model._with_features(histories, user_features).user_features
            for model in self.estimators_
            if model._has_features
        ]
        if not encoded:
            return histories
        return Histories(histories.X, np.hstack(encoded), histories.training_rows)

    def _histories_of_members(self, X, user_features=None):
        """Yield each member with the users as it reads them."""
        start = 0
        for model in self.estimators_:
            own = None
            if model._has_features:
                n_columns = model._n_encoded_features
                own = user_features[:, start : start + n_columns]
                start += n_columns
            yield model, Histories(X, own)

    @property
    def _n_encoded_features(self):
        """Number of columns that `_with_features` returns."""
        return sum(model._n_encoded_features for model in self.estimators_ if model._has_features)


def _reads_features(model):
    """Return whether a recommender, or the one at the end of a pipeline, reads user features."""
    return isinstance(getattr(model, "_model", model), UserFeaturesMixin)
