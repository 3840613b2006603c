"""The contract of every recommender: rows are users, and a user is their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.base._explain import ExplanationMixin
from sklearn_recsys.base._histories import HistoriesMixin
from sklearn_recsys.base._prediction import PredictionMixin
from sklearn_recsys.base._ranking import RankingMixin
from sklearn_recsys.base._scoring import ScoringMixin
from sklearn_recsys.base._tags import as_recommender_tags
from sklearn_recsys.base._why_not import WhyNotMixin
from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.utils._cells import all_equal, item_counts, support, take_cells
from sklearn_recsys.utils._fit_progress import fit_progress
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._html import HTMLMixin
from sklearn_recsys.utils._ids import row_order
from sklearn_recsys.utils._items import check_item_features
from sklearn_recsys.utils._labels import item_labels
from sklearn_recsys.utils._on_disk import cell_slices, column_sums
from sklearn_recsys.utils._sklearn import CallbackSupportMixin, fit_context, with_callbacks
from sklearn_recsys.utils._state import Array, Interactions, Labels, Maybe, Optional, Range, Size
from sklearn_recsys.utils._suggest import MissingMethodError
from sklearn_recsys.utils._warnings import warn

_SPAN = 100  # largest ratio of weights without a warning
_SHRINKAGE = 10.0  # pseudo-count of the global mean in the mean rating of an item


class RecommenderMixin(
    HistoriesMixin,
    PredictionMixin,
    RankingMixin,
    ScoringMixin,
    ExplanationMixin,
    WhyNotMixin,
    HTMLMixin,
    CallbackSupportMixin,
):
    """Mixin for recommenders on a sparse user × item matrix.

    A recommender inherits from it and from :class:`sklearn.base.BaseEstimator`, and implements

    - ``_fit(X)``, which learns from a matrix and sets fitted attributes (names ending in ``_``);
    - ``_score_items(X)``, which returns a new float32 array ``(n_rows, n_items)`` of scores,
      greater is better, for a block of histories;
    - and, where it saves work, ``_score_pairs(X, rows, items)``, the same for the given cells only;
      each row of ``X`` has at least one.

    Their ``X`` is validated: a canonical float32 csr_array, for models whose tag says that they
    read ``"binary"`` values with a one in each positive cell. The mixin owns everything else:
    validation, blocks of bounded memory, seen items, top-n, scoring and explanations.

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
        tags = as_recommender_tags(tags)
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "interactions_")

    def _validate_params(self):
        """Validate the parameters; unlike in scikit-learn, True is not an integer."""
        super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            accepted = self._parameter_constraints.get(name, "no_validation")
            may_be_bool = accepted == "no_validation" or any(
                constraint in accepted for constraint in ("boolean", "verbose", bool, object)
            )
            if isinstance(value, (bool, np.bool_)) and not may_be_bool:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must not be a bool. Got "
                    f"{value} instead."
                )

    if not TYPE_CHECKING:  # type checkers would accept any attribute

        def __getattr__(self, name):
            if name.startswith("_") or name.endswith("_"):  # not a public method
                return object.__getattribute__(self, name)  # raises the original error
            try:
                return object.__getattribute__(self, name)
            except AttributeError as error:
                raise MissingMethodError(error, name, type(self)) from error.__cause__

    def _fitted_state(self):
        """Return the rules for fitted attributes; see `sklearn_recsys.utils._state`."""
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
    def fit(self, X, y=None) -> Self:
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
        return self._fit_matrix(X, y=y)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None) -> Self:
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
        return self._refit(sp.vstack([self._own_interactions(), X], format="csr"))

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

    # While a pipeline with an encoder fits the model: a pair of the raw ids of the columns, and the
    # name of a column that holds such ids. The same of the rows, None if these are other users.
    _item_labels = None
    _user_labels = None
    _item_order_ = None

    def _labels_for_members(self):
        """Return `_item_labels` for models that are fitted to the same matrix, without labels."""
        if self._item_labels is None and item_labels(self) is not None:
            return item_labels(self), "item"
        return self._item_labels

    def _align_item_features(self, n_items, labels):
        """Set the row of `item_features` for each item; raise if they cannot be matched."""
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
        """Fit again, to a canonical matrix that is not the caller's; on failure nothing changes.

        A copy is fitted, and all attributes are replaced at once, so that a prediction in another
        thread uses either the old model or the new one.
        """
        self._validate_params()  # scikit-learn skips that in partial_fit of a fitted model
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
        self._become(new)
        return self

    def _become(self, new):
        """Replace all attributes by those of a working copy that has been fitted."""
        self.__dict__ = vars(new)

    def _working_copy(self):
        """Return a model with the same attributes, which can be fitted without changing this one.

        The attributes are shared: `_fit` replaces them, and changes none in place.
        """
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        return new

    # whether `_fit` reports its tasks by `self._progress`, a FitProgress; else it is one task
    _has_tasks = False

    @with_callbacks
    def _fit_interactions(self, X, y=None, **params):
        """Fit to a canonical matrix that is not the caller's; `params` are passed to `_fit`."""
        if not X.nnz:
            raise ValueError("X holds no interaction: every cell is zero (not observed).")
        if self._values == "rating":
            if all_equal(X.data, X.data[0]):
                warn(
                    f"{type(self).__name__} predicts ratings, but all of X's values are "
                    f"{X.data[0]:g}: use a model for implicit interactions.",
                    ValuesWarning,
                )
            self._set_rating_range(X, resume=params.get("resume", False))
        tags = self.__sklearn_tags__().recommender_tags
        if tags.values == "weight" and tags.personalized:
            _warn_of_counts(X.data, type(self).__name__)
        for array in (X.data, X.indices, X.indptr):  # a model that writes to its input fails
            array.flags.writeable = False
        read = self._read(X)
        if not read.nnz:
            raise ValueError(f"X holds no positive value, which {type(self).__name__} reads.")
        self._fallback_ = self._non_personalized(read)
        with fit_progress(self, X, y) as progress:
            if not self._has_tasks:
                progress.begin()
            self._fit(read, **params)
            self._set_interactions(X)
        return self

    def _set_rating_range(self, X, resume):
        """Set the range of the ratings; resumed training can only widen it."""
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
        if self._values != "binary" or all_equal(X.data, 1):
            return X
        return support(take_cells(X, X.data > 0))

    def _non_personalized(self, X):
        """Return an item score for users without a history: popularity, or shrunk item means."""
        counts = item_counts(X)
        if self._values != "rating":
            return counts.astype(np.float32)
        sums = column_sums(X, lambda values: values.astype(np.float64))
        mean = X.data.mean(dtype=np.float64)
        return ((sums + _SHRINKAGE * mean) / (counts + _SHRINKAGE)).astype(np.float32)

    def save(self, path) -> None:
        """Save the model to one file, for :func:`sklearn_recsys.load`.

        Parameters
        ----------
        path : str or path-like
            The file; an existing file is replaced atomically.

        See Also
        --------
        sklearn_recsys.persistence.save : What can be saved, and an example.
        """
        from sklearn_recsys.persistence import save

        save(self, path)


def _warn_of_counts(values, name):
    """Warn if the greatest weight is far above the 5th percentile: a few cells would dominate.

    Smaller weights are ignored, because a few tiny ones do no harm, such as those that BM25 and
    TF-IDF give to items that nearly everyone has.
    """
    parts = list(cell_slices(len(values)))  # each pass takes little memory
    greatest = max(float(np.abs(values[part]).max()) for part in parts)
    n_small = sum(
        np.count_nonzero(_SPAN * np.abs(values[part]).astype(np.float64) < greatest)
        for part in parts
    )
    if n_small > len(values) // 20:
        values = np.abs(values)
        low = float(np.partition(values, len(values) // 20)[len(values) // 20])
        warn(
            f"{name} reads values as weights, and those of X span more than two orders of "
            f"magnitude: from {low:g} (19 of 20 are at least that) to {greatest:g}. The few "
            "greatest ones will dominate. If they are counts, put a LogTransformer, a "
            "BM25Transformer or a Binarizer before the model in a RecommenderPipeline; see "
            '"Counts and weights" in the user guide.',
            ValuesWarning,
        )
