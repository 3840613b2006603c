"""Blends, switches and backfill, against what their members say one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata, zscore
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer
from sklearn.utils import get_tags

from sklearn_recsys import (
    ALS,
    EASE,
    SVAE,
    BackfillRecommender,
    BiasRecommender,
    ContentRecommender,
    DeepAutoencoder,
    ItemKNN,
    ItemKNNBaseline,
    MultDAE,
    PopularityRecommender,
    RecommenderPipeline,
    RerankedRecommender,
    StackingRecommender,
    SwitchRecommender,
    VotingRecommender,
    load,
)
from sklearn_recsys.compose import ItemRules
from sklearn_recsys.datasets import make_interactions, make_movies, make_ratings
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

PAIR = [("ease", EASE(l2=5)), ("knn", ItemKNN(n_neighbors=5))]
KINDS = [
    VotingRecommender(PAIR),
    SwitchRecommender(PAIR, rule=[9]),
    BackfillRecommender(PAIR[::-1]),
]
by_kind = pytest.mark.parametrize("model", KINDS, ids=lambda model: type(model).__name__)


@pytest.fixture(scope="module")
def R():
    return make_interactions(n_users=60, n_items=30, density=0.3, random_state=0)


@pytest.fixture(scope="module")
def ratings():
    return make_ratings(n_users=60, n_items=30, random_state=0)


# ------------------------------------------------------------------------------------ blends

NORMALIZED = {
    "standard": lambda s: zscore(s, axis=1),
    "minmax": lambda s: (s - s.min(1, keepdims=True)) / np.ptp(s, axis=1, keepdims=True),
    "rank": lambda s: 1 / (60 + rankdata(-s, axis=1)),
    "none": lambda s: s,
}


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_blend_is_a_weighted_mean(R, name):
    model = VotingRecommender(PAIR, weights=[3, 1], normalization=name).fit(R)
    ease, knn = (clone(member).fit(R).predict(R).astype(np.float64) for _, member in PAIR)
    expected = 0.75 * NORMALIZED[name](ease) + 0.25 * NORMALIZED[name](knn)
    assert_allclose(model.predict(R), expected, rtol=1e-4, atol=1e-5)
    rows, items = np.array([5, 0, 5]), np.array([1, 2, 29])
    assert_allclose(model.predict_pairs(R, rows, items), expected[rows, items], 1e-4, 1e-5)


@pytest.mark.parametrize("name", NORMALIZED)
def test_equal_scores_of_a_row_stay_equal(name):
    """Not divided by a deviation or a span of zero."""
    from sklearn_recsys.compose._normalize import NORMALIZATIONS

    result = NORMALIZATIONS[name](np.full((2, 4), 3, dtype=np.float32))
    assert np.isfinite(result).all()
    assert np.ptp(result) == 0


def test_a_blend_of_ratings_is_a_rating(ratings):
    model = VotingRecommender([("bias", BiasRecommender()), ("knn", ItemKNNBaseline())])
    train, test = random_holdout(ratings, 0.2, random_state=0)
    members = [clone(member).fit(train).predict(train) for _, member in model.estimators]
    expected = np.clip(np.mean(members, axis=0), *BiasRecommender().fit(train).rating_range_)
    assert_allclose(model.fit(train).predict(train), expected, rtol=1e-5)
    assert model.score(train, test) == pytest.approx(model.score(train, test, metric="neg_rmse"))


def test_values_that_a_composite_reads():
    def values(*models, **params):
        pairs = [(str(i), model) for i, model in enumerate(models)]
        return get_tags(VotingRecommender(pairs, **params)).recommender_tags.values

    assert values(EASE(), ItemKNN()) == "weight"
    assert values(BiasRecommender(), ItemKNNBaseline()) == "rating"
    assert values(BiasRecommender(), ItemKNNBaseline(), normalization="rank") == "weight"
    assert values(BiasRecommender(), EASE()) == "weight"
    assert values(SVAE(), EASE()) == "order"
    assert values(MultDAE(), PopularityRecommender()) == "binary"


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [np.nan, 1], "ab"])
def test_weights_of_the_wrong_form(R, weights):
    with pytest.raises(ValueError, match="weights"):
        VotingRecommender(PAIR, weights=weights).fit(R)


# ---------------------------------------------------------------------------------- switches


def test_a_switch_asks_one_recommender_for_each_user(R):
    model = SwitchRecommender(PAIR, rule=[9]).fit(R)
    long = np.diff(R.indptr) >= 9
    assert 5 < long.sum() < 55
    ease, knn = (member.predict(R) for member in model.estimators_)
    expected = np.where(long[:, None], knn, ease)
    assert_allclose(model.predict(R), expected, rtol=1e-6)
    rows, items = np.nonzero(expected > np.median(expected))
    order = np.random.default_rng(0).permutation(len(rows))
    rows, items = rows[order], items[order]
    assert_allclose(model.predict_pairs(R, rows, items), expected[rows, items], rtol=1e-6)


def test_a_switch_by_a_rule(R):
    def has_item_3(X):
        return (X[:, [3]].toarray().ravel() != 0).astype(int)

    model = SwitchRecommender(PAIR, rule=has_item_3).fit(R)
    names = np.where(R[:, [3]].toarray().ravel() != 0, "knn", "ease")
    assert len(set(names)) == 2
    assert_array_equal(model.chosen(R), names)


def test_a_user_without_a_history_gets_the_recommender_for_them(R):
    random = VotingRecommender([("ease", EASE())])
    model = SwitchRecommender(
        [("content", ItemKNN()), ("ease", random)], rule=lambda X: np.ones(X.shape[0], dtype=int)
    ).fit(R)
    empty = sp.csr_array((1, 30))
    assert_array_equal(model.predict(empty), model.named_estimators_["ease"].predict(empty))


@pytest.mark.parametrize(
    "rule", [[1, 2], [[1]], lambda X: np.full(X.shape[0], 2), lambda X: np.zeros(99, dtype=int)]
)
def test_rules_of_the_wrong_form(R, rule):
    with pytest.raises(ValueError, match="rule"):
        SwitchRecommender(PAIR, rule=rule).fit(R)


# ---------------------------------------------------------------------------------- backfill


def test_backfill_ranks_what_is_left_last(R):
    model = BackfillRecommender(PAIR[::-1]).fit(R)
    knn, ease = (member.predict(R) for member in model.estimators_)
    lists = model.recommend(R, n=30, exclude_seen=False)
    for user in range(60):
        found = np.flatnonzero(knn[user] > 0)
        left = np.flatnonzero(knn[user] <= 0)
        expected = [
            *found[np.argsort(-knn[user, found], kind="stable")],
            *left[np.argsort(-ease[user, left], kind="stable")],
        ]
        assert_array_equal(lists[user], expected)
    assert (knn <= 0).any(axis=1).sum() > 30


# ------------------------------------------------------------------------------ composition


def test_three_deep_in_a_search(R):
    inner = VotingRecommender(PAIR)
    middle = SwitchRecommender([("popular", PopularityRecommender()), ("blend", inner)], rule=[3])
    outer = RecommenderPipeline(
        [
            ("binary", Binarizer()),
            ("fill", BackfillRecommender([("a", middle), ("b", ALS(8, random_state=0))])),
        ]
    )
    X, y = random_holdout(R, 0.2, random_state=0)
    grid = {"fill__a__blend__weights": [[1, 0], [0, 1]], "fill__a__blend__ease__l2": [1, 100]}
    search = GridSearchCV(outer, grid, cv=HoldoutSplit()).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 3  # l2 of a weight of 0 is ignored
    assert outer.get_params()["fill__a__blend__ease__l2"] == 5


@by_kind
def test_saved_and_loaded(R, model, tmp_path):
    model = clone(model).fit(R)
    model.save(tmp_path / "model.skr")
    assert_array_equal(load(tmp_path / "model.skr").predict(R), model.predict(R))


def test_a_file_with_other_members_is_refused(R, tmp_path):
    model = clone(KINDS[0]).fit(R)
    model.estimators_[1] = ItemKNN().fit(R[:, :20])
    with pytest.raises(ValueError, match="n_items"):
        model.save(tmp_path / "model.skr")


def test_a_rule_in_python_is_not_saved(R, tmp_path):
    model = SwitchRecommender(PAIR, rule=lambda X: np.zeros(X.shape[0], dtype=int)).fit(R)
    with pytest.raises(TypeError, match="function"):
        model.save(tmp_path / "model.skr")


@by_kind
def test_members_share_the_training_matrix(R, model):
    model = clone(model).fit(R)
    assert all(member.interactions_ is model.interactions_ for member in model.estimators_)


@by_kind
def test_new_users_are_added_to_all_members(R, model):
    whole = clone(model).fit(R)
    grown = clone(model).fit(R[:40]).partial_fit(R[40:])
    assert_allclose(grown.predict(R), whole.predict(R), rtol=1e-5, atol=1e-6)


@by_kind
@pytest.mark.parametrize("estimators", [[], [("a", Binarizer())], [EASE()], [("a", EASE())] * 2])
def test_members_of_the_wrong_form(R, model, estimators):
    wrong = clone(model).set_params(estimators=estimators)
    with pytest.raises((TypeError, ValueError), match="estimators|not unique"):
        wrong.fit(R)


@by_kind
def test_members_validate_their_parameters(R, model):
    with pytest.raises(ValueError, match="l2"):
        clone(model).set_params(ease__l2=-1).fit(R)


# ---------------------------------------------------------------------- features and raw ids


def test_features_of_users_reach_the_members_that_read_them(ratings):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 3))
    deep = DeepAutoencoder(max_epochs=2, random_state=0)
    inner = VotingRecommender([("deep", deep), ("bias", BiasRecommender())])
    model = VotingRecommender([("a", BiasRecommender()), ("b", inner), ("c", clone(deep))])
    model.fit(ratings, user_features=features)
    alone = clone(deep).fit(ratings, user_features=features)
    bias = BiasRecommender().fit(ratings).predict(ratings)
    low, high = alone.rating_range_
    new = rng.normal(size=(60, 3))

    def unclipped(fitted):
        ids, scores = fitted.recommend(
            ratings, 30, user_features=new, exclude_seen=False, return_scores=True
        )
        return np.take_along_axis(scores, np.argsort(ids, axis=1), axis=1)

    a = unclipped(alone)
    expected = (bias + (a + bias) / 2 + a) / 3
    inside = (bias > low) & (bias < high)  # `bias` is clipped
    assert_allclose(unclipped(model)[inside], expected[inside], rtol=1e-4)
    # those of the training users are remembered
    assert_allclose(
        model.recommend(np.arange(60)), model.recommend(ratings, user_features=features)
    )
    with pytest.raises(ValueError, match="user_features"):
        model.predict(ratings)


def test_features_that_no_member_reads(R):
    with pytest.raises(ValueError, match="user_features"):
        VotingRecommender(PAIR).fit(R, user_features=np.ones((60, 2)))


def test_raw_ids_align_the_features_of_a_member():
    """A frame of item features is matched by raw ids, also inside of a composite."""
    movies = make_movies(n_users=40, n_items=30, random_state=0)
    encoder = InteractionEncoder()
    X = encoder.fit_transform(movies.interactions)
    frame = pd.get_dummies(movies["items"]["genres"], dtype=float)
    shuffled = frame.sample(frac=1, random_state=0)
    predicted = []
    for features in (frame, shuffled):
        content = RecommenderPipeline([("content", ContentRecommender(features))])
        blend = VotingRecommender([("ease", EASE()), ("content", content)])
        pipe = RecommenderPipeline([("blend", blend)], encoder=encoder).fit(X)
        predicted.append(pipe.recommend(encoder.user_ids_[:10], n=5))
    pd.testing.assert_frame_equal(*predicted)


def test_the_columns_of_a_frame_align_the_features_of_a_member():
    movies = make_movies(n_users=40, n_items=30, random_state=0)
    encoder = InteractionEncoder()
    X = encoder.fit_transform(movies.interactions)
    features = pd.get_dummies(movies["items"]["genres"], dtype=float).loc[encoder.item_ids_]
    frame = pd.DataFrame(X.toarray(), columns=encoder.item_ids_)
    expected = ContentRecommender(features).fit(frame).predict(frame)
    shuffled = ContentRecommender(features.sample(frac=1, random_state=0))
    pipe = RecommenderPipeline([("content", shuffled)])
    blend = VotingRecommender([("content", shuffled)], normalization="none")
    nested = VotingRecommender([("content", pipe)], normalization="none")
    for model in (pipe, blend, nested):
        assert_allclose(model.fit(frame).predict(frame), expected, rtol=1e-5, atol=1e-6)


def test_raw_user_ids_reach_the_rules_of_a_member(R):
    """The ids are integers, which could be mistaken for rows."""
    users, items = R.nonzero()
    events = pd.DataFrame({"user": 2 * users, "item": items})
    encoder = InteractionEncoder(values="one")
    X = encoder.fit_transform(events)
    rules = pd.DataFrame({"user": [14, None], "item": [3, 4], "rule": ["must", "must_not"]})
    ruled = RerankedRecommender(EASE(), [("rules", ItemRules(rules))])
    member = VotingRecommender([("ruled", ruled)])
    stack = StackingRecommender([("member", member), ("knn", ItemKNN())])
    pipe = RecommenderPipeline([("stack", stack)], encoder=encoder).fit(X)
    fitted = pipe["stack"].named_estimators_["member"].named_estimators_["ruled"]
    required = dict(fitted.rerankers_)["rules"].user_must_
    (row,), (column,) = encoder.encode_users([14]), encoder.encode_items([3])
    assert_array_equal(np.column_stack(required.nonzero()), [[row, column]])
    assert row != 14
