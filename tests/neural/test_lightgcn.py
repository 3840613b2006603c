"""LightGCN: propagation and its gradient against numpy, new users, early stopping, partial_fit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, vstack

torch = pytest.importorskip("torch")

from sklearn_recsys import LightGCN  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.neural._data.contrast_batches import (  # noqa: E402
    ContrastBatches,
    ContrastDataset,
)
from sklearn_recsys.neural._lightgcn import InteractionGraph, LightGCNModule  # noqa: E402

N_LAYERS = 3
LOSSES = ["softmax", "bpr"]


def interactions(n_users=40, n_items=30):
    X = make_interactions(n_users, n_items, density=0.2, random_state=0)
    return X[np.sort(np.unique(X.toarray(), axis=0, return_index=True)[1])]


def small(**params):
    params = {"n_factors": 4, "n_layers": N_LAYERS, "max_epochs": 3, **params}
    return LightGCN(**{"random_state": 0, **params})


def module_of(X, loss="bpr", l2=0.0, n_layers=N_LAYERS):
    torch.manual_seed(0)
    return LightGCNModule(*X.shape, 4, n_layers=n_layers, loss=loss, temperature=0.3, l2=l2)


def embeddings(module):
    """Return layer 0 of all nodes, users first, in float64."""
    parameters = module.user_embeddings, module.item_embeddings
    return np.vstack([p.detach().numpy() for p in parameters]).astype(np.float64)


def propagation(X, n_layers):
    """Return the dense matrix that takes layer 0 to the mean over the layers (eq. 6 to 8)."""
    R = X.toarray().astype(np.float64)
    n_users, n_items = R.shape
    A = np.block([[np.zeros((n_users, n_users)), R], [R.T, np.zeros((n_items, n_items))]])
    degrees = A.sum(axis=1)
    roots = np.zeros(len(A))
    roots[degrees > 0] = degrees[degrees > 0] ** -0.5
    A = roots[:, None] * A * roots
    powers = [np.linalg.matrix_power(A, k) for k in range(n_layers + 1)]
    return sum(powers) / (n_layers + 1)


@pytest.fixture
def X():
    X = make_interactions(8, 6, density=0.4, random_state=0).toarray()
    X[3], X[:, 2] = 0, 0  # a user and an item without an edge
    return csr_array(X)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_vectors_are_means_over_the_layers(X, n_layers):
    module = module_of(X, n_layers=n_layers)
    vectors = torch.cat(module(InteractionGraph(X))).detach()
    assert_allclose(vectors, propagation(X, n_layers) @ embeddings(module), atol=1e-6)


def test_gradient_of_the_pairwise_loss(X):
    l2 = 0.3
    module = module_of(X, l2=l2)
    users, items, negatives = torch.tensor([[0, 0, 1, 7, 0], [0, 1, 1, 4, 0], [3, 3, 0, 5, 5]])
    value = module.loss(users, items, negatives, InteractionGraph(X))
    value.backward()
    gradient = torch.cat([module.user_embeddings.grad, module.item_embeddings.grad])

    E0, P = embeddings(module), propagation(X, N_LAYERS)
    E, n_users, n = P @ E0, X.shape[0], len(users)
    loss, of_vectors, of_squares = 0.0, np.zeros_like(E), np.zeros_like(E)
    for u, v, w in zip(users, items + n_users, negatives + n_users, strict=True):
        margin = E[u] @ (E[w] - E[v])
        loss += (np.log1p(np.exp(margin)) + l2 / 2 * (E0[[u, v, w]] ** 2).sum()) / n
        slope = 1 / (1 + np.exp(-margin)) / n
        of_vectors[u] += slope * (E[w] - E[v])
        of_vectors[v] -= slope * E[u]
        of_vectors[w] += slope * E[u]
        of_squares[[u, v, w]] += l2 / n * E0[[u, v, w]]
    assert_allclose(value.item(), loss, rtol=1e-5)
    assert_allclose(gradient, P.T @ of_vectors + of_squares, atol=1e-6)


@pytest.mark.parametrize("n_negatives", [4, 6])
def test_softmax_and_its_gradient(X, n_negatives):
    l2 = 0.3
    module, data = module_of(X, "softmax", l2), ContrastDataset.of_filled_rows(X)
    data.n_negatives = n_negatives
    (batch,) = ContrastBatches(data, 100)
    negatives = batch[1][batch[2]].numpy()
    value = module.loss(*batch, InteractionGraph(X))
    value.backward()

    P = propagation(X, N_LAYERS)

    def expected(E0):
        unit = P @ E0
        unit /= np.linalg.norm(unit, axis=1, keepdims=True).clip(min=1e-12)
        users, items = np.split(unit, [X.shape[0]])
        own, vectors = np.split(E0, [X.shape[0]])
        losses = []
        for u, i in zip(*X.nonzero(), strict=True):
            others = [j for j in negatives if not X[u, j]]
            shares = np.exp(np.append(users[u] @ items[i], items[others] @ users[u]) / 0.3)
            penalty = l2 / 2 * ((own[u] ** 2).sum() + (vectors[i] ** 2).sum())
            losses.append(-np.log(shares[0] / shares.sum()) + penalty)
        return np.mean(losses)

    E0 = embeddings(module)
    assert value.item() == pytest.approx(expected(E0), rel=1e-5)
    gradient = torch.cat([module.user_embeddings.grad, module.item_embeddings.grad]).numpy()
    for seed in range(5):  # derivatives along random directions
        step = 1e-6 * np.random.default_rng(seed).normal(size=E0.shape)
        slope = (expected(E0 + step) - expected(E0 - step)) / 2
        assert (gradient * step).sum() == pytest.approx(slope, rel=1e-3, abs=1e-11)


@pytest.mark.parametrize("loss", LOSSES)
def test_fitted_vectors_are_those_of_the_whole_graph(loss):
    X = interactions()
    model = small(loss=loss).fit(X)  # with cells held out of the graph during training
    expected = propagation(X, N_LAYERS) @ embeddings(model.net_.module_)
    if loss == "softmax":
        expected[X.shape[0] :] /= np.linalg.norm(expected[X.shape[0] :], axis=1, keepdims=True)
    assert_allclose(np.vstack([model.user_factors_, model.item_factors_]), expected, atol=1e-6)
    assert_allclose(model.predict(X), model.user_factors_ @ model.item_factors_.T, atol=1e-6)


def test_a_new_user_is_folded_in_layer_by_layer():
    X = interactions()
    model = small().fit(X[:-5])
    graph = InteractionGraph(model.interactions_)
    items = [layer.detach().numpy() for layer in model.net_.module_.layers(graph)[1]]
    popularity = model.interactions_.sum(axis=0)
    for row in X[-5:].toarray():
        history = np.flatnonzero(row)
        layers = [np.zeros(4)]  # without an embedding of their own
        for k in range(N_LAYERS):
            weights = 1 / np.sqrt(len(history) * popularity[history].clip(min=1))
            layers.append(weights @ items[k][history])
        assert_allclose(model.transform(row[None])[0], np.mean(layers, axis=0), atol=1e-6)


def test_a_training_row_adds_its_own_embedding():
    X = interactions()
    model = small().fit(X)
    own = model.net_.module_.user_embeddings.detach().numpy() / (N_LAYERS + 1)
    assert_array_equal(model.transform(X), model.user_factors_)
    assert_allclose(model.transform(X) - own, model._fold_in(X), atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_held_out_is_neither_an_edge_nor_an_example(loss):
    X = interactions()
    model = small(validation_fraction=0.05, loss=loss)
    train, valid = model._make_datasets(*model._split(X, np.random.RandomState(0)))
    held_out = valid.users, valid.candidates[:, 0]
    assert len(valid) == round(0.05 * X.nnz)
    assert (X[held_out] == 1).all()
    assert valid.graph is train.graph
    graph = train.graph.of_users
    edges = csr_array((graph.values, graph.indices, graph.indptr), shape=X.shape)
    for matrix in (edges, train.X):
        assert matrix.nnz == X.nnz - len(valid)
        assert not matrix[held_out].any()


def test_early_stopping_stops_and_keeps_the_best_epoch():
    X = interactions(120, 60)
    model = small(max_epochs=200, lr=0.1, n_iter_no_change=3).fit(X)
    ndcg = model.history_["valid_ndcg"]
    assert len(ndcg) == ndcg[::-1].idxmax() + 3 < 200
    _, valid = model._make_datasets(*model._split(X, np.random.RandomState(0)))
    users, candidates = torch.from_numpy(valid.users), torch.from_numpy(valid.candidates)
    with torch.no_grad():
        kept = model.net_.module_.validate(users, candidates, valid.graph)
    assert kept.item() == pytest.approx(ndcg.max(), abs=1e-6)
    full = small(max_epochs=7, lr=0.1, early_stopping=False).fit(X).history_
    assert len(full) == 7 and "valid_ndcg" not in full


def test_defaults_learn_a_checkerboard():
    rng = np.random.default_rng(0)
    board = np.add.outer(np.arange(60), np.arange(40)) % 2 == 0
    seen = board & (rng.random(board.shape) < 0.7)
    model = LightGCN(random_state=0).fit(csr_array(seen.astype(float)))
    new = board & (rng.random(board.shape) < 0.7)
    for history in (seen, new):
        scores = model.predict(history.astype(float))
        lowest = np.where(board & ~history, scores, np.inf).min(axis=1)
        highest = np.where(board, -np.inf, scores).max(axis=1)
        assert (lowest > highest).all()


def test_partial_fit_trains_on_the_graph_of_its_rows():
    X = interactions()
    A, B = X[:30], vstack([X[35:], X[10:13]], format="csr")
    model = small(lr=1e-8, early_stopping=False).fit(A)
    before = model.net_.module_.user_embeddings.detach().numpy().copy()
    model.partial_fit(B)
    module, n_new = model.net_.module_, X.shape[0] - 35
    assert_allclose(module.user_embeddings.detach()[n_new:], before[10:13], atol=1e-6)
    assert_allclose(module.user_embeddings.detach()[:n_new], 0, atol=1e-6)
    expected = propagation(B, N_LAYERS) @ embeddings(module)
    expected[len(expected) - X.shape[1] :] /= np.linalg.norm(
        expected[len(expected) - X.shape[1] :], axis=1, keepdims=True
    )
    assert_allclose(np.vstack([model.user_factors_, model.item_factors_]), expected, atol=1e-6)
    assert_array_equal(model.transform(B), model.user_factors_)
    assert len(model.history_) == 6


@pytest.mark.parametrize("loss", LOSSES)
def test_partial_fit_learns(loss):
    X = interactions(120, 60)
    model = small(early_stopping=False, max_epochs=5, loss=loss).fit(X[:60]).partial_fit(X[60:])
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < losses.iloc[5] < losses.iloc[0]


def test_neighbors_share_histories():
    X = csr_array(np.kron(np.eye(2), np.ones((15, 10))))
    model = LightGCN(8, random_state=0).fit(X)
    assert (model.similar_items(0, n=9)[0] < 10).all()
    assert (model.similar_users(X[20:21], n=5)[0] >= 15).all()


def test_auto_batches_are_a_twentieth():
    sizes = [[LightGCN(loss=loss)._update_size(n) for n in (1, 10**5, 10**8)] for loss in LOSSES]
    assert sizes == [[32, 5000, 2**13], [32, 5000, 2**17]]
    assert LightGCN(batch_size=7)._update_size(10**6) == 7
