"""The contract of every recommender: rows are users, and a user is their history."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.base._histories import HistoriesMixin
from sklearn_recsys.base._scoring import ScoringMixin
from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.utils._cells import cell_rows, in_cells, take_cells, union_cells
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._ids import row_order
from sklearn_recsys.utils._labels import check_item_labels, check_same_rows
from sklearn_recsys.utils._sklearn import fit_context
from sklearn_recsys.utils._sparse import as_csr
from sklearn_recsys.utils._state import Array, Interactions, Labels, Maybe, Optional, Range, Size
from sklearn_recsys.utils._suggest import MissingMethodError
from sklearn_recsys.utils._threads import row_blocks
from sklearn_recsys.utils._topk import top_n, top_n_cells
from sklearn_recsys.utils._warnings import warn
from sklearn_recsys.utils.validation import (
    check_finite,
    check_indices,
    check_interactions,
    check_item_features,
    check_item_sets,
    check_length,
    check_list_memory,
    check_memory,
)

_SPAN = 100  # of weights: two orders of magnitude
_SHRINKAGE = 10.0  # ratings of the global mean that a shrunk item mean starts from


@dataclass
class RecommenderTags:
    """What a recommender reads in its input.

    Parameters
    ----------
    values : {"rating", "weight", "binary", "order"}, default="weight"
        The meaning of the stored values: ratings to be predicted; confidence or strength; only
        whether they are greater than zero; the position or time of the interaction.
    personalized : bool, default=True
        Whether the recommendations depend on what a user likes, not only on what they have seen.
    exact : bool, default=False
        Whether the fitted model is a function of the set of training rows, up to rounding, as
        closed forms are: their order and that of the items do not matter, and `partial_fit` with
        new rows equals a `fit` on all of them. `check_recommender` then checks that.

    Examples
    --------
    >>> from sklearn.utils import get_tags
    >>> from sklearn_recsys import PopularityRecommender
    >>> get_tags(PopularityRecommender()).recommender_tags
    RecommenderTags(values='binary', personalized=False, exact=True)
    """

    values: str = "weight"
    personalized: bool = True
    exact: bool = False


_TAGS = [tag.name for tag in fields(Tags)]


@dataclass
class _Tags(Tags):
    recommender_tags: RecommenderTags = field(default_factory=RecommenderTags)


class RecommenderMixin(HistoriesMixin, ScoringMixin):
    """Mixin for recommenders on a sparse user × item matrix.

    A recommender inherits from it and from :class:`sklearn.base.BaseEstimator`, and writes

    - ``_fit(X)``, which learns from a matrix and sets fitted attributes (names ending in ``_``);
    - ``_score_items(X)``, which returns a new float32 array ``(n_rows, n_items)`` of scores,
      greater is better, for a block of histories;
    - and, where it saves work, ``_score_pairs(X, rows, items)``, the same at the asked cells only.

    Their ``X`` is validated: a canonical float32 csr_array, for models whose tag says that they
    read ``"binary"`` values with a one in each positive cell. The mixin owns everything else:
    validation, blocks of bounded memory, seen items, top-n and scoring.

    See Also
    --------
    sklearn_recsys.utils.estimator_checks.check_recommender : Check a recommender against the
        contract.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_recsys.base import RecommenderMixin
    >>> class CoOccurrence(RecommenderMixin, BaseEstimator):
    ...     def _fit(self, X):
    ...         self.counts_ = (X.T @ X).toarray()
    ...
    ...     def _score_items(self, X):
    ...         return X @ self.counts_
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    >>> CoOccurrence().fit(R).recommend(np.array([[1, 0, 0, 0]]), n=2)
    array([[1, 2]])
    """

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags = _Tags(**{name: getattr(tags, name) for name in _TAGS})
        tags.input_tags.sparse = True
        tags.estimator_type = "recommender"
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "interactions_")

    def _validate_params(self):
        """Validate the parameters; True is an integer to scikit-learn, and no number here."""
        super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            accepted = self._parameter_constraints.get(name, "no_validation")
            may_be_bool = accepted == "no_validation" or any(
                one in accepted for one in ("boolean", "verbose", bool, object)
            )
            if isinstance(value, (bool, np.bool_)) and not may_be_bool:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must not be a bool. Got "
                    f"{value} instead."
                )

    if not TYPE_CHECKING:  # type checkers would take every name for an attribute

        def __getattr__(self, name):
            if name.startswith("_") or name.endswith("_"):  # no method of ours
                return object.__getattribute__(self, name)  # raises what it raised before
            try:
                return object.__getattribute__(self, name)
            except AttributeError as error:
                raise MissingMethodError(error, name, type(self)) from error.__cause__

    def _fitted_state(self):
        """Return what fitted attributes must be; see `sklearn_recsys.utils._state`."""
        rules = {
            "interactions_": Interactions(),
            "n_features_in_": Size("n_items"),
            "feature_names_in_": Optional(Labels("n_items", strings=True)),
            "item_labels_": Optional(Labels("n_items")),
            "_fallback_": Array("n_items"),
            "_item_order_": Optional(Maybe(Array("n_items", kinds="i", low=0))),
        }
        if self._values == "rating":
            rules["rating_range_"] = Range()
        return rules

    # ---------------------------------------------------------------- fitting

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit to a user × item matrix.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
            The interactions; zero means *not observed*. CSR is the native form.
        y : Ignored
            Exists so that scikit-learn's tools can carry held-out cells to `score`.

        Returns
        -------
        self : object
            The fitted estimator. A fit that raises leaves it unfitted.
        """
        return self._fit_matrix(X)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Add new users, as if they had been the last rows of `X` in `fit`.

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
        return self._add_users(X)

    def _add_users(self, X):
        if not self.__sklearn_is_fitted__():
            return self._fit_matrix(X)
        X = self._checked(X)
        return self._refit(sp.vstack([self.interactions_, X], format="csr"))

    def _fit_matrix(self, X, **params):
        """Validate and fit."""
        self._forget()
        try:
            labels = getattr(X, "columns", None)
            X = self._checked(X, reset=True, copy=True)
            if getattr(self, "item_features", None) is not None:
                self._align_item_features(X.shape[1], labels)
            return self._fit_interactions(X, **params)
        except BaseException:
            self._forget()
            raise

    # Raw ids of the columns, which a pipeline with an encoder sets while it fits the model: a pair
    # of the ids and the name that a column of them would have.
    _item_labels = None
    _item_order_ = None

    def _align_item_features(self, n_items, labels):
        """Set which row of `item_features` stands for each item, or refuse what cannot be told."""
        features = self.item_features
        if self._item_labels is not None and is_frame(features):
            ids, column = self._item_labels
            features = as_pandas_frame(features, "item_features")
            self._item_order_ = row_order(features, ids, "item_features", "item", column)
            return
        check_item_features(features, n_items, labels)

    def _ordered_item_features(self):
        """Return `item_features` with a row for each item, in the order of the columns."""
        features = self.item_features
        if is_frame(features):
            features = as_pandas_frame(features, "item_features")
        return features if self._item_order_ is None else features.iloc[self._item_order_]

    def _refit(self, X, **params):
        """Fit again, to a canonical matrix of our own; a failure leaves the model as it was.

        A copy is fitted, and its attributes take the place of the former ones all at once: whoever
        predicts meanwhile, in another thread, has the one model or the other.
        """
        self._validate_params()  # scikit-learn leaves them out where a fitted model is fitted on
        states = [
            (param, param.get_state())
            for param in self.get_params().values()
            if isinstance(param, np.random.RandomState)
        ]
        new = self._working_copy()
        try:
            new._fit_interactions(X, **params)
        except BaseException:
            for random_state, state in states:
                random_state.set_state(state)
            raise
        self.__dict__ = vars(new)
        return self

    def _working_copy(self):
        """Return a model with the attributes of this one, which can be fitted without touching it.

        The attributes are shared: `_fit` replaces them, and changes none in place.
        """
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        return new

    def _checked(self, X, *, reset=False, copy=False, name="X"):
        """Return `X`, the caller's argument `name`, as a canonical matrix."""
        order = self._values == "order"
        return check_interactions(self, X, reset=reset, order=order, copy=copy, name=name)

    def _fit_interactions(self, X, **params):
        """Fit to a canonical matrix of our own; `params` are what a model's `fit` adds."""
        if not X.nnz:
            raise ValueError("X holds no interaction: every cell is zero (not observed).")
        if self._values == "rating":
            if np.all(X.data == X.data[0]):
                warn(
                    f"{type(self).__name__} predicts ratings, but all of X's values are "
                    f"{X.data[0]:g}: use a model for implicit interactions.",
                    ValuesWarning,
                )
            self._set_rating_range(X, resume=params.get("resume", False))
        tags = self.__sklearn_tags__().recommender_tags
        if tags.values == "weight" and tags.personalized:
            _warn_of_counts(X.data, type(self).__name__)
        for part in (X.data, X.indices, X.indptr):  # whatever a model does to its input shows
            part.flags.writeable = False
        read = self._read(X)
        if not read.nnz:
            raise ValueError(f"X holds no positive value, which {type(self).__name__} reads.")
        self._fallback_ = self._non_personalized(read)
        self._fit(read, **params)
        self._set_interactions(X)
        return self

    def _set_rating_range(self, X, resume):
        """Set the range of the ratings; it grows where training goes on with other ones."""
        low, high = float(X.data.min()), float(X.data.max())
        if resume:
            low, high = min(low, self.rating_range_[0]), max(high, self.rating_range_[1])
        self.rating_range_ = (low, high)

    def _forget(self):
        """Delete the fitted attributes."""
        fitted = {name for name in vars(self) if name.endswith("_") and not name.startswith("__")}
        for name in fitted - set(self._get_param_names()):
            delattr(self, name)

    @property
    def _values(self):
        return self.__sklearn_tags__().recommender_tags.values

    def _read(self, X):
        """Return the canonical matrix as the model reads it."""
        if self._values != "binary" or np.all(X.data == 1):
            return X
        X = take_cells(X, X.data > 0)
        X.data = np.ones_like(X.data)
        return X

    def _non_personalized(self, X):
        """Return an item score for users without a history: popularity, or shrunk item means."""
        counts = np.bincount(X.indices, minlength=X.shape[1])
        if self._values != "rating":
            return counts.astype(np.float32)
        sums = np.bincount(X.indices, weights=X.data, minlength=X.shape[1])
        mean = X.data.mean(dtype=np.float64)
        return ((sums + _SHRINKAGE * mean) / (counts + _SHRINKAGE)).astype(np.float32)

    def save(self, path):
        """Save the model to one file, for :func:`sklearn_recsys.load`.

        Parameters
        ----------
        path : str or path-like
            The file; one that exists is replaced, at once and as a whole.

        See Also
        --------
        sklearn_recsys.persistence.save : What can be saved, and an example.
        """
        from sklearn_recsys.persistence import save

        save(self, path)

    # ---------------------------------------------------------------- scores

    # `features` are the features of the rows that a hybrid model reads: an array with a
    # row for each of them, or None; see `UserFeaturesMixin`

    def _scores(self, X, features=None):
        """Return the scores of a block of canonical histories, empty ones included."""
        X = self._read(X)
        known = () if features is None else (features,)
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
            scores = self._refuse_nan(self._score_items(X, *known))
        if features is not None:
            return self._in_units_of_X(scores)
        empty = np.diff(X.indptr) == 0
        if empty.any():
            scores[empty] = self._fallback_
        return self._in_units_of_X(scores)

    def _in_units_of_X(self, scores):
        """Return what the model says of what it reads in the unit that `X` came in."""
        return scores

    def _refuse_nan(self, scores):
        """Return `scores`, which must be comparable: finite."""
        return check_finite(scores, f"{type(self).__name__} scores items as")

    def _scores_at(self, X, rows, items, features=None):
        """Return the scores of canonical histories at the cells (rows, items)."""
        X = self._read(X)
        known = () if features is None else (features,)
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
            scores = self._refuse_nan(self._score_pairs(X, rows, items, *known))
        if features is not None:
            return self._in_units_of_X(scores)
        empty = (np.diff(X.indptr) == 0)[rows]
        if empty.any():
            scores[empty] = self._fallback_[items[empty]]
        return self._in_units_of_X(scores)

    def _score_pairs(self, X, rows, items, features=None):
        """Score the asked cells only; models that can do so in less work override this."""
        scores = np.empty(len(rows), dtype=np.float32)
        asked, inverse = np.unique(rows, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        for block in row_blocks(len(asked), 4 * X.shape[1]):
            cells = order[slice(*np.searchsorted(inverse[order], [block.start, block.stop]))]
            known = () if features is None else (features[asked[block]],)
            dense = self._score_items(X[asked[block]], *known)
            scores[cells] = dense[inverse[cells] - block.start, items[cells]]
        return scores

    def _in_rating_range(self, scores):
        """Clip what is reported in rating units; rankings use the unclipped scores."""
        if hasattr(self, "rating_range_"):
            np.clip(scores, *self.rating_range_, out=scores)
        return scores

    def predict(self, X):
        """Predict every item's score for every row.

        A convenience for small data: the answer is dense. `recommend` and `predict_pairs` work in
        bounded memory.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The histories of known or new users.

        Returns
        -------
        scores : ndarray of float32 of shape (n_rows, n_items)
            In rating units, clipped to the range of the training ratings, for rating models;
            greater is better for rankers.
        """
        return self._predict(X)

    def _predict(self, X, features=None):
        check_is_fitted(self)
        X = self._checked(X)
        return self._predict_all(X, self._checked_features(features, X.shape[0]))

    def _predict_all(self, X, features):
        """Predict all scores of canonical histories with checked features."""
        check_memory(
            4 * X.shape[0] * X.shape[1],
            f"The dense answer of predict, {X.shape[0]:,} × {X.shape[1]:,} float32 scores,",
            "Use recommend or predict_pairs, which work in bounded memory.",
        )
        scores = np.empty(X.shape, dtype=np.float32)
        for rows in row_blocks(X.shape[0], 4 * X.shape[1]):
            scores[rows] = self._scores(X[rows], _part(features, rows))
        return self._in_rating_range(scores)

    def predict_pairs(self, X, rows, items):
        """Predict the scores of the asked (row, item) cells only.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The histories of known or new users.
        rows : array-like of int of shape (n_pairs,)
            Rows of `X`.
        items : array-like of int of shape (n_pairs,)
            Item indices.

        Returns
        -------
        scores : ndarray of float32 of shape (n_pairs,)
            What `predict` returns at these cells.
        """
        return self._predict_pairs(X, rows, items)

    def _predict_pairs(self, X, rows, items, features=None):
        check_is_fitted(self)
        X = self._checked(X)
        features = self._checked_features(features, X.shape[0])
        rows = check_indices(rows, X.shape[0], name="rows", what="row")
        items = check_indices(items, X.shape[1], name="items")
        if len(rows) != len(items):
            raise ValueError(
                f"rows and items must have one length; got {len(rows)} and {len(items)}."
            )
        return self._in_rating_range(self._scores_at(X, rows, items, features))

    _has_features = False

    def _checked_features(self, features, n_rows, rows=None):
        """Return checked features of users; `rows` are training rows, if that is who they are."""
        if features is not None:
            raise ValueError(f"{type(self).__name__} takes no user_features.")

    # ---------------------------------------------------------------- recommending

    def recommend(
        self,
        users=None,
        n=10,
        *,
        exclude_seen=True,
        candidates=None,
        exclude=None,
        return_scores=False,
    ):
        """Recommend items, best first.

        Parameters
        ----------
        users : None, int, 1-D array-like of int or bool, or matrix, default=None
            None: every training user. An integer, or a 1-D array of integers: rows of the training
            matrix; a 1-D boolean array: a mask over them. Anything 2-D, or a 1-D *sparse* array:
            the histories of anyone, known or new, with a column per item.
        n : int, default=10
            Items per row.
        exclude_seen : bool, default=True
            Whether to leave out the items of the row's own history.
        candidates : array-like or sparse, default=None
            Recommend nothing but these items. 1-D item indices (or a boolean mask over the items)
            for everyone; or a row each: 2-D item indices, −1 for an empty slot, or a sparse or
            boolean matrix of shape (n_rows, n_items).
        exclude : array-like or sparse, default=None
            Never recommend these items; forms as in `candidates`.
        return_scores : bool, default=False
            Whether to return the scores, too.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            Item indices by falling score, ties by index; −1 in slots that no item is left for.
        scores : ndarray of float32 of shape (n_rows, n)
            Their scores, not clipped, −inf in empty slots. Only if `return_scores`.
        """
        return self._recommend(users, n, exclude_seen, candidates, exclude, return_scores)

    def _recommend(self, users, n, exclude_seen, candidates, exclude, return_scores, features=None):
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)  # raises; it takes as long as a user's scores
        n = check_length(n)
        X, rows = self._histories(users)
        features = self._checked_features(features, X.shape[0], rows)
        candidates = self._checked_sets(candidates, X.shape, "candidates", users)
        exclude = self._checked_sets(exclude, X.shape, "exclude", users)
        ids, scores = self._rank(X, n, exclude_seen, candidates, exclude, features=features)
        return (ids, scores) if return_scores else ids

    def _histories(self, users):
        """Return the histories that `users` stands for as a canonical matrix, and training rows.

        The rows are None for histories of anyone.
        """
        if users is None:
            return self.interactions_, np.arange(self.interactions_.shape[0])
        if sp.issparse(users) and users.ndim == 1:
            users = as_csr(users, "users")
        if sp.issparse(users) or hasattr(users, "columns") or np.ndim(users) >= 2:
            return self._checked(users, name="users"), None
        rows = np.asarray(users)
        n_users = self.interactions_.shape[0]
        if rows.dtype == bool and rows.ndim == 1:
            if len(rows) != n_users:
                raise ValueError(
                    f"A boolean users must have length n_users = {n_users}; got {len(rows)}."
                )
            rows = np.flatnonzero(rows)
            return self.interactions_[rows], rows
        if rows.dtype.kind == "f" and rows.size:
            raise ValueError(
                "users is a 1-D array of floats. Use integers for rows of the training matrix, or "
                "reshape(1, -1) if it is the history of one user."
            )
        if rows.dtype.kind not in "iuf":
            raise ValueError(
                "users must be rows of the training matrix (integers or a boolean mask) or a "
                f"matrix of histories; got {rows.dtype} values. Raw ids go through a "
                "RecommenderPipeline with an encoder."
            )
        rows = check_indices(np.atleast_1d(rows), n_users, name="users", what="training row")
        return self.interactions_[rows], rows

    def _checked_sets(self, items, shape, name, users=None):
        """Return checked `candidates` or `exclude`; `users` are whom a frame has a row each for."""
        if items is None:
            return None
        if hasattr(items, "columns"):
            check_item_labels(self, items, name)
            if hasattr(users, "columns"):  # a Series holds training rows
                check_same_rows(users, items, name, "users")
        elif hasattr(items, "to_frame") and items.dtype == bool:  # a Series: a mask over the items
            check_item_labels(self, items.to_frame().T, name)
        return check_item_sets(items, shape, name=name)

    def _rank(
        self, X, n, exclude_seen, candidates=None, exclude=None, held_out=None, features=None
    ):
        """Return the top-n of canonical histories; `held_out` cells join the candidates."""
        n_rows, width = X.shape[0], min(n, X.shape[1])
        check_list_memory(n_rows, n, X.shape[1])
        ids = np.full((n_rows, n), -1, dtype=np.int64)
        scores = np.full((n_rows, n), -np.inf, dtype=np.float32)
        rank = self._rank_cells if sp.issparse(candidates) else self._rank_all
        for rows in row_blocks(X.shape[0], 4 * X.shape[1]):
            sets = [candidates, exclude, held_out]
            if rows != slice(0, n_rows):  # to take rows takes long for one user
                sets = [s[rows] if sp.issparse(s) else s for s in sets]
                block, part = X[rows], _part(features, rows)
            else:
                block, part = X, features
            best = rank(block, width, exclude_seen, *sets, part)
            ids[rows, :width], scores[rows, :width] = best
        return ids, scores

    def _rank_all(self, X, n, exclude_seen, candidates, exclude, held_out, features):
        scores = self._scores(X, features)
        if candidates is not None:
            kept = candidates
            if held_out is not None:
                kept = np.broadcast_to(kept, X.shape).copy()
                kept[cell_rows(held_out), held_out.indices] = True
            scores = np.where(kept, scores, np.float32(-np.inf))
        if exclude_seen:
            scores[cell_rows(X), X.indices] = -np.inf
        if sp.issparse(exclude):
            scores[cell_rows(exclude), exclude.indices] = -np.inf
        elif exclude is not None:
            scores[:, exclude] = -np.inf
        return top_n(scores, n)

    def _rank_cells(self, X, n, exclude_seen, cells, exclude, held_out, features):
        if held_out is not None:
            cells = union_cells(cells, held_out)
        if exclude_seen:
            cells = take_cells(cells, ~in_cells(cells, X))
        if sp.issparse(exclude):
            cells = take_cells(cells, ~in_cells(cells, exclude))
        elif exclude is not None:
            cells = take_cells(cells, ~exclude[cells.indices])
        scores = self._scores_at(X, cell_rows(cells), cells.indices, features)
        return top_n_cells(cells, scores, n)


def _part(features, rows):
    """Return the features of some of the rows."""
    return None if features is None else features[rows]


def _warn_of_counts(values, name):
    """Warn if the greatest of some weights is far above nearly all: a few would decide.

    Nearly all: 19 of 20. A few tiny weights do no harm, as those that BM25 and TF-IDF give to what
    everyone has.
    """
    values = np.abs(values)
    greatest = float(values.max())
    if greatest <= _SPAN * float(values.min()):  # float32 would overflow
        return
    low = float(np.partition(values, len(values) // 20)[len(values) // 20])
    if greatest > _SPAN * low:
        warn(
            f"{name} reads values as weights, and those of X span more than two orders of "
            f"magnitude: from {low:g} (19 of 20 are at least that) to {greatest:g}. The few "
            "greatest ones will decide. If they are counts, put a LogTransformer, a "
            "BM25Transformer or a Binarizer before the model in a RecommenderPipeline; see "
            '"Counts and weights" in the user guide.',
            ValuesWarning,
        )


def is_recommender(estimator):
    """Return whether an estimator is a recommender, or a search or pipeline that ends in one.

    Parameters
    ----------
    estimator : estimator
        Any estimator of scikit-learn's kind.

    Returns
    -------
    is_recommender : bool
        Whether its tag `estimator_type` is ``"recommender"``.

    See Also
    --------
    sklearn.base.is_classifier : The same for classifiers.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.base import is_recommender
    >>> is_recommender(EASE()), is_recommender(GridSearchCV(EASE(), {"l2": [1, 10]}))
    (True, True)
    >>> is_recommender(Ridge())
    False
    """
    return get_tags(estimator).estimator_type == "recommender"
