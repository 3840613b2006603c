"""`explain`: how much each item of a history contributes to a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.base._histories import Histories
from sklearn_recsys.utils._cells import (
    cell_rows,
    in_cells,
    rank_cells,
    take_cells,
    take_rows,
    with_values,
)
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._threads import even_blocks, rows_per_block
from sklearn_recsys.utils.progress import length, progress
from sklearn_recsys.utils.validation import check_finite, check_indices

if TYPE_CHECKING:
    import pandas as pd


class ExplanationMixin:
    """The part of `RecommenderMixin` that explains scores."""

    def explain(self, users, items) -> pd.DataFrame:
        """Explain scores by the items of the histories.

        If the model's tag `additive` is True, contributions sum to the score: an item of the
        history contributes its term of the sum. Otherwise each item is left out of the history in
        turn, and contributes what the score loses: these need not sum to the score, because items
        of a history may stand in for each other.

        Parameters
        ----------
        users : None, int, 1-D array-like of int or bool, or matrix
            As in `recommend`: training rows, or histories of any users.
        items : int or array-like of int of shape (n_queries,) or (n_rows, n)
            The items whose scores are to be explained: the same for all users, or a row for each
            user, such as the lists that `recommend` returns, with −1 in empty slots.

        Returns
        -------
        contributions : DataFrame
            A row for each item of each history that the model reads and each of `items`, the
            largest contribution first. The columns are ``"user"``, the training row or the row of
            the matrix; ``"item"`` and ``"history_item"``, item indices; and ``"contribution"``, in
            float32 and in the unit of the scores of `recommend`, which are not clipped. A user
            without a history, who is scored by popularity, has no rows.

        Raises
        ------
        MemoryError
            If the frame does not fit, before it is allocated.

        Notes
        -----
        Without its only item a history is empty, and its score that of a user without a history.
        Leaving out each item takes the time of a prediction for as many new users as the history
        has items, whatever the number of `items`, in blocks of bounded memory.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> from sklearn_recsys import EASE
        >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])
        >>> model = EASE(l2=1.0).fit(R)
        >>> why = model.explain(0, model.recommend(0, n=1))
        >>> why[["user", "item", "history_item"]]
           user  item  history_item
        0     0     2             1
        1     0     2             0
        """
        return self._explain(self._histories(users), items)

    def _explain(self, histories, items):
        rows, items = requested_pairs(items, *histories.X.shape)
        names = "user", "item", "history_item"
        return self._explained(histories, rows, items).frame(names, histories.labels[rows], items)

    def _explained(self, histories, rows, items):
        """Return the contributions to the scores of pairs of users and items; rows ascend."""
        read = self._read(histories.X)
        lengths = np.diff(read.indptr)[rows]
        n_cells = int(lengths.sum(dtype=np.int64))
        what = f"An explanation of {len(rows):,} scores by {n_cells:,} items of histories"
        check_memory(60 * n_cells, what, "Ask for fewer users or items at once.")
        contributions = np.empty(0, dtype=np.float32)
        if n_cells:
            with np.errstate(over="ignore", invalid="ignore"):  # check_finite refuses the result
                contributions = self._attributed(histories, read, rows, items)
                contributions = contributions.astype(np.float32, copy=False)
        check_finite(contributions, f"{type(self).__name__} scores items as")
        pairs = np.repeat(np.arange(len(rows)), lengths)
        order = np.lexsort((-contributions, pairs))  # stable: ties in the order of the items
        return _Explanation(
            pairs, take_rows(read, rows).indices[order].astype(np.int64), contributions[order]
        )

    def _attributed(self, histories, read, rows, items):
        """Return a contribution of each stored cell of ``read[rows]`` to its pair's score.

        `read` holds the cells of the histories that the model reads, as it reads them. Here each is
        left out of the history, whose other cells keep their values and their order.
        """
        if read.nnz < histories.X.nnz:
            histories = histories.with_X(take_cells(histories.X, in_cells(histories.X, read)))
        distinct, owners = np.unique(rows, return_inverse=True)
        histories = histories[distinct]
        indptr, users = histories.X.indptr, cell_rows(histories.X)
        lengths, n_pairs = np.diff(indptr), np.bincount(owners)
        by_user = np.argsort(owners, kind="stable")  # the pairs of each user are consecutive
        first_pairs = np.cumsum(n_pairs) - n_pairs
        first_cells = np.cumsum(lengths[owners]) - lengths[owners]  # of the pairs, in the result
        result = np.repeat(self._scores_at(histories, owners, items), lengths[owners])
        costs = 32 * (lengths + n_pairs)[users]  # bytes of each shorter history and of its scores
        blocks = even_blocks(costs, rows_per_block(1))
        for cells in progress(blocks, "Explaining", len(users), unit="interaction", size=length):
            left_out = np.arange(cells.start, cells.stop) - indptr[users[cells]]
            shorter = self._without(histories[users[cells]], left_out)
            counts = n_pairs[users[cells]]
            shorter_rows = np.repeat(np.arange(len(counts)), counts)
            of_user = np.arange(len(shorter_rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            pairs = by_user[first_pairs[users[cells]][shorter_rows] + of_user]
            scores = self._scores_at(shorter, shorter_rows, items[pairs])
            result[first_cells[pairs] + left_out[shorter_rows]] -= scores
        return result

    def _without(self, histories, positions):
        """Return users whose histories lack one stored cell each, at its position in the row."""
        X = histories.X
        remaining = np.ones(X.nnz, dtype=bool)
        remaining[X.indptr[:-1] + positions] = False
        X = take_cells(X, remaining)
        if self._values == "order":
            X = with_values(X, rank_cells(X).astype(np.float32))  # as a caller's histories are
        return Histories(X, histories.user_features)  # no training users


class ExplainMixin:
    """Mixin of the models whose scores are sums over the items of the history.

    Their tag `additive` is True, and `explain` returns the terms of the sum. A model whose scores
    are linear in the history, f(x) = Σ_j x_j f(e_j), needs no further method. Other models, and
    those that can compute single entries of f(e_j), implement ``_contributions(X, rows, items)``,
    which returns a float array with the contribution of each stored cell of ``X[rows]`` to the
    score of its pair's item.

    See Also
    --------
    RecommenderMixin : The contract of every recommender.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn_recsys.base import ExplainMixin, RecommenderMixin
    >>> class CoOccurrence(ExplainMixin, RecommenderMixin, BaseEstimator):
    ...     def _fit(self, X):
    ...         self.counts_ = (X.T @ X).toarray()
    ...
    ...     def _score_items(self, X):
    ...         return X @ self.counts_
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    >>> CoOccurrence().fit(R).explain(0, 2)
       user  item  history_item  contribution
    0     0     2             0           1.0
    1     0     2             1           1.0
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.additive = True
        return tags

    def _attributed(self, histories, read, rows, items):
        return self._contributions(read, rows, items)

    def _contributions(self, X, rows, items):
        X = take_rows(X, rows)
        columns = np.repeat(items, np.diff(X.indptr))
        distinct, inverse = np.unique(X.indices, return_inverse=True)
        ones = np.ones(len(distinct), dtype=np.float32)
        shape = (len(distinct), X.shape[1])
        unit_rows = sp.csr_array((ones, distinct, np.arange(len(distinct) + 1)), shape=shape)
        return X.data * self._score_pairs(unit_rows, inverse, columns)


class _Explanation:
    """The contributions to the scores of some pairs, the largest of each pair first.

    Parameters
    ----------
    pairs : ndarray of int of shape (n_contributions,)
        The pair that each contribution belongs to, ascending.
    history_items : ndarray of int64 of shape (n_contributions,)
        The item of the history.
    contributions : ndarray of float32 of shape (n_contributions,)
        Its contribution to the score.
    """

    def __init__(self, pairs, history_items, contributions):
        self.pairs, self.history_items, self.contributions = pairs, history_items, contributions

    def frame(self, names, users, items, item_ids=None):
        """Return a frame, given the labels of the users and the items of the pairs.

        Parameters
        ----------
        names : tuple of three hashables
            The names of the columns of users, items and items of the history.
        users, items : ndarray or Index of shape (n_pairs,)
            The labels of each pair's user and item.
        item_ids : ndarray or Index of shape (n_items,), default=None
            The labels of all items, for the items of the history; None: their indices.
        """
        import pandas as pd  # imported only here, because it is slow to import

        history = self.history_items if item_ids is None else item_ids.take(self.history_items)
        values = (users.take(self.pairs), items.take(self.pairs), history)
        return pd.DataFrame(
            {**dict(zip(names, values, strict=True)), "contribution": self.contributions}
        )


def requested_pairs(items, n_rows, n_items):
    """Return the row and the item of each requested pair, row by row."""
    items = np.asarray(items)
    if items.ndim < 2:
        items = check_indices(np.atleast_1d(items), n_items, name="items")
        return np.repeat(np.arange(n_rows), len(items)), np.tile(items, n_rows)
    if items.ndim > 2 or len(items) != n_rows:
        raise ValueError(
            f"items must be one item, a 1-D array, or have a row for each of the {n_rows} users; "
            f"got an array of shape {items.shape}."
        )
    rows, slots = np.nonzero(items != -1)
    return rows, check_indices(items[rows, slots], n_items, name="items")


def weights_at(weights, X, rows, items):
    """Return the contributions x_j W_ji of the cells j of ``X[rows]`` to the items i of the pairs.

    Parameters
    ----------
    weights : ndarray or csr_array of shape (n_items, n_items)
        W: row j holds the contributions of item j of a history to all scores.
    X : csr_array of shape (n_rows, n_items)
        Histories.
    rows, items : ndarray of int of shape (n_pairs,)
        The pairs.
    """
    X = take_rows(X, rows)
    columns = np.repeat(items, np.diff(X.indptr))
    values = weights[X.indices, columns]
    return X.data * (values.toarray().ravel() if sp.issparse(values) else values)
