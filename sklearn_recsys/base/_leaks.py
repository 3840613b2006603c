"""Whether a model was fitted on the cells that it is scored against."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from sklearn_recsys.utils._cells import in_cells, support, take_cells
from sklearn_recsys.utils._history_index import HistoryIndex

_BITS = 10  # information in a history, beyond that of a user's number, that makes it identifying
_SAMPLE = 2000  # rows that are compared to decide whether two matrices hold the same users


def leaked_share(X, y, interactions):
    """Return the share of the held-out cells that a model was fitted on, as far as detectable.

    A leak is detected if the rows are those of `fit` in the same order, or if a row's given and
    held-out cells together equal a training row at any position. Popular items that new users share
    with training users don't count, nor do as many equal rows as chance explains if rows are short.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        The interactions of each row that the model is given, canonical.
    y : csr_array of shape (n_rows, n_items)
        The held-out interactions, canonical. Cells that are also in `X` don't count as leaked.
    interactions : csr_array of shape (n_users, n_items)
        The training matrix.

    Returns
    -------
    share : float
        Between 0 and 1.
    """
    if not interactions.shape[0]:  # the training rows are on a cluster
        return 0.0
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


def is_held_out_part(X, interactions):
    """Return whether `X` seems to be what was held out of the training rows, in the same order.

    No row has an item in common with the training row, of at least 20 that rows of as many random
    items would have.
    """
    if X.shape != interactions.shape:
        return False
    lengths = np.diff(X.indptr) * np.diff(interactions.indptr).astype(np.float64)
    return lengths.sum() > 20 * X.shape[1] and not in_cells(X, interactions).any()


def _same_users(X, interactions):
    """Return whether the rows of `X` overlap with the same training rows far more than with others.

    The matrices may be different splits of the same data: one may hold fewer cells of each row.
    """
    n = X.shape[0]
    if interactions.shape[0] != n or n < 2 or not X.nnz:
        return False
    rows = np.arange(n) if n <= _SAMPLE else np.linspace(0, n - 1, _SAMPLE).astype(np.int64)
    sampled = X[rows]

    def common(others):
        """Return the share of the smaller matrix's cells that are in the other."""
        fitted = interactions[others]
        smaller = min(sampled.nnz, fitted.nnz)
        return np.count_nonzero(in_cells(sampled, fitted)) / smaller if smaller else 0

    # compared with neighboring rows, which are the most similar ones if users are sorted
    chance = max(common((rows + shift) % n) for shift in (1, 2, 3))
    return common(rows) > (1 + chance) / 2


def _refitted_share(X, whole, interactions, values):
    """Return the share of the held-out cells whose row equals a training row as a `whole`.

    Rows that equal a training row even without their held-out cells don't count.
    """
    scored = np.flatnonzero(np.diff(whole.indptr) > np.diff(X.indptr))
    X, whole = X[scored], whole[scored]
    lengths, fitted_lengths = np.diff(whole.indptr), np.diff(interactions.indptr)
    # the information in a row: which of all sets of its length it is, and a bit for each value
    vary = values and np.any(interactions.data != interactions.data[0])
    bits = _log2_choose(X.shape[1], lengths) + (lengths if vary else 0)
    identifying = bits > np.log2(interactions.shape[0]) + _BITS
    if not identifying.any():
        return 0.0
    candidates = np.isin(fitted_lengths, np.union1d(lengths, np.diff(X.indptr)))
    fitted, fitted_lengths = interactions[candidates], fitted_lengths[candidates]
    if not values:
        X, whole, fitted = (support(matrix) for matrix in (X, whole, fitted))
    index = HistoryIndex(fitted)
    refitted = (index.lookup(whole) >= 0) & (index.lookup(X) < 0)
    # a new user's row equals a training row as often as training rows equal each other
    equal = index.hashes[1:] == index.hashes[:-1]
    twin = np.zeros(len(fitted_lengths), dtype=bool)
    twin[index.order] = np.append(equal, False) | np.append(False, equal)
    size = max(lengths.max(), fitted_lengths.max(initial=0)) + 1
    counts = np.bincount(fitted_lengths, minlength=size)
    twins = np.bincount(fitted_lengths, weights=twin, minlength=size)
    expected = (twins / np.maximum(counts, 1))[lengths[identifying]].sum()
    # three standard deviations above chance; of very few rows, all of them if none was expected
    chance = max(expected + 3 * np.sqrt(expected + 1), 0.1 * np.count_nonzero(identifying))
    everything = expected < 0.1 and refitted[identifying].all()
    if np.count_nonzero(refitted & identifying) <= chance and not everything:
        return 0.0
    n_held_out = lengths - np.diff(X.indptr)
    return n_held_out[refitted].sum() / n_held_out.sum()


def _log2_choose(n, k):
    """Return the logarithm of the number of sets of `k` out of `n` elements."""
    return (gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) / np.log(2)
