"""The baselines: popularity, a random but reproducible order, and biases for ratings."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys import BiasRecommender, PopularityRecommender, RandomRecommender


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


# ---------------------------------------------------------------- biases


def dense_biases(X, user_l2, item_l2):
    """Solve the whole ridge regression, of the lowest norm if it has several solutions."""
    rows, items = X.nonzero()
    mean = X[rows, items].mean()
    design = np.zeros((len(rows), sum(X.shape)))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), X.shape[0] + items] = 1
    penalties = np.diag(np.repeat([user_l2, item_l2], X.shape))
    biases = np.linalg.pinv(design.T @ design + penalties) @ design.T @ (X[rows, items] - mean)
    return mean, *np.split(biases, [X.shape[0]])


@pytest.mark.parametrize("user_l2, item_l2", [(4, 2), (0.1, 30), (0, 0), (0, 3), (1e6, 1e6)])
def test_biases_solve_the_ridge_regression(user_l2, item_l2):
    X = random_matrix()
    X[7], X[:, 4] = 0, 0  # no rating
    model = BiasRecommender(user_l2=user_l2, item_l2=item_l2).fit(X)
    mean, of_users, of_items = dense_biases(X.astype(float), user_l2, item_l2)
    expected = mean + of_users[:, None] + of_items
    rated = X.any(axis=1)[:, None] & X.any(axis=0)
    assert_allclose(model.mean_, mean)
    assert_allclose(model.predict(X)[rated], expected.clip(1, 5)[rated], rtol=1e-6)
    if user_l2 and item_l2:  # or the sum alone is determined
        assert_allclose(model.user_biases_, of_users, atol=1e-9)
        assert_allclose(model.item_biases_, of_items, atol=1e-9)


def test_ratings_that_are_sums_of_biases_are_reproduced():
    rng = np.random.default_rng(0)
    full = 10 + rng.normal(size=(60, 1)) + rng.normal(size=25)
    X = full * (random_matrix() > 0)
    model = BiasRecommender(user_l2=0, item_l2=0).fit(X)
    scores = model.recommend(return_scores=True, n=25, exclude_seen=False)[1]
    assert_allclose(scores, -np.sort(-full[X.any(axis=1)], axis=1), rtol=1e-6)


def test_a_new_user_has_a_bias_and_an_unrated_item_has_none():
    X = random_matrix()
    X[:, 4] = 0
    model = BiasRecommender(user_l2=3).fit(X)
    new = np.zeros((2, X.shape[1]))
    new[0, [1, 2]] = 5, 4
    deviations = new[0, [1, 2]] - model.mean_ - model.item_biases_[[1, 2]]
    bias = deviations.sum() / (2 + 3)
    scores = model.predict(new)
    assert_allclose(scores[0], (model.mean_ + bias + model.item_biases_).clip(1, 5), rtol=1e-6)
    assert_allclose(scores[0, 4], model.mean_ + bias, rtol=1e-6)
    assert_allclose(scores[1], (model.mean_ + model.item_biases_).clip(1, 5), rtol=1e-6)
    again = BiasRecommender(user_l2=3).fit(X).set_params(user_l2=100)
    assert_array_equal(again.predict(new), scores)  # a parameter set after fit changes nothing


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_biases_of_tiny_and_huge_ratings(scale):
    X = random_matrix()
    expected = scale * BiasRecommender().fit(X).predict(X)
    assert_allclose(BiasRecommender().fit(scale * X).predict(scale * X), expected, rtol=1e-5)


def test_biases_without_a_penalty_do_not_drift():
    """A constant may move from users to items; rounding errors must not make it a large one."""
    X = 1e-8 * np.array([[0, 3, 0], [1, 1, 1], [0, 0, 5]], dtype=np.float32)
    model = BiasRecommender(user_l2=0, item_l2=0).fit(X)
    assert np.abs(model.item_biases_).max() < 1e-7
    predicted = model.mean_ + model.user_biases_[:, None] + model.item_biases_
    assert_allclose(((X - predicted) * (X != 0)).sum(axis=0), 0, atol=1e-14)


def test_penalties_of_any_size():
    model = BiasRecommender(user_l2=10**12, item_l2=10**300).fit(random_matrix())
    assert_allclose(model.user_biases_, 0, atol=1e-9)
    assert_allclose(model.item_biases_, 0, atol=1e-9)
