"""Drawing the cells of a synthetic user × item matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

_SHARPNESS = 3.0  # how far the softmax of the factors concentrates on a few of them
BLOCK = 2**20  # interactions drawn at a time, which bounds the memory of the sampling


def sample_cells(rng, user_factors, item_factors, n_interactions, exponent, minimum=2):
    """Draw each user's items without replacement; return a csr_array of float32 ones.

    ``P(i | u)`` is proportional to ``popularity[i] * tastes[u] @ traits[i]``: a mixture over the
    factors k of ``popularity * traits[:, k]``, so a draw picks a factor, then an item.
    """
    n_users, n_items = len(user_factors), len(item_factors)
    ranks = np.arange(1, n_items + 1) + np.sqrt(n_items) / 2
    popularity = rng.permutation((ranks / ranks[0]) ** -float(exponent))
    weights = popularity * _softmax(item_factors).T  # (n_factors, n_items)
    tastes = _softmax(user_factors) * weights.sum(axis=1)
    tastes /= tastes.sum(axis=1, keepdims=True)
    # One sorted array of cumulated probabilities for all users (factors): that of the j-th takes
    # the interval from j to j + 1, so that one searchsorted serves every draw.
    taste_steps = _stacked_cumsum(tastes)
    weight_steps = _stacked_cumsum(weights / weights.sum(axis=1, keepdims=True))

    wanted = _activity(rng, n_users, n_items, n_interactions, minimum)
    indptr = np.append(0, np.cumsum(wanted))
    indices = np.empty(n_interactions, dtype=np.int32)
    begin = 0
    while begin < n_users:
        end = max(np.searchsorted(indptr, indptr[begin] + BLOCK, side="right") - 1, begin + 1)
        users = np.arange(begin, end)
        keys = np.empty(0, dtype=np.int64)  # user * n_items + item of what has been drawn
        missing = wanted[begin:end].copy()
        for _ in range(6):
            keys = _draw(rng, keys, users, missing, taste_steps, weight_steps, n_items)
            missing = wanted[begin:end] - np.bincount(
                keys // n_items - begin, minlength=end - begin
            )
            if not missing.any():
                break
        else:  # users who want most of what they could ever draw
            keys = _draw_rest(rng, keys, users, missing, tastes, weights)
        keys.sort()
        indices[indptr[begin] : indptr[end]] = keys % n_items
        begin = end
    data = np.ones(n_interactions, dtype=np.float32)
    if n_interactions <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return sp.csr_array((data, indices, indptr), shape=(n_users, n_items))


def _draw(rng, keys, users, missing, taste_steps, weight_steps, n_items):
    """Add new cells to `keys`, up to the `missing` number of each user, in order of drawing."""
    n_factors = len(weight_steps) // n_items
    n_draws = np.where(missing > 0, missing + missing // 2 + 4, 0)
    drawn_by = np.repeat(users, n_draws)
    factors = np.searchsorted(taste_steps, drawn_by + rng.random_sample(len(drawn_by)), "right")
    factors = np.minimum(factors, len(taste_steps) - 1) % n_factors
    items = np.searchsorted(weight_steps, factors + rng.random_sample(len(drawn_by)), "right")
    items = np.minimum(items, len(weight_steps) - 1) % n_items
    drawn = drawn_by * n_items + items
    known = pd.Series(np.concatenate([keys, drawn])).duplicated().to_numpy()[len(keys) :]
    drawn = drawn[~known]
    # The first of each user's new items, as many as are missing: the order within a user matters,
    # because dropping by item index would thin out the last items.
    owners = drawn // n_items - users[0]
    counts = np.bincount(owners, minlength=len(users))
    place = np.arange(len(drawn)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.concatenate([keys, drawn[place < missing[owners]]])


def _draw_rest(rng, keys, users, missing, tastes, weights):
    """Draw what is still missing from all probabilities (Gumbel top-n, the same distribution)."""
    n_factors, n_items = weights.shape
    shares = weights / weights.sum(axis=1, keepdims=True)
    pending = np.flatnonzero(missing)
    owners, known = np.divmod(keys, n_items)
    owners -= users[0]
    n_rows = max(1, 4 * BLOCK // n_items)
    parts = [keys]
    for begin in range(0, len(pending), n_rows):
        block = pending[begin : begin + n_rows]
        # An item without any probability still comes before those the user has.
        chances = np.maximum(tastes[users[block]] @ shares, np.finfo(np.float64).tiny)
        scores = np.log(chances) + rng.gumbel(size=chances.shape)
        row_of = np.full(len(users), -1)
        row_of[block] = np.arange(len(block))
        rows = row_of[owners]
        scores[rows[rows >= 0], known[rows >= 0]] = -np.inf
        best = np.argsort(-scores, axis=1)
        taken = np.arange(n_items) < missing[block, None]
        parts.append((users[block, None] * n_items + best)[taken])
    return np.concatenate(parts)


def _activity(rng, n_users, n_items, n_interactions, minimum):
    """Return log-normal numbers of items per user: at least `minimum`, n_interactions in all."""
    weights = rng.lognormal(size=n_users)
    counts = np.full(n_users, min(minimum, n_items), dtype=np.int64)
    while (left := n_interactions - counts.sum()) > 0:
        free = counts < n_items
        share = left * weights * free / weights[free].sum()
        if share.max() < 1:  # less than one each: to those with the largest shares
            counts[np.argsort(-share, kind="stable")[:left]] += 1
        else:
            counts = np.minimum(counts + share.astype(np.int64), n_items)
    return counts


def _softmax(factors):
    """Return the sharpened softmax of each row."""
    exponentials = np.exp(_SHARPNESS * (factors - factors.max(axis=1, keepdims=True)))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _stacked_cumsum(probabilities):
    """Return the cumulated rows, the j-th shifted by j, as one sorted array."""
    steps = np.cumsum(probabilities, axis=1)
    steps[:, -1] = 1.0
    return (np.minimum(steps, 1.0) + np.arange(len(steps))[:, None]).ravel()
