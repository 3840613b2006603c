"""ELSA: its loss against the dense form, its scores, and what its items are worth."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

import sklearn_recsys  # noqa: E402
from sklearn_recsys import ELSA, PopularityRecommender  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.neural import RowDataset, SparseRows  # noqa: E402
from sklearn_recsys.neural._elsa import ELSAModule, ValidationBatches  # noqa: E402
from sklearn_recsys.utils._cells import normalized  # noqa: E402


def interactions(n_users=120, n_items=40, seed=0):
    return make_interactions(n_users, n_items, density=0.15, random_state=seed)


def weighted(seed=0):
    R = interactions(seed=seed)
    R.data = np.random.RandomState(seed).uniform(0.2, 5, R.nnz).astype(np.float32)
    return R


def small(**params):
    return ELSA(**{"n_factors": 8, "max_epochs": 10, "batch_size": 32, "random_state": 0, **params})


def module_and_rows(R, n_factors=6):
    torch.manual_seed(0)
    rows = SparseRows.from_csr(R)
    return ELSAModule(R.shape[1], n_factors).double(), rows.with_values(rows.values.double())


def dense_outputs(module, R):
    """Return x (A Aᵀ − I) as the paper computes it, differentiable in the vectors."""
    x = torch.from_numpy(R.toarray().astype(np.float64))
    A = module.vectors / module.vectors.norm(dim=1, keepdim=True)
    return x, x @ (A @ A.T - torch.eye(len(A), dtype=torch.float64))


@pytest.mark.parametrize("R", [interactions(), weighted()], ids=["ones", "weights"])
def test_the_loss_and_its_gradient_are_those_of_the_dense_form(R):
    R = R[np.diff(R.indptr) > 1]
    module, rows = module_and_rows(R)
    x, outputs = dense_outputs(module, R)
    unit = [rows / rows.norm(dim=1, keepdim=True) for rows in (outputs, x)]
    expected = (unit[0] - unit[1]).square().sum(dim=1).mean()
    (gradient,) = torch.autograd.grad(expected, module.vectors)
    loss = module.loss(rows, rows)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)
    assert_allclose(torch.autograd.grad(loss, module.vectors)[0], gradient, atol=1e-9)


def test_the_outputs():
    module, rows = module_and_rows(weighted())
    assert_allclose(
        module(rows).detach(), dense_outputs(module, weighted())[1].detach(), atol=1e-12
    )


def test_a_single_item_has_no_loss_to_learn_from():
    """No item contributes to its own output: the cosine is 0 whatever the vectors."""
    module, rows = module_and_rows(sp.csr_array(np.eye(40, dtype=np.float32)[:1]))
    loss = module.loss(rows, rows)
    assert loss.item() == pytest.approx(2)
    assert_allclose(torch.autograd.grad(loss, module.vectors)[0], 0, atol=1e-12)


def test_scores_follow_from_the_item_vectors():
    R = weighted()
    model = small().fit(R)
    A, x = model.item_factors_.astype(np.float64), R.toarray()
    assert_allclose(np.linalg.norm(A, axis=1), 1, atol=1e-6)
    expected = x @ (A @ A.T - np.eye(len(A)))
    assert_allclose(model.predict(R), expected, atol=1e-5)
    assert_allclose(model.transform(R), x @ A, atol=1e-5)
    assert_array_equal(model.user_factors_, model.transform(R))
    rows, items = np.indices(R.shape).reshape(2, -1)
    assert_allclose(model.predict_pairs(R, rows, items), expected.ravel(), atol=1e-5)
    ids, cosines = model.similar_items(3, n=4)
    others = np.delete(np.arange(40), 3)
    best = others[np.argsort(-(A @ A[3])[others], kind="stable")[:4]]
    assert_array_equal(ids[0], best)
    assert_allclose(cosines[0], A[best] @ A[3], atol=1e-6)


def test_an_item_adds_nothing_to_its_own_score():
    model = small().fit(weighted())
    X = sp.csr_array(np.diag(np.linspace(0.1, 9, 40).astype(np.float32)))
    assert_array_equal(model.predict(X).diagonal(), 0)
    assert_array_equal(model.predict_pairs(X, np.arange(40), np.arange(40)), 0)


def test_items_without_interactions_have_no_vector():
    R = interactions().toarray()
    R[:, [2, 7]] = 0
    model = small().fit(R)
    assert_array_equal(np.flatnonzero(~model.item_factors_.any(axis=1)), [2, 7])
    assert not np.isin(model.similar_items(np.arange(40), n=40)[0], [2, 7]).any()
    others = np.delete(np.arange(40), [2, 7])
    model.partial_fit(interactions())  # has them
    assert_allclose(np.linalg.norm(model.item_factors_, axis=1), 1, atol=1e-6)
    model.partial_fit(R[:, :] * (np.arange(40) != others[0]))  # keeps what it has learned
    assert_allclose(np.linalg.norm(model.item_factors_, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_unit_of_the_values_does_not_matter(scale):
    R = weighted()
    model, other = small().fit(R), small().fit(R * np.float32(scale))
    assert_allclose(other.item_factors_, model.item_factors_, atol=1e-4)


def test_weights_matter():
    R = weighted()
    ones = sp.csr_array((np.ones_like(R.data), R.indices, R.indptr), shape=R.shape)
    assert np.abs(small().fit(R).item_factors_ - small().fit(ones).item_factors_).max() > 0.01


def test_normalized_items_are_learned_and_plain_rows_are_scored():
    R, params = weighted(), {"early_stopping": False}
    model = small(item_normalization=0.5, **params).fit(R)
    plain = small(**params).fit(normalized(R, 0, 0.5))
    assert_allclose(model.item_factors_, plain.item_factors_, atol=1e-6)
    assert_allclose(model.predict(R), plain.predict(R), atol=1e-5)
    of_users = small(**params).fit(normalized(R, 0.5, 0))  # as the docstring says
    assert_allclose(of_users.item_factors_, small(**params).fit(R).item_factors_, atol=1e-4)


def test_empty_rows_are_not_trained_on():
    R = interactions()
    padded = sp.vstack([R, sp.csr_array((30, 40), dtype=R.dtype)], format="csr")
    params = {"early_stopping": False, "batch_size": 200}
    model, other = small(**params).fit(R), small(**params).fit(padded)
    assert_allclose(other.item_factors_, model.item_factors_, atol=1e-5)


def test_learns_more_than_popularity_for_new_users():
    R = interactions(600, 80)
    model = ELSA(n_factors=20, random_state=0).fit(R[:500])
    assert model.score(R[500:]) > PopularityRecommender().fit(R[:500]).score(R[500:]) + 0.05


def test_finds_the_blocks_of_a_matrix():
    """With two factors and two groups of items, the vectors of a group are one direction."""
    R = np.kron(np.eye(2), np.ones((30, 10)))
    R[np.random.RandomState(0).uniform(size=R.shape) < 0.3] = 0
    model = small(n_factors=2, max_epochs=200, early_stopping=False).fit(R)
    A = model.item_factors_
    expected = np.kron(np.eye(2), np.ones((10, 10)))
    assert_allclose(A @ A.T, expected, atol=0.15)


def test_validation_scores_few_users_at_a_time():
    R = sp.csr_array((500, 2**20), dtype=np.float32)
    sizes = [len(rows) for rows, _ in ValidationBatches(RowDataset(R), 128)]
    assert sum(sizes) == 500 and max(sizes) * R.shape[1] <= 2**26
    narrow = ValidationBatches(RowDataset(R[:, :100]), 128)
    assert [len(rows) for rows, _ in narrow] == [128, 128, 128, 116]


def test_early_stopping_validates_new_users():
    R = interactions(400, 60)
    model = small(max_epochs=4).fit(R)
    assert model.history_["valid_ndcg"].between(0, 1).all()
    trained = small(max_epochs=4, early_stopping=False).fit(R)
    assert "valid_ndcg" not in trained.history_


def test_saving(tmp_path):
    R = weighted()
    model = small().fit(R)
    model.save(tmp_path / "model")
    for loaded in (sklearn_recsys.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(loaded.predict(R), model.predict(R))
        assert len(loaded.partial_fit(R).history_) == 2 * len(model.history_)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_factors": 0}, "The 'n_factors' parameter of ELSA"),
        ({"item_normalization": -0.5}, "The 'item_normalization' parameter of ELSA"),
        ({"lr": 0.0}, "The 'lr' parameter of ELSA"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        ELSA(**params).fit(interactions())


def test_vectors_that_do_not_fit_in_memory():
    with pytest.raises(MemoryError, match="Training ELSA with 40,000,000,000,000 weights"):
        ELSA(n_factors=10**12).fit(interactions())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    R = interactions()
    model = small(device="cuda").fit(R)
    assert_allclose(np.linalg.norm(model.item_factors_, axis=1), 1, atol=1e-6)
