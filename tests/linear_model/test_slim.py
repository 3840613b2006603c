"""SLIM against scikit-learn's ElasticNet, and its optimality conditions in float64."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.linear_model import ElasticNet
from threadpoolctl import threadpool_limits

from sklearn_recsys import SLIM
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.linear_model._elastic_net import ElasticNets, _solve
from sklearn_recsys.linear_model._slim_columns import (
    AllItems,
    Candidates,
    HybridGram,
    ScreenedItems,
    dense_gram,
)
from sklearn_recsys.utils._cells import normalized


def random_matrix(n_users=150, n_items=30, density=0.15, kind="ratings", seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_users, n_items), density=density, format="csr", rng=rng)
    X.data = np.ones(X.nnz) if kind == "ones" else rng.integers(1, 6, X.nnz).astype(np.float64)
    if kind == "signed":
        X.data *= rng.choice([-1, 1], X.nnz)
    return X.astype(np.float32)


def popular_matrix(n_users=400, n_items=300, seed=0):
    """Return a matrix whose items differ much in popularity, with some correlation."""
    rng = np.random.default_rng(seed)
    tastes = rng.random((n_users, 3)) @ rng.random((3, n_items)) ** 4
    odds = tastes / np.arange(1, n_items + 1) ** 0.6
    return sp.csr_array((rng.random(odds.shape) < odds).astype(np.float32))


def elastic_net(X, candidates=None, **params):
    """Return W and the objective by scikit-learn, column by column."""
    X = X.toarray().astype(np.float64)
    W, objective = np.zeros((X.shape[1],) * 2), 0.0
    for j, target in enumerate(X.T):
        items = np.delete(np.arange(X.shape[1]), j) if candidates is None else candidates[j]
        net = ElasticNet(fit_intercept=False, tol=1e-8, max_iter=10_000, **params)
        if len(items):
            W[items, j] = net.fit(X[:, items], target).coef_
        objective += np.mean((target - X @ W[:, j]) ** 2) / 2
    l1 = params["alpha"] * params["l1_ratio"]
    l2 = params["alpha"] - l1
    return W, objective + l1 * np.abs(W).sum() + l2 * np.sum(W**2) / 2


def violations(X, model, candidates=None):
    """Return each column's largest violation of the optimality condition in units of max |q|."""
    n_users, n_items = X.shape
    X = X.toarray().astype(np.float64)
    W = model.coef_.toarray().astype(np.float64)
    l1 = n_users * model.alpha * model.l1_ratio
    l2 = n_users * model.alpha * (1 - model.l1_ratio)
    G = X.T @ X
    derivatives = G - G @ W - l2 * W  # of the smooth part, negated
    excess = (derivatives if model.positive else np.abs(derivatives)) - l1
    excess = np.where(W != 0, np.abs(derivatives - l1 * np.sign(W)), excess)
    allowed = ~np.eye(n_items, dtype=bool) if candidates is None else candidates
    scale = np.where(allowed, np.abs(G), 0).max(axis=0)
    return np.where(allowed, excess, 0).max(axis=0) / np.where(scale > 0, scale, 1)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", ["ones", "ratings", "signed"])
@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.01, 0.1), (0.1, 0.5), (0.02, 0), (0.02, 1)])
def test_weights_and_objective_are_those_of_elastic_net(kind, positive, alpha, l1_ratio):
    X = random_matrix(kind=kind)
    params = {"alpha": alpha, "l1_ratio": l1_ratio, "positive": positive}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn discourages l1_ratio=0
        expected, objective = elastic_net(X, **params)
    model = SLIM(**params).fit(X)
    assert model.coef_.dtype == np.float32
    assert_allclose(model.coef_.toarray(), expected, atol=1e-4)
    assert_array_equal(model.coef_.diagonal(), 0)
    assert model.objective_ <= objective * (1 + 1e-9)
    assert model.objective_ == pytest.approx(objective, rel=1e-6)
    assert (model.coef_.data < 0).any() == (not positive and (expected < 0).any())


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("params", [{"alpha": 1e-3}, {"alpha": 1e-2}, {"l1_ratio": 1.0}])
def test_every_column_meets_the_optimality_condition(params, positive):
    X = popular_matrix()
    model = SLIM(positive=positive, **params).fit(X)
    assert model.coef_.nnz > 300
    assert violations(X, model).max() < 1.5e-5  # tol, and the rounding of float32
    loose = SLIM(positive=positive, tol=1e-2, **params).fit(X)
    assert violations(X, loose).max() < 1.1e-2
    assert loose.objective_ > model.objective_


def test_the_papers_penalties():
    """λ = n·alpha·l1_ratio and β = n·alpha·(1 − l1_ratio): a fit on repeated users is the same."""
    X = random_matrix()
    once = SLIM(alpha=0.01, l1_ratio=0.3).fit(X)
    twice = SLIM(alpha=0.01, l1_ratio=0.3).fit(sp.vstack([X, X]))
    assert_allclose(twice.coef_.toarray(), once.coef_.toarray(), atol=1e-5)
    assert twice.objective_ == pytest.approx(once.objective_)


def test_duplicate_items_share_their_weight_without_a_ridge_penalty():
    X = random_matrix(n_items=10)
    X = sp.hstack([X, X], format="csr")
    model = SLIM(alpha=0.01, l1_ratio=1).fit(X)
    assert_allclose(model.coef_[:10, 10:].diagonal(), model.coef_[10:, :10].diagonal(), atol=1e-5)
    assert np.isfinite(model.coef_.data).all()
    assert violations(X, model).max() < 1.5e-5


@pytest.mark.parametrize("n_dense", [1, 40, 299, 300])
def test_the_gram_matrix_is_the_same_whatever_part_is_dense(n_dense):
    X = popular_matrix()
    X = X[:, np.argsort(-np.bincount(X.indices, minlength=300), kind="stable")].sorted_indices()
    expected = (X.T @ X).toarray()
    with config_context(working_memory=0.01):  # blocks of a few rows
        gram = HybridGram(X, n_dense=n_dense)
    items = np.random.default_rng(0).integers(0, 300, (5, 50))
    assert_array_equal(gram.pairs(items), expected[items[:, :, None], items[:, None, :]])
    assert_array_equal(gram.diagonal, np.diag(expected))


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_max_neighbors_regresses_on_the_items_that_alone_lower_the_objective_most(n, positive):
    X = random_matrix(kind="signed", n_users=200)
    params = {"alpha": 0.01, "l1_ratio": 0.3, "positive": positive}
    G = (X.T @ X).toarray().astype(np.float64)
    excess = np.maximum((G if positive else np.abs(G)) - 200 * 0.003, 0)
    gains = excess**2 / (np.diag(G) + 200 * 0.007)[:, None]
    np.fill_diagonal(gains, 0)
    best = np.argsort(-gains, axis=0)[:n]
    candidates = [items[gains[items, j] > 0] for j, items in enumerate(best.T)]
    expected, objective = elastic_net(X, candidates, **params)
    model = SLIM(max_neighbors=n, **params).fit(X)
    assert_allclose(model.coef_.toarray(), expected, atol=1e-4)
    assert model.objective_ <= objective * (1 + 1e-9)
    assert np.bincount(model.coef_.indices, minlength=30).max() <= n


def test_as_many_neighbors_as_items_change_nothing():
    X = popular_matrix()
    whole, capped = SLIM().fit(X), SLIM(max_neighbors=300).fit(X)
    assert_allclose(capped.coef_.toarray(), whole.coef_.toarray(), atol=1e-5)
    assert capped.objective_ == pytest.approx(whole.objective_, rel=1e-7)


@pytest.mark.parametrize("max_neighbors", [None, 20])
def test_the_number_of_threads_changes_no_bit(max_neighbors):
    X = popular_matrix(n_items=600)  # several blocks
    models = []
    for threads in (1, 2, 2):
        with threadpool_limits(threads):
            models.append(SLIM(max_neighbors=max_neighbors).fit(X))
    for model in models[1:]:
        assert_array_equal(model.coef_.data, models[0].coef_.data)
        assert_array_equal(model.coef_.indices, models[0].coef_.indices)
        assert model.objective_ == models[0].objective_


@pytest.mark.parametrize("max_neighbors", [None, 5])
def test_items_without_users_have_no_weights(max_neighbors):
    X = random_matrix().tolil()
    X[:, [0, 7, 29]] = 0
    X[10] = 0
    X = sp.csr_array(X)
    model = SLIM(alpha=0.01, l1_ratio=1, max_neighbors=max_neighbors).fit(X)
    W = model.coef_.toarray()
    assert W.any()
    assert not W[[0, 7, 29]].any() and not W[:, [0, 7, 29]].any()


def test_a_penalty_too_large_leaves_no_weights():
    model = SLIM(alpha=100.0, l1_ratio=1).fit(random_matrix())
    assert model.coef_.nnz == 0
    assert model.n_iter_ == 0


def test_normalized_matrix_is_learned_and_plain_rows_are_scored():
    X = random_matrix()
    model = SLIM(alpha=1e-3, user_normalization=0.5, item_normalization=0.3).fit(X)
    plain = SLIM(alpha=1e-3).fit(normalized(X, 0.5, 0.3))
    assert_array_equal(model.coef_.toarray(), plain.coef_.toarray())
    rows = X[np.diff(X.indptr) > 0]  # empty ones are scored by popularity
    assert_allclose(model.predict(rows), rows @ model.coef_.toarray(), rtol=1e-5, atol=1e-6)


def test_columns_that_are_not_optimal_are_counted_and_named():
    X = popular_matrix()
    with pytest.warns(
        ConvergenceWarning, match=r"The weights of \d+ of 300 items \(\d+.*max_iter=1"
    ):
        model = SLIM(alpha=1e-4, max_iter=1).fit(X)
    assert model.n_iter_ == 1
    failed = violations(X, model) > 1e-5
    with pytest.warns(ConvergenceWarning, match=f"of {failed.sum()} of 300 items"):
        SLIM(alpha=1e-4, max_iter=1).fit(X)


def test_candidates_that_help_alone_but_not_together():
    """More than enter in one round, nearly all of which leave again: columns are copies of one."""
    rng = np.random.default_rng(0)
    base = rng.random((500, 1)) < 0.3
    noise = rng.random((500, 200)) < 0.1
    X = sp.csr_array((base ^ noise).astype(np.float32))
    for positive in (True, False):
        model = SLIM(alpha=1e-3, l1_ratio=0.5, positive=positive).fit(X)
        assert violations(X, model).max() < 1.5e-5


@pytest.mark.parametrize("kind", ["ones", "ratings", "signed"])
@pytest.mark.parametrize("positive", [True, False])
def test_few_interactions_and_many_weights(positive, kind):
    """Products with the matrix are cheaper than those with its Gram matrix."""
    X = random_matrix(60, 200, density=0.03, kind=kind)
    model = SLIM(alpha=1e-3, l1_ratio=0.05, positive=positive).fit(X)
    assert model.coef_.nnz > 4 * X.nnz
    assert violations(X, model).max() < 1.5e-5


@pytest.mark.parametrize("l1", [0.0, 0.5, 1.0, 1.5, 1e6])
def test_screening_changes_nothing(l1):
    X = popular_matrix()
    matrices = dense_gram(X), X, X.T.tocsr()
    block = slice(0, 300)
    screened = ScreenedItems(*matrices, block, l1)
    solved = ElasticNets(screened, l1, 1.0, True).solve(1e-6, 100)
    expected = ElasticNets(AllItems(*matrices, block), l1, 1.0, True).solve(1e-6, 100)
    assert_allclose(solved.values, expected.values, rtol=1e-6)
    weights = np.zeros((2, 300, 301))
    for dense, solution, items in zip(
        weights,
        (solved, expected),
        (screened.items(solved.members), expected.members),
        strict=True,
    ):
        np.put_along_axis(dense, items, solution.weights, axis=1)
    assert_allclose(*weights, atol=1e-4)


def test_systems_that_have_no_cholesky_factor():
    """Copies of one item with nearly no penalty: the matrix of float32 is not positive definite."""
    rng = np.random.default_rng(0)
    A = rng.random((200, 3)).astype(np.float32)
    A = (A @ A.T).astype(np.float64)[None] - 1e-3 * np.eye(200)
    b = rng.random((1, 200))
    assert_allclose(np.einsum("nij,nj->ni", A, _solve(A, b)), b, atol=1e-6)


def test_a_block_without_candidates():
    X = popular_matrix()
    X = X[:, np.argsort(-np.bincount(X.indices, minlength=300), kind="stable")].sorted_indices()
    block = Candidates(HybridGram(X), slice(0, 4), 5, 1e6, 1.0, True)
    assert not block.q.any()


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_lasso_with_fewer_users_than_items(positive, seed):
    """The Gram matrix is singular, so that single rounds can raise the objective."""
    X = random_matrix(8, 30, density=0.3, kind="ones", seed=seed)
    model = SLIM(l1_ratio=1, positive=positive).fit(X)
    assert violations(X, model).max() < 1.5e-5


@pytest.mark.parametrize("exponent", [-100, 66, 120])
@pytest.mark.parametrize("params", [{}, {"positive": False}, {"l1_ratio": 1, "max_neighbors": 5}])
def test_the_unit_of_the_values_does_not_matter(params, exponent):
    """Their squares would leave the range of float32."""
    R = make_interactions(100, 30, density=0.1, random_state=0).astype(np.float32)
    model = SLIM(alpha=0.01, **params).fit(R)
    unit = 2.0**exponent
    scaled = SLIM(alpha=0.01 * unit**2, **params).fit(R * np.float32(unit))
    assert_array_equal(scaled.coef_.toarray(), model.coef_.toarray())
    assert scaled.objective_ / unit**2 == pytest.approx(model.objective_)
