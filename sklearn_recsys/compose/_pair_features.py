"""Features of pairs of a user and an item, for a model that ranks candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from sklearn_recsys.compose._training import standardized_pairs
from sklearn_recsys.utils._cells import cell_rows, item_counts, last_cells, rank_cells, take_cells
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._threads import sparse_dot

N_RECENT = 10  # interactions that "recent_scores" are computed from


@dataclass(eq=False, slots=True)
class Pairs:
    """Pairs of some users, and what their features are made of.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        The histories.
    scores : list of ndarray of float32 of shape (n_rows, n_items)
        Those of each retriever.
    rows, items : ndarray of int64 of shape (n_pairs,)
        The pairs, row by row.
    recent_scores : callable
        Returns the retrievers' scores of the latest interactions alone.
    popularity, recency : ndarray of float32 of shape (n_items,)
        Statistics of what the retrievers were fitted to; the latter only of an order.
    item_features : csr_array of float32 of shape (n_items, n_columns) or None
        Encoded features of the items.
    user_features : ndarray of float32 of shape (n_rows, n_columns) or None
        Encoded features of the users.
    """

    X: sp.csr_array
    scores: list
    rows: np.ndarray
    items: np.ndarray
    recent_scores: object
    popularity: np.ndarray
    recency: np.ndarray | None
    item_features: sp.csr_array | None
    user_features: np.ndarray | None


def _scores(pairs):
    return standardized_pairs(pairs.scores, pairs.rows, pairs.items)


def _recent_scores(pairs):
    return standardized_pairs(pairs.recent_scores(), pairs.rows, pairs.items)


def _ranks(pairs):
    """Return the logarithms of the ranks of unseen items, from 1."""
    columns = []
    positions = np.arange(1, pairs.X.shape[1] + 1, dtype=np.float32)
    for own in pairs.scores:
        masked = own.copy()
        masked[cell_rows(pairs.X), pairs.X.indices] = -np.inf
        order = np.argsort(-masked, axis=1, kind="stable")
        ranks = np.empty(own.shape, dtype=np.float32)
        np.put_along_axis(ranks, order, np.broadcast_to(positions, own.shape), axis=1)
        columns.append(np.log(ranks[pairs.rows, pairs.items]))
    return np.column_stack(columns)


def _item_features(pairs):
    n_columns = pairs.item_features.shape[1]
    check_memory(
        4 * len(pairs.items) * n_columns,
        f"The features of the items of {len(pairs.items):,} pairs, {n_columns:,} columns,",
        "Use fewer features, or the feature 'similarity' in place of 'item_features'.",
    )
    return pairs.item_features[pairs.items].toarray()


def _similarity(pairs):
    """Return the cosines of the items' features and the sums of those of the histories."""
    vectors = normalize(pairs.item_features)
    cosines = sparse_dot(normalize(pairs.X @ vectors), vectors.T.tocsr())
    return cosines[pairs.rows, pairs.items]


FEATURES = {
    "scores": _scores,
    "ranks": _ranks,
    "popularity": lambda pairs: pairs.popularity[pairs.items],
    "history_length": lambda pairs: np.log1p(np.diff(pairs.X.indptr))[pairs.rows],
    "recency": lambda pairs: pairs.recency[pairs.items],
    "recent_scores": _recent_scores,
    "item_features": _item_features,
    "similarity": _similarity,
    "user_features": lambda pairs: pairs.user_features[pairs.rows],
}
OF_ORDER = {"recency", "recent_scores"}
OF_ITEM_FEATURES = {"item_features", "similarity"}


def pair_features(names, pairs):
    """Return the features of pairs side by side.

    Parameters
    ----------
    names : list of str or callable
        Keys of `FEATURES`, or functions of `X`, `rows` and `items`.
    pairs : Pairs
        At least one pair.

    Returns
    -------
    features : ndarray of float32 of shape (n_pairs, n_features)
    """
    n_pairs = len(pairs.rows)
    columns = []
    for name in names:
        if callable(name):
            own = np.asarray(name(pairs.X, pairs.rows, pairs.items))
            if own.ndim not in (1, 2) or len(own) != n_pairs or own.dtype.kind not in "biuf":
                raise ValueError(
                    "A function among the features must return numbers of shape (n_pairs,) or "
                    f"(n_pairs, n_columns) for n_pairs = {n_pairs}; got {own.dtype} of shape "
                    f"{own.shape}."
                )
        else:
            own = FEATURES[name](pairs)
        columns.append(own.reshape(n_pairs, -1).astype(np.float32))
    return np.hstack(columns)


def popularity(X):
    """Return the logarithm of one plus the number of users of each item."""
    return np.log1p(item_counts(X)).astype(np.float32)


def recency(X):
    """Return the mean position of each item in the histories of an order, from 0 to 1, the latest.

    An item without users has ½.
    """
    lengths = np.diff(X.indptr)
    positions = (rank_cells(X) - 0.5) / np.repeat(lengths, lengths)
    counts = item_counts(X)
    sums = np.bincount(X.indices, positions, X.shape[1])
    return ((sums + 0.5) / (counts + 1)).astype(np.float32)


def latest(X):
    """Return the histories of an order with their last few interactions alone."""
    return take_cells(X, last_cells(X, X.data, np.minimum(np.diff(X.indptr), N_RECENT)))
