"""SLIM on a cluster: the weights and the objective are those of one machine."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from sklearn_recsys import SLIM
from sklearn_recsys.dask import DaskSLIM, _blocks
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.linear_model import _slim

dask = pytest.importorskip("dask", reason="needs Dask: make test-dask")
pytest.importorskip("distributed", reason="needs Dask: make test-dask")


def matrix(kind="ones", n_users=150, n_items=40, seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.random((n_users, n_items)) < 0.9 / np.arange(1, n_items + 1) ** 0.5).astype(np.float32)
    if kind != "ones":
        X *= rng.integers(1, 6, X.shape)
    if kind == "signed":
        X *= rng.choice([-1, 1], X.shape)
    X[30:60], X[:, 4] = 0, 0  # a block of empty users, an item that nobody has
    return sp.csr_array(X)


def blocks_of(X, size=30):
    return [dask.delayed(X[start : start + size]) for start in range(0, X.shape[0], size)]


@pytest.mark.parametrize("kind", ["ones", "ratings", "signed"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"positive": False, "alpha": 0.05, "l1_ratio": 0.5},
        {"alpha": 1e-3, "l1_ratio": 0.0, "positive": False},
        {"max_neighbors": 5},
        {"max_neighbors": 5, "positive": False},
        {"user_normalization": 0.5, "item_normalization": 0.3, "alpha": 1e-4},
    ],
)
def test_the_weights_are_those_of_one_machine(client, monkeypatch, params, kind):
    monkeypatch.setattr(_slim, "_COLUMNS", 7)
    monkeypatch.setattr(_blocks, "_GROUP_BYTES", 2000)
    X = matrix(kind)
    local, model = SLIM(**params).fit(X), DaskSLIM(**params, client=client).fit(blocks_of(X))
    assert local.coef_.nnz > 40
    assert_allclose(model.coef_.toarray(), local.coef_.toarray(), rtol=1e-4, atol=1e-5)
    assert model.coef_.dtype == np.float32
    assert_allclose(model.objective_, local.objective_, rtol=1e-6)
    new = matrix(kind, seed=1)
    assert_allclose(model.to_local().predict(new), local.predict(new), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_no_square_overflows(client, scale):
    X = matrix("ratings") * np.float32(scale)
    params = {"alpha": 1e-3 * scale**2}
    local, model = SLIM(**params).fit(X), DaskSLIM(**params).fit(blocks_of(X))
    assert local.coef_.nnz > 40
    assert_allclose(model.coef_.toarray(), local.coef_.toarray(), rtol=1e-4, atol=1e-5)


def test_items_that_are_not_optimal_are_named(client):
    X = matrix("signed")
    params = {"max_iter": 1, "positive": False, "alpha": 1e-4}
    with pytest.warns(ConvergenceWarning) as local:
        SLIM(**params).fit(X)
    with pytest.warns(ConvergenceWarning) as distributed:
        DaskSLIM(**params).fit(blocks_of(X))
    assert str(distributed[0].message).split(")")[0] == str(local[0].message).split(")")[0]


def test_what_is_refused(client, monkeypatch):
    X = matrix()
    with pytest.raises(ValueError, match="DaskSLIM writes no checkpoint"):
        DaskSLIM(checkpoint="folder").fit(blocks_of(X))
    workers = {"workers": {"a": {"memory_limit": 0}, "b": {"memory_limit": 1000}}}
    monkeypatch.setattr(client, "scheduler_info", lambda n_workers: workers)
    model = DaskSLIM(client=client)
    with pytest.raises(MemoryError, match="40 × 40 items needs"):
        model.fit(blocks_of(X))
    assert not model.__sklearn_is_fitted__()


def _die_once(solve, path):
    """Make a function kill its worker, the first time it is called."""

    def wrapper(*args):
        if not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return solve(*args)

    return wrapper


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.filterwarnings("ignore")  # of the killed process
def test_a_worker_that_is_killed_while_it_solves(tmp_path, monkeypatch):
    """The Gram matrix is summed up again if it is lost."""
    distributed = pytest.importorskip("distributed")
    from sklearn_recsys.dask import _slim as dask_slim

    X = matrix("ratings")
    monkeypatch.setattr(_slim, "_COLUMNS", 7)
    # a closure is sent to the workers as a whole
    monkeypatch.setattr(
        dask_slim, "_solved", _die_once(dask_slim._solved, str(tmp_path / "killed"))
    )
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(processes=True, **options):
        model = DaskSLIM().fit(blocks_of(X))
    assert (tmp_path / "killed").exists()
    assert_allclose(model.coef_.toarray(), SLIM().fit(X).coef_.toarray(), rtol=1e-4, atol=1e-5)
