"""GraphFilter against the filters of the papers, in dense float64."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_recsys.linear_model import GraphFilter
from sklearn_recsys.utils import _memory


def random_matrix(n_users, n_items, density=0.2, weighted=True, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_users, n_items), density=density, format="csr", rng=rng)
    X.data = rng.integers(1, 6, X.nnz) if weighted else np.ones(X.nnz)
    X.data = X.data.astype(np.float32)
    return X


def graph(X, a):
    """Return the normalized matrix and the items' degrees to the power 1 − a."""
    X = X.toarray().astype(np.float64)
    users, items = X.sum(axis=1, keepdims=True), X.sum(axis=0)
    users, items = np.where(users > 0, users, 1) ** a, np.where(items > 0, items, 1) ** (1 - a)
    return X / users / items, items


def ideal(R, scale, k):
    """Return D_I^(a−1) V Vᵀ D_I^(1−a) of the k largest singular values."""
    V = np.linalg.svd(R)[2][:k].T
    return (V / scale[:, None]) @ V.T * scale


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("a", [0.0, 0.5, 0.6, 1.0])
def test_the_linear_filter(a, weighted):
    X = random_matrix(80, 30, weighted=weighted)
    new = random_matrix(10, 30, seed=1)
    R, _ = graph(X, a)
    model = GraphFilter(low_pass=0, sharpening=0, user_normalization=a).fit(X)
    assert_allclose(model.adjacency_.toarray(), R, rtol=1e-5)
    assert model.components_.shape == (30, 0)
    assert_allclose(model.predict(new), new.toarray() @ R.T @ R, rtol=1e-5)


@pytest.mark.parametrize("shape", [(120, 40), (40, 120)], ids=["tall", "wide"])
@pytest.mark.parametrize("a", [0.5, 0.7])
def test_gf_cf_adds_the_ideal_low_pass_filter(a, shape):
    """The equations of Shen et al., by numpy's singular value decomposition."""
    X = random_matrix(*shape)
    new = random_matrix(10, shape[1], seed=1)
    R, scale = graph(X, a)
    model = GraphFilter(
        n_factors=30, low_pass=0.3, sharpening=0, user_normalization=a, random_state=0
    ).fit(X)
    # V itself up to the rounding of an iterative decomposition: the space that it spans
    V = np.linalg.svd(R)[2][:30].T
    cosines = np.linalg.svd(V.T @ model.components_)[1]
    assert cosines.min() > 0.99
    expected = new.toarray() @ (R.T @ R + 0.3 * ideal(R, scale, 30))
    assert_allclose(model.predict(new), expected, atol=0.02 * np.abs(expected).max())


def test_every_singular_vector_is_a_projection():
    """With all of them the filter is exact: it projects on the space of the rows of R̃."""
    X = random_matrix(60, 25, density=0.3)
    X = sp.csr_array(sp.hstack([X, X[:, [0]] + X[:, [1]], sp.csr_array((60, 1))]))
    R, scale = graph(X, 0.5)
    rank = np.linalg.matrix_rank(R)
    new = random_matrix(10, 27, seed=1)
    model = GraphFilter(n_factors=100, low_pass=0.5, random_state=0).fit(X)
    assert model.components_.shape == (27, rank)
    P = R.T @ R
    expected = new.toarray() @ (P + 0.5 * ideal(R, scale, rank)) @ (np.eye(27) - 0.8 * P)
    assert_allclose(model.predict(new), expected, atol=2e-4)


@pytest.mark.parametrize("T", [0.5, 1.2])
def test_bspm_sharpens_by_a_step_of_euler(T):
    """dS/dt = −S P from the blurred scores, which Euler blurs by dB/dt = B (P − I)."""
    X = random_matrix(80, 30)
    R, scale = graph(X, 0.5)
    P, history = R.T @ R, X.toarray().astype(np.float64)
    blurred = history + history @ (P - np.eye(30))
    low = history + history @ (ideal(R, scale, 30) - np.eye(30))
    merged = blurred + 0.3 * low
    sharpened = merged - T * merged @ P
    params = {"n_factors": 30, "low_pass": 0.3, "random_state": 0}
    model = GraphFilter(**params, sharpening=T).fit(X)
    assert_allclose(model.predict(X), sharpened, atol=2e-4)
    model = GraphFilter(**params, sharpening=T / 2).fit(X)
    assert_allclose(model.predict(X), (merged + sharpened) / 2, atol=2e-4)


def test_turbo_cf_is_its_polynomial_of_second_order():
    X = random_matrix(80, 30, weighted=False)
    R, _ = graph(X, 0.6)  # D_U^(−α) R D_I^(α−1)
    P = R.T @ R
    model = GraphFilter(low_pass=0, sharpening=0.5, user_normalization=0.6).fit(X)
    assert_allclose(2 * model.predict(X), X.toarray() @ (2 * P - P @ P), atol=1e-5)


def test_items_without_users_and_users_without_items():
    X = random_matrix(50, 20, density=0.3).toarray()
    X[:, [0, 7]] = 0
    X[[3, 20]] = 0
    R, _ = graph(sp.csr_array(X), 0.5)
    P = R.T @ R
    new = np.ones((1, 20))
    model = GraphFilter(n_factors=5, low_pass=0, sharpening=0.4).fit(X)
    assert_allclose(model.predict(new), new @ (P - 0.4 * P @ P), atol=1e-5)
    model = GraphFilter(n_factors=5, random_state=0).fit(X)
    assert_allclose(model.components_[[0, 7]], 0, atol=1e-6)
    assert_allclose(model.predict(new)[:, [0, 7]], 0, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_of_the_values_does_not_matter(unit):
    X = random_matrix(50, 20)
    params = {"n_factors": 5, "user_normalization": 0.7, "random_state": 0}
    expected = GraphFilter(**params).fit(X).predict(X)
    scaled = X * np.float32(unit)
    model = GraphFilter(**params).fit(scaled)
    assert_allclose(model.predict(X), expected, rtol=1e-3, atol=1e-5)
    assert_array_equal(model.recommend(scaled, n=3), model.recommend(X, n=3))


def test_sharpening_takes_away_what_is_popular():
    rng = np.random.default_rng(0)
    X = rng.random((300, 40)) < np.linspace(0.5, 0.05, 40)
    ranked = {T: GraphFilter(low_pass=0, sharpening=T).fit(X).recommend(n=5) for T in (0.0, 0.8)}
    popularity = X.sum(axis=0)
    assert popularity[ranked[0.8]].mean() < 0.95 * popularity[ranked[0.0]].mean()


def test_the_seed_decides_about_the_singular_vectors():
    X = random_matrix(200, 150, density=0.05)
    models = [GraphFilter(n_factors=10, random_state=seed).fit(X) for seed in (0, 0, 1)]
    first, again, other = (model.predict(X) for model in models)
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_blocks_change_no_score():
    X = random_matrix(200, 80)
    model = GraphFilter(n_factors=10, random_state=0).fit(X)
    expected = model.predict(X)
    with config_context(working_memory=1e-2):
        assert_allclose(model.predict(X), expected, atol=1e-5)


def test_predictions_add_nothing_to_what_is_saved():
    model = GraphFilter(n_factors=10, random_state=0).fit(random_matrix(200, 80))
    before = pickle.dumps(model)
    model.recommend()
    assert pickle.dumps(model) == before


def test_singular_vectors_that_cannot_fit_are_refused(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 2**19)
    X = random_matrix(400, 400, density=0.01)
    with pytest.raises(MemoryError, match=r"64 singular vectors .* low_pass=0"):
        GraphFilter(random_state=0).fit(X)
    GraphFilter(low_pass=0).fit(X)
