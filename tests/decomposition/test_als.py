"""ALS against its loss and its normal equations, written out densely in float64."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

from sklearn_recsys import ALS, load
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.decomposition._sparse_rows import SparseRows
from sklearn_recsys.decomposition._torch_rows import TorchRows
from sklearn_recsys.decomposition._weighted_rows import WeightedRows
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.utils._fold_in import length_groups
from sklearn_recsys.utils._threads import n_threads

PARAMS = {"n_factors": 6, "l2": 0.02, "unobserved_weight": 0.3, "random_state": 0}


def weighted(n_users=60, n_items=40, density=0.15, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_users, n_items), density=density, format="csr", rng=rng)
    X.data = rng.integers(1, 8, X.nnz).astype(np.float32) / 2
    return X


def penalties(model, X):
    """Return λ (n + α₀ n_others)^ν of the users and of the items."""
    observed = X.toarray() != 0
    n_users, n_items = X.shape
    of_users = observed.sum(1) + model.unobserved_weight * n_items
    of_items = observed.sum(0) + model.unobserved_weight * n_users
    return model.l2 * of_users**model.reg_exponent, model.l2 * of_items**model.reg_exponent


def dense_loss(model, X, users, items):
    """Return the loss of the class's notes, over every cell."""
    users, items = np.asarray(users, np.float64), np.asarray(items, np.float64)
    weights, scores = X.toarray().astype(np.float64), users @ items.T
    of_users, of_items = penalties(model, X)
    return (
        np.sum(weights * (1 - scores) ** 2)
        + model.unobserved_weight * np.sum(scores**2)
        + of_users @ np.sum(users**2, axis=1)
        + of_items @ np.sum(items**2, axis=1)
    )


def dense_users(model, X, items):
    """Return the minimiser of each user's part of the loss, one user at a time.

    With the transpose and the users' vectors: of each item's part.
    """
    items = np.asarray(items, np.float64)
    gram = model.unobserved_weight * items.T @ items
    users = []
    for weights, penalty in zip(X.toarray(), penalties(model, X)[0], strict=True):
        A = gram + items.T @ (weights[:, None] * items) + penalty * np.eye(items.shape[1])
        users.append(np.linalg.solve(A, items.T @ weights))
    return np.array(users)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_the_loss_falls_at_every_half_step(monkeypatch, solver):
    X = weighted()
    model = ALS(**PARAMS, solver=solver, cg_steps=1, max_iter=6)
    seen = []
    half_step = ALS._half_step

    def watched(self, rows, vectors, others):
        seen.append((half_step(self, rows, vectors, others), others))
        return seen[-1][0]

    monkeypatch.setattr(ALS, "_half_step", watched)
    model.fit(X)
    losses = [
        dense_loss(model, X, *(pair if step % 2 == 0 else pair[::-1]))
        for step, pair in enumerate(seen)
    ]
    losses.append(dense_loss(model, X, model.user_factors_, model.item_factors_))
    assert len(losses) == 13
    assert np.all(np.diff(losses) < 1e-6 * losses[0])
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("reg_exponent", [0.5, 1.0])
def test_item_vectors_are_the_exact_minimisers(monkeypatch, reg_exponent):
    X = weighted()
    users = []
    half_step = ALS._half_step

    def watched(self, rows, vectors, others):
        users.append(others)
        return half_step(self, rows, vectors, others)

    monkeypatch.setattr(ALS, "_half_step", watched)
    model = ALS(**PARAMS, reg_exponent=reg_exponent, max_iter=4).fit(X)
    expected = dense_users(model, X.T.tocsr(), users[-1])
    assert_allclose(model.item_factors_, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reg_exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("unobserved_weight", [0.0, 0.3])
def test_user_vectors_are_the_exact_minimisers(reg_exponent, unobserved_weight):
    X = weighted()
    model = ALS(6, l2=0.1, unobserved_weight=unobserved_weight, reg_exponent=reg_exponent)
    model.set_params(random_state=0).fit(X)
    assert model.user_factors_.dtype == model.item_factors_.dtype == np.float32
    expected = dense_users(model, X, model.item_factors_)
    assert_allclose(model.user_factors_, expected, rtol=1e-5, atol=1e-7)
    others = weighted(seed=1)  # new users are solved in the same way
    expected = dense_users(model, others, model.item_factors_)
    assert_allclose(model.transform(others), expected, rtol=1e-5, atol=1e-7)
    assert_allclose(model.predict(others), expected @ model.item_factors_.T, atol=1e-5)
    assert_array_equal(model.transform(X), model.user_factors_)


def test_at_the_end_any_change_raises_the_loss():
    X = weighted()
    model = ALS(**PARAMS, max_iter=100).fit(X)
    factors = [model.user_factors_.astype(np.float64), model.item_factors_.astype(np.float64)]
    best = dense_loss(model, X, *factors)
    rng = np.random.default_rng(0)
    for side in (0, 1):
        for row in range(0, len(factors[side]), 7):
            changed = [side_factors.copy() for side_factors in factors]
            changed[side][row] += 0.03 * rng.standard_normal(6)
            assert dense_loss(model, X, *changed) > best


def test_many_conjugate_gradient_steps_are_the_exact_solution():
    X = weighted()
    exact = ALS(**PARAMS, max_iter=3).fit(X)
    model = ALS(**PARAMS, max_iter=3, solver="cg", cg_steps=30).fit(X)
    assert_allclose(model.item_factors_, exact.item_factors_, atol=1e-4)
    assert_allclose(model.predict(X), exact.predict(X), atol=1e-4)


def half_step(n_users=100, density=0.3, dtype=np.float64):
    """Return a matrix, and vectors, factors, prior and ridge of a half step on it."""
    X = weighted(n_users, density=density)
    rng = np.random.default_rng(0)
    vectors, factors = rng.standard_normal((n_users, 6)), rng.standard_normal((X.shape[1], 6))
    prior, ridge = 0.1 * factors.T @ factors, rng.uniform(0.1, 1, n_users)
    return X, *(array.astype(dtype) for array in (vectors, factors, prior, ridge))


def test_blocks_and_pieces_of_rows_change_nothing():
    X, _, *half = half_step()
    rows = WeightedRows(X, 6)
    for cells in (1, 5, 40):  # at once
        small = WeightedRows(X, 6, block_bytes=4 * 6 * cells)
        assert len(small.groups) > len(rows.groups)
        assert_allclose(small.solve(*half), rows.solve(*half), rtol=1e-10)


@pytest.mark.parametrize("cells", [3, 2**12])
def test_other_devices_solve_the_same(cells):
    X, _, *half = half_step()
    *tensors, ridge = map(torch.from_numpy, half)
    others = TorchRows(X, 6, torch.device("cpu"), block_bytes=4 * 6 * cells)
    solved = others.solve(*tensors, ridge.numpy())
    assert_allclose(solved, WeightedRows(X, 6).solve(*half), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cells", [3, 2**12])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_other_devices_take_the_same_steps(cells, n_steps):
    X, *half = half_step(dtype=np.float32)
    X = sp.vstack(
        [X, sp.csr_array((1, X.shape[1]), dtype=np.float32)], format="csr"
    )  # an empty row, too
    half = [np.append(half[0], half[0][:1], axis=0), *half[1:3], np.append(half[3], half[3][:1])]
    *tensors, ridge = map(torch.from_numpy, half)
    ours, others = SparseRows(X), TorchRows(X, 6, torch.device("cpu"), block_bytes=24 * cells)
    improved = ours.improve(*tensors, ridge.numpy(), n_steps)
    assert_allclose(
        improved, others.improve(*tensors, ridge.numpy(), n_steps), rtol=1e-3, atol=1e-4
    )
    assert_array_equal(improved[-1], 0)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_threads_change_nothing_and_are_left_as_they_were(solver):
    X = weighted(n_users=300)
    model = ALS(**PARAMS, solver=solver, max_iter=2)
    with threadpool_limits(1):
        expected = model.fit(X).user_factors_
    with threadpool_limits(3):
        before = n_threads()
        assert_array_equal(model.fit(X).user_factors_, expected)
        assert n_threads() == before
    X, _, *half = half_step()
    rows = WeightedRows(X, 6, block_bytes=100)  # so that each thread has many groups
    with threadpool_limits(1, user_api="blas"):
        expected = rows.solve(*half)
    with threadpool_limits(3, user_api="blas"):
        assert_array_equal(rows.solve(*half), expected)


def test_a_row_does_not_depend_on_the_others():
    X = weighted(n_users=200)
    model = ALS(**PARAMS).fit(X)
    each = np.vstack([model.transform(X[[row]]) for row in range(0, 200, 9)])
    assert_allclose(each, model.user_factors_[::9], rtol=1e-6, atol=1e-7)


def test_a_training_row_is_answered_as_anybody_new_with_that_row():
    X = weighted()
    model = ALS(**PARAMS).fit(X)
    known = model.predict(X)
    model._training_rows = lambda X: np.full(X.shape[0], -1)  # every user is new
    assert_allclose(model.predict(X), known, rtol=1e-5, atol=1e-6)


def test_values_are_weights():
    """Doubling every weight, α₀ and the penalties doubles the loss: the factors stay."""
    X = weighted()
    model = ALS(**{**PARAMS, "reg_exponent": 0.0, "l2": 0.5}).fit(X)
    doubled = ALS(**{**PARAMS, "reg_exponent": 0.0, "l2": 1.0, "unobserved_weight": 0.6}).fit(2 * X)
    assert_allclose(doubled.predict(2 * X), model.predict(X), atol=1e-4)
    ones = X.copy()
    ones.data[:] = 1
    assert np.abs(ALS(**PARAMS).fit(ones).predict(ones) - model.predict(X)).max() > 0.05


def test_a_greater_weight_pulls_the_score_up():
    X = weighted()
    model = ALS(**PARAMS).fit(X)
    row, heavier = X[[0]], X[[0]]
    heavier.data[0] *= 10
    item = row.indices[0]
    assert model.predict(heavier)[0, item] > model.predict(row)[0, item]


def test_known_and_new_users_get_as_good_lists():
    X = make_interactions(400, 80, density=0.15, random_state=0)
    known, held_out = random_holdout(X, 0.2, per_user=True, random_state=0)
    model = ALS(16, random_state=0)
    trained_in = model.fit(known).score(known[:100], held_out[:100])
    new = model.fit(known[100:]).score(known[:100], held_out[:100])
    assert new > 0.9 * trained_in


def test_seeds():
    X = weighted()
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = ALS(**PARAMS).fit(X), ALS(**PARAMS).fit(X)
    assert_array_equal(first.item_factors_, second.item_factors_)
    assert_array_equal(first.user_factors_, second.user_factors_)
    other = ALS(**{**PARAMS, "random_state": 1}).fit(X)
    assert np.abs(first.item_factors_ - other.item_factors_).max() > 0.01
    assert_array_equal(np.random.get_state()[1], state)
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_a_fit_in_stretches_is_one_fit():
    X = weighted()
    whole = ALS(**PARAMS, max_iter=8).fit(X)
    first = ALS(**PARAMS, max_iter=3).fit(X)
    before = first.item_factors_.copy()
    second = ALS(**PARAMS, max_iter=5, init=first.item_factors_).fit(X)
    assert_array_equal(second.item_factors_, whole.item_factors_)
    assert_array_equal(second.predict(X), whole.predict(X))
    assert_array_equal(first.item_factors_, before)


@pytest.mark.parametrize("init", [np.zeros((3, 6)), np.zeros(6), np.full((40, 6), np.nan)])
def test_first_vectors_that_do_not_fit_are_refused(init):
    with pytest.raises(ValueError, match=r"init|Expected 2D"):
        ALS(**PARAMS, init=init).fit(weighted())


def test_partial_fit_adds_users():
    X = weighted()
    model = ALS(**PARAMS).fit(X[:40]).partial_fit(X[40:])
    assert_array_equal(model.predict(X), ALS(**PARAMS).fit(X).predict(X))


def test_items_and_users_without_interactions():
    X = weighted().tolil()
    X[:, 5] = 0
    X[7] = 0
    X = X.tocsr()
    model = ALS(**PARAMS).fit(X)
    assert_array_equal(model.item_factors_[5], 0)
    assert_array_equal(model.user_factors_[7], 0)
    popularity = np.argsort(-np.bincount(X.indices, minlength=40), kind="stable")
    assert_array_equal(model.recommend(7, n=40)[0], popularity)


def cosines(A, B):
    A, B = (M / np.linalg.norm(M, axis=1, keepdims=True) for M in (A, B))
    return A @ B.T


def test_similar_items():
    model = ALS(**PARAMS).fit(weighted())
    ids, similarities = model.similar_items([3, 8], n=5)
    assert ids.shape == similarities.shape == (2, 5)
    assert similarities.dtype == np.float32
    expected = cosines(model.item_factors_[[3, 8]], model.item_factors_)
    expected[[0, 1], [3, 8]] = -np.inf
    assert_array_equal(ids, np.argsort(-expected, axis=1)[:, :5])
    assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :5], atol=1e-6)
    assert_array_equal(model.similar_items(3, n=5)[0], ids[:1])
    assert model.similar_items(3, n=50)[0].shape == (1, 50)
    assert_array_equal(model.similar_items(3, n=50)[0][0, 39:], -1)  # everything but itself
    with pytest.raises(ValueError, match="item indices"):
        model.similar_items([40])


def test_items_without_interactions_have_no_neighbors():
    X = weighted().toarray()
    X[:, 5] = 0
    model = ALS(**PARAMS).fit(X)
    assert not np.any(model.similar_items(np.arange(40), n=40)[0] == 5)
    ids, similarities = model.similar_items(5, n=3)
    assert_array_equal(ids, -1)
    assert_array_equal(similarities, -np.inf)


def test_similar_users():
    X = weighted()
    model = ALS(**PARAMS).fit(X)
    ids, similarities = model.similar_users(n=4)
    expected = cosines(model.user_factors_, model.user_factors_)
    np.fill_diagonal(expected, -np.inf)
    assert_array_equal(ids, np.argsort(-expected, axis=1)[:, :4])
    assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :4], atol=1e-6)
    assert_array_equal(model.similar_users(3, n=4)[0], ids[[3]])
    assert_array_equal(model.similar_users(X[[3]], n=4)[0], ids[[3]])  # by its content
    new = model.similar_users(weighted(seed=1)[:2], n=60)[0]
    assert_array_equal(np.sort(new), [np.arange(60)] * 2)


def test_transform_is_for_other_models_of_scikit_learn():
    X = weighted()
    model = ALS(**PARAMS)
    vectors = model.fit_transform(X)
    assert_array_equal(vectors, model.user_factors_)
    assert model.get_feature_names_out().tolist() == [f"als{factor}" for factor in range(6)]
    with pytest.raises(NotFittedError):
        ALS().transform(X)


def test_negative_weights_are_refused():
    X = weighted().toarray()
    model = ALS(**PARAMS).fit(X)
    X[0, 0] = -1
    for method in (model.transform, model.predict, model.recommend, model.similar_users, model.fit):
        with pytest.raises(ValueError, match="Negative values in data passed to ALS"):
            method(X)


def test_a_penalty_too_small_for_the_precision_is_a_clear_error():
    X = sp.csr_array(np.eye(3, 12))
    with pytest.raises(ValueError, match=r"l2=1e-40 is too small"):
        ALS(8, l2=1e-40, unobserved_weight=0, random_state=0).fit(X)


@pytest.mark.parametrize(
    "params",
    [
        {"n_factors": 0},
        {"n_factors": 2.5},
        {"l2": 0},
        {"l2": -1.0},
        {"unobserved_weight": -0.1},
        {"max_iter": 0},
        {"solver": "lu"},
        {"cg_steps": 0},
        {"reg_exponent": "1"},
        {"device": 0},
    ],
)
def test_bad_parameters(params):
    (name,) = params
    with pytest.raises(ValueError, match=f"The '{name}' parameter of ALS must be"):
        ALS(**params).fit(weighted())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_without_cuda():
    model = ALS(device="cuda")
    with pytest.raises(ValueError, match="device='cuda' is not available"):
        model.fit(weighted())
    assert not hasattr(model, "interactions_")


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_device_auto_is_as_good(solver):
    X = weighted(n_users=300)
    model = ALS(**PARAMS, solver=solver, max_iter=5).fit(X)
    other = ALS(**PARAMS, solver=solver, max_iter=5, device="auto").fit(X)
    assert_allclose(other.predict(X), model.predict(X), atol=1e-3)


def test_a_model_of_another_device_loads_without_it(tmp_path):
    X = weighted()
    model = ALS(**PARAMS).fit(X).set_params(device="cuda:7")  # as if trained there
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.device == "cuda:7"
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert all(
        isinstance(value, np.ndarray) for name, value in vars(model).items() if "factors_" in name
    )


def test_a_memory_mapped_model_predicts(tmp_path):
    """What joblib hands its workers is read-only."""
    X = weighted()
    model = ALS(**PARAMS).fit(X)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    assert not mapped.item_factors_.flags.writeable
    assert_array_equal(mapped.predict(X), model.predict(X))


def test_rows_are_padded_in_groups_of_bounded_size():
    X = weighted(n_users=500, density=0.3)
    lengths = np.diff(X.indptr)
    groups = length_groups(lengths, lambda width: 24 * (width + 6), 1000)
    assert_array_equal(np.sort(np.concatenate(groups)), np.flatnonzero(lengths))
    for group in groups:
        widths = lengths[group]
        assert widths.max() <= widths.min() + 8
        assert len(group) == 1 or 24 * len(group) * (widths.max() + 6) <= 1000
    for rows, indices, weights in WeightedRows(X, 6, block_bytes=1000).groups:
        dense = np.zeros((len(rows), 40))
        np.add.at(dense, (np.arange(len(rows))[:, None], indices), weights)
        assert_array_equal(dense, X[rows].toarray())


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("parameter", [{"l2": 1e300}, {"reg_exponent": 1e300}])
def test_penalties_beyond_float32_are_refused(solver, parameter):
    X = make_interactions(20, 10, random_state=0)
    with pytest.raises(ValueError, match="penalties are too large"):
        ALS(3, solver=solver, random_state=0, **parameter).fit(X)


def test_weights_beyond_integers():
    X = make_interactions(20, 10, random_state=0)
    fitted = [ALS(3, unobserved_weight=w, random_state=0).fit(X) for w in (10**13, 1e13)]
    assert_array_equal(fitted[0].predict(X), fitted[1].predict(X))
