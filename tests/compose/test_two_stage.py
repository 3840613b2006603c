"""Two stages: which pairs the ranker learns from, what it sees of them, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata, zscore
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer, OneHotEncoder, StandardScaler

from sklearn_recsys import (
    EASE,
    BackfillRecommender,
    DeepAutoencoder,
    ItemKNN,
    PopularityRecommender,
    RecommenderPipeline,
    StackingRecommender,
    TwoStageRecommender,
    VotingRecommender,
    load,
)
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.compose._training import hold_out
from sklearn_recsys.datasets import make_interactions, make_movies
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

PAIR = [("ease", EASE(l2=5)), ("knn", ItemKNN(n_neighbors=5))]


class Memory(RecommenderMixin, BaseEstimator):
    """Scores items by the share that has them of the training users whose history holds the row."""

    def _fit(self, X):
        pass

    def _score_items(self, X):
        known = self.interactions_.toarray()
        scores = np.zeros(X.shape, dtype=np.float32)
        for row, history in enumerate(X.toarray()):
            same = known[known @ history == history.sum()]
            if len(same):
                scores[row] = same.mean(axis=0)
        return scores


class Recorder(BaseEstimator):
    """A regressor that keeps what it was fitted to, and predicts its first feature."""

    def fit(self, X, y):
        self.X_, self.y_ = X, y
        return self

    def predict(self, X):
        return X[:, 0]


class LightRanker(Recorder):
    """Takes groups as LightGBM does: the number of pairs of each user, in their order."""

    def fit(self, X, y, sample_weight=None, group=None):
        assert sum(group) == len(y)
        assert y.dtype == np.int64
        self.groups_ = np.repeat(np.arange(len(group)), group)
        return super().fit(X, y)


class XRanker(Recorder):
    """Takes groups as XGBoost does, whose `fit` has both parameters: an id for each pair."""

    def fit(self, X, y, *, group=None, qid=None):
        assert group is None
        assert (np.diff(qid) >= 0).all()
        self.groups_ = np.unique(qid, return_inverse=True)[1]
        return super().fit(X, y)


class CatRanker(Recorder):
    """Takes groups as CatBoost does."""

    def fit(self, X, y, group_id=None):
        self.groups_ = np.unique(group_id, return_inverse=True)[1]
        return super().fit(X, y)


@pytest.fixture(scope="module")
def R():
    return make_interactions(n_users=80, n_items=30, density=0.3, random_state=0)


@pytest.fixture(scope="module")
def order():
    X = make_interactions(n_users=80, n_items=30, density=0.4, random_state=0)
    rng = np.random.default_rng(0)
    X.data = np.concatenate([rng.permutation(n) + 1.0 for n in np.diff(X.indptr)])
    return X.astype(np.float32)


def two_stage(*args, **params):
    return TwoStageRecommender(PAIR, *args, **params)


# ----------------------------------------------------------------------------------- no leak


@pytest.mark.parametrize("held_out", ["cells", "users"])
def test_retrievers_have_not_seen_the_target(held_out):
    """Scores of one that remembers its training cells say nothing of the target, or all of it."""
    rng = np.random.default_rng(0)
    # no history is part of another one by chance
    R = sp.csr_array((rng.uniform(size=(120, 60)) < 0.3).astype(np.float32))
    members = [("memory", Memory())]

    params = {"features": ["scores"], "held_out": held_out, "n_candidates": 60}
    model = TwoStageRecommender(members, Recorder(), **params).fit(R)

    class Leaking(TwoStageRecommender):
        def _fit_members(self, X, user_features=None, rows=None):
            super()._fit_members(R, user_features)

    leaking = Leaking(members, Recorder(), **params).fit(R)
    assert not model.ranker_.X_.any()
    scores, target = leaking.ranker_.X_[:, 0], leaking.ranker_.y_
    assert scores[target == 1].min() > scores[target == 0].max()


@pytest.mark.parametrize("held_out", ["cells", "users"])
def test_statistics_of_items_do_not_count_the_held_out_cells(R, held_out):
    model = two_stage(Recorder(), ["popularity"], held_out=held_out).fit(R)
    held = hold_out(R, 0.2, of=held_out, latest=False, name="S")
    counts = np.bincount(held.X_fit.indices, minlength=30)
    assert set(model.ranker_.X_[:, 0]) <= set(np.log1p(counts).astype(np.float32))
    # and all of them afterwards
    assert_allclose(model.popularity_, np.log1p(np.bincount(R.indices, minlength=30)), rtol=1e-6)


# ------------------------------------------------------------------------------------- pairs


def test_training_pairs_are_candidates(R):
    """The held-out cells among them, and all others if they are few enough."""
    seen = []

    def record(X, rows, items):
        seen.append((X, rows, items))
        return rows

    model = two_stage(Recorder(), [record], n_candidates=4, n_negatives=1000).fit(R)
    X, rows, items = seen[0]  # what follows are scores
    held = hold_out(R, 0.2, of="cells", latest=False, name="S")
    assert (X != held.X_input).nnz == 0
    members = [clone(member).fit(held.X_fit) for _, member in PAIR]
    lists = np.hstack([member.recommend(held.X_input, n=4) for member in members])
    y = held.y.toarray()
    expected = {
        (row, item): y[row, item] for row in range(len(lists)) for item in set(lists[row]) - {-1}
    }
    found = {row for (row, _), target in expected.items() if target}
    expected = {pair: target for pair, target in expected.items() if pair[0] in found}
    assert dict(zip(zip(rows, items, strict=True), model.ranker_.y_, strict=True)) == expected
    assert 20 < len(found) < len(lists)


def test_negatives_are_sampled(R):
    fitted = [two_stage(Recorder(), n_candidates=30, n_negatives=n).fit(R) for n in (1, 2, 1000)]
    targets = [model.ranker_.y_ for model in fitted]
    assert len({target.sum() for target in targets}) == 1
    n_negatives = [(target == 0).sum() for target in targets]
    assert n_negatives[0] == pytest.approx(targets[0].sum(), rel=0.2)
    assert n_negatives[0] < n_negatives[1] < n_negatives[2]


@pytest.mark.parametrize("ranker", [LightRanker(), XRanker(), CatRanker()])
def test_rankers_are_told_the_groups(R, ranker):
    lengths = np.log1p(np.diff(hold_out(R, 0.2, of="cells", latest=False, name="S").X_fit.indptr))

    def row(X, rows, items):
        return rows

    model = two_stage(ranker, [row, "history_length"]).fit(R)
    groups, rows = model.ranker_.groups_, model.ranker_.X_[:, 0]
    assert_array_equal(np.unique(rows, return_inverse=True)[1], groups)
    assert groups.max() > 50
    assert set(model.ranker_.X_[:, 1]) <= set(lengths.astype(np.float32))


def test_nothing_that_is_held_out_is_retrieved():
    R = make_interactions(n_users=20, n_items=10, density=0.3, random_state=0)
    R = sp.hstack([R, sp.csr_array((20, 1), dtype=R.dtype)], format="csr")

    class Wrong(PopularityRecommender):
        def _score_items(self, X):
            return -super()._score_items(X)

    with pytest.raises(ValueError, match="raise n_candidates"):
        TwoStageRecommender([("wrong", Wrong())], n_candidates=1).fit(R)


# ---------------------------------------------------------------------------------- features


def features_of(model, X):
    """Return the features of all candidates of fitted models that take all items."""
    rows, items = np.nonzero(X.toarray() == 0)
    recorded = []

    class Spy(Recorder):
        def predict(self, X):
            recorded.append(X)
            return X[:, 0]

    model.ranker_ = Spy()
    model.predict(X)
    return recorded[0], rows, items


def test_features_of_scores_and_counts(R):
    names = ["scores", "ranks", "popularity", "history_length"]
    model = two_stage(LinearRegression(), names).fit(R)
    strangers = make_interactions(n_users=20, n_items=30, density=0.3, random_state=1)
    strangers = strangers[np.diff(strangers.indptr) > 0]
    features, rows, items = features_of(model, strangers)
    scores = [member.predict(strangers) for member in model.estimators_]
    ranks = []
    for own in scores:
        unseen = np.where(strangers.toarray() == 0, own, -np.inf)
        ranks.append(np.apply_along_axis(rankdata, 1, -unseen, method="ordinal"))
    unseen = [np.where(strangers.toarray() == 0, own, np.nan) for own in scores]
    expected = [
        *(zscore(own, axis=1, nan_policy="omit")[rows, items] for own in unseen),
        *(np.log(own)[rows, items] for own in ranks),
        np.log1p(np.bincount(R.indices, minlength=30))[items],
        np.log1p(np.diff(strangers.indptr))[rows],
    ]
    assert_allclose(features, np.column_stack(expected), atol=1e-3)


def test_features_of_an_order(order):
    members = [("ease", make_recent(EASE(l2=5))), ("popular", PopularityRecommender())]
    names = ["recency", "recent_scores"]
    model = TwoStageRecommender(members, LinearRegression(), names).fit(order)
    features, rows, items = features_of(model, order)
    dense = order.toarray()
    lengths = (dense != 0).sum(axis=1, keepdims=True)
    positions = np.where(dense, (dense - 0.5) / np.maximum(lengths, 1), 0)
    recency = (positions.sum(axis=0) + 0.5) / ((dense != 0).sum(axis=0) + 1)
    recent = sp.csr_array(np.where(dense > lengths - 10, dense, 0))
    scores = np.where(dense == 0, model.estimators_[0].predict(recent), np.nan)
    assert_allclose(features[:, 0], recency[items], atol=1e-5)
    assert_allclose(
        features[:, 1], zscore(scores, axis=1, nan_policy="omit")[rows, items], atol=1e-3
    )
    assert model.__sklearn_tags__().recommender_tags.values == "order"


def make_recent(model):
    return RecommenderPipeline([("binary", Binarizer()), ("model", model)])


def test_the_latest_interactions_are_the_target_in_an_order(order):
    targets = []

    def record(X, rows, items):
        targets.append((X, rows, items))
        return rows

    model = TwoStageRecommender(
        [("popular", PopularityRecommender())], Recorder(), ["recency", record], n_candidates=30
    ).fit(order)
    X, rows, items = targets[0]
    users = np.flatnonzero(np.diff(order.indptr) > 1)
    positive = model.ranker_.y_ == 1
    values = order.toarray()[users][rows[positive], items[positive]]
    assert (values > np.diff(X.indptr)[rows[positive]]).all()


def test_features_of_items_and_their_similarity(R):
    vectors = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    names = ["item_features", "similarity"]
    model = two_stage(LinearRegression(), names, item_features=vectors).fit(R)
    features, rows, items = features_of(model, R)
    assert_allclose(features[:, :4], vectors[items], rtol=1e-6)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    profiles = R @ unit
    norms = np.linalg.norm(profiles, axis=1, keepdims=True)
    cosines = profiles / np.where(norms, norms, 1) @ unit.T
    assert_allclose(features[:, 4], cosines[rows, items], atol=1e-5)


def test_frames_of_features_through_encoders(R):
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"genres": rng.choice(["a", "b|c", "c"], 30), "year": rng.normal(size=30)})
    users = pd.DataFrame({"age": rng.normal(size=80), "job": rng.choice(["x", "y"], 80)})
    encoder = ColumnTransformer([("job", OneHotEncoder(), ["job"]), ("n", "passthrough", ["age"])])
    model = two_stage(
        LinearRegression(),
        ["item_features", "user_features"],
        item_features=items,
        user_encoder=encoder,
    ).fit(R, user_features=users)
    assert model.user_features_.shape == (80, 3)
    histories = model._histories(np.arange(80))
    assert_array_equal(histories.user_features, model.user_features_)
    predicted = model.predict(R, user_features=users)
    assert_array_equal(model.recommend(), model.recommend(R, user_features=users))
    other = users.assign(age=-users["age"])
    assert not np.array_equal(model.predict(R, user_features=other), predicted) or (
        model.ranker_.coef_[-1] == 0
    )
    with pytest.raises(ValueError, match="user_features"):
        model.predict(R)
    with pytest.raises(ValueError, match="row for each row of X"):
        model.predict(R, user_features=users[:5])


def test_features_of_users_for_the_ranker_and_a_retriever(R):
    features = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    deep = VotingRecommender(
        [("deep", DeepAutoencoder(max_epochs=2, random_state=0)), ("ease", EASE())]
    )
    model = TwoStageRecommender([("deep", deep)], LinearRegression(), ["scores", "user_features"])
    X = R.copy()
    X.data = np.random.default_rng(0).integers(1, 6, R.nnz).astype(np.float32)
    for held_out in ("cells", "users"):
        model.set_params(held_out=held_out).fit(X, user_features=features)
        alone = clone(deep).fit(X, user_features=features)
        assert_allclose(
            model.estimators_[0].predict(X, user_features=features),
            alone.predict(X, user_features=features),
        )
        assert_array_equal(model.recommend(), model.recommend(X, user_features=features))
        assert model.ranker_.n_features_in_ == 4


def test_raw_ids_align_the_features_of_items():
    movies = make_movies(n_users=60, n_items=30, random_state=0)
    encoder = InteractionEncoder()
    X = encoder.fit_transform(movies.interactions)
    frame = pd.get_dummies(movies["items"]["genres"], dtype=float)
    predicted = []
    for features in (frame, frame.sample(frac=1, random_state=0)):
        model = two_stage(
            LogisticRegression(), ["scores", "similarity", "item_features"], item_features=features
        )
        pipe = RecommenderPipeline([("model", model)], encoder=encoder).fit(X)
        predicted.append(pipe.recommend(encoder.user_ids_[:10], n=5))
    pd.testing.assert_frame_equal(*predicted)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"features": ["scores", "taste"]}, "'taste'"),
        ({"features": []}, "at least one"),
        ({"features": ["similarity"]}, "item_features"),
        ({"features": ["user_features"]}, "user_features"),
        ({"features": [lambda X, rows, items: rows[:3]]}, "n_pairs"),
        ({"features": [lambda X, rows, items: rows.astype(str)]}, "n_pairs"),
        ({"n_negatives": 0}, "n_negatives"),
        ({"held_out": "both"}, "held_out"),
        ({"retrievers": []}, "retrievers"),
    ],
)
def test_parameters_of_the_wrong_form(R, params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        two_stage().set_params(**params).fit(R)


# ------------------------------------------------------------------------------------ scores


def test_candidates_come_first_in_the_order_of_the_ranker(R):
    model = two_stage(LinearRegression(), ["scores", "popularity"], n_candidates=4).fit(R)
    lists = np.hstack([member.recommend(R, n=4) for member in model.estimators_])
    full = model.recommend(R, n=30)
    ease = model.estimators_[0].predict(R)
    predicted = model.predict(R)
    popularity = np.log1p(np.bincount(R.indices, minlength=30))
    scores = [m.predict(R) for m in model.estimators_]
    for user in np.flatnonzero(np.diff(R.indptr)):
        candidates = np.array(sorted(set(lists[user]) - {-1}))
        n = len(candidates)
        assert set(full[user, :n]) == set(candidates)
        if n < 2:  # a user who has nearly everything
            continue
        best = full[user, :n]
        features = [*(zscore(own[user, best]) for own in scores), popularity[best]]
        ranked = model.ranker_.predict(np.column_stack(features))
        assert (np.diff(ranked) <= 1e-3).all()
        rest = full[user, n:]
        rest = rest[rest >= 0]
        assert (np.diff(ease[user, rest]) <= 1e-6).all()
        assert predicted[user, candidates].min() >= 1
        assert predicted[user, rest].max(initial=0) <= 0.5


def test_a_ranker_finds_what_no_retriever_knows():
    """Users like items of their own group; the retriever knows popularity alone."""
    rng = np.random.default_rng(0)
    same = np.add.outer(np.arange(100), np.arange(40)) % 2 == 0
    R = sp.csr_array((same & (rng.uniform(size=same.shape) < 0.5)).astype(np.float32))
    members = [("popular", PopularityRecommender())]
    groups = np.eye(2)[np.arange(40) % 2]
    X, y = random_holdout(R, 0.2, random_state=0)
    model = TwoStageRecommender(
        members, None, ["scores", "similarity"], item_features=groups, n_candidates=40
    ).fit(X)
    assert model.score(X, y) > 1.5 * PopularityRecommender().fit(X).score(X, y)
    # of new users, too
    new = sp.csr_array(same[:2] & (np.arange(40) < 10), dtype=np.float32)
    ids = model.recommend(new, n=10)
    assert (ids[0] % 2 == 0).all()
    assert (ids[1] % 2 == 1).all()


@pytest.mark.parametrize(
    "ranker",
    [
        None,
        RandomForestClassifier(n_estimators=5, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        LinearRegression(),
    ],
)
def test_rankers_of_scikit_learn(R, ranker):
    train, test = random_holdout(R, 0.2, random_state=0)
    model = two_stage(ranker).fit(train)
    assert model.score(train, test) > 0.5 * EASE(l2=5).fit(train).score(train, test)


# ------------------------------------------------------------------------------- composition


def test_three_deep_in_a_search_saved_and_loaded(R, tmp_path):
    stack = StackingRecommender(PAIR)
    ranker = HistGradientBoostingClassifier(max_iter=10)
    middle = TwoStageRecommender([("stack", stack), ("ease", EASE())], ranker)
    outer = RecommenderPipeline(
        [("binary", Binarizer()), ("fill", BackfillRecommender([("a", middle), ("b", EASE())]))]
    )
    X, y = random_holdout(R, 0.2, random_state=0)
    grid = {"fill__a__ranker__max_iter": [1, 10], "fill__a__stack__ease__l2": [1, 100]}
    search = GridSearchCV(outer, grid, cv=HoldoutSplit()).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) > 2
    search.best_estimator_.save(tmp_path / "model.skr")
    loaded = load(tmp_path / "model.skr")
    strangers = make_interactions(n_users=20, n_items=30, density=0.2, random_state=1)
    assert_array_equal(loaded.predict(strangers), search.best_estimator_.predict(strangers))


def test_features_are_saved(R, tmp_path):
    items = pd.DataFrame({"genre": np.random.default_rng(0).choice(["a", "b"], 30)})
    model = two_stage(
        LogisticRegression(), ["similarity", "user_features"], item_features=items
    ).fit(R, user_features=np.ones((80, 1)))
    model.save(tmp_path / "model.skr")
    assert_array_equal(load(tmp_path / "model.skr").recommend(), model.recommend())


def test_a_function_is_not_saved(R, tmp_path):
    model = two_stage(LogisticRegression(), ["scores", lambda X, rows, items: items]).fit(R)
    with pytest.raises(TypeError, match="function"):
        model.save(tmp_path / "model.skr")


def test_forests_are_left_to_pickle(R, tmp_path):
    model = two_stage(RandomForestClassifier(n_estimators=2, random_state=0)).fit(R)
    with pytest.raises(TypeError, match="ranker_"):
        model.save(tmp_path / "model.skr")
