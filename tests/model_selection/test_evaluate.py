"""cross_validate, evaluate, searches, and the hold-out by content."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_recsys import EASE, ItemKNN, PopularityRecommender, RandomRecommender
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.metrics import (
    coverage_at_k,
    gini_at_k,
    make_recommender_scorer,
    novelty_at_k,
    popularity_bias_at_k,
)
from sklearn_recsys.model_selection import (
    HoldoutSplit,
    cell_kfold,
    cross_validate,
    evaluate,
    random_holdout,
    sample_negatives,
)
from sklearn_recsys.utils._content_split import hold_out_by_content


def random_matrix(n_users=60, n_items=30, density=0.3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < density)
    return sp.csr_array(X.astype(np.float32))


class ItemMeans(RecommenderMixin, BaseEstimator):
    """The least of rating models."""

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        return tags

    def _fit(self, X):
        sums = X.sum(axis=0) + 3
        self.means_ = (sums / (1 + np.bincount(X.indices, minlength=X.shape[1]))).astype(np.float32)

    def _score_items(self, X):
        return np.tile(self.means_, (X.shape[0], 1))


# ------------------------------------------------------------------------- hold_out_by_content


@pytest.mark.parametrize("seed", range(3))
def test_a_fifth_of_each_row_and_at_least_one_is_held_out(seed):
    rng = np.random.default_rng(seed)
    lengths = np.concatenate([np.arange(62), rng.integers(0, 62, 50)])
    X = np.zeros((len(lengths), 61))
    for row, length in enumerate(lengths):
        X[row, rng.choice(61, length, replace=False)] = rng.integers(1, 6, length)
    X = sp.csr_array(X)
    known, y = hold_out_by_content(X)
    expected = np.where(lengths > 1, np.maximum(1, lengths // 5), 0)
    assert_array_equal(np.diff(y.indptr), expected)
    assert_array_equal((known + y).toarray(), X.toarray())
    assert known.multiply(y).nnz == 0
    for part in (known, y):
        assert part.shape == X.shape
        assert part.has_canonical_format
        assert np.all(part.data != 0)


def test_the_latest_fifth_is_held_out_where_values_are_times():
    rng = np.random.default_rng(0)
    lengths = np.arange(30)
    X = np.zeros((30, 40))
    for row, length in enumerate(lengths):
        X[row, rng.choice(40, length, replace=False)] = rng.permutation(length) + 1
    known, y = hold_out_by_content(sp.csr_array(X), latest=True)
    n_held_out = np.where(lengths > 1, np.maximum(1, lengths // 5), 0)
    latest = X > (lengths - n_held_out)[:, None]
    assert_array_equal(y.toarray(), np.where(latest, X, 0))
    assert_array_equal(known.toarray(), np.where(latest, 0, X))


def test_the_hold_out_follows_content_alone():
    X = random_matrix()
    _, y = hold_out_by_content(X)
    order = np.random.default_rng(1).permutation(60)
    assert_array_equal(hold_out_by_content(X[order])[1].toarray(), y.toarray()[order])
    assert_array_equal(hold_out_by_content(X[[7, 7, 9]])[1].toarray(), y.toarray()[[7, 7, 9]])
    for dtype in (np.float64, np.int64):
        assert_array_equal(hold_out_by_content(X.astype(dtype))[1].toarray(), y.toarray())
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    assert_array_equal(hold_out_by_content(wide)[1].toarray(), y.toarray())


@pytest.mark.parametrize("a, b", [(1e-6, 0), (0.2, 0), (5, -14.5), (2, 1000)])
def test_the_hold_out_does_not_depend_on_the_unit(a, b):
    X = random_matrix()
    other = X.copy()
    other.data = a * X.data + b
    assert_array_equal(hold_out_by_content(other)[1].indices, hold_out_by_content(X)[1].indices)


def test_the_hold_out_of_rows_that_share_their_items_follows_their_values():
    X = sp.csr_array(np.array([[1.0, 2, 3, 4, 5], [5, 4, 3, 2, 1], [1, 1, 1, 5, 5]] * 4)[:, :5])
    assert len(set(hold_out_by_content(X)[1].indices.tolist())) > 1


def test_the_hold_out_takes_no_item_by_preference():
    """Over many rows every place of a row is held out as often as any other."""
    rng = np.random.default_rng(0)
    X = sp.csr_array(rng.integers(1, 1000, (4000, 10)).astype(np.float64))
    counts = hold_out_by_content(X)[1].astype(bool).sum(axis=0)
    assert counts.sum() == 8000
    assert np.all(np.abs(counts - 800) < 5 * np.sqrt(4000 * 0.2 * 0.8))


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_score_of_any_container_sees_one_split():
    """0.1 is not the same number in float32 and float64, but it is the same rating."""
    X = random_matrix()
    X.data *= 0.1
    model = ItemKNN(5).fit(X)
    expected = model.score(X, metric="mrr")
    exact = sp.csr_array(np.round(X.toarray().astype(np.float64), 1))
    for container in (exact, exact.toarray(), exact.tocsc(), exact.tocoo(), sp.csr_matrix(exact)):
        assert model.score(container, metric="mrr") == expected


# ------------------------------------------------------------------------- cross_validate


def test_cross_validate_over_users_is_a_loop():
    R = random_matrix()
    results = cross_validate(EASE(l2=5), R, cv=4)
    for fold, (train, test) in enumerate(KFold(4).split(np.arange(60))):
        assert results["test_score"][fold] == EASE(l2=5).fit(R[train]).score(R[test])
    assert set(results) == {"fit_time", "score_time", "test_score"}
    assert all(len(values) == 4 for values in results.values())
    assert np.all(results["fit_time"] > 0) and np.all(results["score_time"] > 0)
    assert len(cross_validate(EASE(), R)["test_score"]) == 5


@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix, np.asarray])
def test_cross_validate_takes_sparse_held_out_cells(container):
    train, test = random_holdout(random_matrix(), per_user=True, random_state=0)
    if container is np.asarray:
        X, y = train.toarray(), test.toarray()
    else:
        X, y = container(train), container(test)
    results = cross_validate(EASE(l2=5), X, y, cv=HoldoutSplit(), return_estimator=True)
    expected = EASE(l2=5).fit(train)
    assert results["test_score"] == [expected.score(train, test)]
    assert_array_equal(results["estimator"][0].coef_, expected.coef_)


def test_cross_validate_over_cells():
    R = random_matrix()
    X, y, cv = cell_kfold(R, 3, random_state=0)
    scorer = make_recommender_scorer(["neg_rmse", "neg_mae"])
    results = cross_validate(ItemMeans(), X, y, cv=cv, scoring=scorer)
    assert set(results) == {"fit_time", "score_time", "test_neg_rmse", "test_neg_mae"}
    for fold in range(3):
        rows = slice(60 * fold, 60 * (fold + 1))
        model = ItemMeans().fit(X[rows])
        assert results["test_neg_rmse"][fold] == model.score(X[rows], y[rows])
        assert X[rows].multiply(y[rows]).nnz == 0


def test_cross_validate_with_one_held_out_item_per_row():
    R = random_matrix()
    items = np.random.default_rng(0).integers(0, 30, 60)
    scorer = make_recommender_scorer("mrr", exclude_seen=False)
    results = cross_validate(PopularityRecommender(), R, items, cv=3, scoring=scorer)
    train, test = next(KFold(3).split(np.arange(60)))
    model = PopularityRecommender().fit(R[train])
    assert results["test_score"][0] == scorer(model, R[test], items[test])


def test_cross_validate_in_parallel_and_clones():
    R = random_matrix()
    model = EASE(l2=5)
    alone, together = (cross_validate(model, R, cv=3, n_jobs=jobs) for jobs in (1, 2))
    assert_allclose(alone["test_score"], together["test_score"])
    assert not hasattr(model, "interactions_")


# ------------------------------------------------------------------------- searches


@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix])
def test_grid_search_over_users(container):
    R = random_matrix()
    grid = {"l2": [0.1, 10.0, 1000.0]}
    search = GridSearchCV(EASE(), grid, cv=5, error_score="raise").fit(container(R))
    for fold, (train, test) in enumerate(KFold(5).split(np.arange(60))):
        expected = [EASE(l2=l2).fit(R[train]).score(R[test]) for l2 in grid["l2"]]
        assert_allclose(search.cv_results_[f"split{fold}_test_score"], expected)
    assert_array_equal(search.best_estimator_.coef_, EASE(**search.best_params_).fit(R).coef_)
    assert search.best_estimator_.recommend(3).shape == (1, 10)


def test_grid_search_in_parallel():
    R = random_matrix()
    grid = {"n_neighbors": [1, 5], "metric": ["cosine", "jaccard"]}
    alone, together = (
        GridSearchCV(ItemKNN(), grid, cv=3, n_jobs=jobs, error_score="raise").fit(R)
        for jobs in (1, 2)
    )
    assert_allclose(
        alone.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"], rtol=1e-9
    )
    assert alone.best_params_ == together.best_params_


def test_the_recipe_for_the_same_users():
    """Choose on validation cells taken out of train; touch the test once."""
    train, test = random_holdout(random_matrix(density=0.5), per_user=True, random_state=0)
    fit, valid = random_holdout(train, per_user=True, random_state=1)
    grid = {"l2": [0.1, 10.0, 1000.0]}
    search = GridSearchCV(EASE(), grid, cv=HoldoutSplit(), error_score="raise").fit(fit, valid)
    expected = [EASE(l2=l2).fit(fit).score(fit, valid) for l2 in grid["l2"]]
    assert_allclose(search.cv_results_["mean_test_score"], expected)
    assert 0 < clone(search.best_estimator_).fit(train).score(train, test) < 1


def test_every_candidate_of_a_search_sees_one_split():
    """Even where what is searched over is the seed."""
    R = random_matrix()
    seen = []

    def spy(estimator, X, y=None):
        given, held_out = estimator._given_and_held_out(X, y, warn_overlap=False)
        seen.append(held_out.toarray())
        return 0.0

    grid = {"random_state": [0, 1, 2]}
    GridSearchCV(RandomRecommender(), grid, cv=[(range(30), range(30, 60))], scoring=spy).fit(R)
    assert len(seen) == 3
    assert_array_equal(seen[0], seen[1])
    assert_array_equal(seen[0], seen[2])


# ------------------------------------------------------------------------- evaluate


@pytest.fixture
def fitted():
    train, test = random_holdout(random_matrix(), per_user=True, random_state=0)
    models = {"ease": EASE(l2=5).fit(train), "popular": PopularityRecommender().fit(train)}
    return models, train, test


def test_evaluate_is_a_row_per_model_and_a_column_per_metric(fitted):
    models, train, test = fitted
    table = evaluate(models, train, test)
    assert isinstance(table, pd.DataFrame)
    assert table.index.tolist() == ["ease", "popular"]
    assert table.columns.tolist() == [
        "hr@10",
        "ndcg@10",
        "recall@10",
        "precision@10",
        "coverage@10",
    ]
    for name, model in models.items():
        for metric in table.columns[:4]:
            assert table.loc[name, metric] == model.score(train, test, metric=metric)
        assert table.loc[name, "coverage@10"] == coverage_at_k(model.recommend(train), 30, 10)
    assert evaluate(models["ease"], train, test).index.tolist() == ["EASE"]


def test_evaluate_beyond_accuracy(fitted):
    models, train, test = fitted
    names = ["coverage@4", "ndcg@20", "gini", "novelty@3", "popularity_bias@7"]
    table = evaluate(models, train, test, metrics=names)
    assert table.columns.tolist() == [
        "coverage@4",
        "ndcg@20",
        "gini@10",
        "novelty@3",
        "popularity_bias@7",
    ]
    for name, model in models.items():
        ids = model.recommend(train, n=20)
        assert table.loc[name].tolist() == pytest.approx(
            [
                coverage_at_k(ids, 30, 4),
                model.score(train, test, metric="ndcg@20"),
                gini_at_k(ids, 30, 10),
                novelty_at_k(ids, train, 3),
                popularity_bias_at_k(ids, train, 7),
            ]
        )


def test_evaluate_at_another_k(fitted):
    models, train, test = fitted
    table = evaluate(models, train, test, metrics=["hr", "coverage"], k=3)
    assert table.columns.tolist() == ["hr@3", "coverage@3"]
    assert table.loc["ease", "hr@3"] == models["ease"].score(train, test, metric="hr@3")


def test_k_is_for_the_metrics_that_name_none(fitted):
    models, train, test = fitted
    table = evaluate(models, train, test, metrics=["hr", "hr@20", "coverage", "coverage@20"], k=5)
    assert table.columns.tolist() == ["hr@5", "hr@20", "coverage@5", "coverage@20"]


def test_evaluate_passes_its_options_on(fitted):
    models, train, test = fitted
    ease = models["ease"]
    negatives = sample_negatives(train + test, 12, random_state=0)
    table = evaluate(ease, train, test, metrics=["mrr"], candidates=negatives)
    assert table.iloc[0, 0] == ease.score(train, test, metric="mrr", candidates=negatives)
    table = evaluate(ease, train, test, metrics=["mrr", "coverage"], exclude_seen=False)
    assert table.iloc[0, 0] == ease.score(train, test, metric="mrr", exclude_seen=False)
    assert table.iloc[0, 1] == coverage_at_k(ease.recommend(train, exclude_seen=False), 30, 10)


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_evaluate_without_y_holds_out_by_content(fitted):
    models, train, _ = fitted
    table = evaluate(models["ease"], train, metrics=["hr@3", "coverage@3"])
    known, held_out = hold_out_by_content(train)
    assert table.iloc[0, 0] == models["ease"].score(known, held_out, metric="hr@3")
    assert table.iloc[0, 1] == coverage_at_k(models["ease"].recommend(known, 3), 30, 3)


def test_evaluate_ratings():
    train, test = random_holdout(random_matrix(), random_state=0)
    model = ItemMeans().fit(train)
    table = evaluate(model, train, test, metrics=["neg_rmse", "neg_mae", "ndcg", "gini"])
    assert table.columns.tolist() == ["neg_rmse", "neg_mae", "ndcg@10", "gini@10"]
    assert table.iloc[0, 0] == model.score(train, test)


def test_evaluate_warns_of_overlap_once(fitted):
    models, train, _ = fitted
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate(models["ease"], train, train, metrics=["hr", "mrr", "coverage"])
    assert len(caught) == 1
    assert "100.0%" in str(caught[0].message)


def test_evaluate_refuses_unknown_metrics_with_the_known_ones(fitted):
    models, train, test = fitted
    with pytest.raises(ValueError, match="Unknown metric 'diversity'") as raised:
        evaluate(models, train, test, metrics=["hr", "diversity"])
    for known in ("ndcg", "neg_rmse", "coverage", "gini", "novelty", "popularity_bias"):
        assert known in str(raised.value)
    for wrong in ("coverage@0", "gini@x"):
        with pytest.raises(ValueError, match="metric"):
            evaluate(models, train, test, metrics=[wrong])
