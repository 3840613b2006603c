"""Scorers: several metrics from one ranking, in the form that scikit-learn's tools take."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score

from sklearn_recsys import EASE, PopularityRecommender
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.datasets import make_ratings
from sklearn_recsys.metrics import make_recommender_scorer, ndcg_at_k
from sklearn_recsys.metrics._scorer import parse_metric
from sklearn_recsys.model_selection import HoldoutSplit, evaluate, random_holdout

RANKING = ["ndcg", "hr", "recall", "precision", "map", "mrr"]


class Counting(RecommenderMixin, BaseEstimator):
    """A rating model that counts how often it ranks."""

    _parameter_constraints: dict = {}
    n_calls = 0

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        return tags

    def _fit(self, X):
        self.means_ = np.linspace(1, 5, X.shape[1], dtype=np.float32)

    def _score_items(self, X):
        type(self).n_calls += 1
        return np.tile(self.means_, (X.shape[0], 1))

    def _score_pairs(self, X, rows, items):
        return self.means_[items]


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    R = rng.integers(1, 6, (60, 30)) * (rng.random((60, 30)) < 0.3)
    return random_holdout(sp.csr_array(R.astype(float)), per_user=True, random_state=0)


@pytest.mark.parametrize("metric", [*RANKING, "ndcg@3", "hr@25"])
def test_one_metric_is_a_float(split, metric):
    model = EASE(l2=5).fit(split[0])
    score = make_recommender_scorer(metric)(model, *split)
    assert type(score) is float
    assert score == model.score(*split, metric=metric)


def test_the_default_is_ndcg_at_10(split):
    model = EASE(l2=5).fit(split[0])
    assert make_recommender_scorer()(model, *split) == model.score(*split, metric="ndcg@10")


def test_a_list_is_a_dict_by_name(split):
    model = EASE(l2=5).fit(split[0])
    scores = make_recommender_scorer(["hr@3", "ndcg", "map@20"])(model, *split)
    assert list(scores) == ["hr@3", "ndcg@10", "map@20"]
    for metric, score in scores.items():
        assert score == model.score(*split, metric=metric)


def test_a_list_ranks_once(split):
    model = Counting().fit(split[0])
    Counting.n_calls = 0
    make_recommender_scorer("ndcg")(model, *split)
    once = Counting.n_calls
    scores = make_recommender_scorer([*RANKING, "hr@3", "neg_rmse", "neg_mae"])(model, *split)
    assert Counting.n_calls == 2 * once
    assert scores["neg_rmse"] == model.score(*split)
    assert scores["neg_rmse"] <= scores["neg_mae"] < 0
    Counting.n_calls = 0
    make_recommender_scorer(["neg_rmse", "neg_mae"])(model, *split)
    assert Counting.n_calls == 0


def test_options_are_passed_on(split):
    model = EASE(l2=5).fit(split[0])
    for options in ({"exclude_seen": False}, {"candidates": [1, 5, 9]}):
        score = make_recommender_scorer("mrr", **options)(model, *split)
        assert score == model.score(*split, metric="mrr", **options)
        assert score != model.score(*split, metric="mrr")


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_without_y_the_model_holds_out(split):
    model = EASE(l2=5).fit(split[0])
    assert make_recommender_scorer("hr")(model, split[0]) == model.score(split[0], metric="hr")


@pytest.mark.parametrize(
    "metric",
    ["auc", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@2.5", "ndcg@x", "@10", "NDCG", "", None, 3],
)
def test_unknown_metrics_are_refused_at_once_with_the_known_ones(metric):
    with pytest.raises(ValueError, match="Unknown metric") as raised:
        make_recommender_scorer([metric])
    for known in (*RANKING, "neg_rmse", "neg_mae"):
        assert known in str(raised.value)


def test_a_rating_metric_names_no_length():
    with pytest.raises(ValueError, match="Unknown metric"):
        make_recommender_scorer("neg_rmse@10")


def test_parse_metric():
    assert parse_metric("ndcg") == ("ndcg@10", "ndcg", 10)
    assert parse_metric("ndcg", 5) == ("ndcg@5", "ndcg", 5)
    assert parse_metric("ndcg@5") == ("ndcg@5", "ndcg", 5)
    assert parse_metric("neg_rmse") == ("neg_rmse", "neg_rmse", None)
    with pytest.raises(ValueError, match="ndcg@5"):
        parse_metric("ndcg@5", 6)
    with pytest.raises(ValueError, match="k must be"):
        parse_metric("ndcg", 0)


def test_other_estimators_are_refused_by_name(split):
    with pytest.raises(TypeError, match="LinearRegression is not a recommender"):
        make_recommender_scorer()(LinearRegression(), *split)


def test_repr_and_pickle(split):
    scorer = make_recommender_scorer(["hr@3", "ndcg"], candidates=[1, 2, 3])
    assert "hr@3" in repr(scorer)
    model = EASE(l2=5).fit(split[0])
    assert pickle.loads(pickle.dumps(scorer))(model, *split) == scorer(model, *split)


@pytest.mark.parametrize("routing", [False, True])
def test_searches_over_several_metrics(split, routing):
    scorer = make_recommender_scorer(["ndcg@10", "hr@3"])
    grid = {"l2": [0.1, 10.0, 1000.0]}
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(EASE(), grid, scoring=scorer, refit="hr@3", cv=HoldoutSplit())
        search.fit(*split)
    for name in ("ndcg@10", "hr@3"):
        expected = [EASE(l2=l2).fit(split[0]).score(*split, metric=name) for l2 in grid["l2"]]
        assert_allclose(search.cv_results_[f"mean_test_{name}"], expected)
    best = np.argmax(search.cv_results_["mean_test_hr@3"])
    assert search.best_params_["l2"] == grid["l2"][best]


def test_sklearns_cross_val_score(split):
    scores = cross_val_score(
        PopularityRecommender(), split[0], scoring=make_recommender_scorer("hr"), cv=3
    )
    folds = np.array_split(np.arange(60), 3)
    for fold, score in zip(folds, scores, strict=True):
        rest = np.setdiff1d(np.arange(60), fold)
        model = PopularityRecommender().fit(split[0][rest])
        assert score == pytest.approx(model.score(split[0][fold], metric="hr"))


def test_graded_metrics():
    """Names of their own, through every way that a metric is asked for."""
    R = make_ratings(60, 40, density=0.3, random_state=0)
    X, y = random_holdout(R, per_user=True, random_state=0)
    model = EASE(l2=10).fit(X)
    ids = model.recommend(n=20)
    names = ["ndcg-linear", "ndcg-exponential@20", "ndcg@10", "ndcg-linear@5"]
    expected = [
        ndcg_at_k(y, ids, 10, gains="linear"),
        ndcg_at_k(y, ids, 20, gains="exponential"),
        ndcg_at_k(y, ids, 10),
        ndcg_at_k(y, ids, 5, gains="linear"),
    ]
    assert len(set(np.round(expected, 6))) == 4
    scores = make_recommender_scorer(names)(model, X, y)
    assert list(scores) == ["ndcg-linear@10", "ndcg-exponential@20", "ndcg@10", "ndcg-linear@5"]
    assert_allclose(list(scores.values()), expected)
    table = evaluate(model, X, y, metrics=names)
    assert_allclose(table.to_numpy()[0], expected)
    assert model.score(X, y, metric="ndcg-linear", k=5) == pytest.approx(expected[3])
    search = GridSearchCV(EASE(), {"l2": [1, 10]}, scoring=make_recommender_scorer("ndcg-linear"))
    assert 0 < search.fit(R).best_score_ < 1  # held out of each test row, with its ratings
    with pytest.raises(ValueError, match="relevance of at least 0"):
        model.score(X, -1.0 * y, metric="ndcg-linear")
