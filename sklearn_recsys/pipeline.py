"""A pipeline of transformers and a recommender."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn import config_context, get_config
from sklearn.base import _clone_parametrized
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.base import RecommenderMixin, UserFeaturesMixin
from sklearn_recsys.base._user_features import check_aligned
from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.utils._warnings import warn
from sklearn_recsys.utils.validation import check_csr, check_indices


def _model_has(name):
    """Return a check that the model at the end of the pipeline has a method."""

    def check(self):
        return hasattr(self.steps[-1][1], name)

    return check


class RecommenderPipeline(UserFeaturesMixin, Pipeline):
    """scikit-learn's Pipeline with a recommender at its end.

    Raw `X` decides what a user has seen, and `score` holds out raw interactions before anything is
    transformed. Every step keeps the shape (n_users, n_items).

    Parameters
    ----------
    steps : list of tuple of (str, estimator)
        Transformers and a recommender, as in :class:`sklearn.pipeline.Pipeline`.
    encoder : InteractionEncoder, default=None
        A fitted encoder whose `transform` made the training matrix. It is no step (a search would
        split events): it only translates ids, so that `recommend`, `similar_items` and `explain`
        take raw ids and return tidy frames of raw ids. Clones share it.
    transform_input : list of str, default=None
        As in :class:`sklearn.pipeline.Pipeline`.
    memory : str or object with the joblib.Memory interface, default=None
        Where fitted transformers are cached.
    verbose : bool, default=False
        Whether to print the time of each step.

    Attributes
    ----------
    interactions_ : csr_array of shape (n_users, n_items)
        The raw training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.

    See Also
    --------
    sklearn_recsys.preprocessing.InteractionEncoder : Events to matrices and back.

    Examples
    --------
    >>> from sklearn.preprocessing import Binarizer
    >>> from sklearn_recsys import EASE, RecommenderPipeline
    >>> from sklearn_recsys.datasets import make_movies
    >>> from sklearn_recsys.preprocessing import InteractionEncoder
    >>> movies = make_movies(n_users=50, n_items=40, random_state=0)
    >>> encoder = InteractionEncoder()
    >>> R = encoder.fit_transform(movies.interactions)
    >>> pipe = RecommenderPipeline(
    ...     [("like", Binarizer(threshold=3)), ("ease", EASE(l2=10))], encoder=encoder
    ... ).fit(R)
    >>> pipe.recommend(encoder.user_ids_[:1], n=2).columns.tolist()
    ['user', 'rank', 'item']
    """

    _parameter_constraints: dict = {**getattr(Pipeline, "_parameter_constraints", {})}

    def __init__(self, steps, encoder=None, *, transform_input=None, memory=None, verbose=False):
        super().__init__(steps, transform_input=transform_input, memory=memory, verbose=verbose)
        self.encoder = encoder

    def __sklearn_clone__(self):
        clone = _clone_parametrized(self)
        clone.encoder = self.encoder  # fitted: it stands for the meaning of rows and columns
        return clone

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if isinstance(self.steps[-1][1], RecommenderMixin):
            tags.recommender_tags = get_tags(self.steps[-1][1]).recommender_tags
        return tags

    def get_params(self, deep=True):
        """Get the parameters of the pipeline and its steps; not those of the shared encoder.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those of the steps, too.

        Returns
        -------
        params : dict
            Parameter names and their values.
        """
        params = super().get_params(deep)
        return {name: params[name] for name in params if not name.startswith("encoder__")}

    def set_params(self, **kwargs):
        """Set the parameters of the pipeline and its steps.

        Parameters
        ----------
        **kwargs : dict
            Parameters by name, ``step__parameter`` for those of a step.

        Returns
        -------
        self : object
            The pipeline.
        """
        shared = [name for name in kwargs if name.startswith("encoder__")]
        if shared:
            raise ValueError(
                f"{shared[0]} belongs to the encoder, which clones share: set it on the encoder, "
                "fit that, and fit the pipeline on what it returns."
            )
        return super().set_params(**kwargs)

    def set_output(self, *, transform=None):
        """Do nothing: the steps hand sparse matrices to the model, whatever is configured.

        Parameters
        ----------
        transform : str, default=None
            Ignored.

        Returns
        -------
        self : object
            The pipeline.
        """
        return self

    def __getitem__(self, ind):
        """Return a step, or a pipeline of some of the steps."""
        if not isinstance(ind, slice):
            return super().__getitem__(ind)
        steps = self.steps[ind]
        if not steps or steps[-1] is not self.steps[-1]:
            return Pipeline(steps, memory=self.memory, verbose=self.verbose)
        part = type(self)(steps, self.encoder, memory=self.memory, verbose=self.verbose)
        if self.__sklearn_is_fitted__():
            X = self.interactions_.copy()
            with config_context(transform_output="default"):
                for _, step in self.steps[: -len(steps)]:
                    X = X if step in (None, "passthrough") else step.transform(X)
            part.interactions_ = check_csr(X, dtype=np.float32)
            part.n_features_in_ = self.n_features_in_
        return part

    # Pipeline looks both up in its first step; here they belong to the raw matrix.

    @property
    def n_features_in_(self):
        """Number of items."""
        return self._n_items_

    @n_features_in_.setter
    def n_features_in_(self, value):
        self._n_items_ = value

    @property
    def feature_names_in_(self):
        """Names of the items."""
        return self._item_names_

    @feature_names_in_.setter
    def feature_names_in_(self, value):
        self._item_names_ = value

    @feature_names_in_.deleter
    def feature_names_in_(self):
        del self._item_names_

    # ---------------------------------------------------------------- fitting

    def fit(self, X, y=None, *, user_features=None, **params):
        """Fit the transformers one after the other, and the recommender at the end.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
            The raw interactions; zero means *not observed*.
        y : Ignored
            Exists so that scikit-learn's tools can carry held-out cells to `score`.
        user_features : array-like of shape (n_users, n_user_features), default=None
            Features of the users, for the recommender at the end; if metadata routing is enabled,
            it has to ask for them.
        **params : dict
            Parameters of the steps' `fit`, as in :class:`sklearn.pipeline.Pipeline`.

        Returns
        -------
        self : object
            The fitted pipeline.

        Raises
        ------
        TypeError
            If a step changes the shape of the matrix, or the last step is no recommender.
        """
        self._refuse_events(X)
        check_aligned(X, user_features)
        if user_features is not None:
            routed = get_config()["enable_metadata_routing"]
            name = "user_features" if routed else f"{self.steps[-1][0]}__user_features"
            params[name] = user_features
        return self._fit_matrix(X, **params)

    def partial_fit(self, X, y=None):
        """Add new users, as if they had been the last rows of `X` in `fit`: every step fits anew.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_new_users, n_items)
            The raw interactions of the new users. The first call is a `fit`.
        y : Ignored
            As in `fit`.

        Returns
        -------
        self : object
            The fitted pipeline.
        """
        if self.__sklearn_is_fitted__() and self._has_features:
            raise ValueError(
                "The pipeline was fitted with user_features, which it does not keep: fit it on "
                "all users."
            )
        return RecommenderMixin.partial_fit(self, X)

    def _refuse_events(self, X):
        """Refuse a frame of events, whose columns the encoder knows."""
        if self._is_events(X):
            raise ValueError(
                f"X is a frame of events (columns {list(X.columns)}), but a user × item matrix was "
                "expected: fit the pipeline on encoder.transform(events)."
            )

    def _is_events(self, X):
        named = {self.encoder.user, self.encoder.item} if self.encoder is not None else {None}
        return named <= set(getattr(X, "columns", ()))

    def _fit_interactions(self, X, **params):
        name, model = self.steps[-1]
        if not isinstance(model, RecommenderMixin):
            raise TypeError(
                f"The last step of a RecommenderPipeline must be a recommender; step {name!r} is "
                f"{type(model).__name__}."
            )
        if not X.nnz:
            raise ValueError("X holds no interaction: every cell is zero (not observed).")
        try:
            with config_context(transform_output="default"):  # frames can't hold sparse matrices
                Pipeline.fit(self, X.copy(), None, **params)  # a step may work in place
        except Exception:
            self._check_shapes(X)  # a step that changed the shape is the likelier reason
            raise
        self._check_shapes(X)
        read = model.interactions_
        if model._values == "rating" and not np.array_equal(read.data, X.data):
            warn(
                f"{type(model).__name__} predicts ratings, but the steps before it change the "
                "values: predictions and rating metrics are not in the units of X.",
                ValuesWarning,
            )
        self.interactions_ = X
        return self

    def _check_shapes(self, X):
        """Raise TypeError if a fitted step changes the shape of a matrix."""
        X = X[:1].copy()
        for _, name, step in self._iter(with_final=False):
            try:
                check_is_fitted(step)
                transformed = step.transform(X)
            except Exception:
                return
            if transformed.shape != X.shape:
                raise TypeError(
                    f"Step {name!r} ({type(step).__name__}) changes the shape of the matrix: a row "
                    f"of {X.shape[1]} items became {transformed.shape[1]} columns. Every step "
                    "before a recommender must keep (n_users, n_items)."
                )
            X = transformed

    # ---------------------------------------------------------------- scores

    @property
    def _model(self):
        return self.steps[-1][1]

    def _read(self, X):
        return X

    def _transformed(self, X):
        X = X.copy()  # a step may work in place
        with config_context(transform_output="default"):
            for _, _, step in self._iter(with_final=False):
                X = step.transform(X)
        return check_csr(X, dtype=np.float32)

    @property
    def _has_features(self):
        return self._model._has_features

    def _checked_features(self, features, n_rows, rows=None):
        return self._model._checked_features(features, n_rows, rows)

    def _scores(self, X, features=None):
        return self._model._scores(self._transformed(X), features)

    def _scores_at(self, X, rows, items, features=None):
        return self._model._scores_at(self._transformed(X), rows, items, features)

    def _in_rating_range(self, scores):
        return self._model._in_rating_range(scores)

    # ---------------------------------------------------------------- raw ids

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
        """Recommend items, best first.

        Parameters
        ----------
        users : None, 1-D array-like, matrix or DataFrame, default=None
            Without an encoder as in every recommender. With one: None for every training user; raw
            user ids; a frame of events, the histories of anyone; or a matrix of histories.
        n : int, default=10
            Items per row.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of `users`, if the model was fitted with some. Training users keep those
            of `fit` if none are passed.
        exclude_seen : bool, default=True
            Whether to leave out the items of the row's own raw history.
        candidates : array-like or sparse, default=None
            Recommend nothing but these items, in the forms that every recommender takes. With an
            encoder: 1-D raw item ids for everyone, a boolean mask over the items, or a sparse or
            boolean matrix with a row each.
        exclude : array-like or sparse, default=None
            Never recommend these items; forms as in `candidates`.
        return_scores : bool, default=False
            Whether to return the scores, too.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n), or DataFrame
            Item indices by falling score, −1 in empty slots. With an encoder: a frame of the user,
            the rank from 1 and the item, as raw ids, with the score if `return_scores`; for a
            matrix of histories its row takes the place of the user.
        scores : ndarray of float32 of shape (n_rows, n)
            Only if `return_scores` and there is no encoder.
        """
        if self.encoder is None:
            return super().recommend(
                users,
                n,
                user_features=user_features,
                exclude_seen=exclude_seen,
                candidates=candidates,
                exclude=exclude,
                return_scores=return_scores,
            )
        histories, labels, name = self._encoded(users)
        ids, scores = super().recommend(
            histories,
            n,
            user_features=user_features,
            exclude_seen=exclude_seen,
            candidates=self._encoded_items(candidates),
            exclude=self._encoded_items(exclude),
            return_scores=True,
        )
        frame = self.encoder.decode(ids, scores=scores if return_scores else None, users=labels)
        return frame.rename(columns={self.encoder.user: name})

    def _encoded(self, users):
        """Return what raw `users` are to the models, labels of the rows, and a name for these."""
        self._check_encoder()
        user = self.encoder.user
        if users is None:
            return None, self.encoder.user_ids_, user
        if self._is_events(users):
            return *self.encoder.transform_histories(users), user
        if sp.issparse(users) or np.ndim(users) >= 2:
            histories, _ = self._histories(users)
            labels = users.index if hasattr(users, "columns") else np.arange(histories.shape[0])
            return histories, labels, "row"
        users = np.atleast_1d(users)
        return self.encoder.encode_users(users), users, user

    def _encoded_items(self, items):
        """Return what raw `candidates` or `exclude` are to the models."""
        if items is None or sp.issparse(items) or np.asarray(items).dtype == bool:
            return items
        if np.ndim(items) != 1:
            raise ValueError(
                "With an encoder candidates and exclude are 1-D raw item ids for everyone, or a "
                f"sparse or boolean matrix with a row each; got shape {np.shape(items)}."
            )
        return self.encoder.encode_items(items)

    def _check_encoder(self):
        check_is_fitted(self)
        check_is_fitted(self.encoder)
        known = (len(self.encoder.user_ids_), len(self.encoder.item_ids_))
        if known != self.interactions_.shape:
            raise ValueError(
                f"The encoder knows {known[0]} users and {known[1]} items, but the pipeline was "
                f"fitted on a matrix of shape {self.interactions_.shape}: fit it on what "
                "encoder.transform returns."
            )

    @available_if(_model_has("similar_items"))
    def similar_items(self, items, n=10):
        """Return the items most similar to each of `items`.

        Parameters
        ----------
        items : scalar or array-like of shape (n_asked,)
            Item indices; raw item ids if there is an encoder.
        n : int, default=10
            Items per row.

        Returns
        -------
        ids : ndarray of int64 of shape (n_asked, n)
            Nearest first, the item itself left out; −1 in empty slots.
        similarities : ndarray of float32 of shape (n_asked, n)
            Their similarities, −inf in empty slots. With an encoder, one frame takes the place of
            both: the raw item, the rank from 1, the raw id of the similar item, the score.
        """
        check_is_fitted(self)
        if self.encoder is None:
            return self._model.similar_items(items, n)
        self._check_encoder()
        items = np.atleast_1d(items)
        ids, scores = self._model.similar_items(self.encoder.encode_items(items), n)
        frame = self.encoder.decode(ids, scores=scores, users=items)
        similar = f"similar_{self.encoder.item}"
        return frame.rename(
            columns={self.encoder.item: similar, self.encoder.user: self.encoder.item}
        )

    @available_if(_model_has("similar_users"))
    def similar_users(self, users=None, n=10):
        """Return the training users most similar to each of `users`.

        Parameters
        ----------
        users : None, 1-D array-like or matrix, default=None
            As in `recommend` without an encoder: training rows, or the histories of anyone.
        n : int, default=10
            Users per row.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            Training rows, nearest first, the user left out; −1 in empty slots.
        similarities : ndarray of float32 of shape (n_rows, n)
            Their similarities, −inf in empty slots.
        """
        check_is_fitted(self)
        X, rows = self._histories(users)
        return self._model.similar_users(self._transformed(X) if rows is None else rows, n)

    @available_if(_model_has("explain"))
    def explain(self, X, row, item):
        """Explain a score by the items of the history.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            Raw histories of known or new users; with an encoder also what `recommend` takes as
            users.
        row : int
            The row of `X`.
        item : int or raw item id
            The item whose score is to be explained: its index, or with an encoder its raw id.

        Returns
        -------
        items : ndarray of int64 of shape (n_history,)
            The items of the row's history, the greatest contribution first.
        contributions : ndarray of float32 of shape (n_history,)
            What each adds to the score of `item`. With an encoder, one frame takes the place of
            both: the raw items and their contributions.
        """
        check_is_fitted(self)
        if self.encoder is not None:
            X, _, _ = self._encoded(X)
            (item,) = self.encoder.encode_items([item])
        X, _ = self._histories(X)
        (row,) = check_indices([row], X.shape[0], name="row", what="row")
        items, contributions = self._model.explain(self._transformed(X[[row]]), 0, item)
        if self.encoder is None:
            return items, contributions
        raw = self.encoder.item_ids_[items]
        return pd.DataFrame({self.encoder.item: raw, "contribution": contributions})
