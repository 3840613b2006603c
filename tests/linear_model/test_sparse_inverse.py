"""EASE with few weights, against the closed form and a plain version of Steck's blocks (2019)."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from sklearn_recsys import load
from sklearn_recsys.linear_model import EASE
from sklearn_recsys.linear_model._sparse_inverse import choose_blocks, sparse_weights


def random_matrix(n_users=300, n_items=40, density=0.15, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.csr_array(sp.random_array((n_users, n_items), density=density, format="csr", rng=rng))
    X.data = rng.integers(1, 4, X.nnz).astype(np.float32)
    return X


def real_matrix(seed=0):
    """Return a matrix of real values, so that no two pairs of items are equally correlated."""
    X = random_matrix(seed=seed)
    X.data = np.random.default_rng(seed).uniform(0.5, 2, X.nnz).astype(np.float32)
    return X


def clubs(n_clubs=4, n_users=30, n_items=8):
    """Return users and items of clubs, in which all pairs of items have users in common."""
    blocks = [random_matrix(n_users, n_items, density=0.6, seed=seed) for seed in range(n_clubs)]
    X = sp.csr_array(sp.block_diag(blocks))
    G = (X.T @ X).toarray()
    assert all((np.diag(G) > 0) & ((G > 0).sum(axis=0) == n_items))
    return X.astype(np.float32)


def gram(X):
    X = X.toarray().astype(np.float64)
    return X.T @ X


def ease(G, l2):
    P = np.linalg.inv(G + l2 * np.eye(len(G)))
    W = -P / np.diag(P)
    np.fill_diagonal(W, 0)
    return W


def correlated(G, l2, n_neighbors):
    """Return for each item the item itself and the most correlated ones, best first."""
    scale = np.sqrt(np.diag(G) + l2)
    correlations = np.abs(G) / np.outer(scale, scale)
    np.fill_diagonal(correlations, np.inf)
    order = np.argsort(-correlations, axis=1, kind="stable")[:, : n_neighbors + 1]
    return [row[correlations[i][row] > 0] for i, row in enumerate(order)]


def weights_by_blocks(X, l2, n_neighbors, share):
    """Section 3.2 of Steck (2019) item by item, in float64."""
    G, n_items = gram(X), X.shape[1]
    neighbors = correlated(G, l2, n_neighbors)
    sums, counts, done = np.zeros((n_items, n_items)), np.zeros((n_items, n_items)), set()
    for item in sorted(range(n_items), key=lambda i: (-len(neighbors[i]), -G[i, i], i)):
        if item in done:
            continue
        block = neighbors[item]
        W = ease(G[np.ix_(block, block)], l2)
        for column in range(max(1, int(np.ceil(share * len(block))))):
            done.add(block[column])
            own = neighbors[block[column]]
            for row, i in enumerate(block):
                if i in own:
                    sums[i, block[column]] += W[row, column]
                    counts[i, block[column]] += 1
    return sums / np.maximum(counts, 1)


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 1])
@pytest.mark.parametrize("n_neighbors", [1, 5, 20])
def test_the_weights_are_those_of_the_blocks(n_neighbors, share):
    X = real_matrix()
    W = sparse_weights(X, 5.0, n_neighbors, share=share)
    assert W.dtype == np.float32
    assert W.has_canonical_format
    assert_allclose(W.toarray(), weights_by_blocks(X, 5.0, n_neighbors, share), atol=2e-6)


def test_with_a_block_for_each_item_its_weights_are_a_ridge_regression_on_its_neighbors():
    X, l2 = real_matrix(), 5.0
    G = gram(X)
    W = sparse_weights(X, l2, 6, share=0).toarray()
    for item, (_, *others) in enumerate(correlated(G, l2, 6)):
        ridge = np.linalg.solve(G[np.ix_(others, others)] + l2 * np.eye(6), G[others, item])
        assert_allclose(W[others, item], ridge, atol=2e-6)
        assert np.count_nonzero(W[:, item]) == 6


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"dropout": 0.3},
        {"max_diagonal": 0.2},
        {"dropout": 0.3, "max_diagonal": 1},
        {"user_normalization": 0.5, "item_normalization": 0.5, "l2": 0.5},
    ],
)
def test_clubs_without_common_users_are_solved_exactly(params):
    X = clubs()
    expected = EASE(**{"l2": 3.0, **params}).fit(X).coef_
    for density in (0.25, 0.5, 0.9):  # a club has a quarter of the items
        W = EASE(**{"l2": 3.0, **params}, density=density).fit(X).coef_
        assert_allclose(W.toarray(), expected, atol=1e-6)


def test_density_1_is_the_dense_model():
    """Also where items have no user in common, whose dense weights are not zero."""
    X = random_matrix(n_users=60, density=0.05)
    assert (gram(X) == 0).any()
    dense, sparse = EASE(5.0).fit(X), EASE(5.0, density=1).fit(X)
    assert isinstance(sparse.coef_, sp.csr_array)
    assert_array_equal(sparse.coef_.toarray(), dense.coef_)
    assert_allclose(sparse.predict(X), dense.predict(X), atol=1e-6)


@pytest.mark.parametrize("density", [0.025, 0.1, 0.29, 0.6])
def test_number_of_weights(density):
    X = random_matrix(density=0.3)
    W = EASE(5.0, density=density).fit(X).coef_
    assert 0 < W.nnz <= density * X.shape[1] ** 2
    assert np.bincount(W.indices).max() <= density * X.shape[1]
    assert_array_equal(W.diagonal(), 0)
    relaxed = EASE(5.0, density=density, max_diagonal=0.1).fit(X).coef_
    assert relaxed.nnz - np.count_nonzero(relaxed.diagonal()) == W.nnz


def test_more_weights_come_closer_to_the_dense_model():
    X = random_matrix(n_users=500, n_items=80, density=0.1)
    dense = EASE(20.0).fit(X).coef_
    errors = [
        np.linalg.norm(EASE(20.0, density=density).fit(X).coef_.toarray() - dense)
        for density in (0.1, 0.3, 0.6, 0.9)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2


def test_blocks_determine_every_item():
    X = random_matrix(density=0.05)
    pattern = abs(X.T @ X).tocsr()
    blocks = choose_blocks(pattern, pattern.diagonal(), 0.5)
    assert_array_equal(np.unique(np.concatenate([items[:n] for items, n in blocks])), range(40))
    assert len(blocks) < 40


@pytest.mark.parametrize("n_stored", [1, 7, 39])
def test_stored_values_of_the_gram_matrix_change_nothing(n_stored):
    X = random_matrix()
    W, expected = sparse_weights(X, 5.0, 8, n_stored=n_stored), sparse_weights(X, 5.0, 8)
    assert_array_equal(W.toarray(), expected.toarray())


def test_threads_change_no_bit():
    X = real_matrix()
    with threadpool_limits(1):
        expected = sparse_weights(X, 5.0, 8)
    with threadpool_limits(2):
        W = sparse_weights(X, 5.0, 8)
    assert_array_equal(W.toarray(), expected.toarray())


def test_permutations_of_users_and_items():
    """They permute the weights if no two neighbors are equally correlated."""
    X = real_matrix()
    rng = np.random.default_rng(0)
    users, items = rng.permutation(X.shape[0]), rng.permutation(X.shape[1])
    W = EASE(5.0, density=0.2).fit(X).coef_.toarray()
    permuted = EASE(5.0, density=0.2).fit(X[users][:, items]).coef_.toarray()
    assert_allclose(permuted, W[np.ix_(items, items)], atol=1e-5)


def test_small_penalties_fall_back_to_float64():
    """Fewer users than items in a block: without the penalty its Gram matrix has no inverse."""
    X = random_matrix(n_users=15, density=0.5)
    expected = weights_by_blocks(X, 1e-5, 25, 0.5)
    W = sparse_weights(X, 1e-5, 25).toarray()
    assert_allclose(W, expected, atol=1e-3 * np.abs(expected).max())


def test_singular_is_a_clear_error():
    X = random_matrix(density=0.4)
    X = sp.csr_array(sp.hstack([X, X]))
    model = EASE(l2=1e-300, density=0.5)
    with pytest.raises(ValueError, match=r"1e-300 is too small for these interactions.*Raise l2"):
        model.fit(X)
    assert not hasattr(model, "coef_")


def test_items_and_users_without_interactions():
    X = random_matrix().tolil()
    X[:, [3, 20]] = 0
    X[[0, 7]] = 0
    model = EASE(5.0, density=0.2).fit(sp.csr_array(X))
    W = model.coef_.toarray()
    assert not W[[3, 20]].any()
    assert not W[:, [3, 20]].any()
    assert np.isfinite(model.predict(sp.csr_array(X))).all()


def test_negative_values():
    X = real_matrix()
    X.data *= np.where(np.random.default_rng(1).random(X.nnz) < 0.3, -1, 1).astype(np.float32)
    assert_allclose(
        sparse_weights(X, 5.0, 8).toarray(), weights_by_blocks(X, 5.0, 8, 0.5), atol=2e-6
    )


@pytest.mark.parametrize("share", [0.03, 0.5])
def test_item_features_are_further_rows(share):
    X = random_matrix()
    F = sp.random_array((40, 6), density=share, rng=np.random.default_rng(0)).toarray()
    W = EASE(5.0, item_features=F, feature_weight=2, density=0.3).fit(X).coef_
    rows = sp.csr_array(sp.vstack([X, sp.csr_array(2 * F.T)]), dtype=np.float32)
    assert_allclose(W.toarray(), EASE(5.0, density=0.3).fit(rows).coef_.toarray(), atol=1e-6)


def test_partial_fit_fits_to_all_rows():
    X = random_matrix()
    expected = EASE(5.0, density=0.2).fit(X).coef_.toarray()
    model = EASE(5.0, density=0.2).fit(X[:290]).partial_fit(X[290:])
    assert_array_equal(model.coef_.toarray(), expected)
    model = EASE(5.0).fit(X[:298]).set_params(density=0.2).partial_fit(X[298:])
    assert_array_equal(model.coef_.toarray(), expected)
    model.set_params(density=None).partial_fit(X[:1])
    assert isinstance(model.coef_, np.ndarray)
    model = EASE(5.0, density=1).fit(X[:298]).set_params(density=None).partial_fit(X[298:])
    assert_array_equal(model.coef_, EASE(5.0).fit(X).coef_)


def test_save_and_load(tmp_path):
    X = random_matrix()
    model = EASE(5.0, density=0.2).fit(X)
    model.save(tmp_path / "model.recsys")
    loaded = load(tmp_path / "model.recsys")
    assert_array_equal(loaded.coef_.toarray(), model.coef_.toarray())
    assert_array_equal(loaded.predict(X[:9]), model.predict(X[:9]))
    assert loaded.density == 0.2


def test_explanations_sum_to_the_scores():
    X = random_matrix()
    model = EASE(5.0, density=0.2).fit(X)
    why = model.explain(X[:3], [5])
    sums = why.groupby("user")["contribution"].sum()
    assert_allclose(sums, model.predict(X[:3])[:, 5], rtol=1e-5, atol=1e-6)


def test_density_below_one_weight_per_item_is_an_error():
    X = random_matrix()
    with pytest.raises(ValueError, match=r"density=0.02 leaves 40 items.*at least 0.025"):
        EASE(5.0, density=0.02).fit(X)
    assert EASE(5.0, density=0.025).fit(X).coef_.nnz > 0


@pytest.mark.parametrize("density", [0, 1.5, -0.1, "auto"])
def test_density_is_validated(density):
    with pytest.raises(ValueError, match="density"):
        EASE(5.0, density=density).fit(random_matrix())


def test_devices_other_than_the_cpu_are_refused():
    with pytest.raises(ValueError, match=r"density=0.2 is computed on the CPU.*cuda"):
        EASE(5.0, density=0.2, device="cuda").fit(random_matrix())


def test_memory_is_checked_first():
    X = sp.csr_array(np.ones((1, 3_000_000), dtype=np.float32))
    with pytest.raises(MemoryError, match=r"300,000 weights for each of 3,000,000.*Lower density"):
        EASE(5.0, density=0.1).fit(X)
