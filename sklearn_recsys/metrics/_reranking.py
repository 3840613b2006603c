"""Metrics of reranked lists: calibration, exposure of providers, and the relevance lost."""

from __future__ import annotations

from numbers import Real

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.utils import check_array

from sklearn_recsys.metrics._frames import Frames, lists_frame
from sklearn_recsys.metrics._hits import average_rows, check_k, check_lists
from sklearn_recsys.utils._labels import check_same_rows
from sklearn_recsys.utils._shares import divergence, history_shares, item_shares
from sklearn_recsys.utils._sparse import as_csr, canonical_csr
from sklearn_recsys.utils._threads import row_blocks
from sklearn_recsys.utils.validation import check_csr


def calibration_error_at_k(y_pred, X, item_features, k=10, *, alpha=0.01, average="mean"):
    r"""Calibration error at k: how far the genres of a list are from those of the history.

    Parameters
    ----------
    y_pred : array-like of int of shape (n_users, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot and is ignored.
        Only the first `k` columns are read. Or a frame of raw ids, see :ref:`metrics-on-frames`.
    X : {sparse matrix, sparse array, array-like} of shape (n_users, n_items)
        The histories of the users of `y_pred`, in the same order; a DataFrame of their events if
        `y_pred` is a frame.
    item_features : {sparse matrix, sparse array, array-like} of shape (n_items, n_genres)
        How much each item belongs to each genre, at least 0. If `y_pred` is a frame, a DataFrame of
        numbers with the raw item ids as its index, or in the column that `y_pred` has them in.
    k : int, default=10
        The number of slots that count.
    alpha : float, default=0.01
        The share of the history's distribution that is mixed into that of the list.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with a recommendation and a history with genres. None:
        one value per row.

    Returns
    -------
    error : float, ndarray of float64 of shape (n_users,) or Series
        In nats, at least 0, which a list has whose genres are in the proportions of the history;
        at most :math:`-\log \alpha`. With ``average=None``, NaN where the list is empty, or the
        history has no genres.

    See Also
    --------
    sklearn_recsys.compose.Calibration : Reranks lists to lower it.

    Notes
    -----
    The Kullback-Leibler divergence of eq. 4 of [1]_ with its smoothing, eq. 6:

    .. math:: \sum_g p(g|u) \log \frac{p(g|u)}{(1 - \alpha)\, q(g|u) + \alpha\, p(g|u)},

    where p(g|u) and q(g|u) are the means of p(g|i), an item's distribution over the genres, over
    the history and over the list. Items without a genre are left out.

    References
    ----------
    .. [1] H. Steck, "Calibrated recommendations", RecSys 2018.

    Examples
    --------
    >>> from sklearn_recsys.metrics import calibration_error_at_k
    >>> genres = [[1, 0], [1, 0], [0, 1], [0, 1]]
    >>> X = [[1, 0, 1, 0], [1, 0, 1, 0]]
    >>> calibration_error_at_k([[1, 3], [1, -1]], X, genres, average=None).round(2)
    array([0.  , 1.96])
    """
    if not isinstance(alpha, Real) or isinstance(alpha, bool) or not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, exclusive; got {alpha!r}.")
    frames, lists = None, lists_frame(y_pred)
    if lists is not None:
        frames = Frames(lists, check_k(k), X=X)
        item_features = frames.features(item_features)
        X, y_pred = frames.matrix("X"), frames.lists
    check_same_rows(X, y_pred, "y_pred")
    X = check_csr(X, name="X")
    n_users, n_items = X.shape
    features = check_array(
        as_csr(item_features, "item_features"),
        accept_sparse="csr",
        dtype=np.float64,
        input_name="item_features",
    )
    if features.shape[0] != n_items:
        raise ValueError(
            f"item_features must have a row for each of the {n_items} items of X; got "
            f"{features.shape[0]}."
        )
    shares = item_shares(canonical_csr(features, name="item_features"))
    y_pred = check_lists(y_pred, k, n_items, catalog="X")
    if len(y_pred) != n_users:
        raise ValueError(
            "y_pred and X must have the same users, row by row; got "
            f"{len(y_pred)} rows in y_pred and {n_users} in X."
        )
    error = np.full(n_users, np.nan)
    for rows in row_blocks(n_users, 32 * shares.shape[1]):
        wanted = history_shares(X[rows], shares)
        listed = history_shares(_as_matrix(y_pred[rows], n_items), shares)
        defined = wanted.any(axis=1) & np.any(y_pred[rows] >= 0, axis=1)
        values = divergence(wanted, listed, alpha)
        error[rows] = np.where(defined, np.maximum(values, 0), np.nan)
    error = average_rows(
        error, average, "No row has both a history with genres and a recommendation in its top k."
    )
    return error if frames is None else frames.labeled(error)


def provider_share_at_k(y_pred, providers, k=10) -> float:
    """Share of the slots of the top k that the most exposed provider has.

    Parameters
    ----------
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot and is ignored.
        Only the first `k` columns are read. Or a frame of raw ids, see :ref:`metrics-on-frames`.
    providers : array-like of shape (n_items,)
        The provider (or the category) of each item: any labels, missing (None or NaN) for an item
        without one. If `y_pred` is a frame, a Series with the raw item ids as its index.
    k : int, default=10
        The number of slots that count.

    Returns
    -------
    share : float
        In [0, 1]; 1 if one provider has all the slots.

    See Also
    --------
    gini_at_k : How unequally the items are recommended.
    sklearn_recsys.compose.CategoryQuota : Caps it in each list.
    sklearn_recsys.compose.cap_exposure : Caps it over many lists together.

    Examples
    --------
    >>> from sklearn_recsys.metrics import provider_share_at_k
    >>> provider_share_at_k([[0, 1], [0, 2]], ["a", "a", "b"])
    0.75
    """
    lists = lists_frame(y_pred)
    if lists is not None:
        frames = Frames(lists, check_k(k))
        if not isinstance(providers, pd.Series):
            raise TypeError(
                "y_pred is a frame of raw ids, so providers must be a Series with the raw item ids "
                f"as its index; got {type(providers).__name__}."
            )
        y_pred, places = frames.lists, providers.index.get_indexer(frames.items)
        if np.any(places < 0):
            raise ValueError(
                f"providers lacks {np.count_nonzero(places < 0)} of the recommended items."
            )
        providers = providers.iloc[places]
    if np.ndim(providers) != 1:
        raise ValueError(
            f"providers must be 1-D, one for each item; got shape {np.shape(providers)}."
        )
    codes, labels = pd.factorize(np.asarray(providers, dtype=object))
    y_pred = check_lists(y_pred, k, len(codes), catalog="providers")
    listed = codes[y_pred[y_pred >= 0]]
    if not len(listed):
        raise ValueError("y_pred recommends nothing: all of its top k slots are empty (-1).")
    counts = np.bincount(listed[listed >= 0], minlength=max(1, len(labels)))
    return float(counts.max() / len(listed))


def relevance_loss_at_k(scores, best_scores, k=10, *, average="mean"):
    """Relevance loss at k: how much lower a list's scores are than those of the best list.

    Parameters
    ----------
    scores : array-like of float of shape (n_rows, n_slots)
        A model's scores of the items in each list, -inf in empty slots, as ``recommend(...,
        return_scores=True)`` of a reranked model returns them.
    best_scores : array-like of float of shape (n_rows, n_slots)
        The scores of the lists that the model itself makes, best first: of ``estimator_``.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with an item. None: one value per row.

    Returns
    -------
    loss : float or ndarray of float64 of shape (n_rows,)
        The mean over the items of a list, in the unit of the scores; 0 if none is lost. With
        ``average=None``, NaN where the list is empty.

    See Also
    --------
    sklearn_recsys.compose.RerankedRecommender : Makes such lists.
    ndcg_at_k : What a list is worth by held-out items, instead of by the model's scores.

    Notes
    -----
    The order within a list does not matter. A list with empty slots is compared with the best ones
    of as many items.

    Examples
    --------
    >>> from sklearn_recsys.metrics import relevance_loss_at_k
    >>> relevance_loss_at_k([[5.0, 3.0]], [[5.0, 4.5]], k=2)
    0.75
    """
    k = check_k(k)
    scores, best = (np.asarray(values, dtype=np.float64)[:, :k] for values in (scores, best_scores))
    if len(scores) != len(best):
        raise ValueError(
            f"scores and best_scores must have the same rows; got {len(scores)} and {len(best)}."
        )
    filled = scores > -np.inf
    n_listed = np.count_nonzero(filled, axis=1)
    compared = np.arange(best.shape[1]) < n_listed[:, None]
    if np.any(np.isneginf(best) & compared) or n_listed.max(initial=0) > best.shape[1]:
        raise ValueError("best_scores has fewer items in a row than scores.")
    lost = np.where(compared, best, 0).sum(axis=1) - np.where(filled, scores, 0).sum(axis=1)
    loss = np.where(n_listed > 0, lost / np.maximum(n_listed, 1), np.nan)
    return average_rows(loss, average, "All lists are empty.")


def _as_matrix(y_pred, n_items):
    """Return lists as a csr_array of ones."""
    n_listed = np.count_nonzero(y_pred >= 0, axis=1)
    items = y_pred[y_pred >= 0]
    cells = (np.ones(len(items)), items, np.append(0, np.cumsum(n_listed)))
    return sp.csr_array(cells, shape=(len(y_pred), n_items))
