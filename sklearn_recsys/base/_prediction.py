"""Scores of all items and of pairs, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_recsys.base._histories import Histories
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils.validation import check_finite, check_indices


class PredictionMixin:
    """The part of `RecommenderMixin` that predicts scores."""

    def predict(self, X) -> NDArray[np.float32]:
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
        return self._predict(self._checked_histories(X))

    def _predict(self, histories):
        n_rows, n_items = histories.X.shape
        check_memory(
            4 * n_rows * n_items,
            f"The dense answer of predict, {n_rows:,} × {n_items:,} float32 scores,",
            "Use recommend or predict_pairs, which work in bounded memory.",
        )
        scores = np.empty((n_rows, n_items), dtype=np.float32)
        for rows, block in histories.shown_blocks("Scoring"):
            scores[rows] = self._scores(block)
        return self._in_rating_range(scores)

    def predict_pairs(self, X, rows, items) -> NDArray[np.float32]:
        """Predict the scores of the given (row, item) pairs only.

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
            The values of `predict` at these cells.
        """
        return self._predict_pairs(self._checked_histories(X), rows, items)

    def _predict_pairs(self, histories, rows, items):
        n_rows, n_items = histories.X.shape
        rows = check_indices(rows, n_rows, name="rows", what="row")
        items = check_indices(items, n_items, name="items")
        if len(rows) != len(items):
            raise ValueError(
                f"rows and items must have the same length; got {len(rows)} and {len(items)}."
            )
        return self._in_rating_range(self._scores_at(histories, rows, items))

    # ---------------------------------------------------------------- scores of histories

    def _scores(self, histories):
        """Return the scores of a block of users, including cold-start users."""
        histories = self._as_read(histories)
        with np.errstate(over="ignore", invalid="ignore"):  # _refuse_nan checks the result
            scores = self._refuse_nan(self._score_items(histories.X, **histories.features))
        cold = histories.is_cold
        if cold.any():
            scores[cold] = self._fallback_
        return self._in_units_of_X(scores)

    def _scores_at(self, histories, rows, items):
        """Return the scores at the cells (rows, items); each user is read once."""
        histories = self._as_read(histories)
        distinct, rows = np.unique(rows, return_inverse=True)
        if len(distinct) < len(histories):
            histories = histories[distinct]
        pairs = histories.X, rows, items
        with np.errstate(over="ignore", invalid="ignore"):  # _refuse_nan checks the result
            scores = self._refuse_nan(self._score_pairs(*pairs, **histories.features))
        cold = histories.is_cold[rows]
        if cold.any():
            scores[cold] = self._fallback_[items[cold]]
        return self._in_units_of_X(scores)

    def _score_pairs(self, X, rows, items, user_features=None):
        """Score the given cells only; models that can do so with less work override this."""
        scores = np.empty(len(rows), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        for block, users in Histories(X, user_features).shown_blocks("Scoring"):
            cells = order[slice(*np.searchsorted(ordered, [block.start, block.stop]))]
            dense = self._score_items(users.X, **users.features)
            scores[cells] = dense[rows[cells] - block.start, items[cells]]
        return scores

    def _refuse_nan(self, scores):
        """Return `scores`; raise if they are not finite, because they could not be compared."""
        return check_finite(scores, f"{type(self).__name__} scores items as")

    def _in_units_of_X(self, scores):
        """Return the model's scores, converted to the unit of the caller's `X`."""
        return scores

    def _in_rating_range(self, scores):
        """Clip predicted ratings to the training range; rankings use the unclipped scores."""
        if hasattr(self, "rating_range_"):
            np.clip(scores, *self.rating_range_, out=scores)
        return scores
