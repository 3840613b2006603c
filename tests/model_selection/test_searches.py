"""scikit-learn's searches on joblib's backends: equal to the sequential search, without copies."""

from __future__ import annotations

import os
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
)

from sklearn_recsys import (
    ALS,
    EASE,
    SLIM,
    AutoRec,
    ItemKNN,
    MatrixFactorization,
    MultVAE,
    PopularityRecommender,
    RandomRecommender,
    RP3beta,
)
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.model_selection import HoldoutSplit, cross_validate, random_holdout
from sklearn_recsys.utils._threads import n_threads

R = make_interactions(120, 60, random_state=0)
RATINGS = make_ratings(120, 60, density=0.2, random_state=0)

NEURAL = {"max_epochs": 2, "batch_size": 50, "random_state": 0}
SEARCHED = {
    "EASE": (EASE(), {"l2": [1.0, 100.0]}),
    "SLIM": (SLIM(), {"alpha": [0.01, 0.1]}),
    "ItemKNN": (ItemKNN(), {"n_neighbors": [5, 20]}),
    "RP3beta": (RP3beta(), {"beta": [0.2, 0.6]}),
    "ALS": (ALS(n_factors=8, max_iter=3, random_state=0), {"l2": [0.003, 0.1]}),
    "MultVAE": (MultVAE(hidden_layer_sizes=(16,), n_factors=8, **NEURAL), {"lr": [1e-3, 1e-2]}),
    "AutoRec": (AutoRec(n_factors=8, **NEURAL), {"l2": [0.1, 10.0]}),
    "MatrixFactorization": (MatrixFactorization(n_factors=4, **NEURAL), {"l2": [0.01, 0.1]}),
}


def assert_same_results(search, expected):
    """Assert that two searches found the same, bit for bit, apart from the times."""
    assert list(search.cv_results_) == list(expected.cv_results_)
    for name, values in expected.cv_results_.items():
        if not name.endswith("_time"):
            assert_array_equal(search.cv_results_[name], values)
    assert search.best_params_ == expected.best_params_
    predicted = expected.best_estimator_.predict(R[:20])
    assert_array_equal(search.best_estimator_.predict(R[:20]), predicted)


def searches(name):
    """Return training and held-out cells, a search on them, and one on new users."""
    model, grid = SEARCHED[name]
    rater = model.__sklearn_tags__().recommender_tags.values == "rating"
    X, y = random_holdout(RATINGS if rater else R, 0.2, random_state=0)
    search = GridSearchCV(model, grid, cv=HoldoutSplit(), error_score="raise")
    folds = GridSearchCV(model, grid, cv=KFold(2), error_score="raise")
    return X, y, search, folds


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("name", SEARCHED)
def test_parallel_searches_equal_the_sequential_one(name, backend):
    X, y, search, folds = searches(name)
    expected = search.fit(X, y), folds.fit(X)
    assert np.ptp(expected[1].cv_results_["mean_test_score"]) > 0
    threads = n_threads()
    with parallel_config(backend, n_jobs=2, max_nbytes=100):
        parallel = clone(search).fit(X, y), clone(folds).fit(X)
    for got, wanted in zip(parallel, expected, strict=True):
        assert_same_results(got, wanted)
    assert n_threads() == threads


# ---------------------------------------------------------------- one matrix for all tasks


def where(model, X, y):
    """Score with what a task of a search holds: its process, and its matrices' memory.

    X and y are parts that were taken out of these.
    """
    frame = sys._getframe()
    while frame.f_code.co_name != "_fit_and_score":
        frame = frame.f_back
    values = {"process": os.getpid()}
    for name in ("X", "y"):
        for part in ("data", "indices"):
            array = getattr(frame.f_locals[name], part)
            values[f"{name}.{part} address"] = array.ctypes.data
            values[f"{name}.{part} mapped"] = isinstance(array, np.memmap)
            values[f"{name}.{part} writeable"] = array.flags.writeable
    return values


def search_where(X, y):
    """Return a frame of what `where` saw in each task of a search."""
    grid = {"random_state": list(range(12))}
    search = GridSearchCV(
        RandomRecommender(), grid, cv=HoldoutSplit(), scoring=where, refit=False
    ).fit(X, y)
    prefix = "split0_test_"
    seen = {k[len(prefix) :]: v for k, v in search.cv_results_.items() if k.startswith(prefix)}
    return pd.DataFrame(seen)


def cross_validate_where(X, y):
    """Return a frame of what `where` saw in each task of a cross-validation."""
    rows = np.arange(X.shape[0])
    scores = cross_validate(RandomRecommender(), X, y, cv=[(rows, rows)] * 12, scoring=where)
    prefix = "test_"
    seen = {k[len(prefix) :]: v for k, v in scores.items() if k.startswith(prefix)}
    return pd.DataFrame(seen)


both = pytest.mark.parametrize("tasks_where", [search_where, cross_validate_where])


def large():
    """Return a matrix and held-out cells whose arrays joblib maps into memory, as it does a MB."""
    return (
        sp.random_array((1000, 2000), density=density, format="csr", dtype=np.float32, rng=seed)
        for seed, density in enumerate([0.2, 0.15])
    )


@both
def test_threads_share_the_matrix(tasks_where):
    X, y = large()
    with parallel_config("threading", n_jobs=2):
        seen = tasks_where(X, y)
    for name, matrix in {"X": X, "y": y}.items():
        for part in ("data", "indices"):
            address = getattr(matrix, part).ctypes.data
            assert (seen[f"{name}.{part} address"] == address).all()


@both
def test_processes_map_the_matrix(tasks_where):
    X, y = large()
    with parallel_config("loky", n_jobs=2):
        seen = tasks_where(X, y)
    assert (seen["process"] != os.getpid()).all()
    for name in ("X.data", "X.indices", "y.data", "y.indices"):
        assert seen[f"{name} mapped"].all()
        assert not seen[f"{name} writeable"].any()


class Unsendable(PopularityRecommender):
    """A model that worker processes cannot send back."""

    def __getstate__(self):
        assert not hasattr(self, "interactions_"), "a fitted model is pickled"
        return super().__getstate__()


def test_processes_send_fitted_models_only_if_asked_to():
    with parallel_config("loky", n_jobs=2):
        scores = cross_validate(Unsendable(), R, cv=2)["test_score"]
        fitted = cross_validate(PopularityRecommender(), R, cv=2, return_estimator=True)
    assert_array_equal(scores, fitted["test_score"])
    assert [model.interactions_.shape for model in fitted["estimator"]] == [(60, 60)] * 2


# ---------------------------------------------------------------- held-out cells, and users


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.coo_array, sp.csc_array, lambda y: y.toarray()])
@pytest.mark.parametrize("search", [GridSearchCV, partial(RandomizedSearchCV, n_iter=2)])
def test_held_out_cells_in_any_form(search, form):
    X, y = random_holdout(R, 0.2, random_state=0)
    search = search(EASE(), {"l2": [1.0, 100.0]}, cv=HoldoutSplit(), error_score="raise")
    results = search.fit(X, form(y)).cv_results_
    expected = [EASE(**params).fit(X).score(X, y) for params in results["params"]]
    assert_array_equal(results["mean_test_score"], expected)
    assert len(set(expected)) == 2


def same_users(model, X, y):
    """Score with whether the model was fitted on the rows that it is scored on."""
    return float(model.interactions_.shape == X.shape and (model.interactions_ != X).nnz == 0)


def halving(model, grid, **params):
    return HalvingRandomSearchCV(
        model, grid, n_candidates=4, factor=2, random_state=0, return_train_score=False, **params
    )


EPOCHS = {"resource": "max_epochs", "min_resources": 1, "max_resources": 4}


@pytest.mark.parametrize("cv", [HoldoutSplit(), KFold(2)])
def test_halving_on_users_and_on_epochs(cv):
    X, y = random_holdout(R, 0.2, random_state=0) if isinstance(cv, HoldoutSplit) else (R, None)
    users = halving(EASE(), {"l2": [1.0, 10.0, 100.0, 1e3]}, cv=cv, min_resources=30)
    neural, _ = SEARCHED["MultVAE"]
    epochs = halving(neural, {"lr": [1e-4, 1e-3, 1e-2, 0.1]}, cv=cv, **EPOCHS)
    for search, resources in [(users, [30, 60, 120]), (epochs, [1, 2, 4])]:
        expected = clone(search).fit(X, y)
        assert expected.n_resources_ == resources
        assert expected.n_candidates_ == [4, 2, 1]
        with parallel_config("threading", n_jobs=2):
            assert_same_results(search.fit(X, y), expected)


def test_halving_scores_the_users_that_it_fits():
    X, y = random_holdout(R, 0.2, random_state=0)
    cv = HoldoutSplit()
    search = halving(EASE(), {"l2": [1.0, 2.0, 3.0, 4.0]}, cv=cv, min_resources=30)
    search.set_params(scoring=same_users).fit(X, y)
    assert (search.cv_results_["mean_test_score"] == 1).all()
