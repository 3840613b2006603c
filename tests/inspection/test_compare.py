"""compare: its values against the metrics, its protocols, and what it refuses."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    ALS,
    EASE,
    SVAE,
    BiasRecommender,
    DeepAutoencoder,
    ItemKNN,
    PopularityRecommender,
    RandomRecommender,
    RecommenderPipeline,
    VotingRecommender,
)
from sklearn_recsys.datasets import make_interactions, make_movies, make_ratings
from sklearn_recsys.inspection import compare
from sklearn_recsys.metrics import ndcg_at_k, rmse
from sklearn_recsys.model_selection import (
    HoldoutSplit,
    cell_kfold,
    evaluate,
    random_holdout,
    sample_negatives,
)
from sklearn_recsys.preprocessing import InteractionEncoder

R = make_interactions(n_users=80, n_items=40, density=0.3, random_state=0)
TRAIN, TEST = random_holdout(R, per_user=True, random_state=0)
FAST = {"n_resamples": 99}


def fitted():
    return {"popular": PopularityRecommender().fit(TRAIN), "ease": EASE(l2=5).fit(TRAIN)}


# ------------------------------------------------------------------------- values


def test_values_are_those_of_evaluate_and_of_the_metrics():
    models, metrics = fitted(), ["ndcg", "hr@5", "mrr", "coverage@5", "ndcg-linear"]
    comparison = compare(models, TRAIN, TEST, metrics=metrics, **FAST)
    table = evaluate(models, TRAIN, TEST, metrics=metrics, standard_error=True)
    assert comparison.metrics == ["ndcg@10", "hr@5", "mrr@10", "coverage@5", "ndcg-linear@10"]
    for label in comparison.metrics:
        rows = comparison.scores.loc[label]
        assert rows.index.tolist() == ["popular", "ease"]
        assert_allclose(rows["score"], table[label])
        if label == "coverage@5":
            assert rows.drop(columns="score").isna().all(axis=None)
            assert f"{label} s.e." not in table
        else:
            assert_allclose(rows["standard_error"], table[f"{label} s.e."])
    for name, model in models.items():
        expected = ndcg_at_k(TEST, model.recommend(TRAIN), average=None)
        assert_allclose(comparison.per_user["ndcg@10"][name], expected)
        error = np.nanstd(expected, ddof=1) / np.sqrt(np.isfinite(expected).sum())
        assert table.loc[name, "ndcg@10 s.e."] == pytest.approx(error)
    gains = comparison.per_user["ndcg@10"]["ease"] - comparison.per_user["ndcg@10"]["popular"]
    row = comparison.scores.loc[("ndcg@10", "ease")]
    assert row["difference"] == pytest.approx(gains.mean())
    assert row["effect_size"] == pytest.approx(gains.mean() / gains.std())


def test_users_with_nothing_held_out_do_not_count():
    y = TEST.copy().tolil()
    y[:30] = 0
    few = compare(fitted(), TRAIN, sp.csr_array(y), metrics="ndcg", **FAST)
    rest = compare(fitted(), TRAIN[30:], TEST[30:], metrics="ndcg", **FAST)
    pd.testing.assert_frame_equal(few.scores, rest.scores)
    assert few.per_user.iloc[:30].isna().all(axis=None)


def test_the_baseline_is_the_first_model_or_the_named_one():
    models = {"random": RandomRecommender(random_state=0), "popular": PopularityRecommender()}
    a = compare(models, TRAIN, TEST, metrics="ndcg")
    b = compare(models, TRAIN, TEST, metrics="ndcg", baseline="popular")
    assert (a.baseline, b.baseline) == ("random", "popular")
    own = ["difference", "difference_low", "difference_high", "p_value", "p_holm", "effect_size"]
    assert b.scores.loc[("ndcg@10", "popular"), own].isna().all()
    one, other = a.scores.loc[("ndcg@10", "popular")], b.scores.loc[("ndcg@10", "random")]
    assert other["difference"] == -one["difference"]
    assert other["difference_low"] == pytest.approx(-one["difference_high"])
    assert other["p_value"] == one["p_value"]
    assert 0 < one["p_value"] < 0.05
    assert one["low"] < one["score"] < one["high"]


def test_holm_counts_the_models_of_a_metric():
    models = {**fitted(), "knn": ItemKNN(3).fit(TRAIN), "random": RandomRecommender().fit(TRAIN)}
    table = compare(models, TRAIN, TEST, metrics=["recall@2", "hr"], **FAST).scores
    for metric in ("recall@2", "hr@10"):
        p = table.loc[metric].drop("popular")
        ordered = p.sort_values("p_value")
        scaled = np.maximum.accumulate(ordered["p_value"] * [3, 2, 1]).clip(upper=1)
        assert_allclose(ordered["p_holm"], scaled)


def test_equal_models_do_not_differ():
    models = {"a": EASE(l2=5).fit(TRAIN), "b": EASE(l2=5).fit(TRAIN)}
    row = compare(models, TRAIN, TEST, metrics="ndcg", **FAST).scores.loc[("ndcg@10", "b")]
    assert row[["difference", "difference_low", "difference_high", "effect_size"]].eq(0).all()
    assert row["p_value"] == 1


def test_results_are_repeatable():
    first, second, other = (
        compare(fitted(), TRAIN, TEST, metrics="ndcg", random_state=seed, **FAST)
        for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert (
        first.scores.loc[("ndcg@10", "ease"), "low"]
        != (other.scores.loc[("ndcg@10", "ease"), "low"])
    )


# ------------------------------------------------------------------------- protocols


def test_models_that_are_not_fitted_are_cloned_and_fitted():
    models = {"popular": PopularityRecommender(), "ease": EASE(l2=5)}
    comparison = compare(models, TRAIN, TEST, metrics="ndcg", **FAST)
    pd.testing.assert_frame_equal(
        comparison.scores, compare(fitted(), TRAIN, TEST, metrics="ndcg", **FAST).scores
    )
    assert not hasattr(models["ease"], "interactions_")
    assert (comparison.costs[["fit_seconds", "predict_seconds"]] > 0).all(axis=None)
    costs = compare(fitted(), TRAIN, TEST, metrics="ndcg", **FAST).costs
    assert costs["fit_seconds"].isna().all()
    assert costs["fit_mib"].isna().all()


def test_splits_of_users():
    models = {"popular": PopularityRecommender(), "ease": EASE(l2=5).fit(R)}
    comparison = compare(models, R, cv=KFold(4), metrics=["mrr", "coverage"], **FAST)
    coverages = []
    for train, test in KFold(4).split(R):
        model = EASE(l2=5).fit(R[train])
        table = evaluate(model, R[test], metrics=["mrr", "coverage"])
        assert comparison.per_user["mrr@10"]["ease"].iloc[test].mean() == pytest.approx(
            table.loc["EASE", "mrr@10"]
        )
        coverages.append(table.loc["EASE", "coverage@10"])
    assert comparison.scores.loc[("coverage@10", "ease"), "score"] == pytest.approx(
        np.mean(coverages)
    )
    repeated = [split for _ in range(3) for split in KFold(4).split(R)]  # no independent users
    again = compare(models, R, cv=repeated, metrics=["mrr", "coverage"], **FAST)
    assert_allclose(again.scores, comparison.scores)


def test_held_out_cells_with_splits():
    models = {"popular": PopularityRecommender(), "ease": EASE(l2=5)}
    split = compare(models, TRAIN, TEST, cv=HoldoutSplit(), metrics="ndcg", **FAST)
    whole = compare(models, TRAIN, TEST, metrics="ndcg", **FAST)
    pd.testing.assert_frame_equal(split.scores, whole.scores)


def test_ratings_are_pooled_over_the_cells_of_users():
    ratings = make_ratings(n_users=50, n_items=30, density=0.4, random_state=0)
    X, y, cv = cell_kfold(ratings, 3, random_state=0)
    users = np.tile(np.arange(50), 3)
    models = {"few": BiasRecommender(user_l2=100), "biases": BiasRecommender()}
    comparison = compare(models, X, y, cv=cv, metrics="neg_rmse", groups=users, **FAST)
    true, predicted, of_user = [], [], []
    for rows, _ in cv:
        cells = y[rows].tocoo()
        true.append(cells.data)
        predicted.append(
            BiasRecommender().fit(X[rows]).predict_pairs(X[rows], cells.row, cells.col)
        )
        of_user.append(cells.row)
    true, predicted, of_user = map(np.concatenate, (true, predicted, of_user))
    score = comparison.scores.loc[("neg_rmse", "biases"), "score"]
    assert score == pytest.approx(-rmse(true, predicted), rel=1e-6)
    assert len(comparison.per_user) == 50
    own = of_user == 7
    assert comparison.per_user["neg_rmse"]["biases"].iloc[7] == pytest.approx(
        -rmse(true[own], predicted[own]), rel=1e-6
    )


def test_candidates_follow_the_rows_of_splits():
    negatives = sample_negatives(R, 8, random_state=0)
    models = {"popular": PopularityRecommender(), "ease": EASE(l2=5)}
    comparison = compare(models, R, cv=2, metrics="mrr", candidates=negatives, **FAST)
    values = []
    for train, test in KFold(2).split(R):
        model = EASE(l2=5).fit(R[train])
        values.append(model.score(R[test], metric="mrr", candidates=negatives[test]))
    assert comparison.scores.loc[("mrr@10", "ease"), "score"] == pytest.approx(np.mean(values))


def test_repetitions_have_random_states_of_their_own():
    models = {
        "ease": EASE(l2=5),
        "als": ALS(4, max_iter=2, random_state=0),
        "blend": VotingRecommender([("als", ALS(4, max_iter=2)), ("knn", ItemKNN())]),
    }
    comparison = compare(models, TRAIN, TEST, metrics=["ndcg", "gini"], n_repeats=3, **FAST)
    of_model = comparison.repeats.groupby(level="model")
    assert of_model.size().to_dict() == {"ease": 1, "als": 3, "blend": 3}
    for name in ("als", "blend"):
        scores = comparison.repeats.loc[name]
        assert scores["ndcg@10"].nunique() == 3
        for label in comparison.metrics:
            row = comparison.scores.loc[(label, name)]
            assert row["score"] == pytest.approx(scores[label].mean())
            assert row["repeat_sd"] == pytest.approx(scores[label].std(ddof=1))
    assert comparison.scores["repeat_sd"].xs("ease", level="model").isna().all()
    again = compare(models, TRAIN, TEST, metrics=["ndcg", "gini"], n_repeats=3, **FAST)
    pd.testing.assert_frame_equal(again.repeats, comparison.repeats)
    assert models["als"].random_state == 0


def test_users_keep_their_labels():
    index = [f"user {i}" for i in range(80)]
    X, y = (pd.DataFrame(part.toarray(), index=index) for part in (TRAIN, TEST))
    for options in ({}, {"cv": HoldoutSplit()}):
        models = {"popular": PopularityRecommender(), "ease": EASE(l2=5)}
        comparison = compare(models, X, y, metrics="ndcg", **options, **FAST)
        assert comparison.per_user.index.tolist() == index
        expected = compare(models, TRAIN, TEST, metrics="ndcg", **FAST)
        assert_allclose(comparison.scores, expected.scores)
    with pytest.raises(ValueError, match="different indices"):
        compare(models, X, y.iloc[::-1], metrics="ndcg", **FAST)


def test_user_features_go_to_the_models_that_read_them():
    features = np.eye(80)[:, :3]
    options = {"max_epochs": 1, "random_state": 0, "early_stopping": False}
    ratings = make_ratings(n_users=80, n_items=20, density=0.4, random_state=0)
    X, y = random_holdout(ratings, per_user=True, random_state=0)
    deep = DeepAutoencoder(hidden_layer_sizes=(4,), **options)
    models = {
        "biases": BiasRecommender(),
        "deep": deep,
        "pipeline": RecommenderPipeline([("deep", deep)]),
        "blend": VotingRecommender([("knn", ItemKNN()), ("popular", PopularityRecommender())]),
    }
    whole = compare(models, X, y, metrics="hr", user_features=features, **FAST)
    alone = clone(deep).fit(X, user_features=features)
    expected = evaluate(alone, X, y, metrics="hr", user_features=features).iloc[0, 0]
    for name in ("deep", "pipeline"):
        assert whole.scores.loc[("hr@10", name), "score"] == pytest.approx(expected)
    split = compare(models, ratings, cv=2, metrics="hr", user_features=features, **FAST)
    train, test = next(KFold(2).split(ratings))
    alone = clone(deep).fit(ratings[train], user_features=features[train])
    score = alone.score(ratings[test], metric="hr", user_features=features[test])
    assert split.per_user["hr@10"]["deep"].iloc[test].mean() == pytest.approx(score)


def test_pipelines_with_raw_ids():
    movies = make_movies(n_users=60, n_items=40, random_state=0)
    encoder = InteractionEncoder()
    X = encoder.fit_transform(movies.interactions)
    train, test = random_holdout(X, per_user=True, random_state=0)
    models = {
        name: RecommenderPipeline([("ones", Binarizer()), ("model", model)], encoder=encoder)
        for name, model in (("popular", PopularityRecommender()), ("ease", EASE(l2=5)))
    }
    fitted_models = {name: clone(model).fit(train) for name, model in models.items()}
    users = encoder.user_ids_[5:45]
    raw = compare(fitted_models, users, test[5:45], metrics="ndcg", **FAST)
    rows = compare(fitted_models, train[5:45], test[5:45], metrics="ndcg", **FAST)
    pd.testing.assert_frame_equal(raw.scores, rows.scores)
    assert len(raw.per_user) == 40
    assert len(compare(models, X, cv=2, metrics="ndcg", **FAST).per_user) == 60


def test_models_of_the_order_among_their_own():
    positions = R.copy()
    positions.data = np.random.default_rng(0).permutation(R.nnz) + 1.0
    options = {"max_epochs": 1, "early_stopping": False, "random_state": 0}
    models = {"small": SVAE(4, **options), "large": SVAE(8, **options)}
    comparison = compare(models, positions, cv=2, metrics="ndcg", **FAST)
    assert comparison.per_user.notna().all(axis=None)
    mixed = {**models, "popular": PopularityRecommender()}
    with pytest.raises(ValueError, match=r"'popular' can't be compared with 'small'.*latest"):
        compare(mixed, positions, cv=2, metrics="ndcg", **FAST)
    X, y = random_holdout(positions, per_user=True, random_state=0)
    compare(mixed, X, y, metrics="ndcg", **FAST)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_that_of_a_process_of_its_own():
    wide = sp.random_array((50, 1600), density=0.05, random_state=0, format="csr")
    X, y = random_holdout(wide, per_user=True, random_state=0)
    models = {"popular": PopularityRecommender().fit(X), "ease": EASE(l2=5)}
    comparison = compare(models, X, y, metrics="hr", memory=True, **FAST)
    square = 4 * 1600**2 / 2**20
    assert square < comparison.costs.loc["ease", "fit_mib"] < 12 * square
    assert np.isnan(comparison.costs.loc["popular", "fit_mib"])
    assert 0 <= comparison.costs.loc["popular", "predict_mib"] < square
    pd.testing.assert_frame_equal(
        comparison.scores, compare(models, X, y, metrics="hr", **FAST).scores
    )


# ------------------------------------------------------------------------- refusals


def test_a_model_that_has_seen_what_is_held_out_is_refused():
    models = {**fitted(), "leaky": EASE(l2=5).fit(R)}
    with pytest.raises(ValueError, match=r"'leaky' can't be compared. EASE was fitted on 100.0%"):
        compare(models, TRAIN, TEST, **FAST)
    with pytest.raises(ValueError, match=r"'popular' can't be compared. 100.0% .* are in X, too"):
        compare(fitted(), TRAIN, TRAIN, **FAST)
    with pytest.raises(ValueError, match=r"'ease' isn't fitted.*pass held-out cells as y, or cv=5"):
        compare({"popular": fitted()["popular"], "ease": EASE()}, TRAIN, **FAST)
    with pytest.raises(ValueError, match="'popular' can't be compared"):
        compare(fitted(), TRAIN, **FAST)  # the rows of fit


def test_models_of_other_items_are_refused():
    narrow = EASE(l2=5).fit(TRAIN[:, :30])
    with pytest.raises(ValueError, match=r"'narrow' can't be compared with 'popular'.*items"):
        compare({**fitted(), "narrow": narrow}, TRAIN, TEST, **FAST)
    frame = pd.DataFrame(TRAIN.toarray(), columns=[f"item {i}" for i in range(40)])
    models = {"one": EASE().fit(frame), "other": EASE().fit(frame.iloc[:, ::-1])}
    with pytest.raises(ValueError, match=r"'other' can't be compared with 'one'.*another order"):
        compare(models, frame, TEST, **FAST)
    events = make_movies(n_users=60, n_items=40, random_state=0).interactions
    encoders = [InteractionEncoder().fit(events), InteractionEncoder().fit(events)]
    encoders[1].item_ids_ = encoders[1].item_ids_[::-1]
    models = {}
    for name, encoder in zip("ab", encoders, strict=True):
        X = encoder.transform(events)
        models[name] = RecommenderPipeline([("m", PopularityRecommender())], encoder=encoder)
        models[name].fit(X)
    with pytest.raises(ValueError, match=r"'b' can't be compared with 'a'.*items"):
        compare(models, X, X, **FAST)


def test_other_rows_are_refused():
    """The encoder of one model does not know the last user, whom it ignores."""
    events = make_movies(n_users=60, n_items=40, random_state=0).interactions
    everyone = InteractionEncoder(unknown="ignore").fit(events)
    last = everyone.user_ids_[-1]
    some = InteractionEncoder(unknown="ignore").fit(events[events["user"] != last])
    assert_array_equal(everyone.item_ids_, some.item_ids_)
    train, test = random_holdout(everyone.transform(events), per_user=True, random_state=0)
    models = {
        "all": RecommenderPipeline([("m", PopularityRecommender())], encoder=everyone).fit(train),
        "some": RecommenderPipeline([("m", PopularityRecommender())], encoder=some).fit(train[:-1]),
    }
    with pytest.raises(ValueError, match=r"'some' can't be compared with 'all': other rows"):
        compare(models, everyone.user_ids_, test, metrics="hr", **FAST)
    assert len(compare(models, some.user_ids_, test[:-1], metrics="hr", **FAST).per_user) == 59


def test_bad_arguments():
    models = fitted()
    for wrong in ([EASE()], {}, EASE()):
        with pytest.raises(TypeError, match="models must be a dict"):
            compare(wrong, TRAIN, TEST)
    search = GridSearchCV(EASE(), {"l2": [1]}, cv=2).fit(R)
    with pytest.raises(TypeError, match="Pass its best_estimator_"):
        compare({**models, "search": search}, TRAIN, TEST)
    with pytest.raises(ValueError, match="baseline must be one of popular, ease; got 'knn'"):
        compare(models, TRAIN, TEST, baseline="knn")
    with pytest.raises(ValueError, match="n_repeats"):
        compare(models, TRAIN, TEST, n_repeats=0)
    with pytest.raises(ValueError, match="confidence_level"):
        compare(models, TRAIN, TEST, confidence_level=95)
    with pytest.raises(ValueError, match="Unknown metric 'hits'"):
        compare(models, TRAIN, TEST, metrics="hits")
    with pytest.raises(ValueError, match="beyond accuracy: coverage@10, gini@5. Add"):
        compare(models, TRAIN, TEST, metrics=["coverage", "gini@5"])
    als = ALS(4, max_iter=1).fit(TRAIN)
    with pytest.raises(ValueError, match="'als' is fitted: pass a clone"):
        compare({**models, "als": als}, TRAIN, TEST, n_repeats=2)
    with pytest.raises(ValueError, match="the user of each of 80 rows; got 3"):
        compare(models, TRAIN, TEST, groups=[1, 2, 3])
    with pytest.raises(ValueError, match="at least two users; got 1"):
        compare(models, TRAIN[:1], TEST[:1], metrics="ndcg")
    with pytest.raises(ValueError, match="need a model that predicts ratings") as raised:
        compare(models, TRAIN, TEST, metrics="neg_rmse")
    assert raised.value.__notes__ == ["The model is 'popular'."]


def test_a_class_is_no_model():
    with pytest.raises(TypeError, match=r"Pass a model, not its class: EASE\(\) instead of EASE"):
        compare({"EASE": EASE}, [[1, 0], [0, 1]], [[0, 1], [1, 0]])
