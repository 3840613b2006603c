"""`explain`: how much each item of a history contributes to a score."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils._cells import take_rows
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils.validation import check_finite, check_indices


class ExplainMixin:
    """Mixin of the models whose scores are sums over the items of the history.

    A model whose scores are linear in the history, f(x) = Σ_j x_j f(e_j), needs no further method.
    Other models, and those that can compute single entries of f(e_j), implement
    ``_contributions(X, rows, items)``, which returns a float array with the contribution of each
    stored cell of ``X[rows]`` to the score of its pair's item.

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

    def explain(self, users, items):
        """Explain scores by the items of the histories.

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
            A row for each item of each history and each of `items`, the largest contribution
            first. The columns are ``"user"``, the training row or the row of the matrix; ``"item"``
            and ``"history_item"``, item indices; and ``"contribution"``, in float32. The
            contributions to an item sum to its score, as `recommend` returns it. A user without a
            history, who is scored by popularity, has no rows.

        Raises
        ------
        MemoryError
            If the frame does not fit, before it is allocated.

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
        histories = self._histories(users)
        rows, items = requested_pairs(items, *histories.X.shape)
        labels = histories.training_rows
        labels = np.arange(len(histories)) if labels is None else labels
        names = "user", "item", "history_item"
        return self._explained(histories, rows, items).frame(names, labels[rows], items)

    def _explained(self, histories, rows, items):
        """Return the contributions to the scores of pairs of users and items."""
        X = self._as_read(histories).X
        lengths = np.diff(X.indptr)[rows]
        n_cells = int(lengths.sum(dtype=np.int64))
        what = f"An explanation of {len(rows):,} scores by {n_cells:,} items of histories"
        check_memory(60 * n_cells, what, "Ask for fewer users or items at once.")
        with np.errstate(over="ignore", invalid="ignore"):  # check_finite refuses the result
            contributions = self._contributions(X, rows, items).astype(np.float32, copy=False)
        check_finite(contributions, f"{type(self).__name__} scores items as")
        pairs = np.repeat(np.arange(len(rows)), lengths)
        order = np.lexsort((-contributions, pairs))  # stable: ties in the order of the items
        return _Explanation(
            pairs, take_rows(X, rows).indices[order].astype(np.int64), contributions[order]
        )

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
