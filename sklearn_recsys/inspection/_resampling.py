"""Resampling of users: bootstrap intervals, paired tests, and Holm's correction."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm
from sklearn.utils import gen_batches

_BLOCK_VALUES = 2**22  # of the weights that are drawn at once, 32 MiB
_TIES = 1e-9  # sums that differ by less, relatively, are equal but for rounding


def bootstrap_sums(values, n_resamples, rng):
    """Return the sums of the rows of `values` over samples of as many rows, with replacement.

    Parameters
    ----------
    values : ndarray of float64 of shape (n_rows, n_columns)
        The values of each user. All columns see the same samples.
    n_resamples : int
        Number of samples.
    rng : numpy.random.Generator
        What draws them.

    Returns
    -------
    sums : ndarray of float64 of shape (n_resamples, n_columns)
    """
    n_rows = len(values)
    sums = np.empty((n_resamples, values.shape[1]))
    for block in gen_batches(n_resamples, max(1, _BLOCK_VALUES // n_rows)):
        size = block.stop - block.start
        drawn = rng.integers(n_rows, size=(size, n_rows)) + n_rows * np.arange(size)[:, np.newaxis]
        counts = np.bincount(drawn.ravel(), minlength=size * n_rows).reshape(size, n_rows)
        sums[block] = counts.astype(np.float64) @ values
    return sums


def bca_interval(resampled, score, influence, confidence_level):
    """Return the ends of the bias-corrected and accelerated bootstrap interval.

    B. Efron, "Better bootstrap confidence intervals", JASA 82 (1987).

    Parameters
    ----------
    resampled : ndarray of float64 of shape (n_resamples,)
        The scores of the samples; NaN if a sample has none.
    score : float
        The score of all users.
    influence : ndarray of float64 of shape (n_rows,)
        What each user adds to the score, to first order.
    confidence_level : float
        The confidence level.

    Returns
    -------
    low, high : float
    """
    below = np.mean(resampled < score) + np.mean(resampled == score) / 2
    bias = norm.ppf(np.clip(below, 1 / len(resampled), 1 - 1 / len(resampled)))
    variance = np.sum(influence**2)
    acceleration = np.sum(influence**3) / (6 * variance**1.5) if variance else 0.0
    tail = (1 - confidence_level) / 2
    quantiles = bias + norm.ppf([tail, 1 - tail])
    quantiles = bias + quantiles / np.maximum(1 - acceleration * quantiles, 1e-6)
    return np.nanquantile(resampled, norm.cdf(quantiles))


def sign_flip_test(differences, n_resamples, rng):
    """Test whether paired differences have mean zero, by flipping their signs at random.

    Parameters
    ----------
    differences : ndarray of float64 of shape (n_rows, n_columns)
        The differences of each user. All columns see the same signs.
    n_resamples : int
        Number of random flips.
    rng : numpy.random.Generator
        What draws them.

    Returns
    -------
    p_values : ndarray of float64 of shape (n_columns,)
        Two-sided mid-p-values: of flips with as large a sum as the observed one, half count, and
        the observed signs are one of them. 1 if the sum is zero.
    """
    n_rows = len(differences)
    observed = np.abs(differences.sum(axis=0))
    ties = _TIES * np.abs(differences).sum(axis=0)
    larger, as_large = np.zeros((2, differences.shape[1]))
    for block in gen_batches(n_resamples, max(1, _BLOCK_VALUES // n_rows)):
        signs = 2.0 * rng.integers(2, size=(block.stop - block.start, n_rows), dtype=np.int8) - 1
        sums = np.abs(signs @ differences)
        larger += np.count_nonzero(sums > observed + ties, axis=0)
        as_large += np.count_nonzero(np.abs(sums - observed) <= ties, axis=0)
    p_values = (larger + (as_large + 1) / 2) / (n_resamples + 1)
    return np.where(observed <= ties, 1.0, p_values)


def holm(p_values):
    """Return Holm's adjusted p-values of a family of tests; NaN is no test.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979): the i-th smallest of m is multiplied by m − i + 1, and is no less than the
    ones before it.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted
