"""The formulas of the ranking metrics: hits of the top k slots to one value per row."""

from __future__ import annotations

from functools import wraps

import numpy as np

from sklearn_recsys.metrics._hits import NOTHING_HELD_OUT


def _per_row(values):
    """Turn a metric into f(hits, n_relevant, k=None): a value per row, NaN if nothing is held out.

    `hits` may be wider than `k` (one pass serves several cutoffs) or narrower (missing slots are
    misses); `k` defaults to its width. `values` gets at most k columns and no `n_relevant` of 0.
    """

    @wraps(values)
    def per_row(hits, n_relevant, k=None, **options):
        k = hits.shape[1] if k is None else k
        result = values(hits[:, :k], np.maximum(n_relevant, 1), k, **options)
        return np.where(n_relevant > 0, result, np.nan)

    return per_row


def _hit_positions(hits):
    """Return each hit's row, its rank (from 1) and its number (from 1) among the row's hits."""
    rows, positions = np.nonzero(hits)
    n_hits = np.bincount(rows, minlength=len(hits))
    number = np.arange(1, len(rows) + 1) - np.repeat(np.cumsum(n_hits) - n_hits, n_hits)
    return rows, positions + 1, number


@_per_row
def _hr(hits, n_relevant, k):
    return hits.any(axis=1)


@_per_row
def _recall(hits, n_relevant, k, truncated=False):
    return np.count_nonzero(hits, axis=1) / (np.minimum(k, n_relevant) if truncated else n_relevant)


@_per_row
def _precision(hits, n_relevant, k):
    return np.count_nonzero(hits, axis=1) / k


@_per_row
def _ndcg(hits, n_relevant, k):
    rows, ranks, _ = _hit_positions(hits)
    n_ideal = np.minimum(k, n_relevant)
    n_ranks = max(hits.shape[1], n_ideal.max(initial=1))
    discounts = 1.0 / np.log2(np.arange(2, n_ranks + 2))
    dcg = np.bincount(rows, weights=discounts[ranks - 1], minlength=len(hits))
    return dcg / np.cumsum(discounts)[n_ideal - 1]


@_per_row
def _map(hits, n_relevant, k):
    rows, ranks, number = _hit_positions(hits)
    precisions = np.bincount(rows, weights=number / ranks, minlength=len(hits))
    return precisions / np.minimum(k, n_relevant)


@_per_row
def _mrr(hits, n_relevant, k):
    rows, ranks, number = _hit_positions(hits)
    first = number == 1
    return np.bincount(rows[first], weights=1.0 / ranks[first], minlength=len(hits))


def graded_ndcg(gained, ideal, k=None):
    """Return each row's discounted gain divided by the ideal one, NaN if no gain is positive.

    `gained` and `ideal` are the results of `find_gains` for at least `k` slots.
    """
    k = max(gained.shape[1], ideal.shape[1]) if k is None else k
    gained, ideal = gained[:, :k], ideal[:, :k]
    discounts = 1.0 / np.log2(np.arange(2, max(gained.shape[1], ideal.shape[1]) + 2))
    best = ideal @ discounts[: ideal.shape[1]]
    dcg = gained @ discounts[: gained.shape[1]]
    return np.divide(dcg, best, out=np.full(len(best), np.nan), where=best > 0)


NO_GAIN = NOTHING_HELD_OUT.replace("nonzero", "positive")
GRADED = {"ndcg-linear": "linear", "ndcg-exponential": "exponential"}

PER_ROW = {
    "ndcg": _ndcg,
    "hr": _hr,
    "recall": _recall,
    "precision": _precision,
    "map": _map,
    "mrr": _mrr,
}
