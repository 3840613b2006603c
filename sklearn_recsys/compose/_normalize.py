"""Scores of different recommenders on one scale, row by row."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

_RANK_OFFSET = 60  # of reciprocal rank fusion, as in its paper


def standardized(scores):
    """Return scores with mean 0 and standard deviation 1 in each row; 0 where all are equal."""
    scores = scores - scores.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.mean(scores**2, axis=1, keepdims=True, dtype=np.float64))
    return scores / np.where(deviation > 0, deviation, 1).astype(np.float32)


def min_max(scores):
    """Return scores from 0 to 1 in each row; 0 where all are equal."""
    low = scores.min(axis=1, keepdims=True)
    span = scores.max(axis=1, keepdims=True) - low
    return (scores - low) / np.where(span > 0, span, 1)


def reciprocal_ranks(scores):
    """Return 1 / (60 + rank) of each item in its row; equal scores have their mean rank."""
    return 1 / (_RANK_OFFSET + rankdata(-scores, axis=1).astype(np.float32))


NORMALIZATIONS = {
    "standard": standardized,
    "minmax": min_max,
    "rank": reciprocal_ranks,
    "none": lambda scores: scores,
}
