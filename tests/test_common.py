"""scikit-learn's checks and the package's own, over every recommender."""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from numbers import Real

import numpy as np
import pytest
import scipy._lib._array_api as array_api
import scipy.sparse as sp
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import Binarizer
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_recsys
from sklearn_recsys import (
    ALS,
    EASE,
    NCF,
    SLIM,
    BackfillRecommender,
    BiasRecommender,
    GraphFilter,
    ItemKNN,
    ItemKNNBaseline,
    PopularityRecommender,
    RecommenderPipeline,
    RP3beta,
    StackingRecommender,
    SwitchRecommender,
    TwoStageRecommender,
    UserKNN,
    UserKNNBaseline,
    VotingRecommender,
)
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.preprocessing import BM25Transformer
from sklearn_recsys.utils.discovery import all_recommenders
from sklearn_recsys.utils.estimator_checks import (
    check_checkerboard,
    check_recommender,
    expected_failed_checks,
    recommender_checks,
)
from sklearn_recsys.utils.estimator_checks._tools import TOLERANCE, make_matrix, seeded

# scikit-learn's checks score on the data that they fitted: the one warning that is ignored
OVERLAP = "ignore:.*held-out interactions are in X:UserWarning"

ALLOWED_FAILURES = {"check_estimator_sparse_array", "check_estimator_sparse_matrix"}

# public estimators that scikit-learn's checks do not apply to
EXEMPT = {
    **dict.fromkeys(
        (
            "DaskALS",
            "DaskEASE",
            "DaskItemKNN",
            "DaskRP3beta",
            "DaskSLIM",
            "DaskInteractionEncoder",
        ),
        "takes collections of a Dask cluster; tests/dask compares it with the local class",
    ),
    "InteractionEncoder": "takes a tidy frame of events; the checks pass it arrays",
    **dict.fromkeys(
        ("InductiveRanker", "NeuralRecommender", "TransductiveRecommender"),
        "is a base without a module; the example of CONTRIBUTING.md is checked",
    ),
    **dict.fromkeys(
        ("Calibration", "CategoryQuota", "ItemRules", "MaximalMarginalRelevance", "Reranker"),
        "reranks lists; tests/compose compares it with naive loops",
    ),
    "RerankedRecommender": "has no default recommender; tests/compose checks instances",
    "RecommenderPipeline": "has no default steps; scikit-learn exempts its own Pipeline likewise",
    **dict.fromkeys(
        (
            "BackfillRecommender",
            "StackingRecommender",
            "SwitchRecommender",
            "TwoStageRecommender",
            "VotingRecommender",
        ),
        "has no default estimators; instances are checked by name",
    ),
}


class ItemMeanRatings(RecommenderMixin, BaseEstimator):
    """Rating model: the item's shrunk mean, moved by how far the user's mean is from the norm."""

    _parameter_constraints: dict = {"shrinkage": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, shrinkage=5.0):
        self.shrinkage = shrinkage

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        tags.recommender_tags.personalized = False
        tags.recommender_tags.exact = True
        return tags

    def _fit(self, X):
        counts = np.bincount(X.indices, minlength=X.shape[1])
        sums = np.bincount(X.indices, weights=X.data, minlength=X.shape[1])
        self.mean_ = X.data.mean(dtype=np.float64)
        self.item_means_ = (sums + self.shrinkage * self.mean_) / (counts + self.shrinkage)

    def _score_items(self, X):
        lengths = np.diff(X.indptr)
        sums = X.sum(axis=1, dtype=np.float64)
        shift = (sums - lengths * self.mean_) / (lengths + self.shrinkage)
        return (self.item_means_ + shift[:, None]).astype(np.float32)


class NeighborRatings(RecommenderMixin, BaseEstimator):
    """Rating model: the mean rating of the users whose centered rows point the same way."""

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        tags.recommender_tags.exact = True
        return tags

    @staticmethod
    def _centered(X):
        dense = X.toarray().astype(np.float64)
        observed = dense != 0
        means = dense.sum(axis=1, keepdims=True) / np.maximum(observed.sum(axis=1), 1)[:, None]
        dense = np.where(observed, dense - means, 0)
        norms = np.linalg.norm(dense, axis=1, keepdims=True)
        return dense / np.where(norms > 0, norms, 1)

    def _fit(self, X):
        self.centered_ = self._centered(X)
        self.ratings_ = X.toarray().astype(np.float64)

    def _score_items(self, X):
        similarity = np.maximum(self._centered(X) @ self.centered_.T, 0) + 1e-3
        observed = (self.ratings_ != 0).astype(np.float64)
        sums, weights = similarity @ self.ratings_, similarity @ observed
        overall = self.ratings_.sum() / observed.sum()
        return ((sums + 1e-3 * overall) / (weights + 1e-3)).astype(np.float32)


class RecentNeighbors(RecommenderMixin, BaseEstimator):
    """Order model: items that go together, the later ones of a history weighing more."""

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "order"
        tags.recommender_tags.exact = True
        return tags

    def _fit(self, X):
        support = X.astype(bool).astype(np.float32)
        counts = (support.T @ support).toarray()
        np.fill_diagonal(counts, 0)
        self.counts_ = counts

    def _score_items(self, X):
        recency = X.copy()
        recency.data = 1 + X.data / np.repeat(np.diff(X.indptr), np.diff(X.indptr))
        return (recency @ self.counts_).astype(np.float32)


class CoOccurrence(RecommenderMixin, BaseEstimator):
    """The least that a model is: two methods and nothing else."""

    def _fit(self, X):
        counts = (X.T @ X).toarray()
        np.fill_diagonal(counts, 0)
        self.counts_ = counts

    def _score_items(self, X):
        return X @ self.counts_


# What a model learns is proved by the checkerboard, with the parameters that users get; the other
# checks need a trained model of each class, however short its training and however small it is.
QUICK = {"max_epochs": 2, "lr": 0.01, "pretrain": False, "n_negatives": 2}
QUICK |= dict.fromkeys(("n_factors", "embedding_dim", "n_hidden", "n_recurrent"), 8)
LARGER_STEPS = {"AutoRec": {"lr": 0.1, "batch_size": 8}}  # after two it has only the items' means


def checked(recommender):
    """Return an instance for the checks: with default parameters, but for size and length."""
    model = recommender()
    params = model.get_params()
    quick = {name: value for name, value in QUICK.items() if name in params}
    if "hidden_layer_sizes" in params:
        quick["hidden_layer_sizes"] = (8,) * len(params["hidden_layer_sizes"])
    if params.get("batch_size") == "auto":  # from 32 cells
        quick["batch_size"] = 256
    return model.set_params(**quick | LARGER_STEPS.get(recommender.__name__, {}))


TOYS = [ItemMeanRatings(), NeighborRatings(), RecentNeighbors()]
MODELS = [checked(recommender) for _, recommender in all_recommenders()]

VARIANTS = [
    ALS(solver="cg"),
    BiasRecommender(user_l2=0, item_l2=0),
    EASE(l2=1e-2),
    EASE(l2=5, dropout=0.3, max_diagonal=0.2),
    EASE(l2=1, density=0.3),
    EASE(l2=1, user_normalization=0.5, item_normalization=0.5, max_diagonal=1),
    EASE(l2=1, low_pass=0.2, n_factors=8, random_state=0),
    ItemKNN(metric="jaccard"),
    ItemKNN(metric="pearson"),
    ItemKNN(shrinkage=0),
    ItemKNN(n_neighbors=3),
    ItemKNNBaseline(shrinkage=0, l2=0),  # fewer neighbors would be chosen by the order of ties
    GraphFilter(low_pass=0, sharpening=0, user_normalization=0.7),
    RP3beta(alpha=0.5, beta=0, n_neighbors=None, normalize=False),
    RP3beta(low_pass=0.2, n_factors=8, random_state=0),
    SLIM(l1_ratio=1, positive=False),
    checked(NCF).set_params(pretrain=True),
    UserKNN(metric="jaccard"),
    UserKNN(metric="pearson"),
    UserKNN(shrinkage=0),
    UserKNN(n_neighbors=3),
    UserKNNBaseline(shrinkage=0, l2=0),
    RecommenderPipeline([("like", Binarizer()), ("model", EASE())]),
    RecommenderPipeline([("tfidf", TfidfTransformer()), ("model", ItemKNN())]),
    RecommenderPipeline([("bm25", BM25Transformer()), ("model", UserKNN())]),
]

COMPOSITES = [
    BackfillRecommender([("knn", ItemKNN()), ("ease", EASE())]),
    StackingRecommender([("ease", EASE()), ("knn", ItemKNN())]),
    StackingRecommender([("ease", EASE()), ("knn", ItemKNN())], LogisticRegression()),
    StackingRecommender([("ease", EASE()), ("knn", ItemKNN())], held_out="users"),
    StackingRecommender([("bias", BiasRecommender()), ("knn", ItemKNNBaseline())]),
    StackingRecommender([("bias", BiasRecommender()), ("knn", ItemKNNBaseline())], Ridge()),
    SwitchRecommender([("popular", PopularityRecommender()), ("knn", ItemKNN()), ("ease", EASE())]),
    TwoStageRecommender(
        [("ease", EASE()), ("knn", ItemKNN())], HistGradientBoostingClassifier(max_iter=5)
    ),
    TwoStageRecommender(
        [("ease", EASE()), ("recent", RecentNeighbors())],
        LinearRegression(),
        ["scores", "recency", "recent_scores"],
        n_candidates=30,
        held_out="users",
    ),
    VotingRecommender([("ease", EASE()), ("knn", ItemKNN())]),
    VotingRecommender([("ease", EASE()), ("knn", ItemKNN())], normalization="rank"),
    VotingRecommender([("bias", BiasRecommender()), ("knn", ItemKNNBaseline())], weights=[1, 2]),
]


def learns(estimator):
    """Whether the checkerboard is checked here: not on short training, nor twice."""
    if getattr(estimator, "metric", None) == "pearson":
        return False  # the board of a ranker holds nothing but ones, which correlate with nothing
    return not hasattr(estimator, "max_epochs") and estimator not in MODELS


def own_checks(estimators):
    for estimator in estimators:
        for check in recommender_checks(estimator):
            name = check.func.__name__
            if name != "check_checkerboard" or learns(estimator):
                yield pytest.param(check, id=f"{estimator!r}-{name}")


def sklearn_checks(estimators):
    mark = parametrize_with_checks(estimators)
    names, checks = mark.args  # a generator in older versions, which pytest is about to refuse
    return pytest.mark.parametrize(names, list(checks), **mark.kwargs)


@pytest.mark.filterwarnings(OVERLAP)
@sklearn_checks(MODELS + TOYS + COMPOSITES)
def test_sklearn_checks(estimator, check):
    # not marked as expected failures: pytest would format the traceback of each
    if check.func.__name__ in expected_failed_checks(estimator):
        with pytest.raises(AssertionError, match="fail gracefully on sparse data"):
            check(estimator)
    else:
        check(estimator)


@pytest.mark.parametrize("check", list(own_checks(MODELS + VARIANTS + TOYS + COMPOSITES)))
def test_own_checks(check):
    check()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_short_training_tells_users_apart(model):
    """Or the checks of which row is answered could not fail."""
    if not get_tags(model).recommender_tags.personalized:
        return
    X = make_matrix(model)
    predicted = seeded(model).fit(X).predict(X)
    tolerance = TOLERANCE["rtol"] * np.abs(predicted).max() + TOLERANCE["atol"]
    assert np.all(np.ptp(predicted, axis=0) > 100 * tolerance)


def test_expected_failures_are_allowed():
    """Nothing else is expected to fail."""
    for estimator in MODELS + TOYS + COMPOSITES:
        expected = expected_failed_checks(estimator)
        assert set(expected) <= ALLOWED_FAILURES
        assert all(reason.strip() for reason in expected.values())


@pytest.mark.skipif("SCIPY_ARRAY_API" not in os.environ, reason="`make test` sets it")
def test_checks_run_under_scipy_array_api():
    """scikit-learn skips its checks of the array API where the variable is not set."""
    assert array_api.SCIPY_ARRAY_API


def public_estimators():
    for module, names in sklearn_recsys._PUBLIC.items():
        for name in names:
            item = getattr(import_module(module), name)
            if inspect.isclass(item) and issubclass(item, BaseEstimator):
                yield name, item


def test_every_estimator_is_checked_or_exempt_by_name():
    # checked with their own tests
    transformers = {"BM25Transformer", "FeatureEncoder", "LogTransformer"}
    checked = {type(model).__name__ for model in MODELS} | transformers
    public = dict(public_estimators())
    assert checked | set(EXEMPT) == set(public)
    assert not checked & set(EXEMPT)
    assert all(EXEMPT.values())


def test_all_recommenders_lists_every_model_once():
    names = [name for name, _ in all_recommenders()]
    assert names == sorted(set(names))
    public = dict(public_estimators())
    models = {name for name, item in public.items() if issubclass(item, RecommenderMixin)}
    assert set(names) == models - set(EXEMPT)
    assert {
        "AutoRec",
        "EASE",
        "ItemKNN",
        "PopularityRecommender",
        "RandomRecommender",
        "UserKNN",
    } <= set(names)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_parameters_are_only_validated_by_fit(model):
    """Constructors and set_params assign; fit gives the usual error."""
    X = sp.csr_array(np.eye(4))
    for name in model.get_params():
        wrong = clone(model).set_params(**{name: object()})
        assert wrong.get_params()[name] is not None
        with pytest.raises(ValueError, match=f"The '{name}' parameter of"):
            wrong.fit(X)
        assert not hasattr(wrong, "interactions_")


@pytest.mark.parametrize("name, recommender", all_recommenders())
def test_default_parameters_find_the_withheld_cells(name, recommender):
    """The checks above make training short; this one takes the parameters that users get."""
    checks = {check.func: check for check in recommender_checks(recommender())}
    checks[check_checkerboard]()


def test_a_model_is_two_methods():
    """Nothing but `_fit` and `_score_items` has to be written."""
    check_recommender(CoOccurrence())


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_no_model_has_predict_proba(model):
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "decision_function")
