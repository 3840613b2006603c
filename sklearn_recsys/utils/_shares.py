"""How the categories of items are distributed over a list or a history (Steck 2018)."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._cells import support
from sklearn_recsys.utils._neighbors import scaled_rows


def item_shares(features, name="item_features"):
    """Return p(g|i), each item's distribution over the categories.

    Parameters
    ----------
    features : csr_array of shape (n_items, n_categories)
        At least 0; a row is the item's weights of the categories, zero if it has none.
    name : str, default="item_features"
        The caller's argument, for messages.

    Returns
    -------
    shares : csr_array of float64 of shape (n_items, n_categories)
        The rows sum to 1, or to 0 where an item has no category.
    """
    if features.nnz and features.data.min() < 0:
        raise ValueError(
            f"{name} must hold how much each item belongs to each category, at least 0; got "
            f"{features.data.min():g}."
        )
    return _normalized(scaled_rows(features.astype(np.float64)))


def history_shares(X, shares):
    """Return p(g|u), the mean of p(g|i) over the items of each history that have a category.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        Histories, whose values are ignored.
    shares : csr_array of shape (n_items, n_categories)
        p(g|i).

    Returns
    -------
    shares : ndarray of float64 of shape (n_rows, n_categories)
        The rows sum to 1, or to 0 for a history without categories.
    """
    return _normalized((support(X).astype(np.float64) @ shares).toarray())


def divergence(p, q, alpha):
    """Return the Kullback-Leibler divergence of (1 − α) q + α p from p, in nats.

    Parameters
    ----------
    p, q : ndarray of shape (..., n_categories)
        Distributions; q may be zero everywhere.
    alpha : float
        From 0, exclusive, to 1.
    """
    smoothed = np.where(p > 0, (1 - alpha) * q + alpha * p, 1)
    return (p * np.log(np.where(p > 0, p, 1) / smoothed)).sum(axis=-1)


def _normalized(values):
    """Return values whose rows sum to 1; a row of zeros stays."""
    sums = np.asarray(values.sum(axis=1)).ravel()
    scale = 1 / np.where(sums > 0, sums, 1)
    if isinstance(values, np.ndarray):
        return values * scale[:, None]
    values = values.copy()
    values.data *= np.repeat(scale, np.diff(values.indptr))
    return values
