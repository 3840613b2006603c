"""Rerankers against naive loops over users, and their guarantees."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn import config_context

from sklearn_recsys.compose import (
    Calibration,
    CategoryQuota,
    ItemRules,
    MaximalMarginalRelevance,
    Reranker,
    cap_exposure,
)

N_ITEMS = 30
EYE = np.eye(N_ITEMS)


def make_lists(n_rows=40, width=12, seed=0):
    """Return random lists of various lengths with descending scores."""
    rng = np.random.default_rng(seed)
    ids = rng.permuted(np.tile(np.arange(N_ITEMS), (n_rows, 1)), axis=1)[:, :width]
    scores = -np.sort(-rng.normal(size=(n_rows, width)))
    empty = np.arange(width) >= rng.integers(0, width + 1, size=n_rows)[:, None]
    return np.where(empty, -1, ids), np.where(empty, -np.inf, scores)


def make_genres(seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((N_ITEMS, 5)) < 0.4) * rng.random((N_ITEMS, 5))


def make_histories(n_rows=40, seed=0):
    return sp.random_array((n_rows, N_ITEMS), density=0.2, rng=seed, format="csr")


def scaled(scores):
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros(len(scores))


def assert_lists(actual, expected, n):
    assert actual.shape == (len(expected), n)
    for row, items in zip(actual, expected, strict=True):
        assert_array_equal(row, [*items, *[-1] * (n - len(items))])


def greedy_oracle(ids, scores, n, value):
    """Return each user's list, by a loop over the slots and the candidates."""
    lists = []
    for row in range(len(ids)):
        left = [item for item in ids[row] if item >= 0]
        relevance = dict(zip(left, scaled(scores[row][: len(left)]) if left else [], strict=True))
        chosen = []
        while left and len(chosen) < n:
            best = max(left, key=lambda item: value(row, item, chosen, relevance[item]))
            chosen.append(best)
            left.remove(best)
        lists.append(chosen)
    return lists


# ------------------------------------------------------------------------------- relevance


@pytest.mark.parametrize("trade_off", [0, 0.3, 0.8, 1])
@pytest.mark.parametrize("form", ["features", "sparse features", "dense", "sparse"])
def test_mmr_is_the_naive_loop(trade_off, form):
    ids, scores = make_lists()
    genres = make_genres()
    norms = np.linalg.norm(genres, axis=1, keepdims=True)
    cosines = (genres / np.where(norms > 0, norms, 1)) @ (genres / np.where(norms > 0, norms, 1)).T
    if form.endswith("features"):
        mmr = MaximalMarginalRelevance(sp.csr_array(genres) if "sparse" in form else genres)
    else:  # not symmetric, and partly negative: any similarity will do
        cosines = cosines - 0.1 * np.random.default_rng(1).random(cosines.shape)
        cosines[cosines < 0.2] = 0
        cosines = cosines.astype(np.float32)
        similarity = sp.csr_array(cosines) if form == "sparse" else cosines
        mmr = MaximalMarginalRelevance(similarity=similarity)
    mmr.set_params(trade_off=trade_off).fit(EYE)

    def value(row, item, chosen, relevance):
        nearest = max((cosines[other, item] for other in chosen), default=0)
        return (1 - trade_off) * relevance - trade_off * nearest

    expected = greedy_oracle(ids, scores, 6, lambda *args: round(value(*args), 6))
    actual = mmr.rerank(ids, scores, 6)
    if trade_off < 1:
        assert_lists(actual, expected, 6)
    else:  # nothing but similarities, of which many are equal up to rounding
        assert_array_equal(actual[:, 0], [items[0] if items else -1 for items in expected])


@pytest.mark.parametrize("trade_off", [0, 0.2, 0.7, 1])
def test_calibration_is_the_naive_loop(trade_off):
    ids, scores = make_lists()
    genres, X = make_genres(), make_histories()
    calibration = Calibration(genres, trade_off=trade_off, alpha=0.05).fit(EYE)
    sums = genres.sum(axis=1, keepdims=True)
    shares = genres / np.where(sums > 0, sums, 1)

    def mean(items):
        total = sum((shares[item] for item in items), np.zeros(5))
        return total / total.sum() if total.sum() > 0 else total

    def value(row, item, chosen, relevance):
        p, q = mean(X[[row]].indices), mean([*chosen, item])
        error = sum(p[g] * np.log(p[g] / (0.95 * q[g] + 0.05 * p[g])) for g in range(5) if p[g] > 0)
        return round((1 - trade_off) * relevance - trade_off * error, 9)

    assert_lists(calibration.rerank(ids, scores, 6, X), greedy_oracle(ids, scores, 6, value), 6)


@pytest.mark.parametrize(
    "reranker", [MaximalMarginalRelevance(make_genres()), Calibration(make_genres())]
)
def test_what_weighs_scores_knows_no_unit_and_no_blocks(reranker):
    ids, scores = make_lists()
    X = make_histories()
    expected = reranker.fit(EYE).rerank(ids, scores, 5, X)
    assert not np.array_equal(expected, ids[:, :5])
    assert_array_equal(reranker.rerank(ids, 1000 * scores + 7, 5, X), expected)
    with config_context(working_memory=1e-3):
        assert_array_equal(reranker.rerank(ids, scores, 5, X), expected)
    unchanged = reranker.set_params(trade_off=0).fit(EYE).rerank(ids, scores, 5, X)
    assert_array_equal(unchanged, ids[:, :5])
    reranker.set_params(trade_off=0.5)


def test_calibration_without_history_or_genres_keeps_the_order():
    ids, scores = make_lists()
    calibration = Calibration(make_genres(), trade_off=0.9).fit(EYE)
    assert_array_equal(calibration.rerank(ids, scores, 5), ids[:, :5])
    without = Calibration(np.zeros((N_ITEMS, 2)), trade_off=0.9).fit(EYE)
    assert_array_equal(without.rerank(ids, scores, 5, make_histories()), ids[:, :5])


def test_features_are_encoded_and_checked():
    frame = pd.DataFrame({"genres": ["A|B", "A", "B"] * 10})
    calibration = Calibration(frame).fit(EYE)
    assert_array_equal(calibration.item_shares_[[0, 1]].toarray().max(axis=1), [0.5, 1])
    with pytest.raises(ValueError, match="at least 0; got -1"):
        Calibration(-np.eye(N_ITEMS)).fit(EYE)
    with pytest.raises(ValueError, match="expected 30, got 29"):
        MaximalMarginalRelevance(np.eye(N_ITEMS)[1:]).fit(EYE)
    with pytest.raises(ValueError, match="pass one of them"):
        MaximalMarginalRelevance().fit(EYE)
    with pytest.raises(ValueError, match="pass one of them"):
        MaximalMarginalRelevance(EYE, similarity=EYE).fit(EYE)
    with pytest.raises(ValueError, match="each of the 30 items"):
        MaximalMarginalRelevance(similarity=np.ones((30, 2))).fit(EYE)
    with pytest.raises(ValueError, match="trade_off"):
        MaximalMarginalRelevance(EYE, trade_off=1.5).fit(EYE)


# ------------------------------------------------------------------------------- quotas


def random_quota(rng, n):
    """Return a quota that lists of `n` can meet, and its bounds by category, 4 for none."""
    minimum = rng.multinomial(rng.integers(0, n + 1), np.full(4, 0.25))
    maximum = minimum + rng.integers(0, 4, size=4)
    categories = rng.integers(0, 5, size=N_ITEMS)
    labels = np.array(["a", "b", "c", "d", None], dtype=object)[categories]
    minimum[~np.isin(np.arange(4), categories)] = 0
    named = {
        label: (int(low), int(high))
        for label, low, high in zip("abcd", minimum, maximum, strict=True)
        if label in labels
    }
    quota = CategoryQuota(
        labels,
        minimum={label: low for label, (low, _) in named.items()},
        maximum={label: high for label, (_, high) in named.items()},
    )
    return quota, categories, np.append(minimum, 0), np.append(maximum, N_ITEMS)


def counts_of(ids, categories):
    listed = np.append(categories, 5)[ids]
    return np.stack([(listed == c).sum(axis=1) for c in range(5)], axis=1)


def test_quotas_are_never_broken_in_10_000_random_cases():
    rng = np.random.default_rng(0)
    n_cases = n_infeasible = 0
    for seed in range(250):
        n = int(rng.integers(1, 9))
        quota, categories, minimum, maximum = random_quota(rng, n)
        ids, scores = make_lists(40, width=14, seed=seed)
        lists = quota.fit(EYE).rerank(ids, scores, n)
        counts, eligible = counts_of(lists, categories), counts_of(ids, categories)
        assert np.all(counts <= maximum)
        assert np.all(counts >= np.minimum(minimum, eligible))  # all that there are
        longest = np.minimum(n, np.minimum(eligible, maximum).sum(axis=1))
        assert_array_equal((lists >= 0).sum(axis=1), longest)
        feasible = np.all(eligible >= minimum, axis=1)
        assert_array_equal(quota.is_met(lists), feasible)
        n_cases += len(ids)
        n_infeasible += np.count_nonzero(~feasible)
    assert n_cases == 10_000
    assert 1_000 < n_infeasible < 9_000


def test_quotas_lose_the_least_relevance():
    """Of all lists of all lengths, by enumeration."""
    rng = np.random.default_rng(1)
    for seed in range(60):
        n = int(rng.integers(1, 5))
        quota, categories, minimum, maximum = random_quota(rng, n)
        ids, scores = make_lists(5, width=8, seed=seed)
        lists = quota.fit(EYE).rerank(ids, scores, n)
        for row, chosen in enumerate(lists):
            filled = ids[row] >= 0
            items, values = ids[row][filled], scores[row][filled]
            eligible = counts_of(items[None], categories)[0]
            best = max(
                (
                    (len(columns), values[list(columns)].sum(), columns)
                    for size in range(min(n, len(items)) + 1)
                    for columns in itertools.combinations(range(len(items)), size)
                    for counts in [counts_of(items[list(columns)][None].astype(int), categories)[0]]
                    if np.all(counts <= maximum) and np.all(counts >= np.minimum(minimum, eligible))
                ),
            )[2]
            assert_lists(chosen[None], [items[list(best)]], n)


def test_quotas_in_all_forms():
    cap = CategoryQuota(np.arange(N_ITEMS) % 3, maximum=1).fit(EYE)
    assert_array_equal(cap.rerank([[0, 3, 6, 1, 2]], n=4), [[0, 1, 2, -1]])
    assert_array_equal(cap.is_met([[0, 1, 2], [0, 3, -1]]), [True, False])
    each = CategoryQuota(pd.Series(np.arange(N_ITEMS) % 3), minimum=1).fit(EYE)
    assert_array_equal(each.rerank([[0, 3, 6, 1, 2]], n=3), [[0, 1, 2]])
    assert each.comes_last
    assert not cap.comes_last
    with pytest.raises(ValueError, match="sum to 3, more than the n = 2"):
        each.rerank([[0, 3, 6, 1, 2]], n=2)
    for params, match in [
        ({"minimum": 2, "maximum": 1}, "above maximum for 0, 1, 2"),
        ({"minimum": {7: 1}}, "none of the categories: 0, 1, 2"),
        ({"maximum": {1: -1}}, r"maximum\[1\] must be an integer"),
        ({"minimum": -1}, "The 'minimum' parameter"),
    ]:
        with pytest.raises(ValueError, match=match):
            CategoryQuota(np.arange(N_ITEMS) % 3, **params).fit(EYE)
    with pytest.raises(ValueError, match="must be 1-D"):
        CategoryQuota(EYE).fit(EYE)


# ------------------------------------------------------------------------------- rules


def test_rules_are_followed():
    ids, scores = make_lists(60, width=12)
    frame = pd.DataFrame(
        {"item": [1, 2, 3, 4], "rule": ["must", "must", "must_not", "must_not"]},
    )
    lists = ItemRules(frame).fit(EYE).rerank(ids, scores, 4)
    for row, items in enumerate(ids):
        items = [item for item in items if item >= 0]
        required = [item for item in items if item in (1, 2)]
        others = [item for item in items if item not in (1, 2, 3, 4)][: 4 - len(required)]
        expected = [item for item in items if item in required + others]
        assert_lists(lists[[row]], [expected], 4)


def test_more_musts_than_slots():
    frame = pd.DataFrame({"item": [3, 4, 5], "rule": "must"})
    rules = ItemRules(frame).fit(EYE)
    assert_array_equal(rules.rerank([[1, 3, 4, 5]], n=2), [[3, 4]])
    assert_array_equal(rules.is_met([[3, 4, 5], [1, 3, 4]]), [True, False])
    seen = EYE[[5, 5]]  # a user who has item 5 needs it no more
    assert_array_equal(rules.is_met([[3, 4, 5], [1, 3, 4]], seen), [True, True])


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        ({"item": [1], "rule": ["may"]}, "'must' or 'must_not'; got 'may'"),
        ({"item": [1]}, "must have the columns 'item' and 'rule'"),
        ({"item": [30], "rule": ["must"]}, "none of the 30 of the training matrix: 30"),
        ({"item": [1.5], "rule": ["must"]}, "none of the 30"),
        ({"item": [1], "rule": ["must"], "user": [40]}, "users that are none of the 30"),
        ({"item": [1, 1], "rule": ["must", "must_not"]}, "must and that it must not"),
        ({"item": [1, 1], "rule": ["must", "must_not"], "user": [None, 2]}, "must and that it"),
        ({"item": [1, 1], "rule": ["must_not", "must"], "user": [None, 2]}, "must and that it"),
        ({"item": [1, 1], "rule": ["must_not", "must"], "user": [2, 2]}, "must and that it"),
    ],
)
def test_rules_that_make_no_sense(frame, match):
    with pytest.raises(ValueError, match=match):
        ItemRules(pd.DataFrame(frame)).fit(EYE)


def test_rules_need_a_frame():
    with pytest.raises(ValueError, match="must be a DataFrame"):
        ItemRules([("must", 1)]).fit(EYE)


# ------------------------------------------------------------------------------- exposure


def deferred_acceptance(ids, scores, n, capacity, providers):
    """Gale and Shapley's algorithm, one proposal at a time."""
    lists = [[] for _ in ids]
    place = [0] * len(ids)
    held = {}
    relevance = [scaled(row[row > -np.inf]) if (row > -np.inf).any() else row for row in scores]
    waiting = list(range(len(ids)))
    while waiting:
        row = waiting.pop()
        while len(lists[row]) < n and place[row] < len(ids[row]) and ids[row][place[row]] >= 0:
            item, value = ids[row][place[row]], relevance[row][place[row]]
            place[row] += 1
            provider = providers[item]
            lists[row].append(item)
            if provider < 0:
                continue
            holders = held.setdefault(provider, [])
            holders.append((-value, row, item))
            holders.sort()
            if len(holders) > capacity:
                _, loser, lost = holders.pop()
                lists[loser].remove(lost)
                waiting.append(loser)
    return lists


@pytest.mark.parametrize("seed", range(20))
def test_exposure_is_capped_by_deferred_acceptance(seed):
    ids, scores = make_lists(30, width=10, seed=seed)
    providers = np.random.default_rng(seed).integers(-1, 6, size=N_ITEMS)
    labels = np.where(providers < 0, None, providers.astype(object))
    n, max_share = 3, [0.05, 0.1, 0.2, 0.5][seed % 4]
    capacity = int(max_share * 30 * n + 1e-9)
    lists, kept = cap_exposure(ids, scores, n, max_share=max_share, providers=labels)
    assert_lists(lists, deferred_acceptance(ids, scores, n, capacity, providers), n)
    listed = providers[lists[lists >= 0]]
    assert np.bincount(listed[listed >= 0]).max() <= capacity
    assert_array_equal(kept == -np.inf, lists < 0)


def test_exposure_of_items():
    ids = np.tile(np.arange(6), (6, 1))
    scores = np.linspace(1, 0, 6) * np.linspace(1, 2, 6)[:, None]
    lists, _ = cap_exposure(ids, scores, 2, max_share=1 / 6)
    assert np.bincount(lists.ravel()).max() == 2
    assert_array_equal(cap_exposure(ids, scores, 2, max_share=1)[0], ids[:, :2])
    assert cap_exposure(ids[:0], scores[:0], 2, max_share=1)[0].shape == (0, 2)
    with pytest.raises(ValueError, match="max_share"):
        cap_exposure(ids, scores, 2, max_share=0)
    with pytest.raises(ValueError, match="one shape"):
        cap_exposure(ids, scores[:, 1:], 2, max_share=1)
    with pytest.raises(ValueError, match="holds the item 5, but providers has 5"):
        cap_exposure(ids, scores, 2, max_share=1, providers=np.arange(5))


# ------------------------------------------------------------------------------- any reranker


class Twice(Reranker):
    def _positions(self, ids, scores, n, histories):
        return np.zeros((len(ids), n), dtype=np.int64)


class Reversed(Reranker):
    def _positions(self, ids, scores, n, histories):
        return np.argsort(scores, axis=1)[:, :n]  # empty slots first


def test_lists_of_any_reranker_are_lists():
    with pytest.raises(ValueError, match="Twice lists an item twice"):
        Twice().fit(EYE).rerank([[1, 2, 3]], n=2)
    ids, scores = make_lists()
    lists = Reversed().fit(EYE).rerank(ids, scores, 12)
    assert_lists(lists, [row[row >= 0][::-1] for row in ids], 12)
    assert Reversed().fit(EYE).is_met(lists).all()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([1, 2],), "2-D"),
        (([[1.5, 2]],), "2-D array of item indices"),
        (([[1, 30]],), "below 30"),
        (([[1, 2]], None, 2, EYE), "histories must have the shape"),
    ],
)
def test_invalid_lists_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        Reversed().fit(EYE).rerank(*arguments)
