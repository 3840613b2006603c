"""Neighbors on ratings, against dense computations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys import BiasRecommender, ItemKNNBaseline, UserKNNBaseline
from sklearn_recsys.datasets import make_ratings


def ratings(n_users=60, n_items=25, seed=0):
    """Ratings from 1 to 5; user 7 and item 4 have none."""
    R = make_ratings(n_users, n_items, density=0.4, random_state=seed).toarray()
    R[7], R[:, 4] = 0, 0
    assert (R[R > 0].min(), R.max()) == (1, 5)
    return R.astype(np.float64)


def baseline_and_residuals(model, X):
    """Return the baseline of every cell, and the deviations of the ratings, zero elsewhere."""
    biases = BiasRecommender(user_l2=model.user_l2, item_l2=model.item_l2).fit(ratings())
    of_users = biases._user_biases(sp.csr_array(X))
    baseline = biases.mean_ + of_users[:, None] + biases.item_biases_
    return baseline, np.where(X > 0, X - baseline, 0)


def similarities(P, Q, shrinkage, skip):
    """Return the correlations of rows of residuals over common cells, times the shrinkage."""
    common = (P != 0).astype(float) @ (Q != 0).T
    norms = np.sqrt((P**2 @ (Q != 0).T) * ((P != 0) @ (Q**2).T))
    s = np.divide(P @ Q.T, norms, out=np.zeros_like(norms), where=norms > 0)
    s *= np.divide(common, common + shrinkage, out=np.zeros_like(s), where=common > 0)
    s[np.arange(len(P))[skip], np.arange(len(Q))[skip]] = 0
    return np.maximum(s, 0)


def nearest(s, k):
    """Return the matrix with all but the `k` greatest values of each row set to zero."""
    order = np.argsort(-s, axis=1, kind="stable")[:, :k]
    kept = np.zeros_like(s)
    np.put_along_axis(kept, order, np.take_along_axis(s, order, axis=1), axis=1)
    return kept


def weighted_means(deviations, weights, l2):
    return np.divide(
        deviations, weights + l2, out=np.zeros_like(deviations), where=weights + l2 > 0
    )


PARAMS = [
    {},
    {"n_neighbors": 3, "shrinkage": 20.0},  # few common ratings would be ties
    {"n_neighbors": 1000, "l2": 0.0, "shrinkage": 0.0},
    {"n_neighbors": 1000, "user_l2": 1.0, "item_l2": 30.0, "l2": 2.0},
]


@pytest.mark.parametrize("params", PARAMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_item_based_predictions(params, seed):
    R, X = ratings(), ratings(30, seed=seed)  # the users are among the training users, or new
    model = ItemKNNBaseline(**params).fit(R)
    _, E = baseline_and_residuals(model, R)
    s = nearest(similarities(E.T, E.T, model.shrinkage, slice(None)), model.n_neighbors)
    baseline, residuals = baseline_and_residuals(model, X)
    means = weighted_means(residuals @ s.T, (X > 0) @ s.T, model.l2)
    assert np.abs(means).max() > 0.05
    assert_allclose(model.similarity_.toarray(), s, atol=1e-5)
    assert_allclose(model.predict(X), np.clip(baseline + means, 1, 5), atol=1e-5)


@pytest.mark.parametrize("params", PARAMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_user_based_predictions(params, seed):
    R, X = ratings(), ratings(60, seed=seed)
    model = UserKNNBaseline(**params).fit(R)
    _, E = baseline_and_residuals(model, R)
    baseline, residuals = baseline_and_residuals(model, X)
    skip = slice(None) if seed == 0 else slice(0)  # training users are not their own neighbors
    s = nearest(similarities(residuals, E, model.shrinkage, skip), model.n_neighbors)
    means = weighted_means(s @ E, s @ (R > 0), model.l2)
    assert np.abs(means).max() > 0.05
    assert_allclose(model.predict(X), np.clip(baseline + means, 1, 5), atol=1e-5)
    ids, values = model.similar_users(X, n=3)
    expected = -np.sort(-s, axis=1)[:, :3]
    assert_allclose(np.where(ids >= 0, values, 0), expected, atol=1e-5)


def test_similar_items():
    model = ItemKNNBaseline(n_neighbors=4).fit(ratings())
    ids, values = model.similar_items([0, 4], n=6)
    s = model.similarity_.toarray()
    assert_allclose(values[0, :4], -np.sort(-s[0])[:4])
    assert_allclose(s[0, ids[0, :4]], values[0, :4])
    assert np.all(ids[0, 4:] == -1) and np.all(ids[1] == -1)  # item 4 has no rating


@pytest.mark.parametrize("model", [ItemKNNBaseline(), UserKNNBaseline()])
def test_without_similar_ones_the_baseline_is_left(model):
    """Ratings that are sums of biases leave no deviations: rounding errors are no neighbors."""
    rng = np.random.default_rng(0)
    full = 3 + rng.choice([-1, 0, 1], (60, 1)) + rng.choice([-1, 0, 1], 25)
    R = np.where(rng.random(full.shape) < 0.6, full, 0)
    R[0] = full[0]
    model.set_params(shrinkage=0, l2=0, user_l2=0, item_l2=0).fit(R + (R > 0))  # 1 to 6
    assert_allclose(model.predict(R + (R > 0)), full + 1, atol=1e-5)
    similar = model.similar_items if isinstance(model, ItemKNNBaseline) else model.similar_users
    assert np.all(similar([0, 1])[0] == -1)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("a, b", [(1, 0), (20, 100)])
def test_explanations_are_weighted_votes(l2, a, b):
    R = ratings()
    X = np.where(R > 0, a * R + b, 0)
    model = ItemKNNBaseline(n_neighbors=6, l2=l2).fit(X)
    items = np.arange(R.shape[1])
    why = model.explain([0, 1], items)
    _, scores = model.recommend([0, 1], n=25, exclude_seen=False, return_scores=True)
    sums = why.groupby(["user", "item"])["contribution"].sum().unstack().to_numpy()
    assert_allclose(np.sort(sums, axis=1), np.sort(scores, axis=1), rtol=1e-5)
    # an item without neighbors has the baseline, in equal parts
    alone = why[(why["item"] == 4) & (why["user"] == 0)]["contribution"].to_numpy()
    assert_allclose(alone, alone[0], rtol=1e-5)
    if l2 == 0:  # only neighbors vote
        votes = why[(why["item"] == 0) & (why["user"] == 0)].set_index("history_item")
        neighbors = np.intersect1d(model.similarity_[[0]].indices, np.flatnonzero(R[0]))
        assert 0 < len(neighbors) < np.count_nonzero(R[0])
        voters = votes.index[np.abs(votes["contribution"]) > 1e-4 * a]
        assert_array_equal(np.sort(voters), neighbors)


@pytest.mark.parametrize("params", PARAMS)
def test_explanations_of_user_based_predictions(params):
    R = ratings()
    model = UserKNNBaseline(**params).fit(20 * R * (R > 0) + 100 * (R > 0))  # from 120 to 200
    _, E = baseline_and_residuals(model, R)
    baseline, residuals = baseline_and_residuals(model, R)
    s = nearest(similarities(residuals, E, model.shrinkage, slice(None)), model.n_neighbors)
    weights = s @ (R > 0) + model.l2
    users = [0, 1, 7, 2]  # user 7 has no history
    why = model.explain(users, np.arange(25))
    assert 7 not in set(why["user"])
    for row in why.sample(50, random_state=0).itertuples():
        user, item = row.user, row.item
        shared = (R > 0) * (R[user] > 0)
        equal_parts = shared[:, row.history_item] / np.maximum(shared.sum(axis=1), 1)
        votes = s[user] * E[:, item] * equal_parts
        vote = votes.sum() / weights[user, item] if weights[user, item] > 0 else 0
        part = (100 + 20 * baseline[user, item]) / np.count_nonzero(R[user])
        assert row.contribution == pytest.approx(part + 20 * vote, rel=1e-4, abs=1e-3)


def test_never_rated_items_and_empty_rows():
    R = ratings()
    biases = BiasRecommender().fit(R)
    for model in (ItemKNNBaseline(), UserKNNBaseline()):
        predicted = model.fit(R).predict(R)
        assert_allclose(predicted[:, 4], biases.predict(R)[:, 4], atol=1e-5)
        assert_allclose(predicted[7], biases.predict(R)[7], atol=1e-5)
