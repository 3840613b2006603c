"""SimpleX: losses and gradients against numpy, sampled negatives, new users, sparse updates."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, vstack

torch = pytest.importorskip("torch")

from sklearn_recsys import SimpleX  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.neural._data.contrast_batches import (  # noqa: E402
    ContrastBatches,
    ContrastDataset,
)
from sklearn_recsys.neural._data.random import seeded  # noqa: E402
from sklearn_recsys.neural._simplex import SimpleXModule  # noqa: E402

PARAMS = {
    "history_weight": 0.3,
    "loss": "softmax",
    "temperature": 0.2,
    "margin": 0.1,
    "negative_weight": 5.0,
    "dropout": 0.0,
    "l2": 0.0,
    "sparse": False,
}


def interactions(n_users=40, n_items=30):
    X = make_interactions(n_users, n_items, density=0.2, random_state=0)
    return X[np.sort(np.unique(X.toarray(), axis=0, return_index=True)[1])]


def small(**params):
    return SimpleX(**{"n_factors": 4, "max_epochs": 3, "random_state": 0, **params})


def module_of(X, n_factors=4, **params):
    torch.manual_seed(0)
    module = SimpleXModule(*X.shape, n_factors, **{**PARAMS, **params})
    torch.nn.init.normal_(module.user_embeddings, std=0.3)
    return module


def batch_of(X, n_negatives, seed=0):
    """Return a batch of all rows, with an index of the negatives among all items."""
    data = ContrastDataset.of_filled_rows(X)
    data.n_negatives = n_negatives
    with seeded(seed):
        (batch,) = ContrastBatches(data, 1000)
    return batch, batch[1][batch[2]].numpy()


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def expected_loss(own, items, X, negatives, loss, l2):
    """Return the loss of the Notes, a user and an interaction at a time."""
    losses, touched = [], set(negatives)
    for user, row in enumerate(X.toarray()):
        history = np.flatnonzero(row)
        touched |= set(history)
        h = 0.7 * own[user] + 0.3 * items[history].mean(axis=0) if len(history) else None
        others = [item for item in negatives if item not in history]
        for item in history:
            s, t = unit(h) @ unit(items[item]), unit(items[others]) @ unit(h)
            if loss == "softmax":
                shares = np.exp(np.append(s, t) / 0.2)
                losses.append(-np.log(shares[0] / shares.sum()))
            else:
                losses.append(1 - s + 5.0 / len(negatives) * np.maximum(0, t - 0.1).sum())
    filled = np.diff(X.indptr) > 0
    squares = (own[filled] ** 2).sum() + (items[sorted(touched)] ** 2).sum()
    return np.mean(losses) + l2 / 2 * squares


@pytest.mark.parametrize("n_negatives", [7, 30])
@pytest.mark.parametrize("loss", ["softmax", "hinge"])
def test_loss_and_gradient(loss, n_negatives):
    X = interactions(12).toarray()
    X[3] = X[:, 5] = 0
    X = csr_array(X)
    module = module_of(X, loss=loss, l2=0.1)
    batch, negatives = batch_of(X, n_negatives)
    assert len(set(negatives)) == n_negatives
    value = module.loss(*batch)
    value.backward()
    weights = [module.user_embeddings, module.item_embeddings]
    own, items = (w.detach().numpy().astype(np.float64) for w in weights)
    expected = expected_loss(own, items, X, negatives, loss, 0.1)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    rng = np.random.default_rng(0)
    for which, weight in enumerate(weights):  # a derivative along a random direction
        direction = rng.normal(size=weight.shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = [own, items]
            moved[which] = moved[which] + step * direction
            ends.append(expected_loss(*moved, X, negatives, loss, 0.1))
        slope = (ends[0] - ends[1]) / 2e-5
        assert (weight.grad.numpy() * direction).sum() == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "hinge"])
def test_a_users_own_items_are_not_negatives(loss):
    X = csr_array(np.ones((3, 6)))
    module = module_of(X, loss=loss)
    batch, _ = batch_of(X, 6)
    cosines = (
        unit(module.item_embeddings.detach().numpy())
        @ unit(
            (0.7 * module.user_embeddings + 0.3 * module.item_embeddings.mean(dim=0))
            .detach()
            .numpy()
        ).T
    )
    expected = 0 if loss == "softmax" else 1 - cosines.mean()
    assert module.loss(*batch).item() == pytest.approx(expected, abs=1e-6)


def test_dropout_takes_means_over_the_items_that_stay():
    X = make_interactions(200, 40, density=0.3, random_state=0)
    X = X[np.diff(X.indptr) > 0]
    module = module_of(X, dropout=0.6)
    rows, _, _ = batch_of(X, 1)[0]
    lengths = np.diff(X.indptr)
    with seeded(0):
        values = module._dropped_out(rows).values.numpy()
    sums = np.add.reduceat(values, X.indptr[:-1])
    assert_allclose(sums, 1, rtol=1e-6)
    kept = np.add.reduceat(values > 0, X.indptr[:-1])
    assert (kept[lengths == 1] == 1).all()
    assert (kept > 0).all()
    long = lengths > 7  # rarely without an item that stays
    assert kept[long].sum() / lengths[long].sum() == pytest.approx(0.4, abs=0.05)


def test_a_batch_holds_its_items_and_negatives_alone():
    X = interactions(12)
    (rows, items, negatives), sampled = batch_of(X[:2], 3)
    assert_array_equal(items, np.union1d(X[:2].indices, sampled))
    assert rows.shape == (2, len(items))
    assert_array_equal(items[rows.indices], X[:2].indices)
    assert_array_equal(items[negatives], sampled)


@pytest.mark.parametrize("optimizer", ["sparseadam", "adam", "sgd"])
def test_an_update_changes_what_it_touches(optimizer):
    X = interactions(12)
    params = {"batch_size": 3, "n_negatives": 3, "lr": 0.1}
    X = vstack([X[:3], csr_array((X.shape[0] - 3, X.shape[1]))], format="csr")
    model = small(max_epochs=1, early_stopping=False, optimizer=optimizer, **params).fit(X)
    own = model.net_.module_.user_embeddings.detach().numpy()
    assert own[:3].any(axis=1).all() and not own[3:].any()
    gradient = model.net_.module_.item_embeddings.grad
    assert gradient.is_sparse == (optimizer == "sparseadam")


@pytest.mark.parametrize("optimizer", ["sparseadam", "adam"])
def test_one_cycle_ends_with_a_rate_near_zero(optimizer):
    model = small(schedule="one_cycle", optimizer=optimizer, early_stopping=False)
    (group,) = model.fit(interactions()).net_.optimizer_.param_groups
    assert group["lr"] < 1e-3 * model.lr


def test_sparse_and_dense_gradients_are_equal():
    X = interactions(12)
    gradients = []
    for sparse in (False, True):
        module = module_of(X, sparse=sparse, l2=0.1)
        module.loss(*batch_of(X[:4], 6)[0]).backward()
        gradients.append([p.grad.to_dense() for p in module.parameters()])
    for dense, sparse in zip(*gradients, strict=True):
        assert_allclose(dense, sparse, atol=1e-7)


def test_vectors_and_scores():
    X = interactions()
    model = small(history_weight=0.5).fit(X[:-5])
    module = model.net_.module_
    own, items = (
        w.detach().numpy().astype(np.float64)
        for w in (module.user_embeddings, module.item_embeddings)
    )
    means = [items[np.flatnonzero(row)].mean(axis=0) for row in X.toarray()]
    known = unit(0.5 * own + 0.5 * np.array(means[:-5]))
    new = unit(np.array(means[-5:]))
    assert_allclose(model.user_factors_, known, atol=1e-6)
    assert_allclose(model.transform(X), np.vstack([known, new]), atol=1e-6)
    assert_allclose(model.predict(X), np.vstack([known, new]) @ unit(items).T, atol=1e-6)


def test_with_the_whole_weight_users_are_their_histories():
    X = interactions()
    model = small(history_weight=1).fit(X)
    assert_allclose(model.transform(X), model._fold_in(X), atol=1e-6)
    assert not model.net_.module_.user_embeddings.detach().any()


def test_early_stopping_sees_histories_without_what_is_held_out():
    X = interactions(120, 60)
    model = small(max_epochs=200, n_iter_no_change=3).fit(X)
    ndcg = model.history_["valid_ndcg"]
    assert len(ndcg) == ndcg[::-1].idxmax() + 3 < 200
    train, valid = model._make_datasets(*model._split(X, np.random.RandomState(0)))
    held_out = valid.users, valid.candidates[:, 0]
    assert (X[held_out] == 1).all()
    assert train.X.nnz == X.nnz - len(valid)
    histories = valid.histories
    assert not histories[np.arange(len(valid)), held_out[1]].any()
    assert_allclose(histories.sum(axis=1), 1, rtol=1e-6)
    batch = next(iter(model._valid_batches(valid, 10)))
    with torch.no_grad():
        assert model.net_.module_.validate(*batch).item() == pytest.approx(ndcg.max(), abs=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "hinge"])
def test_defaults_learn_a_checkerboard_for_trained_and_new_users(loss):
    board = np.add.outer(np.arange(90), np.arange(40)) % 2 == 0
    seen = board & (np.random.default_rng(0).random(board.shape) < 0.7)
    model = SimpleX(random_state=0, loss=loss).fit(csr_array(seen[:60].astype(float)))
    items = model.recommend(seen.astype(float), n=1)
    assert np.take_along_axis(board, items, axis=1).all()


def test_partial_fit_keeps_the_embeddings_of_its_rows():
    X = interactions()
    A, B = X[:30], vstack([X[35:], X[10:13]], format="csr")
    model = small(lr=1e-2, early_stopping=False).fit(A)
    before = model.net_.module_.user_embeddings.detach().numpy().copy()
    model.set_params(lr=1e-8).partial_fit(B)
    n_new = X.shape[0] - 35
    own = model.net_.module_.user_embeddings.detach().numpy()
    assert own.shape == (n_new + 3, 4)
    assert_allclose(own[n_new:], before[10:13], atol=0.05)
    assert np.abs(own[:n_new]).max() < 0.05
    assert_array_equal(model.transform(B), model.user_factors_)
    assert len(model.history_) == 6


def test_partial_fit_learns():
    X = interactions(120, 60)
    model = small(early_stopping=False, max_epochs=5).fit(X[:60]).partial_fit(X[60:])
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < losses.iloc[5]


def test_neighbors_share_histories():
    X = csr_array(np.kron(np.eye(2), np.ones((15, 10))))
    model = SimpleX(8, random_state=0).fit(X)
    assert (model.similar_items(0, n=9)[0] < 10).all()
    assert (model.similar_users(X[20:21], n=5)[0] >= 15).all()


def test_auto_batches_are_a_fiftieth_of_the_users():
    assert [SimpleX()._update_size(n) for n in (1, 1000, 10**6)] == [16, 20, 128]
    assert SimpleX(batch_size=7)._update_size(10**6) == 7
