"""CDAE: the corrupted input, the logistic objectives, and the users' nodes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

import sklearn_recsys  # noqa: E402
from sklearn_recsys import CDAE, PopularityRecommender  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.neural import SparseRows  # noqa: E402
from sklearn_recsys.neural._cdae import with_negatives  # noqa: E402
from sklearn_recsys.neural._modules import corrupted  # noqa: E402

negatives = pytest.mark.parametrize("n_negatives", [None, 3])


def interactions(n_users=120, n_items=40, seed=0):
    """Return interactions of users of whom no two are alike."""
    R = make_interactions(2 * n_users, n_items, density=0.3, random_state=seed)
    _, first = np.unique(R.toarray(), axis=0, return_index=True)
    return R[np.sort(first)[:n_users]]


def small(**params):
    return CDAE(**{"n_factors": 16, "lr": 0.02, "max_epochs": 20, "random_state": 0, **params})


def rows(X):
    return SparseRows.from_csr(sp.csr_array(X))


def formula(model, X, nodes):
    weights = {k: v.numpy() for k, v in model.net_.module_.state_dict().items()}
    dense = X.toarray()
    if model.normalize:
        dense = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    codes = np.tanh(dense @ weights["encoder"] + nodes + weights["bias"])
    return codes @ weights["decoder.weight"].T + weights["decoder.bias"]


def test_corruption_keeps_the_mean():
    batch = rows(np.ones((200, 50)))
    torch.manual_seed(0)
    values = corrupted(batch, 0.75).values
    assert set(values.unique().tolist()) == {0.0, 4.0}  # 1 / (1 - q)
    assert values.mean().item() == pytest.approx(1, abs=0.1)
    assert corrupted(batch, 0.75, training=False) is batch


@pytest.mark.parametrize("normalize", [True, False])
def test_known_users_have_their_node_and_others_have_none(normalize):
    R = interactions()
    model = small(normalize=normalize).fit(R[:100])
    nodes = model.net_.module_.nodes.detach().numpy()
    assert nodes.shape == (100, 16) and np.abs(nodes).max() > 1e-3
    assert_allclose(model.predict(R[:5]), formula(model, R[:5], nodes[:5]), atol=1e-4)
    assert_allclose(model.predict(R[100:]), formula(model, R[100:], 0), atol=1e-4)
    order = np.random.RandomState(0).permutation(120)
    assert_allclose(model.predict(R[order]), model.predict(R)[order], atol=1e-5)


def test_of_equal_rows_the_first_one_answers():
    R = interactions()
    R = sp.csr_array(sp.vstack([R, R[[3]]]))
    model = small().fit(R)
    nodes = model.net_.module_.nodes.detach().numpy()
    assert not np.array_equal(nodes[3], nodes[-1])
    assert_allclose(model.predict(R[[120]]), formula(model, R[[3]], nodes[[3]]), atol=1e-4)


def test_users_held_out_for_early_stopping_have_no_node():
    R = interactions(400)
    model = small(max_epochs=3).fit(R)
    train, _ = model._make_datasets(R, np.random.RandomState(0))
    nodes = model.net_.module_.nodes.detach()
    untrained = np.setdiff1d(np.arange(400), train.numbers)
    assert len(untrained) == 40
    assert torch.all(nodes[untrained] == 0)
    assert torch.all(nodes[train.numbers].abs().sum(dim=1) > 0)


def test_the_full_objective_is_the_logistic_loss_of_every_cell():
    R = interactions(30, 20)
    module = small(max_epochs=2).fit(R).net_.module_.eval()
    batch = rows(R)
    logits = module(batch)
    dense = torch.from_numpy(R.toarray())
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, dense, reduction="sum")
    assert module.loss(batch, batch).item() == pytest.approx(expected.item() / 30, rel=1e-5)


def test_the_sampled_objective_counts_each_negative_as_often_as_it_was_drawn():
    R = interactions(30, 20)
    module = small(max_epochs=2, n_negatives=3).fit(R).net_.module_.eval()
    batch = rows(R)
    torch.manual_seed(5)
    loss = module.loss(batch, batch)
    torch.manual_seed(5)
    cells = with_negatives(batch, 3)
    weights = torch.zeros(30, 20)
    weights[cells.rows, cells.indices] = cells.values
    logits = module(batch)
    losses = torch.nn.functional.softplus(-weights.sign() * logits)
    assert loss.item() == pytest.approx((weights.abs() * losses).sum().item() / 30, rel=1e-5)


def test_negatives_are_uniform_over_the_other_items_and_drawn_anew():
    X = np.zeros((3, 6))
    X[0, [1, 4]] = X[1] = 1
    X[2, [0, 1, 2, 3, 4]] = 1
    torch.manual_seed(0)
    first, second = (with_negatives(rows(X), 3000) for _ in range(2))
    assert not torch.equal(first.values, second.values)
    drawn = np.zeros((3, 6))
    drawn[first.rows, first.indices] = first.values
    assert_array_equal(drawn > 0, X > 0)  # the positives, and no negative among them
    counts = -np.minimum(drawn, 0)
    assert_array_equal(counts.sum(axis=1), [6000, 0, 15_000])  # a full row has nothing to draw from
    assert_allclose(counts[0, [0, 2, 3, 5]], 1500, rtol=0.1)
    order = first.column_order  # the cells by column, as SparseRows has them
    assert torch.all(first.indices[order].diff() >= 0)
    assert_array_equal(first.rows[order], first.column_rows)
    assert first.column_indptr[-1] == len(first.indices)


@negatives
def test_learns_more_than_popularity_for_new_users(n_negatives):
    R = interactions(600, 80)
    model = small(n_negatives=n_negatives, max_epochs=40).fit(R[:500])
    popular = PopularityRecommender().fit(R[:500])
    assert model.score(R[500:]) > popular.score(R[500:]) + 0.02


@negatives
def test_one_seed_one_model(n_negatives):
    R = interactions()
    first, second, other = (
        small(n_negatives=n_negatives, random_state=seed).fit(R).predict(R) for seed in (0, 0, 1)
    )
    assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_partial_fit_keeps_the_nodes_of_the_users_it_finds_again():
    R = interactions()
    model = small(early_stopping=False).fit(R[:100])
    former = model.net_.module_.nodes.detach()
    resumed = copy.deepcopy(model)
    resumed._hand_over_nodes(R[50:])
    nodes = resumed.net_.module_.nodes.detach()
    assert torch.equal(nodes[:50], former[50:100])
    assert torch.all(nodes[50:] == 0)
    model.partial_fit(R)
    assert model.net_.module_.nodes.shape == (120, 16)
    assert model.predict(R).shape == (120, 40)


def test_saving(tmp_path):
    R = interactions()
    model = small().fit(R[:100])
    model.save(tmp_path / "model")
    for again in (sklearn_recsys.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(again.predict(R), model.predict(R))


@pytest.mark.parametrize(
    "params", [{"n_negatives": 0}, {"dropout": 1.0}, {"activation": "sine"}, {"normalize": 2}]
)
def test_bad_parameters(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of CDAE"):
        CDAE(**params).fit(interactions())
