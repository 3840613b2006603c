"""Beyond-accuracy metrics: coverage, exposure, novelty, popularity bias and diversity."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array

from sklearn_recsys.metrics._frames import Frames, lists_frame
from sklearn_recsys.metrics._hits import average_rows, check_k, check_lists, list_blocks
from sklearn_recsys.utils._cells import cell_rows, item_counts
from sklearn_recsys.utils._labels import check_same_columns, check_same_rows
from sklearn_recsys.utils._neighbors import unit_rows
from sklearn_recsys.utils._sparse import as_csr, canonical_csr
from sklearn_recsys.utils._threads import even_blocks
from sklearn_recsys.utils.validation import check_csr

_BLOCK_VALUES = 2**22  # feature values summed at once
_NOTHING_RECOMMENDED = "y_pred recommends nothing: all of its top k slots are empty (-1)."


def _exposure(y_pred, n_items, k):
    """Return how often each of the `n_items` items is in a top k."""
    if not isinstance(n_items, Integral) or isinstance(n_items, bool):
        raise TypeError(f"n_items must be an integer, the size of the catalog; got {n_items!r}.")
    if n_items < 1:
        raise ValueError(f"n_items must be at least 1, the size of the catalog; got {n_items}.")
    lists = lists_frame(y_pred)
    if lists is not None:
        y_pred = Frames(lists, check_k(k)).lists
    y_pred = check_lists(y_pred, k, n_items)
    return np.bincount(y_pred[y_pred >= 0], minlength=n_items)


def _squared_sums(y_pred, unit, n_values, block_values=_BLOCK_VALUES):
    """Return |s|² of each list, s the sum of its items' vectors, some rows at a time."""
    n_listed = np.count_nonzero(y_pred >= 0, axis=1)
    squares = np.zeros(len(y_pred))
    for rows in even_blocks(_sum_per_list(y_pred, n_values), block_values):
        items = y_pred[rows][y_pred[rows] >= 0]
        bounds = np.append(0, np.cumsum(n_listed[rows]))
        shape = (len(bounds) - 1, unit.shape[0])
        sums = sp.csr_array((np.ones(len(items)), items, bounds), shape=shape) @ unit
        if sp.issparse(sums):
            squares[rows] = sums.power(2).sum(axis=1)
        else:
            squares[rows] = np.einsum("rf,rf->r", sums, sums)
    return squares


def _sum_per_list(y_pred, values):
    """Return each row's sum of the listed items' `values`."""
    values = np.append(values, 0.0)  # an empty slot, -1, indexes this last value
    total = np.empty(len(y_pred))
    for rows in list_blocks(*y_pred.shape):
        total[rows] = values[y_pred[rows]].sum(axis=1)
    return total


def _mean_per_list(y_pred, values):
    """Return each row's mean of the listed items' `values`, NaN where the list is empty."""
    n_listed = np.count_nonzero(y_pred >= 0, axis=1)
    mean = _sum_per_list(y_pred, values) / np.maximum(n_listed, 1)
    return np.where(n_listed > 0, mean, np.nan)


def coverage_at_k(y_pred, n_items, k=10) -> float:
    """Catalog coverage at k: the share of the items that are in at least one top k.

    Parameters
    ----------
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot and is ignored.
        Only the first `k` columns are read. Or a frame of raw ids, see :ref:`metrics-on-frames`.
    n_items : int
        The size of the catalog.
    k : int, default=10
        The number of slots that count.

    Returns
    -------
    coverage : float
        In [0, 1]; 1 if every item is recommended to someone.

    See Also
    --------
    gini_at_k : How unequally the items are recommended.

    Notes
    -----
    It cannot exceed ``n_rows * k / n_items``: compare models on the same rows and the same k.

    Examples
    --------
    >>> from sklearn_recsys.metrics import coverage_at_k
    >>> coverage_at_k([[0, 1], [0, -1]], n_items=4)
    0.5
    """
    return float(np.count_nonzero(_exposure(y_pred, n_items, k)) / n_items)


def gini_at_k(y_pred, n_items, k=10) -> float:
    r"""Gini coefficient of the items' exposure in the top k.

    Parameters
    ----------
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot and is ignored.
        Only the first `k` columns are read. Or a frame of raw ids, see :ref:`metrics-on-frames`.
    n_items : int
        The size of the catalog. Items that are never recommended count, with an exposure of 0.
    k : int, default=10
        The number of slots that count.

    Returns
    -------
    gini : float
        0 if all items are recommended equally often, ``1 - 1 / n_items`` if only one ever is.

    See Also
    --------
    coverage_at_k : The share of the items that are recommended at all.

    Notes
    -----
    With :math:`c_{(1)} \le \dots \le c_{(n)}` the numbers of lists that the items are in, over all
    :math:`n` items of the catalog,

    .. math:: G = \frac{\sum_{i=1}^{n} (2i - n - 1)\, c_{(i)}}{n \sum_{i=1}^{n} c_{(i)}}.

    Some libraries report :math:`1 - G`, or ignore the items that are never recommended.

    References
    ----------
    .. [1] D. Fleder, K. Hosanagar, "Blockbuster Culture's Next Rise or Fall: The Impact of
       Recommender Systems on Sales Diversity", Management Science 55(5), 2009.

    Examples
    --------
    >>> from sklearn_recsys.metrics import gini_at_k
    >>> gini_at_k([[0], [1], [2], [3]], n_items=4)
    0.0
    >>> gini_at_k([[0], [0], [0], [0]], n_items=4)
    0.75
    """
    exposure = np.sort(_exposure(y_pred, n_items, k))
    total = exposure.sum()
    if total == 0:
        raise ValueError(_NOTHING_RECOMMENDED)
    return float((2 * np.arange(1, n_items + 1) - n_items - 1) @ exposure / (n_items * total))


def novelty_at_k(y_pred, X, k=10, *, average="mean"):
    r"""Novelty at k: the mean self-information of the recommended items, in bits.

    Parameters
    ----------
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot and is ignored.
        Only the first `k` columns are read. Or a frame of raw ids, see :ref:`metrics-on-frames`.
    X : {sparse matrix, sparse array, array-like} of shape (n_users, n_items)
        The training matrix, whose nonzero cells give the items' popularity. Its rows need not be
        those of `y_pred`. A DataFrame of training events if `y_pred` is a frame.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with something recommended. None: one value per row.

    Returns
    -------
    novelty : float, ndarray of float64 of shape (n_rows,) or Series
        At least 0, greater is more novel; with ``average=None``, NaN where the list is empty.

    See Also
    --------
    popularity_bias_at_k : How popular the list is compared with the user's history.

    Notes
    -----
    The self-information of an item that :math:`c_i` of the :math:`n` training users have is

    .. math:: -\log_2 \frac{c_i + 1}{n + 1}

    bits [1]_: 0 for an item that all users have and, thanks to the one added to both counts, a
    finite :math:`\log_2(n + 1)` for an item without users. A row's value is the mean over its list.

    References
    ----------
    .. [1] T. Zhou, Z. Kuscsik, J.-G. Liu, M. Medo, J. R. Wakeling, Y.-C. Zhang, "Solving the
       apparent diversity-accuracy dilemma of recommender systems", PNAS 107(10), 2010 (without
       the added ones).

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.metrics import novelty_at_k
    >>> X = csr_array([[1, 1, 0], [1, 0, 0], [1, 0, 0]])
    >>> novelty_at_k([[0, -1], [1, 2]], X, average=None)
    array([0. , 1.5])
    """
    lists = lists_frame(y_pred)
    frames = None if lists is None else Frames(lists, check_k(k), X=X)
    if frames is not None:
        X, y_pred = frames.matrix("X", own_rows=True), frames.lists
    X = check_csr(X, name="X")
    n_users, n_items = X.shape
    y_pred = check_lists(y_pred, k, n_items, catalog="X")
    popularity = item_counts(X)
    information = np.log2(n_users + 1) - np.log2(popularity + 1)
    novelty = average_rows(_mean_per_list(y_pred, information), average, _NOTHING_RECOMMENDED)
    return novelty if frames is None else frames.labeled(novelty)


def popularity_bias_at_k(y_pred, X, k=10, *, X_train=None, average="mean"):
    r"""Popularity bias at k: how popular a user's list is compared with the user's history.

    Parameters
    ----------
    y_pred : array-like of int of shape (n_users, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot and is ignored.
        Only the first `k` columns are read. Or a frame of raw ids, see :ref:`metrics-on-frames`.
    X : {sparse matrix, sparse array, array-like} of shape (n_users, n_items)
        The histories of the users of `y_pred`, in the same order; a DataFrame of their events if
        `y_pred` is a frame.
    k : int, default=10
        The number of slots that count.
    X_train : {sparse matrix, array-like} of shape (n_train_users, n_items), default=None
        The training matrix, whose nonzero cells give the items' popularity, or a DataFrame of
        events. None: `X`.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with something recommended and a history that has a
        popularity. None: one value per row.

    Returns
    -------
    bias : float, ndarray of float64 of shape (n_users,) or Series
        Above 1 where the list is more popular than what the user chose, below 1 where it is less;
        with ``average=None``, NaN where the list or the history is empty, or no item of the history
        has a training user.

    See Also
    --------
    novelty_at_k : Rarity of the list on a logarithmic scale, without the history.

    Notes
    -----
    With :math:`c_i` the number of training users who have item i, a row's value is

    .. math:: \frac{\operatorname{mean}_{i \in \mathrm{list}} c_i}
              {\operatorname{mean}_{i \in \mathrm{history}} c_i},

    the ratio of the mean popularity of the recommended items to that of the items in the history.
    The popularity lift of [1]_ is this ratio minus 1, with both means taken over a group of users
    first; here the users' ratios are averaged.

    References
    ----------
    .. [1] H. Abdollahpouri, M. Mansoury, R. Burke, B. Mobasher, "The Unfairness of Popularity Bias
       in Recommendation", RMSE workshop at RecSys 2019.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.metrics import popularity_bias_at_k
    >>> X = csr_array([[1, 0, 1], [1, 1, 0], [1, 0, 0]])
    >>> popularity_bias_at_k([[1], [2], [-1]], X, average=None)
    array([0.5, 0.5, nan])
    """
    frames, lists = None, lists_frame(y_pred)
    if lists is not None:
        events = {"X": X} if X_train is None else {"X": X, "X_train": X_train}
        frames = Frames(lists, check_k(k), **events)
        X, *rest = (frames.matrix(name) for name in events)
        X_train, y_pred = (rest or [None])[0], frames.lists
    check_same_rows(X, y_pred, "y_pred")
    check_same_columns(X, X_train, "X_train")
    X = check_csr(X, name="X")
    n_users, n_items = X.shape
    y_pred = check_lists(y_pred, k, n_items, catalog="X")
    if len(y_pred) != n_users:
        raise ValueError(
            "y_pred and X must have the same users, row by row; got "
            f"{len(y_pred)} rows in y_pred and {n_users} in X."
        )
    X_train = X if X_train is None else check_csr(X_train, name="X_train")
    if X_train.shape[1] != n_items:
        raise ValueError(f"X_train must have the {n_items} items of X; got shape {X_train.shape}.")
    popularity = item_counts(X_train)
    length = np.diff(X.indptr)
    total = np.bincount(cell_rows(X), weights=popularity[X.indices], minlength=n_users)
    history = np.full(n_users, np.nan)  # also where none of a history's items has a training user
    np.divide(total, length, out=history, where=total > 0)
    bias = average_rows(
        _mean_per_list(y_pred, popularity) / history,
        average,
        "No row has both a history of items with training users and a recommendation in the top k "
        "of y_pred.",
    )
    return bias if frames is None else frames.labeled(bias)


def intra_list_diversity_at_k(y_pred, item_features, k=10, *, average="mean"):
    r"""Intra-list diversity at k: how different the items of a list are from each other.

    Parameters
    ----------
    y_pred : array-like of int of shape (n_rows, n_slots), or DataFrame
        Ranked item ids, best first, each at most once per row; -1 is an empty slot and is ignored.
        Only the first `k` columns are read. Or a frame of raw ids, see :ref:`metrics-on-frames`.
    item_features : {sparse matrix, sparse array, array-like} of shape (n_items, n_features)
        A row of features for each item: genres, an embedding, the columns of the training matrix.
        If `y_pred` is a frame, a DataFrame of numbers with the raw item ids as its index, or in the
        column that `y_pred` has them in.
    k : int, default=10
        The number of slots that count.
    average : {"mean"} or None, default="mean"
        ``"mean"``: the mean over the rows with at least two items. None: one value per row.

    Returns
    -------
    diversity : float, ndarray of float64 of shape (n_rows,) or Series
        In [0, 2], or in [0, 1] if no feature is negative; greater is more diverse. With
        ``average=None``, NaN where the list has fewer than two items.

    See Also
    --------
    sklearn_recsys.compose.MaximalMarginalRelevance : Reranks lists for diversity.
    coverage_at_k : How much of the catalog the lists of all users show.

    Notes
    -----
    A row's value is the mean of :math:`1 - \cos(f_i, f_j)` over all pairs of different items in its
    list, the complement of the intra-list similarity of [1]_. An item without features (all zero)
    has similarity 0 to every other. The order within the list does not matter.

    References
    ----------
    .. [1] C.-N. Ziegler, S. M. McNee, J. A. Konstan, G. Lausen, "Improving Recommendation Lists
       Through Topic Diversification", WWW 2005.

    Examples
    --------
    >>> from sklearn_recsys.metrics import intra_list_diversity_at_k
    >>> genres = [[1, 0], [1, 0], [0, 1]]
    >>> intra_list_diversity_at_k([[0, 1], [0, 2]], genres, average=None)
    array([0., 1.])
    """
    lists = lists_frame(y_pred)
    frames = None if lists is None else Frames(lists, check_k(k))
    if frames is not None:
        y_pred, item_features = frames.lists, frames.features(item_features)
    features = check_array(
        as_csr(item_features, "item_features"),
        accept_sparse="csr",
        dtype=np.float64,
        input_name="item_features",
    )
    if sp.issparse(features):
        features = canonical_csr(features, name="item_features")
    n_items, n_features = features.shape
    y_pred = check_lists(y_pred, k, n_items, catalog="item_features")
    unit = unit_rows(features)
    if sp.issparse(unit):
        n_values = np.diff(unit.indptr)
        lengths = unit.power(2).sum(axis=1)
    else:
        n_values = np.full(n_items, n_features)
        lengths = np.einsum("if,if->i", unit, unit)

    # The sum s of a list's unit vectors satisfies |s|² = Σ |f_i|² + 2 Σ_{i<j} cos(f_i, f_j), so the
    # pairs need not be enumerated.
    n_listed = np.count_nonzero(y_pred >= 0, axis=1)
    cosines = _squared_sums(y_pred, unit, n_values) - _sum_per_list(y_pred, lengths)
    n_ordered_pairs = n_listed * (n_listed - 1)
    values = np.clip(1.0 - cosines / np.maximum(n_ordered_pairs, 1), 0.0, 2.0)
    values[n_ordered_pairs == 0] = np.nan
    diversity = average_rows(
        values, average, "No row of y_pred has two items in its top k to compare."
    )
    return diversity if frames is None else frames.labeled(diversity)
