"""A pipeline of transformers and a recommender."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn import config_context, get_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.base._user_features import check_aligned
from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.pipeline._raw_ids import RawIdsMixin
from sklearn_recsys.pipeline._translation import RawIds
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._ids import as_index, is_default_index, missing_ids
from sklearn_recsys.utils._sklearn import clone_parametrized
from sklearn_recsys.utils._state import Interactions, Labels, Optional, Size
from sklearn_recsys.utils._warnings import warn
from sklearn_recsys.utils.validation import check_csr


class RecommenderPipeline(RawIdsMixin, Pipeline):
    """Pipeline of scikit-learn with a recommender at its end.

    Raw `X` decides what a user has seen, and `score` holds out raw interactions before anything is
    transformed. Every step keeps the shape (n_users, n_items).

    Parameters
    ----------
    steps : list of tuple of (str, estimator)
        Transformers and a recommender, as in :class:`sklearn.pipeline.Pipeline`.
    encoder : InteractionEncoder, default=None
        A fitted encoder whose `transform` made the training matrix. It is not a step, because a
        search splits users, not events: it translates, so that every method takes and returns raw
        ids. Clones share it. Frames of user and item features are aligned with its ids.
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
    user_ids_ : ndarray of shape (n_users,)
        Raw ids of the training users, if `partial_fit` added users that the encoder does not have.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    make_recommender_pipeline : Make a pipeline with generated names of the steps.
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
        clone = clone_parametrized(self)
        clone.encoder = self.encoder  # fitted: it defines what rows and columns mean
        return clone

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.steps and isinstance(self.steps[-1][1], RecommenderMixin):
            tags.recommender_tags = get_tags(self.steps[-1][1]).recommender_tags
        return tags

    def _fitted_state(self):
        return {
            "interactions_": Interactions(),
            "_n_items_": Size("n_items"),
            "_item_names_": Optional(Labels("n_items", strings=True)),
            "item_labels_": Optional(Labels("n_items")),
            "user_ids_": Optional(Labels("n_users")),
        }

    def get_params(self, deep=True) -> dict[str, Any]:
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

    def set_params(self, **kwargs) -> Self:
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
        own = self.get_params()
        for name in {*kwargs} - {*own}:
            meant = [other for other in own if other.endswith(f"__{name}")]
            if meant:
                raise ValueError(
                    f"Invalid parameter {name!r} of a pipeline: parameters of a step begin with "
                    f"its name, as in {meant[0]!r}."
                )
        return super().set_params(**kwargs)

    def _sk_visual_block_(self):
        block = Pipeline._sk_visual_block_(self)
        if self.encoder is not None:
            block.estimators = (self.encoder, *block.estimators)
            block.names = (f"encoder: {type(self.encoder).__name__}", *block.names)
            block.name_details = (str(self.encoder), *block.name_details)
        return block

    def set_output(self, *, transform=None) -> Self:
        """Do nothing: the steps always pass sparse matrices to the model.

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
        last_steps = type(self)(steps, self.encoder, memory=self.memory, verbose=self.verbose)
        if self.__sklearn_is_fitted__():
            X = self.interactions_.copy()
            with config_context(transform_output="default"):
                for _, step in self.steps[: -len(steps)]:
                    X = X if step in (None, "passthrough") else step.transform(X)
            last_steps._set_interactions(check_csr(X, dtype=np.float32))
            last_steps.n_features_in_ = self.n_features_in_
        return last_steps

    # Pipeline delegates these attributes to its first step; here they describe the raw matrix.

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

    def fit(self, X, y=None, *, user_features=None, **params) -> Self:
        """Fit the transformers one after the other, and the recommender at the end.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
            The raw interactions; zero means *not observed*.
        y : Ignored
            Exists so that scikit-learn's tools can carry held-out cells to `score`.
        user_features : array-like of shape (n_users, n_user_features), default=None
            Features of the users, for the recommender at the end; if metadata routing is enabled,
            it has to request them. With an encoder the rows of a frame are matched by the raw user
            ids in its index, in any order.
        **params : dict
            Parameters of the steps' `fit`, as in :class:`sklearn.pipeline.Pipeline`.

        Returns
        -------
        self : object
            The fitted pipeline.

        Raises
        ------
        TypeError
            If a step changes the shape of the matrix, or the last step is not a recommender.
        """
        if not self.steps:
            raise ValueError("The pipeline has no steps; its last one must be a recommender.")
        are_pairs = isinstance(self.steps, (list, tuple)) and all(
            isinstance(step, (list, tuple)) and len(step) == 2 for step in self.steps
        )
        if not are_pairs:
            raise TypeError(
                f"steps must be a list of (name, estimator) pairs; got {self.steps!r:.100}."
            )
        if not (self.encoder is None or isinstance(self.encoder, InteractionEncoder)):
            raise TypeError(
                "encoder must be the fitted InteractionEncoder that made the matrix, or None; got "
                f"{self.encoder!r}."
            )
        for name, step in self.steps:
            if isinstance(step, InteractionEncoder):
                raise TypeError(
                    f"Step {name!r} is an InteractionEncoder, but a search would then split events "
                    "instead of users: pass RecommenderPipeline(steps, encoder=encoder) the fitted "
                    "encoder, and fit the pipeline on encoder.fit_transform(events)."
                )
        self._refuse_events(X)
        if self.encoder is not None:
            X, user_features = self._aligned(X, user_features)
        else:
            check_aligned(X, user_features)
        if user_features is not None:
            routed = get_config()["enable_metadata_routing"]
            name = "user_features" if routed else f"{self.steps[-1][0]}__user_features"
            params[name] = user_features
        return self._fit_matrix(X, **params)

    def partial_fit(self, X, y=None) -> Self:
        """Add new users, as if they had been the last rows of `X` in `fit`.

        Copies of the steps are fitted to all rows, and replace the steps.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_new_users, n_items)
            The raw interactions of the new users. The first call is a `fit`. With an encoder a
            frame of their events, or of histories with raw user ids as its index; other methods
            then accept these ids.
        y : Ignored
            As in `fit`.

        Returns
        -------
        self : object
            The fitted pipeline. A call that raises leaves a fitted one, and its steps, as it was.
        """
        if self.__sklearn_is_fitted__() and self._has_features:
            raise ValueError(
                "The pipeline was fitted with user_features, which it does not keep: fit it on "
                "all users."
            )
        if self.encoder is None or not self.__sklearn_is_fitted__():
            self._refuse_events(X)
            return self._add_users(X)
        X, ids = self._new_users(X)
        self._add_users(X)
        self.user_ids_ = ids
        return self

    def _new_users(self, X):
        """Return the histories of new users, and the raw ids of all users."""
        raw = RawIds(self)
        users = raw.users(as_pandas_frame(X, "X")) if is_frame(X) else None
        if users is None or (users.name == "row" and is_default_index(users.labels)):
            raise ValueError(
                "New users need raw ids, which a matrix does not have: pass a frame of their "
                "events, or of histories with the users as its index."
            )
        fitted, new = as_index(raw.user_ids, "user"), as_index(users.labels, "user")
        repeated = new[new.duplicated() | new.isin(fitted)]
        if len(repeated):
            raise ValueError(
                f"partial_fit adds new users, but {len(repeated)} of these ids are repeated or are "
                f"training users: {missing_ids(repeated)}. To add events of training users, fit on "
                "all events."
            )
        return users.argument, np.asarray(fitted.append(new))

    def _working_copy(self):
        new = super()._working_copy()
        new.steps = [
            (
                name,
                step._working_copy()
                if isinstance(step, RecommenderMixin)
                else clone(step, safe=False),
            )
            for name, step in self.steps
        ]
        return new

    def _refuse_events(self, X):
        """Refuse a frame of events, whose columns the encoder knows."""
        if self.encoder is None or not is_frame(X):
            return
        columns = list(as_pandas_frame(X, "X").columns)
        if {self.encoder.user, self.encoder.item} <= set(columns):
            transform = "transform" if hasattr(self.encoder, "item_ids_") else "fit_transform"
            raise ValueError(
                f"X is a frame of events (columns {columns}), but a user × item matrix was "
                f"expected: fit the pipeline on encoder.{transform}(events)."
            )

    def _aligned(self, X, user_features):
        """Return `X` and the features in the encoder's order, matching frames by raw ids."""
        if not hasattr(self.encoder, "item_ids_"):  # unfitted: an error once ids are needed
            check_aligned(X, user_features)
            return X, user_features
        raw = RawIds(self, fitting=True)
        if is_frame(X):
            X = as_pandas_frame(X, "X")
            if X.shape[1] == len(self.encoder.item_ids_):
                X = raw.matrix(X, "X")
            users = as_index(self.encoder.user_ids_, "user")
            if not is_default_index(X.index) and not X.index.equals(users):
                labels = as_index(X.index, "user")
                if len(labels) == len(users) and not labels.equals(users):
                    raise ValueError(
                        "The index of X must be the encoder's users, in their order: pass "
                        "X.loc[encoder.user_ids_]."
                    )
                check_aligned(X, user_features)
                return X, user_features
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        return X, raw.features_of_rows(user_features, n_rows)

    def _fit_interactions(self, X, y=None, **params):
        name, model = self.steps[-1]
        if not isinstance(model, RecommenderMixin):
            raise TypeError(
                f"The last step of a RecommenderPipeline must be a recommender; step {name!r} is "
                f"{type(model).__name__}."
            )
        if not X.nnz:
            raise ValueError("X holds no interaction: every cell is zero (not observed).")
        if len(getattr(self.encoder, "item_ids_", range(X.shape[1]))) != X.shape[1]:
            RawIds(self, fitting=True).raise_mismatch(X.shape)
        try:
            model._item_labels = self._item_labels_of(X)
            model._user_labels = self._user_labels_of(X)
            with config_context(transform_output="default"):  # frames can't hold sparse matrices
                Pipeline.fit(self, X.copy(), None, **params)  # a step may work in place
        except Exception:
            self._check_shapes(X)  # if a step changed the shape, say so instead
            raise
        finally:
            del model._item_labels, model._user_labels
        self._check_shapes(X)
        read = model.interactions_
        if model._values == "rating" and not np.array_equal(read.data, X.data):
            warn(
                f"{type(model).__name__} predicts ratings, but the steps before it change the "
                "values: predictions and rating metrics are not in the units of X.",
                ValuesWarning,
            )
        self._set_interactions(X)
        return self

    def _item_labels_of(self, X):
        """Return the raw ids of the columns and their name, to match frames of `item_features`."""
        ids = getattr(self.encoder, "item_ids_", None)
        if self.encoder is None:  # of a frame, or of the pipeline that this one is a part of
            return self._labels_for_members()
        return None if ids is None else (ids, self.encoder.item)

    def _user_labels_of(self, X):
        """Return the raw ids of the rows, None if they are other users, and their name."""
        if self.encoder is None:
            return self._user_labels
        ids = getattr(self.encoder, "user_ids_", None)
        return ids if ids is not None and len(ids) == X.shape[0] else None, self.encoder.user

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
        steps = [step for _, _, step in self._iter(with_final=False)]
        if not steps:
            return X
        X = X.copy()  # a step may work in place
        with config_context(transform_output="default"):
            for step in steps:
                X = step.transform(X)
        return check_csr(X, dtype=np.float32)

    @property
    def _has_features(self):
        return self._model._has_features

    @property
    def _n_encoded_features(self):
        return self._model._n_encoded_features

    def _with_features(self, histories, user_features):
        return self._model._with_features(histories, user_features)

    def _scores(self, histories):
        return self._model._scores(histories.with_X(self._transformed(histories.X)))

    def _scores_at(self, histories, rows, items):
        histories = histories.with_X(self._transformed(histories.X))
        return self._model._scores_at(histories, rows, items)

    def _in_rating_range(self, scores):
        return self._model._in_rating_range(scores)

    def _rank_block(self, histories, n, eligible):
        if eligible.exclude_seen and eligible.seen is None:  # what is seen is the raw history
            eligible = replace(eligible, seen=histories.X)
        histories = histories.with_X(self._transformed(histories.X))
        return self._model._rank_block(histories, n, eligible)

    # ---------------------------------------------------------------- explanations

    def _explained(self, histories, rows, items):
        if len(histories) and get_tags(self).recommender_tags.additive:
            histories = histories.with_X(self._transformed(histories.X))
            return self._model._explained(histories, rows, items)
        return super()._explained(histories, rows, items)

    def _why_not(self, histories, item, n, eligible):
        eligible = eligible.resolved(histories.X)  # raw X decides what is seen
        histories = histories.with_X(self._transformed(histories.X))
        return self._model._why_not(histories, item, n, eligible)


def make_recommender_pipeline(
    *steps, encoder=None, transform_input=None, memory=None, verbose=False
) -> RecommenderPipeline:
    """Make a pipeline whose steps are named after their classes.

    Parameters
    ----------
    *steps : estimator
        Transformers and a recommender.
    encoder : InteractionEncoder, default=None
        As in :class:`RecommenderPipeline`.
    transform_input : list of str, default=None
        As in :class:`sklearn.pipeline.Pipeline`.
    memory : str or object with the joblib.Memory interface, default=None
        Where fitted transformers are cached.
    verbose : bool, default=False
        Whether to print the time of each step.

    Returns
    -------
    pipeline : RecommenderPipeline
        Its steps have the names of their classes, in lower case.

    See Also
    --------
    sklearn.pipeline.make_pipeline : The same for pipelines of scikit-learn.

    Examples
    --------
    >>> from sklearn.preprocessing import Binarizer
    >>> from sklearn_recsys import EASE, make_recommender_pipeline
    >>> pipe = make_recommender_pipeline(Binarizer(threshold=3), EASE(l2=10))
    >>> list(pipe.named_steps)
    ['binarizer', 'ease']
    """
    return RecommenderPipeline(
        make_pipeline(*steps).steps,
        encoder,
        transform_input=transform_input,
        memory=memory,
        verbose=verbose,
    )
