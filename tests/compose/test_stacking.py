"""Stacks: what their weights are learned from, and what they are worth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import zscore
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    EASE,
    BiasRecommender,
    DeepAutoencoder,
    ItemKNN,
    ItemKNNBaseline,
    PopularityRecommender,
    RandomRecommender,
    RecommenderPipeline,
    StackingRecommender,
    VotingRecommender,
    load,
)
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.compose._stacking import softmax_weights
from sklearn_recsys.compose._training import hold_out, retrieved, sampled
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout

PAIR = [("ease", EASE(l2=5)), ("knn", ItemKNN(n_neighbors=5))]


class Memory(RecommenderMixin, BaseEstimator):
    """Scores items by the share that has them of the training users whose history holds the row."""

    fits = []

    def _fit(self, X):
        self.fits.append(X)

    def _score_items(self, X):
        known = self.interactions_.toarray()
        scores = np.zeros(X.shape, dtype=np.float32)
        for row, history in enumerate(X.toarray()):
            same = known[known @ history == history.sum()]
            if len(same):
                scores[row] = same.mean(axis=0)
        return scores


@pytest.fixture(scope="module")
def R():
    return make_interactions(n_users=120, n_items=40, density=0.3, random_state=0)


# ----------------------------------------------------------------------------------- no leak


@pytest.mark.parametrize("held_out", ["cells", "users"])
def test_members_have_not_seen_what_the_weights_are_learned_from(held_out):
    """One that remembers its training cells would get all the weight if it had seen the target."""
    rng = np.random.default_rng(0)
    # no history is part of another one by chance
    R = sp.csr_array((rng.uniform(size=(120, 60)) < np.linspace(0.1, 0.5, 60)).astype(np.float32))
    members = [("popular", PopularityRecommender()), ("memory", Memory())]
    Memory.fits.clear()
    stack = StackingRecommender(members, held_out=held_out, n_candidates=60).fit(R)
    assert stack.weights_[1] < 0.2
    first, last = Memory.fits
    assert first.nnz < last.nnz == R.nnz

    class Leaking(StackingRecommender):
        def _fit_members(self, X, user_features=None, rows=None):
            super()._fit_members(R, user_features)

    assert Leaking(members, held_out=held_out, n_candidates=60).fit(R).weights_[1] > 0.8


def test_cells_held_out(R):
    held = hold_out(R, 0.25, of="cells", latest=False, name="S")
    rows = np.flatnonzero(np.diff(R.indptr) > 1)
    assert_array_equal(held.rows, rows)
    assert held.X_input.multiply(held.y).nnz == 0
    assert (held.X_input + held.y != R[rows]).nnz == 0
    assert_array_equal(np.diff(held.y.indptr), np.maximum(np.diff(R.indptr)[rows] // 4, 1))
    assert_array_equal(held.fit_rows, np.arange(120))
    assert (held.X_fit[rows] != held.X_input).nnz == 0
    others = np.setdiff1d(np.arange(120), rows)
    assert (held.X_fit[others] != R[others]).nnz == 0


def test_users_held_out(R):
    held = hold_out(R, 0.25, of="users", latest=False, name="S")
    assert len(held.rows) == int(0.25 * (np.diff(R.indptr) > 1).sum())
    assert_array_equal(np.sort(np.concatenate([held.rows, held.fit_rows])), np.arange(120))
    assert (held.X_fit != R[held.fit_rows]).nnz == 0
    assert (held.X_input + held.y != R[held.rows]).nnz == 0
    order = np.random.default_rng(0).permutation(120)
    permuted = hold_out(R[order], 0.25, of="users", latest=False, name="S")
    assert set(order[permuted.rows]) == set(held.rows)


def test_a_number_of_interactions_held_out(R):
    lengths = np.diff(R.indptr)
    held = hold_out(R, 9, of="cells", latest=False, name="S")
    assert_array_equal(held.rows, np.flatnonzero(lengths > 9))
    assert 0 < len(held.rows) < 120
    assert (np.diff(held.y.indptr) == 9).all()
    assert held.X_fit.nnz == R.nnz - held.y.nnz
    of_users = hold_out(R, 9, of="users", latest=False, name="S")
    assert len(of_users.rows) == len(held.rows) // 5
    assert (np.diff(of_users.y.indptr) == 9).all()


def test_the_latest_interactions_are_held_out_of_an_order():
    X = sp.csr_array(np.array([[3, 1, 4, 2, 0], [1, 2, 3, 4, 5]], dtype=np.float32))
    assert_array_equal(hold_out(X, 0.5, of="cells", latest=True, name="S").y.indices, [0, 2, 3, 4])
    assert_array_equal(hold_out(X, 1, of="cells", latest=True, name="S").y.indices, [2, 4])


def test_latest_makes_a_model_of_an_order():
    rng = np.random.default_rng(0)
    X = make_interactions(n_users=60, n_items=30, density=0.3, random_state=0)
    X.data = rng.permutation(X.nnz).astype(np.float64) + 1
    popular = PopularityRecommender()
    pipe = RecommenderPipeline([("binary", Binarizer()), ("ease", EASE(l2=5))])
    stack = StackingRecommender([("popular", popular), ("ease", pipe)], held_out="latest")
    seen = []

    class Spy(StackingRecommender):
        def _fit_members(self, X, user_features=None, rows=None):
            seen.append(X)
            super()._fit_members(X, user_features, rows)

    Spy(**stack.get_params(deep=False)).fit(X)
    first, last = seen
    assert_array_equal(last.max(axis=1).toarray().ravel(), np.diff(X.indptr))
    assert (first.max(axis=1).toarray().ravel() == np.diff(first.indptr)).all()
    assert first.nnz < last.nnz == X.nnz


def test_nothing_to_hold_out():
    with pytest.raises(ValueError, match="StackingRecommender learns"):
        StackingRecommender(PAIR).fit(sp.csr_array(np.eye(5)))
    with pytest.raises(ValueError, match="one of them with 4 interactions"):
        StackingRecommender(PAIR, holdout=3).fit(sp.csr_array(np.tri(3)))


# ------------------------------------------------------------------------------------- pairs


def test_retrieved_items_are_the_best_of_each_member():
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(6, 20)).astype(np.float32) for _ in range(2)]
    seen = sp.random_array((6, 20), density=0.3, format="csr", rng=rng)
    mask = retrieved(scores, seen, 3)
    hidden = seen.toarray() != 0
    assert_array_equal(retrieved(scores, seen, 99), ~hidden)
    for row in range(6):
        expected = set()
        for own in scores:
            ranked = [item for item in np.argsort(-own[row]) if not hidden[row, item]]
            expected |= set(ranked[:3])
        assert set(np.flatnonzero(mask[row])) == expected


def test_sampled_items_depend_on_the_contents_of_a_row_alone():
    X = make_interactions(n_users=300, n_items=50, density=0.2, random_state=0)
    eligible = X.toarray() == 0
    mask = sampled(eligible, X, 10)
    assert not (mask & ~eligible).any()
    assert mask.sum(axis=1).mean() == pytest.approx(10, rel=0.1)
    order = np.random.default_rng(0).permutation(300)
    assert_array_equal(sampled(eligible[order], X[order], 10), mask[order])
    assert_array_equal(sampled(eligible, X, 50), eligible)


# ----------------------------------------------------------------------------------- weights


def test_weights_maximize_the_likelihood():
    """On pairs that are drawn from the model itself."""
    rng = np.random.default_rng(0)
    n_rows, n_items = 2000, 30
    features = rng.normal(size=(n_rows, n_items, 3))
    gumbel = rng.gumbel(size=(n_rows, n_items))
    chosen = np.argmax(features @ [2, 1, 0] + gumbel, axis=1)
    target = np.zeros((n_rows, n_items))
    target[np.arange(n_rows), chosen] = 1
    rows = np.repeat(np.arange(n_rows), n_items)
    flat = features.reshape(-1, 3)
    weights = softmax_weights(flat, target.ravel(), rows)
    assert_allclose(weights, [2 / 3, 1 / 3, 0], atol=0.03)


def test_what_is_random_gets_no_weight(R):
    members = [*PAIR, ("random", RandomRecommender(random_state=0))]
    stack = StackingRecommender(members).fit(R)
    assert stack.weights_.sum() == pytest.approx(1)
    assert stack.weights_[2] < 0.1 < stack.weights_[0]


def test_a_stack_without_a_final_estimator_is_a_blend(R):
    stack = StackingRecommender(PAIR).fit(R)
    blend = VotingRecommender(PAIR, weights=stack.weights_).fit(R)
    assert_allclose(stack.predict(R), blend.predict(R), rtol=1e-4, atol=1e-5)


def test_no_item_to_tell_apart():
    stack = StackingRecommender(PAIR, LogisticRegression()).fit(np.ones((6, 4)))
    assert_array_equal(stack.weights_, [0.5, 0.5])


@pytest.mark.parametrize("final", [LogisticRegression(), HistGradientBoostingClassifier()])
def test_a_classifier_orders_the_candidates(R, final):
    stack = StackingRecommender(PAIR, final, n_candidates=5).fit(R)
    assert stack.weights_ is None
    assert not hasattr(final, "classes_")
    members = stack.estimators_
    lists = np.hstack([member.recommend(R, n=5) for member in members])
    scores = [member.predict(R) for member in members]
    mean = sum(zscore(own, axis=1) for own in scores)
    full = stack.recommend(R, n=40)
    for user in np.flatnonzero(np.diff(R.indptr)):
        n = len(set(lists[user]) - {-1})
        if n < 2:  # a user who has nearly everything
            continue
        assert set(full[user, :n]) == set(lists[user]) - {-1}
        features = zscore([own[user, full[user, :n]] for own in scores], axis=1)
        ranked = stack.final_estimator_.decision_function(np.rint(features.T * 1024) / 1024)
        assert (np.diff(ranked) <= 1e-3).all()
        rest = full[user, n:]
        assert (np.diff(mean[user, rest[rest >= 0]]) <= 1e-3).all()


# ----------------------------------------------------------------------------------- ratings


def test_a_stack_of_rating_models_predicts_ratings():
    ratings = make_ratings(n_users=150, n_items=60, random_state=0)
    members = [("bias", BiasRecommender()), ("knn", ItemKNNBaseline(n_neighbors=10))]
    train, test = random_holdout(ratings, 0.2, random_state=0)
    stack = StackingRecommender(members).fit(train)
    assert (stack.weights_ >= 0).all()
    single = [clone(model).fit(train).score(train, test) for _, model in members]
    assert stack.score(train, test) == pytest.approx(stack.score(train, test, metric="neg_rmse"))
    assert stack.score(train, test) > max(single) - 0.02
    explicit = StackingRecommender(members, LinearRegression(positive=True)).fit(train)
    assert_allclose(explicit.predict(train), stack.predict(train), rtol=1e-5)
    held = hold_out(train, 0.2, of="cells", latest=False, name="S")
    pairs = np.repeat(np.arange(len(held.rows)), np.diff(held.y.indptr)), held.y.indices
    fitted = [clone(model).fit(held.X_fit) for _, model in members]
    features = [model.predict_pairs(held.X_input, *pairs) for model in fitted]
    direct = LinearRegression(positive=True).fit(np.column_stack(features), held.y.data)
    assert_allclose(stack.weights_, direct.coef_, atol=0.02)  # these predictions are clipped


def test_user_features_reach_the_members():
    ratings = make_ratings(n_users=60, n_items=30, random_state=0)
    features = np.random.default_rng(0).normal(size=(60, 3))
    deep = DeepAutoencoder(max_epochs=2, random_state=0)
    members = [("deep", deep), ("bias", BiasRecommender())]
    stack = StackingRecommender(members, LinearRegression())
    for held_out in ("cells", "users"):
        stack.set_params(held_out=held_out).fit(ratings, user_features=features)
        other = stack.predict(ratings, user_features=-features)
        assert np.ptp(stack.predict(ratings, user_features=features) - other) > 0
    with pytest.raises(ValueError, match="user_features"):
        stack.predict(ratings)


# ------------------------------------------------------------------------------- composition


def test_three_deep_in_a_search_saved_and_loaded(R, tmp_path):
    inner = StackingRecommender(PAIR)
    middle = StackingRecommender([("inner", inner), ("ease", EASE())], LogisticRegression())
    outer = RecommenderPipeline(
        [("binary", Binarizer()), ("blend", VotingRecommender([("a", middle), ("b", EASE())]))]
    )
    X, y = random_holdout(R, 0.2, random_state=0)
    grid = {"blend__a__final_estimator__C": [0.1], "blend__a__inner__ease__l2": [1, 100]}
    search = GridSearchCV(outer, grid, cv=HoldoutSplit()).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    search.best_estimator_.save(tmp_path / "model.skr")
    loaded = load(tmp_path / "model.skr")
    strangers = make_interactions(n_users=20, n_items=40, density=0.2, random_state=1)
    assert_array_equal(loaded.predict(strangers), search.best_estimator_.predict(strangers))


@pytest.mark.parametrize(
    "params",
    [
        {"holdout": 0},
        {"holdout": 1.0},
        {"holdout": 1.5},
        {"n_candidates": 0},
        {"final_estimator": "ridge"},
    ],
)
def test_parameters_of_the_wrong_form(R, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        StackingRecommender(PAIR, **params).fit(R)
