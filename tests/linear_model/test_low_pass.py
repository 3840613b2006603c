"""The low-pass filter that linear models may add, against numpy's singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_recsys import EASE, SLIM, RP3beta, load

N_ITEMS = 20
ALL = {"low_pass": 0.4, "n_factors": 100, "random_state": 0}  # more factors than items
MODELS = [EASE(5), EASE(5, density=0.3), SLIM(0.1), RP3beta(n_neighbors=5)]


def histories(n_users, seed=0):
    """Return ratings whose last two items have equal users, and one item without any."""
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, (n_users, N_ITEMS)) * (rng.random((n_users, N_ITEMS)) < 0.3)
    X[:, -1] = X[:, -2]
    X[:, 4] = 0
    return sp.csr_array(X.astype(np.float32))


def low_pass(X, n_factors=None):
    """Return D_i^(−½) V Vᵀ D_i^½; of all singular vectors, V Vᵀ projects on the space of rows."""
    X = X.toarray().astype(np.float64)
    users, items = X.sum(axis=1, keepdims=True), X.sum(axis=0)
    users, items = (np.sqrt(np.where(sums > 0, sums, 1)) for sums in (users, items))
    R = X / users / items
    V = np.linalg.svd(R)[2][: n_factors or np.linalg.matrix_rank(R)].T
    return (V / items[:, None]) @ V.T * items


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_scores_are_those_of_the_weights_and_of_the_filter(model):
    X, new = histories(60), histories(5, seed=1)
    plain = model.fit(X).predict(new)
    filtered = clone(model).set_params(**ALL).fit(X)
    weights = [sp.csr_array(m.coef_).toarray() for m in (model, filtered)]
    assert_array_equal(*weights)
    expected = plain + 0.4 * new.toarray() @ low_pass(X)
    assert_allclose(filtered.predict(new), expected, rtol=1e-4, atol=1e-4)


def test_the_first_singular_vectors():
    rng = np.random.default_rng(0)
    block = np.arange(60)[:, None] % 4 == np.arange(N_ITEMS) % 4  # four kinds of users and items
    X = sp.csr_array((rng.random(block.shape) < 0.05 + 0.8 * block).astype(np.float32))
    model = EASE(5, low_pass=2.0, n_factors=4, random_state=0).fit(X)
    expected = EASE(5).fit(X).predict(X) + 2 * X.toarray() @ low_pass(X, 4)
    assert_allclose(model.predict(X), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_explanations_sum_to_the_score(model):
    X = histories(60)
    model = clone(model).set_params(**{**ALL, "n_factors": 3}).fit(X)
    items = [3, 19, 4]
    why = model.explain(histories(5, seed=1), items)
    sums = why.groupby(["user", "item"])["contribution"].sum().unstack()
    assert_allclose(sums[items], model.predict(histories(5, seed=1))[:, items], rtol=1e-4)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_partial_fit_equals_a_fit_on_all_rows(model):
    X, more = histories(60), histories(2, seed=1)
    model = clone(model).set_params(**ALL)
    whole = model.fit(sp.csr_array(sp.vstack([X, more]))).predict(X)
    assert_allclose(model.fit(X).partial_fit(more).predict(X), whole, rtol=1e-4, atol=1e-4)
    without = model.set_params(low_pass=0).partial_fit(more).predict(X)
    assert np.abs(without - whole).max() > 0.1


@pytest.mark.parametrize("unit", [1e-18, 1e18])
def test_the_weight_of_the_filter_has_no_unit(unit):
    X, new = histories(60), histories(5, seed=1)
    model = RP3beta(**ALL)
    expected = model.fit(X).predict(new)
    assert_allclose(model.fit(X * np.float32(unit)).predict(new), expected, rtol=1e-3, atol=1e-5)


def test_the_seed_decides():
    X = sp.csr_array(np.random.default_rng(0).random((200, 150)) < 0.05, dtype=np.float32)
    params = {"low_pass": 0.5, "n_factors": 10}
    first, again, other = (
        RP3beta(**params, random_state=seed).fit(X).predict(X) for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_a_saved_model_scores_the_same(tmp_path):
    X = histories(60)
    model = SLIM(0.1, **ALL).fit(X)
    model.save(tmp_path / "model.recsys")
    assert_array_equal(load(tmp_path / "model.recsys").predict(X), model.predict(X))


def test_bad_parameters():
    for params in ({"low_pass": -0.1}, {"n_factors": 0}, {"random_state": "seed"}):
        (name,) = params
        for model in (EASE(), SLIM(), RP3beta()):
            with pytest.raises(ValueError, match=f"The '{name}' parameter"):
                model.set_params(**params).fit(histories(20))
            model.set_params(low_pass=0.1, n_factors=2, random_state=0)


def test_a_huge_weight_of_the_filter_is_refused():
    with pytest.raises(ValueError, match="low_pass=1e\\+300 is too large"):
        RP3beta(low_pass=1e300).fit(histories(30))


@pytest.mark.parametrize("name", ["user_normalization", "item_normalization"])
@pytest.mark.parametrize("model", [EASE(5), SLIM(0.1)], ids=lambda model: type(model).__name__)
def test_exponents_beyond_float32_are_refused(model, name):
    X = histories(30).multiply(0.01).tocsr()  # degrees below one: their powers grow
    with pytest.raises(ValueError, match=rf"{name} = 1000000000000.* too large"):
        clone(model).set_params(**{name: 10**12}).fit(X)
