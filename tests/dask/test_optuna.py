"""Optuna's search, and its studies, with folds and trials in parallel."""

from __future__ import annotations

import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_recsys import EASE, MultVAE
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.model_selection import HoldoutSplit, cross_validate, random_holdout

optuna = pytest.importorskip("optuna", reason="needs Optuna: make test-dask")
integration = pytest.importorskip("optuna_integration", reason="needs Optuna: make test-dask")

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    # optuna-integration uses a module of Optuna that Optuna deprecates
    pytest.mark.filterwarnings("ignore::FutureWarning:optuna"),
]

R = make_interactions(120, 60, random_state=0)
MODELS = {
    "EASE": (EASE(), {"l2": optuna.distributions.FloatDistribution(1, 1e4, log=True)}),
    "MultVAE": (
        MultVAE(hidden_layer_sizes=(16,), n_factors=8, max_epochs=2, random_state=0),
        {"lr": optuna.distributions.FloatDistribution(1e-4, 0.1, log=True)},
    ),
}


def make_search(name, **params):
    model, distributions = MODELS[name]
    options = {"cv": 3, "n_trials": 4, "random_state": 0, "error_score": "raise"}
    return integration.OptunaSearchCV(model, distributions, **options | params)


def trials(search):
    return [(trial.params, trial.value) for trial in search.trials_]


@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
@pytest.mark.parametrize("name", MODELS)
def test_folds_in_parallel_change_nothing(client, name, backend):
    expected = make_search(name).fit(R)
    with parallel_config(backend, n_jobs=2):
        search = make_search(name).fit(R)
    assert trials(search) == trials(expected)
    assert search.best_params_ == expected.best_params_
    assert_array_equal(search.predict(R), expected.predict(R))


@pytest.mark.parametrize("name", MODELS)
def test_trials_in_threads_score_as_they_do_alone(name):
    """Optuna's sampler asks for other parameters then, which depend on the order of the trials."""
    search = make_search(name, n_jobs=2).fit(R)
    model, _ = MODELS[name]
    for params, value in trials(search):
        alone = cross_validate(clone(model).set_params(**params), R, cv=3)["test_score"].mean()
        assert value == pytest.approx(alone, rel=1e-12)


def test_studies_of_held_out_cells(client):
    X, y = random_holdout(R, 0.2, random_state=0)

    def objective(trial):
        model = EASE(l2=trial.suggest_float("l2", 1, 1e4, log=True))
        return cross_validate(model, X, y, cv=HoldoutSplit())["test_score"].mean()

    def optimize():
        sampler = optuna.samplers.TPESampler(seed=0)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(objective, n_trials=4)
        return [(trial.params, trial.value) for trial in study.trials]

    expected = optimize()
    for params, value in expected:
        assert value == EASE(**params).fit(X).score(X, y)
    with parallel_config("dask", scatter=[X, y]):
        assert optimize() == expected
