"""Ranking metrics at k, on ranked item ids and held-out items.

Every metric depends on the same two inputs: which of the top k slots of a row are hits, and how
many items are held out of the row. The functions in `PER_ROW` map them to one value per row.
"""

from __future__ import annotations

from typing import Any

from sklearn_recsys.metrics._frames import Frames, lists_frame
from sklearn_recsys.metrics._hits import average_rows, check_k, find_gains, find_hits
from sklearn_recsys.metrics._per_row import GRADED, NO_GAIN, PER_ROW, graded_ndcg


def _metric(name, y_true, y_pred, k, average, **options) -> Any:
    """Return the average of the values of the metric `name` for each row."""
    k = check_k(k)
    frames, lists = None, lists_frame(y_pred)
    if lists is not None:
        frames = Frames(lists, k, y_true=y_true)
        frames.check_common_users("y_true")
        y_true, y_pred = frames.matrix("y_true"), frames.lists
    hits, n_relevant = find_hits(y_true, y_pred, k)  # unpadded, so that a huge k costs nothing
    values = average_rows(PER_ROW[name](hits, n_relevant, k, **options), average)
    return values if frames is None else frames.labeled(values)


def hr_at_k(y_true, y_pred, k=10, *, average="mean"):
    """Hit rate at k: the share of rows with at least one held-out item in their top k.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        Held-out items: the nonzero cells of a matrix; or, 1-D, one held-out item id per row. A
        DataFrame of held-out events if `y_pred` is one.
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot, which is a
        miss. Only the first `k` columns are read; if there are fewer, the rest are empty slots. Or
        a frame of raw ids, see :ref:`metrics-on-frames`.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with held-out items (at least one is required). None: one
        value per row.

    Returns
    -------
    hr : float, ndarray of float64 of shape (n_rows,) or Series
        In [0, 1], greater is better; with ``average=None``, NaN where nothing is held out.

    See Also
    --------
    recall_at_k : The share of the held-out items that is found.
    mrr_at_k : How early the first of them is found.

    Notes
    -----
    A row's value is 1 if any of its top k items is held out, else 0. With one held-out item per
    row it equals `recall_at_k`.

    Examples
    --------
    >>> from sklearn_recsys.metrics import hr_at_k
    >>> hr_at_k([3, 1], [[0, 3, 2], [0, 2, 3]], k=2)
    0.5
    """
    return _metric("hr", y_true, y_pred, k, average)


def recall_at_k(y_true, y_pred, k=10, *, average="mean", truncated=False):
    r"""Recall at k: the share of a row's held-out items that its top k finds.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        Held-out items: the nonzero cells of a matrix; or, 1-D, one held-out item id per row. A
        DataFrame of held-out events if `y_pred` is one.
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot, which is a
        miss. Only the first `k` columns are read; if there are fewer, the rest are empty slots. Or
        a frame of raw ids, see :ref:`metrics-on-frames`.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with held-out items (at least one is required). None: one
        value per row.
    truncated : bool, default=False
        Divide by ``min(k, number held out)`` [1]_ rather than by the number held out.

    Returns
    -------
    recall : float, ndarray of float64 of shape (n_rows,) or Series
        In [0, 1], greater is better; with ``average=None``, NaN where nothing is held out.

    See Also
    --------
    precision_at_k : The same hits, divided by k.

    Notes
    -----
    With :math:`h_u` hits in the top k and :math:`n_u` items held out, a row's value is
    :math:`h_u / n_u`, which cannot reach 1 where :math:`n_u > k`. The literature on variational
    autoencoders reports :math:`h_u / \min(k, n_u)` [1]_ under the same name, which can:
    ``truncated=True``. Figures under the two conventions must not be compared.

    References
    ----------
    .. [1] D. Liang, R. G. Krishnan, M. D. Hoffman, T. Jebara, "Variational Autoencoders for
       Collaborative Filtering", WWW 2018.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.metrics import recall_at_k
    >>> y_true = csr_array([[1, 1, 0, 1], [0, 0, 1, 0]])
    >>> y_pred = [[0, 2, 1], [2, 0, 1]]
    >>> recall_at_k(y_true, y_pred, k=2, average=None).round(3)
    array([0.333, 1.   ])
    >>> recall_at_k(y_true, y_pred, k=2, truncated=True)
    0.75
    """
    return _metric("recall", y_true, y_pred, k, average, truncated=truncated)


def precision_at_k(y_true, y_pred, k=10, *, average="mean"):
    """Precision at k: the share of the k slots that hold a held-out item.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        Held-out items: the nonzero cells of a matrix; or, 1-D, one held-out item id per row. A
        DataFrame of held-out events if `y_pred` is one.
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot, which is a
        miss. Only the first `k` columns are read; if there are fewer, the rest are empty slots. Or
        a frame of raw ids, see :ref:`metrics-on-frames`.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with held-out items (at least one is required). None: one
        value per row.

    Returns
    -------
    precision : float, ndarray of float64 of shape (n_rows,) or Series
        In [0, 1], greater is better; with ``average=None``, NaN where nothing is held out.

    See Also
    --------
    recall_at_k : The same hits, divided by the number held out.

    Notes
    -----
    The denominator is always `k`: not the number of filled slots, and not
    ``min(k, number held out)``, which some libraries call precision and which is
    ``recall_at_k(..., truncated=True)`` here. A row with fewer than `k` items held out cannot
    reach 1.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.metrics import precision_at_k
    >>> y_true = csr_array([[1, 1, 0, 1], [0, 0, 1, 0]])
    >>> precision_at_k(y_true, [[0, 1, 2], [2, -1, -1]], k=2, average=None)
    array([1. , 0.5])
    """
    return _metric("precision", y_true, y_pred, k, average)


def ndcg_at_k(y_true, y_pred, k=10, *, average="mean", gains="binary"):
    r"""NDCG at k: the normalized discounted cumulative gain of a row's top k.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        Held-out items: the nonzero cells of a matrix; or, 1-D, one held-out item id per row. A
        DataFrame of held-out events if `y_pred` is one.
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot, which is a
        miss. Only the first `k` columns are read; if there are fewer, the rest are empty slots. Or
        a frame of raw ids, see :ref:`metrics-on-frames`.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with held-out items (at least one is required). None: one
        value per row.
    gains : {"binary", "linear", "exponential"}, default="binary"
        The gain of a held-out item: 1; its value r in `y_true`, such as a rating; or
        :math:`2^r - 1`.

    Returns
    -------
    ndcg : float, ndarray of float64 of shape (n_rows,) or Series
        In [0, 1], greater is better; with ``average=None``, NaN where nothing is held out.

    See Also
    --------
    sklearn.metrics.ndcg_score : The same metric on scores, averaged over ties.

    Notes
    -----
    A hit at rank p (from 1) adds its gain times :math:`1 / \log_2(p + 1)` [1]_. The sum is divided
    by that of an ideal list, which ranks the :math:`\min(k, n_u)` held-out items with the largest
    gains first, in descending order: the ideal is truncated at k, as in [2]_, so that a row with
    more than k held-out items can reach 1.

    By default the gain is binary, and the values stored in `y_true` do not matter. Graded gains
    need values of at least 0; if `y_true` is 1-D, all values are 1. Exponential gains are those of
    [3]_: on a scale from 1 to 5 the best rating counts 31 times the worst. In scorers and `score`
    they are called ``"ndcg-linear"`` and ``"ndcg-exponential"``.

    On complete rankings it equals
    ``sklearn.metrics.ndcg_score(relevance, scores, k=k, ignore_ties=True)`` for 0/1 relevance, and
    for any relevance with ``gains="linear"``.

    References
    ----------
    .. [1] K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM
       Transactions on Information Systems 20(4), 2002.
    .. [2] D. Liang, R. G. Krishnan, M. D. Hoffman, T. Jebara, "Variational Autoencoders for
       Collaborative Filtering", WWW 2018.
    .. [3] C. Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.

    Examples
    --------
    >>> from sklearn_recsys.metrics import ndcg_at_k
    >>> ndcg_at_k([3, 1], [[3, 0, 2], [0, 2, 1]], k=3)
    0.75
    >>> ratings = [[5, 1, 0]]
    >>> [round(ndcg_at_k(ratings, [[1, 0]], gains=g), 2) for g in ("binary", "linear")]
    [1.0, 0.74]
    """
    if gains == "binary":
        return _metric("ndcg", y_true, y_pred, k, average)
    if gains not in GRADED.values():
        raise ValueError(f"gains must be 'binary', 'linear' or 'exponential'; got {gains!r}.")
    k = check_k(k)
    lists = lists_frame(y_pred)
    if lists is None:
        return average_rows(graded_ndcg(*find_gains(y_true, y_pred, k, gains)), average, NO_GAIN)
    frames = Frames(lists, k, y_true=y_true)
    frames.check_common_users("y_true")
    y_true = frames.matrix("y_true", ratings=True)
    values = graded_ndcg(*find_gains(y_true, frames.lists, k, gains))
    return frames.labeled(average_rows(values, average, NO_GAIN))


def map_at_k(y_true, y_pred, k=10, *, average="mean"):
    r"""Mean average precision at k.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        Held-out items: the nonzero cells of a matrix; or, 1-D, one held-out item id per row. A
        DataFrame of held-out events if `y_pred` is one.
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot, which is a
        miss. Only the first `k` columns are read; if there are fewer, the rest are empty slots. Or
        a frame of raw ids, see :ref:`metrics-on-frames`.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with held-out items (at least one is required). None: one
        value per row.

    Returns
    -------
    map : float, ndarray of float64 of shape (n_rows,) or Series
        In [0, 1], greater is better; with ``average=None``, NaN where nothing is held out.

    See Also
    --------
    sklearn.metrics.label_ranking_average_precision_score : The same metric on complete rankings.

    Notes
    -----
    A row's value is the sum, over its hits in the top k, of the precision at the hit's rank,
    divided by :math:`\min(k, n_u)`, where :math:`n_u` is the number of held-out items, so that 1
    can be reached. Other implementations divide by :math:`n_u` (trec_eval's ``map_cut``), by k, or
    by the number of hits.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.metrics import map_at_k
    >>> round(map_at_k(csr_array([[1, 0, 1, 0]]), [[0, 1, 2]], k=3), 4)
    0.8333
    """
    return _metric("map", y_true, y_pred, k, average)


def mrr_at_k(y_true, y_pred, k=10, *, average="mean"):
    """Mean reciprocal rank at k: one over the rank of the first hit.

    Parameters
    ----------
    y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items) or (n_rows,)
        Held-out items: the nonzero cells of a matrix; or, 1-D, one held-out item id per row. A
        DataFrame of held-out events if `y_pred` is one.
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot, which is a
        miss. Only the first `k` columns are read; if there are fewer, the rest are empty slots. Or
        a frame of raw ids, see :ref:`metrics-on-frames`.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with held-out items (at least one is required). None: one
        value per row.

    Returns
    -------
    mrr : float, ndarray of float64 of shape (n_rows,) or Series
        In [0, 1], greater is better; with ``average=None``, NaN where nothing is held out.

    See Also
    --------
    hr_at_k : Whether there is a hit at all.

    Notes
    -----
    A row's value is ``1 / rank`` of its first hit, ranks counted from 1, and 0 if its top k holds
    none. Empty slots keep their rank: an item behind one does not move up.

    Examples
    --------
    >>> from sklearn_recsys.metrics import mrr_at_k
    >>> mrr_at_k([3, 1], [[0, 3, 2], [0, 2, 3]], k=2)
    0.25
    """
    return _metric("mrr", y_true, y_pred, k, average)
