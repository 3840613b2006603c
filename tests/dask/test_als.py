"""ALS on a cluster: the vectors are those of one machine from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import sklearn_recsys
from sklearn_recsys import ALS
from sklearn_recsys.dask import DaskALS
from sklearn_recsys.exceptions import ConvergenceWarning

dask = pytest.importorskip("dask", reason="needs Dask: make test-dask")
pytest.importorskip("distributed", reason="needs Dask: make test-dask")


def weights(n_users=80, n_items=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 4, (n_users, n_items)) * (rng.random((n_users, n_items)) < 0.2)
    X[7], X[:, 4] = 0, 0  # an empty user, an item that nobody has
    return sp.csr_array(X, dtype=np.float32)


def blocks_of(X, size=30):
    return [dask.delayed(X[start : start + size]) for start in range(0, X.shape[0], size)]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"solver": "cg", "max_iter": 4},
        {"reg_exponent": 0.3, "l2": 1.0, "unobserved_weight": 0.0},
        {"init": np.random.default_rng(5).normal(size=(30, 6)) / 10},
    ],
)
def test_the_vectors_are_those_of_one_machine(client, params):
    X, params = weights(), {"n_factors": 6, "max_iter": 3, "random_state": 1, **params}
    local, model = ALS(**params).fit(X), DaskALS(**params).fit(blocks_of(X))
    assert_allclose(model.item_factors_, local.item_factors_, rtol=1e-3, atol=1e-5)
    assert model.item_factors_.dtype == np.float32
    assert model.n_iter_ == local.n_iter_
    new = weights(seed=1)
    assert_allclose(model.to_local().predict(new), local.predict(new), rtol=1e-3, atol=1e-5)


def test_users_are_solved_for_from_their_histories(client, tmp_path):
    X = weights()
    params = {"n_factors": 6, "max_iter": 3, "random_state": 1}
    local = ALS(**params).fit(X)
    model = DaskALS(**params).fit(blocks_of(X)).to_local()
    assert model.user_factors_.shape == (0, 6)
    assert_allclose(model.transform(X), local.user_factors_, rtol=1e-3, atol=1e-5)
    assert_array_equal(model.recommend(X, n=3), local.recommend(X, n=3))
    assert_array_equal(model.similar_items([1, 2])[0], local.similar_items([1, 2])[0])
    with pytest.raises(ValueError, match="no training rows"):
        model.similar_users(X)
    model.save(tmp_path / "als")
    loaded = sklearn_recsys.load(tmp_path / "als")
    assert_array_equal(loaded.predict(X), model.predict(X))


def test_what_is_refused(client):
    X = weights()
    with pytest.raises(ValueError, match="CPUs of the workers"):
        DaskALS(device="cuda").fit(blocks_of(X))
    with pytest.raises(ValueError, match="writes no checkpoint"):
        DaskALS(checkpoint="folder").fit(blocks_of(X))
    with pytest.raises(ValueError, match="l2=1e-30 is too small"):
        DaskALS(40, l2=1e-30, unobserved_weight=0.0, random_state=0).fit(blocks_of(X))
    with pytest.raises(ValueError, match="Negative values"):
        DaskALS().fit(blocks_of(-X))
    with pytest.raises(ValueError, match="init must have the shape"):
        DaskALS(init=np.ones((2, 2))).fit(blocks_of(X))


def test_divergence_is_said(client):
    with pytest.warns(ConvergenceWarning, match="DaskALS diverged"):
        DaskALS(4, l2=1e-12, unobserved_weight=0, solver="cg", random_state=0).fit(
            blocks_of(sp.csr_array(weights() * np.float32(1e30)))
        )
