"""Sampling of the cells of a synthetic user × item matrix, and of ratings in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sklearn_recsys.utils._cells import cell_rows, products_at

_SHARPNESS = 3.0  # inverse temperature of the softmax: larger values concentrate on fewer factors
_BLOCK = 2**20  # interactions sampled at a time, which bounds the memory


def sample_cells(rng, user_factors, item_factors, n_interactions, exponent, minimum=2):
    """Sample each user's items without replacement; return a csr_array of float32 ones.

    ``P(i | u)`` is proportional to ``popularity[i] * tastes[u] @ traits[i]``: a mixture over the
    factors k of ``popularity * traits[:, k]``, so each sample picks a factor, then an item.
    """
    n_users, n_items = len(user_factors), len(item_factors)
    ranks = np.arange(1, n_items + 1) + np.sqrt(n_items) / 2
    popularity = rng.permutation((ranks / ranks[0]) ** -float(exponent))
    weights = popularity * _softmax(item_factors).T  # (n_factors, n_items)
    tastes = _softmax(user_factors) * weights.sum(axis=1)
    tastes /= tastes.sum(axis=1, keepdims=True)
    # The cumulative probabilities of user (factor) j are in the interval from j to j + 1 of one
    # sorted array, so that a single searchsorted samples for all of them.
    taste_steps = _stacked_cumsum(tastes)
    weight_steps = _stacked_cumsum(weights / weights.sum(axis=1, keepdims=True))

    wanted = _activity(rng, n_users, n_items, n_interactions, minimum)
    indptr = np.append(0, np.cumsum(wanted))
    indices = np.empty(n_interactions, dtype=np.int32)
    begin = 0
    while begin < n_users:
        end = max(np.searchsorted(indptr, indptr[begin] + _BLOCK, side="right") - 1, begin + 1)
        users = np.arange(begin, end)
        keys = np.empty(0, dtype=np.int64)  # user * n_items + item of the cells sampled so far
        missing = wanted[begin:end].copy()
        for _ in range(6):
            keys = _add_samples(rng, keys, users, missing, taste_steps, weight_steps, n_items)
            missing = wanted[begin:end] - np.bincount(
                keys // n_items - begin, minlength=end - begin
            )
            if not missing.any():
                break
        else:  # rejection is slow for users who have almost all items with a probability
            keys = _add_rest(rng, keys, users, missing, tastes, weights)
        keys.sort()
        indices[indptr[begin] : indptr[end]] = keys % n_items
        begin = end
    data = np.ones(n_interactions, dtype=np.float32)
    if n_interactions <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return sp.csr_array((data, indices, indptr), shape=(n_users, n_items))


def _add_samples(rng, keys, users, missing, taste_steps, weight_steps, n_items):
    """Add new cells to `keys`, at most `missing` per user, in the order of sampling."""
    n_factors = len(weight_steps) // n_items
    n_samples = np.where(missing > 0, missing + missing // 2 + 4, 0)
    sampled_users = np.repeat(users, n_samples)
    uniform = rng.random_sample(len(sampled_users))
    factors = np.searchsorted(taste_steps, sampled_users + uniform, "right")
    factors = np.minimum(factors, len(taste_steps) - 1) % n_factors
    uniform = rng.random_sample(len(sampled_users))
    items = np.searchsorted(weight_steps, factors + uniform, "right")
    items = np.minimum(items, len(weight_steps) - 1) % n_items
    samples = sampled_users * n_items + items
    repeated = pd.Series(np.concatenate([keys, samples])).duplicated().to_numpy()[len(keys) :]
    samples = samples[~repeated]
    # Keep the first new items of each user in the order of sampling: dropping surplus items by
    # index would make the last items rarer.
    owners = samples // n_items - users[0]
    counts = np.bincount(owners, minlength=len(users))
    ranks = np.arange(len(samples)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.concatenate([keys, samples[ranks < missing[owners]]])


def _add_rest(rng, keys, users, missing, tastes, weights):
    """Sample all missing cells without rejection (Gumbel top-n, the same distribution)."""
    n_factors, n_items = weights.shape
    shares = weights / weights.sum(axis=1, keepdims=True)
    unfinished = np.flatnonzero(missing)
    owners, sampled_items = np.divmod(keys, n_items)
    owners -= users[0]
    n_rows = max(1, 4 * _BLOCK // n_items)
    blocks = [keys]
    for begin in range(0, len(unfinished), n_rows):
        block = unfinished[begin : begin + n_rows]
        # items with zero probability still rank before the items that the user already has
        probabilities = np.maximum(tastes[users[block]] @ shares, np.finfo(np.float64).tiny)
        scores = np.log(probabilities) + rng.gumbel(size=probabilities.shape)
        row_of = np.full(len(users), -1)
        row_of[block] = np.arange(len(block))
        rows = row_of[owners]
        scores[rows[rows >= 0], sampled_items[rows >= 0]] = -np.inf
        best = np.argsort(-scores, axis=1)
        selected = np.arange(n_items) < missing[block, None]
        blocks.append((users[block, None] * n_items + best)[selected])
    return np.concatenate(blocks)


def _activity(rng, n_users, n_items, n_interactions, minimum):
    """Return log-normal numbers of items per user: at least `minimum`, n_interactions in total."""
    weights = rng.lognormal(size=n_users)
    counts = np.full(n_users, min(minimum, n_items), dtype=np.int64)
    while (remaining := n_interactions - counts.sum()) > 0:
        can_grow = counts < n_items
        share = remaining * weights * can_grow / weights[can_grow].sum()
        if share.max() < 1:  # rounding down would give nothing to any user
            counts[np.argsort(-share, kind="stable")[:remaining]] += 1
        else:
            counts = np.minimum(counts + share.astype(np.int64), n_items)
    return counts


def _softmax(factors):
    """Return the sharpened softmax of each row."""
    exponentials = np.exp(_SHARPNESS * (factors - factors.max(axis=1, keepdims=True)))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _stacked_cumsum(probabilities):
    """Return the cumulative sums of the rows, the j-th shifted by j, as one sorted array."""
    steps = np.cumsum(probabilities, axis=1)
    steps[:, -1] = 1.0
    return (np.minimum(steps, 1.0) + np.arange(len(steps))[:, None]).ravel()


def number_of_interactions(n_users, n_items, n_interactions, density, minimum=2):
    """Return the number of interactions to generate."""
    if n_interactions is None:
        return max(round(density * n_users * n_items), minimum * n_users)
    if not minimum * n_users <= n_interactions <= n_users * n_items:
        raise ValueError(
            f"n_interactions must be at least {minimum} per user and at most one per cell, "
            f"{minimum * n_users} … {n_users * n_items}; got {n_interactions}."
        )
    return n_interactions


def with_biases(rng, user_factors, item_factors, low, high):
    """Return factors in rating units, with two more columns for biases and mean."""
    unit = (high - low) / 4
    n_users, n_items = len(user_factors), len(item_factors)
    scale = 0.7 * unit / np.sqrt(np.mean(user_factors**2) * np.sum(np.mean(item_factors**2, 0)))
    user_bias = rng.normal(scale=0.4 * unit, size=n_users)
    item_bias = rng.normal((low + high) / 2 + 0.5 * unit, 0.4 * unit, size=n_items)
    return (
        np.column_stack([scale * user_factors, user_bias, np.ones(n_users)]),
        np.column_stack([item_factors, np.ones(n_items), item_bias]),
    )


def rate_cells(rng, cells, user_factors, item_factors, noise, low, high, step):
    """Return a rating for each stored cell."""
    ratings = rng.normal(scale=noise, size=cells.nnz)
    ratings += products_at(user_factors, item_factors, cell_rows(cells), cells.indices)
    if step is None:
        return np.clip(ratings, low, high)
    n_steps = np.floor((high - low) / step + 1e-9)
    return low + step * np.clip(np.rint((ratings - low) / step), 0, n_steps)
