"""Features of users in addition to their histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from sklearn_recsys.base._histories import Histories
from sklearn_recsys.base._recommender import RecommenderMixin
from sklearn_recsys.utils._docstrings import documented_like
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._labels import check_same_rows, column_labels, same_labels
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._sklearn import fit_context, get_feature_names
from sklearn_recsys.utils._sparse import as_csr
from sklearn_recsys.utils._state import Array, Labels, Maybe, Optional, Size

if TYPE_CHECKING:
    import pandas as pd

_FEATURES_OF_X = """\
user_features : array-like of shape (n_rows, n_user_features), default=None
    The features of the rows of `X`, if the model was fitted with some."""
_FEATURES_OF_USERS = """\
user_features : array-like of shape (n_rows, n_user_features), default=None
    The features of `users`, if the model was fitted with some. Training users keep those of `fit`
    if none are passed."""


class UserFeaturesMixin(RecommenderMixin):
    """Mixin for recommenders that read features of users in addition to their histories.

    `fit`, `predict`, `predict_pairs`, `recommend`, `score`, `explain` and `why_not` take
    ``user_features``, a row for each row of `X`; scikit-learn's metadata routing passes them
    through searches. A model fitted without features needs none and is a recommender like any
    other. A model inherits from this mixin before its other bases, reads the training users'
    features from `user_features_` (None without features) while it is fitted, and implements
    ``_score_items(X, user_features=None)``. Features may be anything that
    ``_encode_features(features, reset)`` turns into a float32 array; by default they are numbers.
    Users with an empty history are scored by the model if they have features.

    See Also
    --------
    RecommenderMixin : The contract of every recommender.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_recsys.base import UserFeaturesMixin
    >>> class LikedByGroup(UserFeaturesMixin, BaseEstimator):
    ...     def _fit(self, X):
    ...         self.sums_ = self.user_features_.T @ X  # (n_groups, n_items)
    ...
    ...     def _score_items(self, X, user_features=None):
    ...         return user_features @ self.sums_
    >>> R = csr_array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]])
    >>> groups = np.array([[1, 0], [1, 0], [0, 1]])
    >>> model = LikedByGroup().fit(R, user_features=groups)
    >>> model.recommend(csr_array((1, 4)), n=2, user_features=[[0, 1]])
    array([[2, 3]])
    """

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, user_features=None) -> Self:
        """Fit to a user × item matrix and features of the users.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
            The interactions; zero means *not observed*. CSR is the native form.
        y : Ignored
            Exists so that scikit-learn's tools can carry held-out cells to `score`.
        user_features : {array-like, sparse matrix, sparse array, DataFrame} of shape \
                (n_users, n_user_features), default=None
            A row for each row of `X`, in its order. None: the model uses the histories alone.

        Returns
        -------
        self : object
            The fitted estimator. A fit that raises leaves it unfitted.
        """
        self._forget()
        check_aligned(X, user_features)
        return self._fit_matrix(X, y=y, user_features=user_features)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, *, user_features=None) -> Self:
        """Train for more epochs on the given interactions.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
            The interactions. The first call is a `fit`.
        y : Ignored
            As in `fit`.
        user_features : array-like of shape (n_users, n_user_features), default=None
            As in `fit`; those of the rows of this `X`.

        Returns
        -------
        self : object
            The fitted estimator. A call that raises leaves a fitted one as it was.
        """
        check_aligned(X, user_features)
        if not self.__sklearn_is_fitted__():
            return self._fit_matrix(X, y=y, user_features=user_features)
        X = self._checked(X, copy=True)
        features = self._with_features(Histories(X), user_features).user_features
        return self._refit(X, y=y, user_features=features, resume=True)

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "user_features_": Maybe(Array("n_users", "n_features")),
            "n_user_features_in_": Optional(Size("n_features")),
            "user_feature_names_in_": Optional(Labels("n_features")),
        }

    def _fit_interactions(self, X, user_features=None, **params):
        if not params.get("resume"):
            user_features = self._make_features(user_features, X.shape[0], reset=True)
        self.user_features_ = user_features
        return super()._fit_interactions(X, **params)

    def _make_features(self, features, n_rows, reset):
        """Return features as the model reads them; raise ValueError if the lengths differ."""
        if features is None:
            return None
        if is_frame(features):
            features = as_pandas_frame(features, "user_features")
        encoded = self._encode_features(as_csr(features, "user_features"), reset)
        if encoded.shape[0] != n_rows:
            raise ValueError(
                f"user_features must have a row for each row of X: expected {n_rows}, got "
                f"{encoded.shape[0]}."
            )
        return encoded

    def _encode_features(self, features, reset):
        """Return features as a float32 array; `reset` is True in `fit`."""
        names = column_labels(features)
        names = get_feature_names(features) if names is None else names
        with np.errstate(over="ignore"):  # check_array refuses values too large for float32
            features = check_array(
                features,
                accept_sparse="csr",
                dtype=np.float32,
                copy=True,
                input_name="user_features",
            )
        if reset:
            self.n_user_features_in_ = features.shape[1]
            if names is not None:
                self.user_feature_names_in_ = names
        fitted = getattr(self, "user_feature_names_in_", None)
        if names is not None and fitted is not None and not same_labels(names, fitted):
            raise ValueError(
                "The columns of user_features must be those seen in fit, in their order: "
                f"{list(fitted)}; got {list(names)}."
            )
        if features.shape[1] != self.n_user_features_in_:
            raise ValueError(
                f"user_features has {features.shape[1]} columns, but {type(self).__name__} was "
                f"fitted with {self.n_user_features_in_}."
            )
        if not isinstance(features, np.ndarray):
            size = 4 * features.shape[0] * features.shape[1]
            check_memory(size, "user_features, as a dense array,", "Use fewer features.")
            features = features.toarray()
        return features

    @property
    def _has_features(self):
        return self.user_features_ is not None

    @property
    def _n_encoded_features(self):
        """Number of columns of the features as the model reads them."""
        return self.user_features_.shape[1]

    def _with_features(self, histories, user_features):
        X, rows = histories.X, histories.training_rows
        if user_features is not None and not self._has_features:
            raise ValueError(
                f"user_features were passed, but {type(self).__name__} was fitted without any."
            )
        if not self._has_features:
            return histories
        if user_features is not None:
            return Histories(X, self._make_features(user_features, len(histories), False), rows)
        if rows is None:
            raise ValueError(
                f"{type(self).__name__} was fitted with user_features: pass those of these users, "
                "too."
            )
        return Histories(X, self.user_features_[rows], rows)

    @documented_like(RecommenderMixin.predict, _FEATURES_OF_X)
    def predict(self, X, *, user_features=None) -> NDArray[np.float32]:
        check_aligned(X, user_features)
        return self._predict(self._checked_histories(X, user_features))

    @documented_like(RecommenderMixin.predict_pairs, _FEATURES_OF_X)
    def predict_pairs(self, X, rows, items, *, user_features=None) -> NDArray[np.float32]:
        check_aligned(X, user_features)
        return self._predict_pairs(self._checked_histories(X, user_features), rows, items)

    @overload
    def recommend(
        self,
        users=...,
        n=...,
        *,
        user_features=...,
        exclude_seen=...,
        candidates=...,
        exclude=...,
        return_scores: Literal[False] = ...,
    ) -> NDArray[np.int64]: ...

    @overload
    def recommend(
        self,
        users=...,
        n=...,
        *,
        user_features=...,
        exclude_seen=...,
        candidates=...,
        exclude=...,
        return_scores: Literal[True],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...

    @overload
    def recommend(
        self,
        users=...,
        n=...,
        *,
        user_features=...,
        exclude_seen=...,
        candidates=...,
        exclude=...,
        return_scores: bool,
    ) -> NDArray[np.int64] | tuple[NDArray[np.int64], NDArray[np.float32]]: ...

    @documented_like(RecommenderMixin.recommend, _FEATURES_OF_USERS)
    def recommend(
        self,
        users=None,
        n=10,
        *,
        user_features=None,
        exclude_seen=True,
        candidates=None,
        exclude=None,
        return_scores=False,
    ):
        check_aligned(users, user_features)
        histories = self._histories(users, user_features)
        items = {"exclude_seen": exclude_seen, "candidates": candidates, "exclude": exclude}
        ids, scores = self._recommend(users, histories, n, **items)
        return (ids, scores) if return_scores else ids

    @documented_like(RecommenderMixin.score, _FEATURES_OF_X)
    def score(
        self,
        X,
        y=None,
        *,
        user_features=None,
        metric=None,
        k=10,
        exclude_seen=True,
        candidates=None,
    ) -> float:
        check_aligned(X, user_features)
        options = {"exclude_seen": exclude_seen, "candidates": candidates}
        return self._score(X, y, metric, k=k, user_features=user_features, **options)

    @documented_like(RecommenderMixin.explain, _FEATURES_OF_USERS)
    def explain(self, users, items, *, user_features=None) -> pd.DataFrame:
        check_aligned(users, user_features)
        return self._explain(self._histories(users, user_features), items)

    @documented_like(RecommenderMixin.why_not, _FEATURES_OF_USERS.replace("`users`", "`user`"))
    def why_not(
        self,
        user,
        item,
        n=10,
        *,
        user_features=None,
        exclude_seen=True,
        candidates=None,
        exclude=None,
    ) -> pd.DataFrame:
        check_aligned(user, user_features)
        histories = self._histories(user, user_features)
        items = {"exclude_seen": exclude_seen, "candidates": candidates, "exclude": exclude}
        return self._why_not_frame(user, histories, item, n, **items)


def check_aligned(X, features):
    """Raise ValueError if the index of a frame of features differs from that of the histories."""
    if hasattr(X, "columns"):  # a Series holds training rows
        check_same_rows(X, features, "user_features")
