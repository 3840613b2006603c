"""Features of users: through fit, predictions, searches and pipelines, and what bad ones get."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import MaxAbsScaler

from sklearn_recsys import EASE, DeepAutoencoder, RecommenderPipeline, load
from sklearn_recsys.base import UserFeaturesMixin
from sklearn_recsys.datasets import make_ratings
from sklearn_recsys.metrics import make_recommender_scorer
from sklearn_recsys.model_selection import cross_validate, evaluate, random_holdout

N_USERS, N_ITEMS = 60, 30


class ByGroup(UserFeaturesMixin, BaseEstimator):
    """Scores are what the user's group has, `weight` times, and the item's number."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def _fit(self, X):
        if self.user_features_ is None:
            self.sums_ = np.zeros((0, X.shape[1]))
        else:
            self.sums_ = self.user_features_.T @ X

    def _score_items(self, X, user_features=None):
        scores = np.tile(np.arange(X.shape[1], dtype=np.float32) / 1e3, (X.shape[0], 1))
        if user_features is None:
            return scores
        return scores + np.float32(self.weight) * (user_features @ self.sums_)


@pytest.fixture
def data():
    """Two groups, each of which likes one half of the items."""
    rng = np.random.RandomState(0)
    group = np.arange(N_USERS) % 2
    liked = (np.arange(N_ITEMS) < N_ITEMS // 2) == (group[:, None] == 0)
    observed = rng.rand(N_USERS, N_ITEMS) < np.where(liked, 0.5, 0.1)
    X = sp.csr_array(np.where(observed, 1 + 4 * liked, 0))
    return X, np.eye(2)[group]


@pytest.fixture
def model(data):
    X, features = data
    return ByGroup().fit(X, user_features=features)


def test_every_method_hands_the_features_of_its_rows_on(data, model):
    X, features = data
    expected = np.arange(N_ITEMS) / 1e3 + features @ (features.T @ X.toarray())
    np.testing.assert_allclose(model.predict(X, user_features=features), expected, rtol=1e-6)
    rows, items = np.array([5, 2, 5, 59]), np.array([0, 29, 3, 7])
    pairs = model.predict_pairs(X, rows, items, user_features=features)
    np.testing.assert_allclose(pairs, expected[rows, items], rtol=1e-6)
    swapped = features[:, ::-1]
    other = np.arange(N_ITEMS) / 1e3 + swapped @ (features.T @ X.toarray())
    ids, scores = model.recommend(
        X, n=3, user_features=swapped, exclude_seen=False, return_scores=True
    )
    np.testing.assert_array_equal(ids, np.argsort(-other, axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(scores, np.take_along_axis(other, ids, axis=1), rtol=1e-6)
    candidates = np.tile([1, 20, 25], (N_USERS, 1))  # scored by pairs
    ids = model.recommend(X, n=1, user_features=features, candidates=candidates, exclude_seen=False)
    np.testing.assert_array_equal(ids[:, 0], candidates[0][expected[:, [1, 20, 25]].argmax(axis=1)])


def test_score_reads_the_features(data):
    X, features = data
    train, held_out = random_holdout(X, per_user=True, random_state=0)
    model = ByGroup().fit(train, user_features=features)
    right = model.score(train, held_out, user_features=features)
    wrong = model.score(train, held_out, user_features=features[:, ::-1])
    assert right > 1.5 * wrong
    assert model.score(train, held_out, user_features=features, metric="hr@3") > 0


def test_training_users_keep_their_features(data, model):
    X, features = data
    everyone = model.recommend(n=4)
    np.testing.assert_array_equal(everyone, model.recommend(X, n=4, user_features=features))
    np.testing.assert_array_equal(everyone[[7, 3]], model.recommend([7, 3], n=4))
    mask = np.arange(N_USERS) == 9
    np.testing.assert_array_equal(everyone[mask], model.recommend(mask, n=4))
    moved = model.recommend(3, n=4, user_features=features[[2]])
    np.testing.assert_array_equal(moved, model.recommend(X[[3]], n=4, user_features=features[[2]]))
    assert not np.array_equal(moved[0], everyone[3])


def test_an_empty_history_is_scored_by_its_features(data, model):
    _, features = data
    empty = sp.csr_array((2, N_ITEMS))
    ids = model.recommend(empty, n=5, user_features=np.eye(2))
    assert np.all(ids[0] < N_ITEMS // 2) and np.all(ids[1] >= N_ITEMS // 2)


def test_without_features_it_is_a_recommender_like_any_other(data):
    X, _ = data
    model = ByGroup().fit(X)
    assert model.user_features_ is None
    np.testing.assert_array_equal(model.recommend(n=1, exclude_seen=False), N_ITEMS - 1)
    with pytest.raises(ValueError, match="was fitted without any"):
        model.predict(X, user_features=np.eye(2)[np.zeros(N_USERS, int)])


@pytest.mark.filterwarnings("ignore:100% of the rows:UserWarning")
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((N_USERS - 1, 2)), "expected 60, got 59"),
        (np.ones((N_USERS, 3)), "3 columns, but ByGroup was fitted with 2"),
        (np.ones(N_USERS), "Expected 2D array"),
        (np.full((N_USERS, 2), np.nan), "contains NaN"),
        ([["a", "b"]] * N_USERS, "could not convert string"),
        (None, "pass those of these users"),
    ],
)
def test_bad_features_are_refused(data, model, features, message):
    X, good = data
    for call in (
        lambda: model.predict(X, user_features=features),
        lambda: model.predict_pairs(X, [0], [0], user_features=features),
        lambda: model.recommend(X, user_features=features),
        lambda: model.score(X, exclude_seen=False, user_features=features),
        lambda: model.partial_fit(X, user_features=features),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert model.recommend(n=1).shape == (N_USERS, 1)  # it is still fitted


@pytest.mark.parametrize("features", [np.ones((N_USERS - 1, 2)), np.full((N_USERS, 2), np.inf)])
def test_a_fit_with_bad_features_leaves_the_model_unfitted(data, model, features):
    X, _ = data
    with pytest.raises(ValueError, match="user_features|infinity"):
        model.fit(X, user_features=features)
    assert not hasattr(model, "interactions_") and not hasattr(model, "user_features_")


def test_frames_are_told_apart_by_columns_and_index(data):
    X, features = data
    frame = pd.DataFrame(X.toarray(), index=[f"u{i}" for i in range(N_USERS)])
    about = pd.DataFrame(features, index=frame.index, columns=["young", "old"])
    model = ByGroup().fit(frame, user_features=about)
    assert model.user_feature_names_in_.tolist() == ["young", "old"]
    assert model.n_user_features_in_ == 2
    np.testing.assert_array_equal(
        model.predict(frame, user_features=about), model.predict(X, user_features=about)
    )
    with pytest.raises(ValueError, match="different indices"):
        model.predict(frame, user_features=about.iloc[::-1])
    with pytest.raises(ValueError, match="different indices"):
        ByGroup().fit(frame, user_features=about.iloc[::-1])
    with pytest.raises(ValueError, match=r"those seen in fit.*young.*old"):
        model.predict(frame, user_features=about[["old", "young"]])


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_sparse_features_are_their_dense_values(data, model, make):
    X, features = data
    np.testing.assert_array_equal(
        ByGroup().fit(X, user_features=make(features)).predict(X, user_features=make(features)),
        model.predict(X, user_features=features),
    )


def test_what_becomes_of_the_caller_s_array_changes_nothing(data):
    X, features = data
    mine = features.astype(np.float32)
    model = ByGroup().fit(X, user_features=mine)
    expected = model.recommend(n=3)
    mine[:] = mine[:, ::-1]
    np.testing.assert_array_equal(model.recommend(n=3), expected)


# ---------------------------------------------------------------- searches, pipelines, tables


@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.parametrize("scorer", [False, True])
def test_searches_route_the_features(data, in_pipeline, scorer):
    """A weight of −1 prefers what the other group likes: routed features find the right one."""
    X, features = data
    with config_context(enable_metadata_routing=True):
        model = ByGroup().set_fit_request(user_features=True)
        model.set_score_request(user_features=True)
        grid = {"weight": [-1.0, 1.0]}
        if in_pipeline:
            model = RecommenderPipeline([("scale", MaxAbsScaler()), ("model", model)])
            grid = {"model__weight": [-1.0, 1.0]}
        scoring = None
        if scorer:
            scoring = make_recommender_scorer("ndcg@10").set_score_request(user_features=True)
        search = GridSearchCV(model, grid, cv=3, scoring=scoring)
        search.fit(X, user_features=features)
    assert list(search.best_params_.values()) == [1.0]
    worst, best = search.cv_results_["mean_test_score"]
    assert best > 1.5 * worst


def test_a_search_that_was_not_told_to_route_refuses(data):
    X, features = data
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match="user_features"),
    ):
        GridSearchCV(ByGroup(), {"weight": [1.0]}, cv=2).fit(X, user_features=features)


@pytest.mark.parametrize("routing", [False, True])
def test_a_pipeline_hands_the_features_to_its_model(data, routing):
    X, features = data
    X, held_out = random_holdout(X, per_user=True, random_state=0)
    with config_context(enable_metadata_routing=routing):
        model = ByGroup().set_fit_request(user_features=True) if routing else ByGroup()
        pipe = RecommenderPipeline([("scale", MaxAbsScaler()), ("model", model)])
        pipe.fit(X, user_features=features)
    scaled = MaxAbsScaler().fit_transform(X)
    alone = ByGroup().fit(scaled, user_features=features)
    np.testing.assert_array_equal(
        pipe.predict(X, user_features=features), alone.predict(scaled, user_features=features)
    )
    np.testing.assert_array_equal(pipe.recommend(n=3), alone.recommend(n=3))
    swapped = features[:, ::-1]
    np.testing.assert_array_equal(
        pipe.recommend(X, n=3, user_features=swapped),
        alone.recommend(scaled, n=3, user_features=swapped),
    )
    right = pipe.score(X, held_out, user_features=features)
    assert right > 1.5 * pipe.score(X, held_out, user_features=swapped)
    with pytest.raises(ValueError, match="pass those of these users"):
        pipe.predict(X)
    with pytest.raises(ValueError, match="fit it on all users"):
        pipe.partial_fit(X)


def test_models_that_read_none_refuse_features(data):
    X, features = data
    with pytest.raises(TypeError, match="user_features"):
        EASE().fit(X, user_features=features)
    pipe = RecommenderPipeline([("scale", MaxAbsScaler()), ("ease", EASE())])
    with pytest.raises(TypeError, match="user_features"):
        pipe.fit(X, user_features=features)
    with pytest.raises(ValueError, match="EASE takes no user_features"):
        pipe.fit(X).predict(X, user_features=features)


@pytest.mark.parametrize("scoring", [None, ["ndcg@10", "hr@10"]])
def test_cross_validate_splits_the_features_with_the_rows(data, scoring):
    X, features = data
    params = {"user_features": pd.DataFrame(features)}
    right = cross_validate(ByGroup(), X, cv=3, params=params, scoring=scoring)
    wrong = cross_validate(ByGroup(-1.0), X, cv=3, params=params, scoring=scoring)
    name = "test_score" if scoring is None else "test_ndcg@10"
    assert np.all(right[name] > 1.5 * wrong[name])


def test_evaluate_hands_features_to_the_models_that_have_some(data):
    X, features = data
    train, held_out = random_holdout(X, per_user=True, random_state=0)
    model = ByGroup().fit(train, user_features=features)
    models = {"group": model, "none": ByGroup().fit(train), "EASE": EASE().fit(train)}
    table = evaluate(models, train, held_out, metrics=["ndcg"], user_features=features)
    score = model.score(train, held_out, user_features=features)
    assert table.loc["group", "ndcg@10"] == pytest.approx(score)
    assert table.notna().all(axis=None)


# ---------------------------------------------------------------- a neural model


@pytest.fixture
def deep():
    return DeepAutoencoder(
        hidden_layer_sizes=[16], l2=1.0, dropout=0.0, max_epochs=60, lr=0.01, random_state=0
    )


def test_deep_autoencoder_learns_from_features(data):
    """Histories of three ratings say little; the group says what is liked."""
    _, features = data
    liked = (np.arange(N_ITEMS) < N_ITEMS // 2) == (features[:, [0]] == 1)
    observed = np.random.RandomState(0).rand(N_USERS, N_ITEMS) < 0.1
    X = sp.csr_array(np.where(observed, 1 + 4 * liked, 0))
    model = DeepAutoencoder(
        hidden_layer_sizes=[4],
        dropout=0.0,
        n_refeeds=0,
        l2=10.0,
        lr=0.01,
        batch_size=10,
        max_epochs=100,
        early_stopping=False,
        random_state=0,
    ).fit(X[:40], user_features=features[:40])
    ratings = model.predict(sp.csr_array((2, N_ITEMS)), user_features=np.eye(2))
    half = N_ITEMS // 2
    assert ratings[0, :half].mean() > ratings[0, half:].mean() + 0.4
    assert ratings[1, half:].mean() > ratings[1, :half].mean() + 0.4
    histories, held_out = random_holdout(X[40:], per_user=True, random_state=0)
    right = model.score(histories, held_out, user_features=features[40:])
    assert right > model.score(histories, held_out, user_features=features[40:, ::-1]) + 0.1


def test_deep_autoencoder_round_trips_with_features(data, deep, tmp_path):
    X, features = data
    model = deep.fit(X, user_features=features)
    expected = model.predict(X, user_features=features)
    model.save(tmp_path / "model")
    for copy in (pickle.loads(pickle.dumps(model)), load(tmp_path / "model")):
        np.testing.assert_array_equal(copy.predict(X, user_features=features), expected)
        np.testing.assert_array_equal(copy.recommend(n=3), model.recommend(n=3))
    before = model.history_.shape[0]
    model.partial_fit(X, user_features=features)
    assert model.history_.shape[0] > before
    with pytest.raises(ValueError, match="pass those of these users"):
        model.partial_fit(X)
    assert model.recommend(n=1).shape == (N_USERS, 1)


def test_item_based_models_take_no_features(data):
    X, features = data
    model = DeepAutoencoder("item", [8], max_epochs=1)
    with pytest.raises(ValueError, match="takes no user_features"):
        model.fit(X, user_features=features)
    assert not hasattr(model, "net_")


def test_predictions_do_not_depend_on_the_block(data, deep):
    R = make_ratings(50, 30, density=0.3, random_state=0)
    features = np.random.RandomState(0).randn(50, 3)
    model = deep.set_params(max_epochs=3).fit(R, user_features=features)
    whole = model.predict(R, user_features=features)
    for row in (0, 17, 49):
        one = model.predict(R[[row]], user_features=features[[row]])
        np.testing.assert_allclose(one[0], whole[row], rtol=1e-5, atol=1e-6)
