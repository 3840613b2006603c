"""The baselines: popularity, and an order that is random but reproducible."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from sklearn_recsys import PopularityRecommender, RandomRecommender


def random_matrix(n_users=60, n_items=25, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < 0.2)
    X[:, 0] = 1
    return X.astype(np.float32)


def test_popularity_counts_users_not_values():
    X = np.array([[9.0, 1, 0, 0], [0, 1, 2, 0], [0, 0, 2, -3]])
    model = PopularityRecommender().fit(X)
    assert_array_equal(model.item_counts_, [1, 2, 2, 0])
    assert_array_equal(model.predict(np.zeros((2, 4))), [[1, 2, 2, 0]] * 2)
    assert_array_equal(model.recommend(np.zeros((1, 4)), n=4), [[1, 2, 0, 3]])


def test_popularity_is_the_same_for_everyone_but_for_what_they_know():
    X = random_matrix()
    ranked = np.argsort(-(X > 0).sum(axis=0), kind="stable")
    ids = PopularityRecommender().fit(X).recommend(n=5)
    for row, history in zip(ids, X, strict=True):
        assert_array_equal(row, ranked[history[ranked] == 0][:5])


def test_random_order_follows_seed_and_history():
    X = random_matrix()
    model = RandomRecommender(random_state=0).fit(X)
    again = RandomRecommender(random_state=0).fit(random_matrix(seed=1))
    other = RandomRecommender(random_state=1).fit(X)
    new = random_matrix(n_users=40, seed=2)
    scores = model.predict(new)
    assert_array_equal(again.predict(new), scores)  # what it was fitted on does not matter
    assert not np.any(np.all(other.predict(new) == scores, axis=1))
    assert_array_equal(model.predict(new[::-1]), scores[::-1])  # nor where a row stands
    changed = new.copy()
    changed[:, 0] = 2  # a value is content, too
    assert not np.any(np.all(model.predict(changed) == scores, axis=1))


def test_random_orders_are_uniform_and_unrelated():
    """Each item is first as often as any other, whoever is asked for."""
    n_users, n_items = 4000, 20
    users = sp.csr_array(
        (np.arange(1, n_users + 1), np.zeros(n_users, dtype=int), np.arange(n_users + 1)),
        shape=(n_users, n_items),
    )
    model = RandomRecommender(random_state=0).fit(users)
    ranks = model.recommend(users, n=n_items, exclude_seen=False).argsort(axis=1)
    first = np.bincount(ranks.argmin(axis=1), minlength=n_items)
    expected = n_users / n_items
    assert np.sum((first - expected) ** 2 / expected) < 45  # chi-squared, 19 d.f.: p = 0.0007
    assert np.all(np.abs(ranks.mean(axis=0) - 9.5) < 5 * np.sqrt(399 / 12 / n_users))
    correlations = np.corrcoef(ranks[:200]) - np.eye(200)
    assert abs(correlations.mean()) < 0.01


def test_random_hit_rate_is_that_of_chance():
    n_users = 3000
    rng = np.random.default_rng(0)
    X = sp.csr_array(
        (np.ones(n_users), rng.integers(0, 100, n_users), np.arange(n_users + 1)),
        shape=(n_users, 400),
    )
    candidates = np.tile(np.arange(100, 200), (n_users, 1))
    values = sp.csr_array(X * rng.random((n_users, 1)))  # no two users are alike
    model = RandomRecommender(random_state=0).fit(values)
    score = model.score(values, rng.integers(100, 200, n_users), metric="hr", candidates=candidates)
    assert abs(score - 0.1) < 5 * np.sqrt(0.09 / n_users)


def test_random_pairs_are_those_of_predict():
    X = random_matrix()
    X[3] = 0
    model = RandomRecommender(random_state=5).fit(X)
    rows, items = np.divmod(np.arange(X.size), X.shape[1])
    assert_array_equal(model.predict_pairs(X, rows, items).reshape(X.shape), model.predict(X))


def test_random_states():
    X = random_matrix()
    state = np.random.RandomState(3)
    first = RandomRecommender(random_state=state).fit(X).recommend()
    second = RandomRecommender(random_state=state).fit(X).recommend()
    assert not np.array_equal(first, second)  # the generator moves on
    fresh = RandomRecommender(random_state=np.random.RandomState(3)).fit(X)
    assert_array_equal(fresh.recommend(), first)
    model = RandomRecommender().fit(X)
    assert_array_equal(model.recommend(), model.recommend())
    with pytest.raises(ValueError, match="random_state"):
        RandomRecommender(random_state="no").fit(X)
