"""RP3beta against the random walk of three steps in dense float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_recsys.linear_model import RP3beta
from sklearn_recsys.utils import _memory


def random_matrix(n_users, n_items, density=0.1, weighted=True, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_users, n_items), density=density, format="csr", rng=rng)
    X.data = rng.integers(1, 6, X.nnz) if weighted else np.ones(X.nnz)
    X.data = X.data.astype(np.float32)
    return X


EVERYTHING = {"n_neighbors": None, "normalize": False}


def walk(X, alpha, beta):
    """Return d_j^(−β) Σ_u q_iu^α p_uj^α off the diagonal."""
    X = X.toarray().astype(np.float64)
    with np.errstate(invalid="ignore"):
        to_items = np.nan_to_num(X / X.sum(axis=1, keepdims=True)) ** alpha
        to_users = np.nan_to_num(X / X.sum(axis=0)).T ** alpha
    W = to_users @ to_items / np.maximum((X > 0).sum(axis=0), 1) ** beta
    np.fill_diagonal(W, 0)
    return W


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha, beta", [(1.0, 0.0), (1.0, 0.6), (0.5, 0.3), (1.7, 1.0)])
@pytest.mark.parametrize("n_items", [1, 2, 37, 120])
def test_weights_are_those_of_the_walk(n_items, alpha, beta, weighted):
    X = random_matrix(300, n_items, weighted=weighted)
    coef = RP3beta(alpha, beta, **EVERYTHING).fit(X).coef_
    assert coef.dtype == np.float32
    assert_allclose(coef.toarray(), walk(X, alpha, beta), rtol=1e-5, atol=1e-9)


def test_p3alpha_is_the_probability_of_the_end_of_three_steps():
    """The rows of the cube of the transition matrix of the bipartite graph, of users to items."""
    X = random_matrix(30, 20, density=0.3)
    n_users, n_items = X.shape
    graph = np.zeros((n_users + n_items,) * 2)
    graph[:n_users, n_users:] = X.toarray()
    graph[n_users:, :n_users] = X.toarray().T
    graph /= graph.sum(axis=1, keepdims=True)
    ends = np.linalg.matrix_power(graph, 3)[:n_users, n_users:]
    shares = sp.csr_array(graph[:n_users, n_users:])
    model = RP3beta(1.0, 0, **EVERYTHING).fit(X)
    unseen = X.toarray() == 0
    assert_allclose(model.predict(shares)[unseen], ends[unseen], rtol=1e-5)


@pytest.mark.parametrize("n_neighbors", [1, 4, 15])
@pytest.mark.parametrize(
    "n_items, density", [(400, 0.01), (60, 0.3)], ids=["few in common", "all in common"]
)
def test_the_largest_weights_of_each_item_are_stored(n_items, density, n_neighbors):
    X = random_matrix(500, n_items, density=density)
    expected = walk(X, 1.0, 0.4)
    smaller = -np.sort(-expected, axis=0)[n_neighbors]
    expected[expected <= smaller * (1 + 1e-6)] = 0
    coef = RP3beta(1.0, 0.4, n_neighbors=n_neighbors, normalize=False).fit(X).coef_
    assert np.bincount(coef.indices).max() == n_neighbors
    found = coef.toarray()
    stored = expected > 0
    assert_allclose(found[stored], expected[stored], rtol=1e-5)
    # what else is stored ties with the first weight that is not
    others = np.where(stored, 0, found)
    assert np.all((others == 0) | (np.abs(others - smaller) <= 1e-5 * smaller))


@pytest.mark.parametrize("n_neighbors", [5, None])
def test_normalized_weights_of_an_item_of_a_history_sum_to_one(n_neighbors):
    X = random_matrix(100, 30)
    params = {"alpha": 0.7, "beta": 0.5, "n_neighbors": n_neighbors}
    plain = RP3beta(**params, normalize=False).fit(X).coef_.toarray().astype(np.float64)
    coef = RP3beta(**params).fit(X).coef_
    assert coef.dtype == np.float32
    sums = plain.sum(axis=1, keepdims=True)
    assert np.any(sums > 0)
    assert_allclose(coef.toarray(), plain / np.where(sums > 0, sums, 1), rtol=1e-5)


def test_a_cap_that_reaches_every_item_changes_nothing():
    X = random_matrix(100, 30)
    everything = RP3beta(n_neighbors=None).fit(X).coef_
    for n_neighbors in (29, 30, 10**6):
        coef = RP3beta(n_neighbors=n_neighbors).fit(X).coef_
        assert_array_equal(coef.toarray(), everything.toarray())


def test_scores_run_from_the_history_to_the_item():
    X = random_matrix(60, 20, density=0.4)
    model = RP3beta(0.75, 0.3, **EVERYTHING).fit(X)
    weights = walk(X, 0.75, 0.3)
    assert np.abs(weights - weights.T).max() > 0.01
    assert_allclose(model.predict(X), X.toarray() @ weights, rtol=1e-5)


def test_beta_ranks_down_popular_items():
    # item 1 is in every history with item 0, item 2 in half of them; but item 1 is popular
    X = np.array([[1, 1, 0]] * 2 + [[1, 1, 1]] * 2 + [[0, 1, 0]] * 30)
    history = [[1, 0, 0]]
    assert RP3beta(1.0, 0, normalize=False).fit(X).recommend(history, n=1)[0, 0] == 1
    assert RP3beta(1.0, 1, normalize=False).fit(X).recommend(history, n=1)[0, 0] == 2


def test_items_without_users_and_users_without_items():
    X = random_matrix(50, 20, density=0.3).toarray()
    X[:, [0, 7]] = 0
    X[[3, 20]] = 0
    coef = RP3beta(1.0, 0.4, **EVERYTHING).fit(X).coef_.toarray()
    assert_allclose(coef, walk(sp.csr_array(X), 1.0, 0.4), rtol=1e-5)
    coef = RP3beta().fit(X).coef_.toarray()
    assert not coef[[0, 7]].any() and not coef[:, [0, 7]].any()


@pytest.mark.parametrize("unit", [1e-35, 1e35])
def test_the_unit_of_the_values_does_not_matter(unit):
    X = random_matrix(50, 20, density=0.3)
    coef = RP3beta().fit(X).coef_.toarray()
    X.data *= np.float32(unit)
    assert_allclose(RP3beta().fit(X).coef_.toarray(), coef, rtol=1e-5)


def test_negative_values_are_refused():
    X = random_matrix(20, 10)
    model = RP3beta().fit(X)
    X.data[3] = -1
    for call in (RP3beta().fit, model.recommend, model.partial_fit):
        with pytest.raises(ValueError, match="Negative values in data passed to RP3beta"):
            call(X)


@pytest.mark.parametrize("n_neighbors", [3, None])
def test_blocks_change_no_bit(n_neighbors):
    X = random_matrix(200, 80)
    expected = RP3beta(n_neighbors=n_neighbors).fit(X).coef_
    with config_context(working_memory=1e-3):
        coef = RP3beta(n_neighbors=n_neighbors).fit(X).coef_
    assert_array_equal(coef.toarray(), expected.toarray())


def test_weights_that_cannot_fit_are_refused(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 2**20)
    X = random_matrix(400, 2000, density=0.1, weighted=False)
    RP3beta(n_neighbors=10).fit(X)
    with pytest.raises(MemoryError, match=r"up to 2,000 neighbors for 2,000 rows .* Use fewer"):
        RP3beta(n_neighbors=None).fit(X)
