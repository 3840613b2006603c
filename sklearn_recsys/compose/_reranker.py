"""The base class of rerankers, and what they share."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.base._histories import Histories
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._html import HTMLMixin
from sklearn_recsys.utils._ids import is_default_index, row_order
from sklearn_recsys.utils._sklearn import fit_context
from sklearn_recsys.utils._state import Rule, Size, check_state
from sklearn_recsys.utils.validation import check_csr, check_length


class Reranker(HTMLMixin, BaseEstimator):
    """Base class of rerankers: they choose and order the items of lists.

    A reranker implements

    - ``_fit(X)``, which sets fitted attributes; `X` is the training matrix, a canonical csr_array;
    - ``_positions(ids, scores, n, histories)``, which returns, for the lists of a block of users,
      the columns of `ids` to put into the `n` slots of each new list, −1 for an empty slot. `ids`
      and `scores` are arrays of shape (n_rows, n_candidates), best first, −1 and −inf in empty
      slots at the end; `histories` has the attributes `X`, the histories of the users, and
      `training_rows`, their rows in the training matrix or None;
    - and, if it guarantees something, ``_is_met(ids, histories)``, which returns whether it holds
      for each list.

    Its class attributes say what a :class:`RerankedRecommender` must know of it: `reads_scores`,
    whether it weighs scores, which nothing may have reordered; `reads_users`, whether it reads
    `training_rows`; `comes_last`, whether a reranker after it could break its guarantee.

    See Also
    --------
    RerankedRecommender : A recommender whose lists are reranked.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.compose import Reranker
    >>> class OddItemsFirst(Reranker):
    ...     def _positions(self, ids, scores, n, histories):
    ...         is_even = (ids % 2 == 0) | (ids < 0)
    ...         return np.argsort(is_even, axis=1, kind="stable")[:, :n]
    >>> OddItemsFirst().fit(np.eye(6)).rerank([[4, 3, 1, 0]], n=3)
    array([[3, 1, 4]])
    """

    _parameter_constraints: dict = {}

    reads_scores = False
    reads_users = False
    comes_last = False

    # While a recommender fits the reranker: a pair of the labels of the columns, and the name of a
    # column of a frame that holds such labels; and the same of the rows.
    _item_labels = None
    _user_labels = None

    def _fitted_state(self):
        return {"n_features_in_": Size("n_items")}

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        """Validate the parameters, and learn what the reranker needs of the training matrix.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            The training matrix.
        y : Ignored
            For compatibility with scikit-learn.

        Returns
        -------
        self : object
            The fitted reranker.
        """
        X = check_csr(X)
        self.n_features_in_ = X.shape[1]
        self._fit(X)
        return self

    def _fit(self, X):
        """Set fitted attributes; by default there are none."""

    def rerank(self, ids, scores=None, n=10, histories=None) -> NDArray[np.int64]:
        """Return new lists of some of the items of lists.

        Parameters
        ----------
        ids : array-like of int of shape (n_rows, n_candidates)
            The items to choose from, best first, −1 in empty slots at the end.
        scores : array-like of float of shape (n_rows, n_candidates), default=None
            Their scores. None: every item is one point worse than the one before it.
        n : int, default=10
            Items per list.
        histories : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items), \
                default=None
            The histories of the users, for rerankers that read them. None: they are empty.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            The new lists, best first, −1 in empty slots at the end.
        """
        ids, histories = self._checked(ids, histories)
        if scores is None:
            scores = np.broadcast_to(-np.arange(ids.shape[1], dtype=np.float64), ids.shape)
        scores = np.where(ids >= 0, np.asarray(scores, dtype=np.float64), -np.inf)
        return take(ids, self.positions(ids, scores, check_length(n), histories), -1)

    def positions(self, ids, scores, n, histories) -> NDArray[np.int64]:
        """Return the columns of `ids` in the new lists.

        Parameters
        ----------
        ids : ndarray of int64 of shape (n_rows, n_candidates)
            As in `rerank`.
        scores : ndarray of float of shape (n_rows, n_candidates)
            As in `rerank`.
        n : int
            Items per list.
        histories : Histories
            The users.

        Returns
        -------
        positions : ndarray of int64 of shape (n_rows, n)
            A column of `ids` for each slot, −1 for an empty one.

        Raises
        ------
        ValueError
            If the reranker invents items, or repeats them.
        """
        found = self._positions(ids, scores, n, histories)
        positions = np.full((len(ids), n), -1, dtype=np.int64)
        positions[:, : found.shape[1]] = found
        ordered = np.sort(positions, axis=1)
        repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if repeated.any():
            raise ValueError(f"{type(self).__name__} lists an item twice.")
        # an empty slot of the candidates may have been chosen where there was nothing else
        positions[take(ids, positions, -1) < 0] = -1
        order = np.argsort(positions < 0, axis=1, kind="stable")  # empty slots come last
        return np.take_along_axis(positions, order, axis=1)

    def is_met(self, ids, histories=None) -> NDArray[np.bool_]:
        """Return whether lists have what the reranker guarantees.

        Parameters
        ----------
        ids : array-like of int of shape (n_rows, n)
            Lists, −1 in empty slots.
        histories : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items), \
                default=None
            The histories of the users, as in `rerank`.

        Returns
        -------
        is_met : ndarray of bool of shape (n_rows,)
            All True for a reranker that weighs, and guarantees nothing.
        """
        return self._is_met(*self._checked(ids, histories))

    def _is_met(self, ids, histories):
        return np.ones(len(ids), dtype=bool)

    def _checked(self, ids, histories):
        """Return validated lists, and the users as `Histories`."""
        check_is_fitted(self)
        ids = np.asarray(ids)
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise ValueError(
                "ids must be a 2-D array of item indices, a row for each user; got an array of "
                f"{ids.dtype} of shape {ids.shape}."
            )
        n_items = self.n_features_in_
        if ids.size and (ids.min() < -1 or ids.max() >= n_items):
            raise ValueError(f"ids must be item indices below {n_items}, or -1 for an empty slot.")
        if histories is None:
            histories = check_csr(np.zeros((len(ids), n_items), dtype=np.float32))
        if not isinstance(histories, Histories):
            histories = Histories(check_csr(histories, name="histories"))
        if histories.X.shape != (len(ids), n_items):
            raise ValueError(
                f"histories must have the shape ({len(ids)}, {n_items}), a row for each list; got "
                f"{histories.X.shape}."
            )
        return ids.astype(np.int64, copy=False), histories

    def _of_items(self, values, n_items, name):
        """Return the parameter `name` with a row for each item, in the order of the columns."""
        if is_frame(values):
            values = as_pandas_frame(values, name)
        is_labeled = isinstance(values, (pd.DataFrame, pd.Series))
        if self._item_labels is not None and is_labeled:
            ids, column = self._item_labels
            frame = values if isinstance(values, pd.DataFrame) else values.to_frame()
            order = row_order(frame, ids, name, "item", column)
            if is_default_index(frame.index) and column in frame.columns:  # ids are no feature
                values = frame.drop(columns=column)
            return values if order is None else values.iloc[order]
        n_rows = values.shape[0] if hasattr(values, "shape") else len(values)
        if n_rows != n_items:
            raise ValueError(
                f"{name} must have one row per item, that is, per column of X: expected {n_items}, "
                f"got {n_rows}."
            )
        return values


class FittedRerankers(Rule):
    """A list of named rerankers, fitted to the same items."""

    def check(self, value, sizes):
        if not isinstance(value, list):
            raise ValueError(f"is a {type(value).__name__}, not a list of rerankers")
        for pair in value:
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], Reranker):
                raise ValueError("is not a list of pairs of a name and a reranker")
            own = {name: sizes[name] for name in ("n_items", "n_users") if name in sizes}
            if not check_state(pair[1], own):
                raise ValueError("holds a reranker that is not fitted")


def take(values, positions, empty):
    """Return the values at the columns `positions` of each row, `empty` for −1."""
    padded = np.pad(values, ((0, 0), (0, 1)), constant_values=empty)
    return np.take_along_axis(padded, positions, axis=1)


def first_allowed(allowed, required, n):
    """Return the columns of the required items, and of the first allowed ones in what is left.

    Parameters
    ----------
    allowed : ndarray of bool of shape (n_rows, n_candidates)
        The items that may be listed.
    required : ndarray of bool of shape (n_rows, n_candidates)
        Those of them that come before all others in the choice; the first `n`, if there are more.
    n : int
        Items per list.

    Returns
    -------
    positions : ndarray of int64 of shape (n_rows, min(n, n_candidates))
        Ascending, so a list keeps the order of the candidates; −1 at the end.
    """
    n_candidates = allowed.shape[1]
    priority = np.where(required & allowed, 0, np.where(allowed, 1, 2))
    chosen = np.argsort(priority, axis=1, kind="stable")[:, :n]
    chosen[np.take_along_axis(priority, chosen, axis=1) == 2] = n_candidates
    chosen.sort(axis=1)
    chosen[chosen == n_candidates] = -1
    return chosen


def greedy(n, is_open, values, update):
    """Return the columns that a greedy choice puts into the slots of each row, one by one.

    Parameters
    ----------
    n : int
        The number of slots.
    is_open : ndarray of bool of shape (n_rows, n_candidates)
        The items to choose from; it is changed.
    values : callable
        ``values(slot)`` returns the value of each item in the next slot, given those chosen so far,
        of shape (n_rows, n_candidates). The greatest is chosen, the first one among equals.
    update : callable
        ``update(columns, slot)`` is called with the column chosen in each row.

    Returns
    -------
    positions : ndarray of int64 of shape (n_rows, n)
        −1 once nothing is left.
    """
    n_rows, n_candidates = is_open.shape
    rows = np.arange(n_rows)
    positions = np.full((n_rows, n), -1, dtype=np.int64)
    for slot in range(min(n, n_candidates)):
        chosen = np.where(is_open, values(slot), -np.inf).argmax(axis=1)
        positions[:, slot] = np.where(is_open[rows, chosen], chosen, -1)
        is_open[rows, chosen] = False
        update(chosen, slot)
    return positions


def unit_range(scores):
    """Scale the finite scores of each row to [0, 1]; zeros if they are equal."""
    scores = np.asarray(scores, dtype=np.float64)
    is_finite = scores > -np.inf
    low = np.where(is_finite, scores, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    high = scores.max(axis=1, initial=-np.inf, keepdims=True)
    span = np.where(high > low, high - low, 1)
    return np.where(is_finite, scores - np.where(is_finite, low, 0), 0) / span
