"""Whether a model was fitted on the cells that it is scored against."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from sklearn_recsys.utils._cells import in_cells, support, take_cells
from sklearn_recsys.utils._history_index import HistoryIndex

_BITS = 10  # by which a history must tell more than which user it is of, to be told from others'
_SAMPLE = 2000  # rows that are enough to tell whether two matrices are of the same users


def leaked_share(X, y, interactions):
    """Return the share of the held-out cells that a model was fitted on, as far as it shows.

    It shows where the rows are those of `fit` in their order, and where a row's known and held-out
    cells together are a training row, whatever its place. Popular items that new users share with
    those of `fit` don't count, nor do as many equal rows as chance brings where rows are short.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        What is known of each row, canonical.
    y : csr_array of shape (n_rows, n_items)
        What was held out, canonical. Cells that `X` holds, too, are not counted as leaked.
    interactions : csr_array of shape (n_users, n_items)
        The training matrix.

    Returns
    -------
    share : float
        Between 0 and 1.
    """
    new = ~in_cells(y, X)
    if _same_users(X, interactions):
        return np.mean(in_cells(y, interactions) & new)
    unseen = take_cells(y, new)
    if not unseen.nnz:
        return 0.0
    whole = X + unseen.astype(X.dtype)
    for values in (True, False):
        share = _refitted_share(X, whole, interactions, values) * unseen.nnz / y.nnz
        if share:
            return share
    return 0.0


def _same_users(X, interactions):
    """Return whether row by row `X` holds what the training matrix does, more than other rows do.

    The matrices may have been cut differently: one may hold fewer cells of each row.
    """
    n = X.shape[0]
    if interactions.shape[0] != n or n < 2 or not X.nnz:
        return False
    rows = np.arange(n) if n <= _SAMPLE else np.linspace(0, n - 1, _SAMPLE).astype(np.int64)
    part = X[rows]

    def common(others):
        """Return the share of the smaller part that is in the other."""
        fitted = interactions[others]
        smaller = min(part.nnz, fitted.nnz)
        return np.count_nonzero(in_cells(part, fitted)) / smaller if smaller else 0

    # neighboring rows are the fair comparison where users come sorted, by whatever
    chance = max(common((rows + shift) % n) for shift in (1, 2, 3))
    return common(rows) > (1 + chance) / 2


def _refitted_share(X, whole, interactions, values):
    """Return the share of the cells outside of `X` whose row as a `whole` is a training row.

    Rows that are training rows without what was held out of them don't count.
    """
    asked = np.flatnonzero(np.diff(whole.indptr) > np.diff(X.indptr))
    X, whole = X[asked], whole[asked]
    lengths, fitted_lengths = np.diff(whole.indptr), np.diff(interactions.indptr)
    # a row tells which of all sets of its length it is, and something by each value
    vary = values and np.any(interactions.data != interactions.data[0])
    bits = _log2_choose(X.shape[1], lengths) + (lengths if vary else 0)
    telling = bits > np.log2(interactions.shape[0]) + _BITS
    if not telling.any():
        return 0.0
    candidates = np.isin(fitted_lengths, np.union1d(lengths, np.diff(X.indptr)))
    fitted, fitted_lengths = interactions[candidates], fitted_lengths[candidates]
    if not values:
        X, whole, fitted = (support(matrix) for matrix in (X, whole, fitted))
    index = HistoryIndex(fitted)
    found = (index.lookup(whole) >= 0) & (index.lookup(X) < 0)
    # a new user's row equals a training row as often as training rows equal each other
    equal = index.hashes[1:] == index.hashes[:-1]
    twin = np.zeros(len(fitted_lengths), dtype=bool)
    twin[index.order] = np.append(equal, False) | np.append(False, equal)
    size = max(lengths.max(), fitted_lengths.max(initial=0)) + 1
    counts = np.bincount(fitted_lengths, minlength=size)
    twins = np.bincount(fitted_lengths, weights=twin, minlength=size)
    expected = (twins / np.maximum(counts, 1))[lengths[telling]].sum()
    # more than chance and chance again; of few rows, all of them where none was to be expected
    chance = max(expected + 3 * np.sqrt(expected + 1), 0.1 * np.count_nonzero(telling))
    everything = expected < 0.1 and found[telling].all()
    if np.count_nonzero(found & telling) <= chance and not everything:
        return 0.0
    n_held_out = lengths - np.diff(X.indptr)
    return n_held_out[found].sum() / n_held_out.sum()


def _log2_choose(n, k):
    """Return the logarithm of the number of sets of `k` of `n` things."""
    return (gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) / np.log(2)
