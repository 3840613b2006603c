"""ContentRecommender against its definition, and what only it can do."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder

from sklearn_recsys import ContentRecommender, RandomRecommender, load
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.preprocessing import FeatureEncoder, InteractionEncoder
from sklearn_recsys.utils.estimator_checks import (
    check_checkerboard,
    check_permutations,
    recommender_checks,
)


def random_matrix(n_users=30, n_items=20, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < 0.3)
    X[3], X[:, 4] = 0, 0  # an empty user, an item that nobody has
    return X.astype(np.float32)


def random_features(n_items=20, seed=0):
    """Return a frame with all kinds of columns; some items share nothing with others."""
    rng = np.random.default_rng(seed)
    genres = np.array(["Crime", "Drama", "Comedy", "War", "Western"])
    words = np.array(["the", "night", "of", "day", "last", "man", "woman"])
    return pd.DataFrame(
        {
            "title": [" ".join(rng.choice(words, 3)) for _ in range(n_items)],
            "genres": [list(rng.choice(genres, rng.integers(3), False)) for _ in range(n_items)],
            "country": rng.choice(["US", "FR", "DE"], n_items),
            "year": rng.normal(1980, 10, n_items),
        }
    )


def profiles_in_loops(numbers):
    """Return the profiles of items by the formulas of the docstring."""
    n, n_features = numbers.shape
    weighted = numbers.astype(np.float64)
    for f in range(n_features):
        column = numbers[:, f]
        if all(x >= 0 and float(x).is_integer() for x in column):
            weighted[:, f] = column * (np.log((1 + n) / (1 + np.sum(column != 0))) + 1)
    lengths = np.sqrt((weighted**2).sum(axis=1))
    return np.array(
        [row / length if length else row for row, length in zip(weighted, lengths, strict=True)]
    )


def scores_in_loops(X, profiles):
    scores = np.zeros((len(X), len(profiles)))
    for u, row in enumerate(X):
        profile = sum(x * p for x, p in zip(row, profiles, strict=True))
        for i, item in enumerate(profiles):
            length = np.sqrt((profile**2).sum() * (item**2).sum())
            scores[u, i] = profile @ item / length if length else 0
    return scores


def test_scores_are_the_cosines_of_profiles():
    X, new, frame = random_matrix(), random_matrix(9, seed=1), random_features()
    numbers = FeatureEncoder().fit_transform(frame).toarray()
    expected = profiles_in_loops(numbers)
    embedding = np.random.default_rng(0).normal(size=(20, 4))
    cases = [(frame, expected), (numbers, expected), (sp.coo_array(numbers), expected)]
    cases += [(embedding, profiles_in_loops(embedding)), (None, None)]
    for features, profiles in cases:
        model = ContentRecommender(features).fit(X)
        assert isinstance(model.item_profiles_, sp.csr_array)
        assert model.item_profiles_.dtype == np.float32
        if features is None:  # users are the features, their values weights
            weights = np.log(21 / (1 + (X != 0).sum(axis=1))) + 1
            profiles = X.T * weights
            lengths = np.linalg.norm(profiles, axis=1, keepdims=True)
            profiles = profiles / np.where(lengths > 0, lengths, 1)
        assert_allclose(model.item_profiles_.toarray(), profiles, atol=1e-6)
        for rows in (X, new):
            known = rows.any(axis=1)
            expected_scores = scores_in_loops(rows, profiles)
            assert_allclose(model.predict(rows)[known], expected_scores[known], atol=1e-5)
            cosines = model.transform(rows) @ model.item_profiles_.T
            assert_allclose(cosines.toarray(), expected_scores, atol=1e-5)


def test_only_counts_are_weighted():
    """Whole numbers of at least 0; a column with a fraction or a negative number is left alone."""
    counts = np.array([[1, 0], [1, 2], [0, 0], [1, 1]])
    others = np.array([[0.5, -1], [1, 2], [2, 0], [0, 1]])
    model = ContentRecommender(np.hstack([counts, others])).fit(np.eye(4))
    profiles = model.item_profiles_.toarray()
    weights = np.log(5 / (1 + np.array([3, 2]))) + 1
    expected = np.hstack([counts * weights, others])
    assert_allclose(profiles, expected / np.linalg.norm(expected, axis=1)[:, None], rtol=1e-6)


def test_rare_features_say_more():
    genres = ["Drama|Noir", "Drama", "Noir", "Drama", "Drama", "Drama|Noir"]
    model = ContentRecommender(pd.DataFrame({"genres": genres})).fit(np.eye(6))
    assert model.recommend(0, n=2).tolist() == [[5, 2]]


def test_items_without_users_are_recommended():
    X, frame = random_matrix(), random_features()
    frame.iloc[4] = frame.iloc[7]
    model = ContentRecommender(frame).fit(X)
    scores = model.predict(X)
    assert not X[:, 4].any()
    assert_array_equal(scores[:3, 4], scores[:3, 7])
    alone = np.zeros((1, 20))
    alone[0, 7] = 5
    assert model.recommend(alone, n=1).tolist() == [[4]]


def test_other_users_change_nothing():
    frame = random_features()
    new = random_matrix(9, seed=1)
    known = new.any(axis=1)
    one = ContentRecommender(frame).fit(random_matrix()).predict(new)
    other = ContentRecommender(frame).fit(random_matrix(5, seed=2)).predict(new)
    assert_array_equal(one[known], other[known])


def test_a_history_that_nothing_is_known_of_gets_popularity():
    X = random_matrix()
    features = np.eye(20)
    features[[0, 4]] = 0
    model = ContentRecommender(features).fit(X)
    row = np.zeros((1, 20))
    row[0, [0, 4]] = 1
    popular = np.argsort(-(X != 0).sum(axis=0), kind="stable")
    expected = [item for item in popular if item not in {0, 4}]
    assert_array_equal(model.recommend(row, n=18)[0], expected)
    assert model.transform(row).nnz == 0
    # known and unknown items: the known ones count
    row[0, 5] = 1
    assert_allclose(model.predict(row)[0], np.eye(20)[5])


def test_similar_items():
    frame = random_features()[["genres", "country"]]
    model = ContentRecommender(frame).fit(random_matrix())
    cosines = (model.item_profiles_ @ model.item_profiles_.T).toarray()
    np.fill_diagonal(cosines, -np.inf)
    with config_context(working_memory=1e-3):
        ids, values = model.similar_items([7, 2, 7], n=25)
    assert ids.dtype == np.int64
    assert values.dtype == np.float32
    for item, row, value in zip([7, 2, 7], ids, values, strict=True):
        n = np.sum(cosines[item] > 0)
        assert 0 < n < 19
        assert_array_equal(row[:n], np.argsort(-cosines[item], kind="stable")[:n])
        assert_allclose(value[:n], np.sort(cosines[item])[::-1][:n], rtol=1e-5)
        assert_array_equal(row[n:], -1)
        assert np.all(np.isneginf(value[n:]))
    assert_array_equal(model.similar_items(7, n=3)[0], ids[[0], :3])
    with pytest.raises(ValueError, match="item indices"):
        model.similar_items([20])
    with pytest.raises(ValueError, match="n must be"):
        model.similar_items([0], n=0)


def test_the_encoder_is_a_clone_and_names_the_features():
    frame = random_features()
    encoder = FeatureEncoder({"title": "drop"})
    model = ContentRecommender(frame, encoder=encoder).fit(random_matrix())
    assert not hasattr(encoder, "slots_")
    names = model.get_feature_names_out()
    assert_array_equal(names, model.encoder_.get_feature_names_out())
    assert model.transform(random_matrix()).shape == (30, len(names))
    assert not any("title" in name for name in names)
    model.set_params(encoder__kinds={"title": "drop", "year": "drop"}).fit(random_matrix())
    assert "year" not in model.get_feature_names_out()
    # any transformer will do
    other = make_column_transformer((OneHotEncoder(), ["country"]))
    model = ContentRecommender(frame, encoder=other).fit(random_matrix())
    assert model.item_profiles_.shape == (20, 3)
    # a fit without a frame forgets it
    assert (
        model.set_params(item_features=np.eye(20), encoder=None).fit(random_matrix()).encoder_
        is None
    )
    assert model.get_feature_names_out()[0] == "contentrecommender0"


@pytest.mark.parametrize("kind", ["frame", "dense", "sparse"])
def test_keeps_the_contract_with_features(kind):
    """The checks fit to matrices of 30 items; but for these two, to others or in another order."""
    frame = random_features(30, seed=3)
    features = {
        "frame": frame,
        "dense": FeatureEncoder().fit_transform(frame).toarray(),
        "sparse": FeatureEncoder().fit_transform(frame),
    }[kind]
    for check in recommender_checks(ContentRecommender(features)):
        if check.func not in {check_permutations, check_checkerboard}:
            check()


def test_the_checkerboard_with_features():
    """Two kinds of items: everybody gets those of their own kind first."""
    frame = pd.DataFrame({"kind": ["a", "b"] * 10})
    own = np.add.outer(np.arange(10), np.arange(20)) % 2 == 0
    X = own & (np.random.default_rng(0).random(own.shape) < 0.6)
    ids = ContentRecommender(frame).fit(X.astype(float)).recommend(n=3)
    for user, row in enumerate(ids):
        left = min(3, np.sum(own[user] & ~X[user]))
        assert np.all(own[user, row[:left]])


def test_what_is_unknown_is_no_trait_in_common():
    """Items 0 and 3 are alike, and no two others, two of which nothing is known."""
    frame = pd.DataFrame(
        {"kind": ["a", None, None, "a"], "year": [0.0, 0, 0, 0], "tags": ["x", "rare", "r2", "x"]}
    )
    model = ContentRecommender(frame, encoder=FeatureEncoder(min_count=2)).fit(np.eye(4))
    ids, cosines = model.similar_items([0, 1, 2], n=3)
    assert_array_equal(ids, [[3, -1, -1], [-1, -1, -1], [-1, -1, -1]])
    assert_allclose(cosines[0, 0], 1)
    names = model.get_feature_names_out()
    unknown = [name.endswith("<unknown>") for name in names]
    assert sum(unknown) == 2
    assert not model.item_profiles_.toarray()[:, unknown].any()
    assert_array_equal(model.recommend([0], n=1), [[3]])


@pytest.mark.parametrize("features", [random_features(), None], ids=["frame", "none"])
def test_pickle_clone_save_and_load(features, tmp_path):
    X = random_matrix()
    model = ContentRecommender(features, encoder=FeatureEncoder(min_count=2)).fit(X)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    for copy in (loaded, pickle.loads(pickle.dumps(model))):
        assert_array_equal(copy.predict(X), model.predict(X))
        assert_array_equal(copy.get_feature_names_out(), model.get_feature_names_out())
    for again in (clone(model), clone(loaded)):  # the features come along
        assert_array_equal(again.fit(X).predict(X), model.predict(X))


def test_features_are_left_alone():
    features = sp.coo_array(np.array([[1.0, 0, 2], [0, 0, 1], [0.5, 1, 1]])).tocsr()
    twice = sp.csr_array(([1.0, 1, 0, 1], [0, 0, 1, 1], [0, 2, 3, 4]), shape=(3, 2))
    for given in (features, twice):
        before = [given.data.copy(), given.indices.copy(), given.indptr.copy()]
        model = ContentRecommender(given).fit(np.eye(3))
        assert_allclose(
            model.item_profiles_.toarray(),
            ContentRecommender(given.toarray()).fit(np.eye(3)).item_profiles_.toarray(),
        )
        for old, new in zip(before, [given.data, given.indices, given.indptr], strict=True):
            assert_array_equal(old, new)
    frame = random_features()
    before = frame.copy(deep=True)
    ContentRecommender(frame).fit(random_matrix())
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("features", "match"),
    [
        (random_features(19), "one row per item.*expected 20, got 19"),
        (random_features(30), "one row per item.*expected 20, got 30"),
        (np.eye(21), "expected 20, got 21"),
        (sp.csr_array(np.eye(21)), "expected 20, got 21"),
        ([[1]] * 21, "expected 20, got 21"),
        (np.ones(20), "2D array"),
        (np.full((20, 2), np.nan), "item_features contains NaN"),
        (np.full((20, 2), "a"), "onvert"),
        (random_features().assign(year=np.inf), "'year' holds infinite"),
        (7, "'item_features' parameter"),
    ],
)
def test_features_that_make_no_sense(features, match):
    model = ContentRecommender(features)
    with pytest.raises(ValueError, match=match):
        model.fit(random_matrix())
    assert not hasattr(model, "interactions_")
    assert not hasattr(model, "encoder_")


def test_nothing_is_squared():
    """Neither users × items nor items × items is dense beyond a block."""
    n = 4000
    rng = np.random.default_rng(0)
    X = sp.random_array((n, n), density=0.002, rng=rng, dtype=np.float32)
    model = ContentRecommender(sp.random_array((n, 50), density=0.05, rng=rng))
    model.fit(X[:50])
    with config_context(working_memory=4):
        tracemalloc.start()
        model.fit(X)
        model.recommend(n=5)
        model.similar_items(np.arange(n), n=5)
        model.transform(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 0.5 * 4 * n**2, f"{peak / (4 * n**2):.2f} times a float32 square"


def cold_scores(data, share=0.2):
    """Return recall@10 among items that nobody has, of the content model and of chance."""
    encoder = InteractionEncoder(values="one")
    R = encoder.fit_transform(data.interactions[data.interactions["rating"] >= 4])
    items = data.items.loc[encoder.item_ids_]
    cold = np.random.default_rng(0).random(R.shape[1]) < share
    known, held_out = R.multiply(~cold).tocsr(), R.multiply(cold).tocsr()
    scores = {}
    for model in (ContentRecommender(items), RandomRecommender(random_state=0)):
        model.fit(known)
        candidates = np.flatnonzero(cold)
        scores[type(model).__name__] = model.score(
            known, held_out, metric="recall@10", candidates=candidates
        )
    return scores["ContentRecommender"], scores["RandomRecommender"]


def test_cold_items_are_found_by_what_they_are():
    content, chance = cold_scores(make_movies(random_state=0))
    assert content > 1.3 * chance


def test_cold_items_of_movielens(data_home):
    content, chance = cold_scores(fetch_movielens("100k", data_home=data_home))
    assert content > 2 * chance


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e20, 1e30])
def test_profiles_do_not_depend_on_the_scale(scale):
    """Neither that of the features nor that of the histories; squares of these fit no float32."""
    rng = np.random.default_rng(0)
    features = rng.uniform(0.1, 2, (25, 6)) * (rng.random((25, 6)) < 0.6)
    X = (rng.uniform(0.5, 5, (40, 25)) * (rng.random((40, 25)) < 0.3)).astype(np.float32)
    model, scaled = ContentRecommender(features), ContentRecommender(features * scale)
    model.fit(X)
    scaled.fit(X * np.float32(scale))
    ids, cosines = scaled.similar_items(range(25), n=6)
    expected = model.similar_items(range(25), n=6)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(cosines, expected[1], rtol=1e-5)
    np.testing.assert_array_equal(scaled.recommend(), model.recommend())
    profiles = scaled.transform(X * np.float32(scale)).toarray()
    np.testing.assert_allclose(profiles, model.transform(X).toarray(), rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_profiles_that_are_not_finite_are_refused(value):
    X = random_matrix()
    model = ContentRecommender(random_features()).fit(X)
    model._by_feature_.data[3] = value
    with pytest.raises(ValueError, match="Similarities are"):
        model.similar_items(np.arange(20))
    model.item_profiles_.data[:] = value
    with pytest.raises(ValueError, match="has profiles that are"):
        model.transform(X)
