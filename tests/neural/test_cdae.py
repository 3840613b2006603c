"""CDAE: its corruption, nodes and losses against dense computations by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

import sklearn_recsys  # noqa: E402
from sklearn_recsys import CDAE, PopularityRecommender  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.neural import SparseRows  # noqa: E402
from sklearn_recsys.neural._cdae import CDAEModule, with_negatives  # noqa: E402

both = pytest.mark.parametrize("n_negatives", [None, 5])


def interactions(n_users=120, n_items=40):
    return make_interactions(n_users, n_items, density=0.15, random_state=0)


def small(**params):
    params = {"n_factors": 8, "max_epochs": 3, "l2": 1.0, "random_state": 0, **params}
    return CDAE(**params)


def module_and_rows(R, numbers=None, **params):
    """Return a module whose nodes are not zero, and rows of `R` with these numbers."""
    params = {"activation": "tanh", "dropout": 0.0, "normalize": True, "n_negatives": None} | params
    torch.manual_seed(0)
    module = CDAEModule(*R.shape, 6, **params).double()
    torch.nn.init.normal_(module.nodes)
    torch.nn.init.normal_(module.bias)
    torch.nn.init.normal_(module.decoder.bias)
    numbers = np.arange(R.shape[0]) if numbers is None else np.asarray(numbers)
    rows = SparseRows.from_csr(R[np.abs(numbers)])
    rows = rows.with_values(rows.values.double())
    rows.training_rows = torch.from_numpy(numbers)
    return module, rows


def dense_logits(module, inputs, nodes):
    """Return the logits of dense inputs, computed by hand."""
    W, b = module.encoder.detach().numpy(), module.bias.detach().numpy()
    W2, b2 = (p.detach().numpy() for p in (module.decoder.weight, module.decoder.bias))
    activation = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}[module.activation]
    return activation(inputs @ W + nodes + b) @ W2.T + b2


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("normalize", [True, False])
def test_forward(normalize, activation):
    R = interactions(12, 20)
    module, rows = module_and_rows(R, normalize=normalize, activation=activation)
    inputs = R.toarray().astype(np.float64)
    if normalize:
        inputs = inputs / np.sqrt(np.maximum(inputs.sum(axis=1, keepdims=True), 1))
    expected = dense_logits(module, inputs, module.nodes.detach().numpy())
    assert_allclose(module(rows).detach(), expected)


def test_corruption_keeps_the_expected_input():
    """A share q is dropped, the rest is scaled by 1 / (1 - q); predictions see the whole row."""
    R = sp.csr_array(np.ones((200, 50), dtype=np.float32))
    module, rows = module_and_rows(R, dropout=0.8, normalize=False, activation="identity")
    with torch.no_grad():
        module.encoder.zero_()
        module.encoder[0, 0] = 1  # the first code is the first item's input
        first = module.train().encode(rows)[:, 0] - module.nodes[:, 0] - module.bias[0]
        whole = module.eval().encode(rows)[:, 0] - module.nodes[:, 0] - module.bias[0]
    assert_allclose(np.unique(first.numpy().round(9)), [0, 5])
    assert 0.1 < (first > 1).double().mean() < 0.3
    assert_allclose(whole, 1)


def test_the_full_loss():
    R = interactions(12, 20)
    module, rows = module_and_rows(R)
    logits = module(rows).detach().numpy()
    probabilities = 1 / (1 + np.exp(-logits))
    likelihoods = np.where(R.toarray() > 0, probabilities, 1 - probabilities)
    assert_allclose(module.loss(rows, rows).item(), -np.log(likelihoods).sum() / 12)


def test_the_loss_of_sampled_negatives_and_its_gradients():
    """Given the sampled negatives, loss and gradients are those of the sampled cells."""
    R = interactions(12, 20)
    module, rows = module_and_rows(R, n_negatives=3)
    torch.manual_seed(7)
    loss = module.loss(rows, rows)
    loss.backward()
    got = {name: p.grad.clone() for name, p in module.named_parameters()}
    torch.manual_seed(7)
    cells = with_negatives(rows, 3)
    shape = torch.zeros(R.shape, dtype=torch.float64)
    weights = shape.index_put((cells.rows, cells.indices), cells.values.double())
    module.zero_grad()
    logits = module(rows)
    likelihoods = torch.where(weights > 0, logits.sigmoid(), 1 - logits.sigmoid())
    expected = -(weights.abs() * likelihoods.log()).sum() / 12
    expected.backward()
    assert_allclose(loss.item(), expected.item())
    for name, parameter in module.named_parameters():
        assert_allclose(got[name], parameter.grad, atol=1e-12, err_msg=name)


def test_sampled_negatives_are_unbiased():
    """Their mean loss is the full one's, with the weight that each negative has on average."""
    R = interactions(12, 20)
    module, rows = module_and_rows(R, n_negatives=2)
    with torch.no_grad():
        logits = module(rows).numpy()
        mean = np.mean([module.loss(rows, rows).item() for _ in range(400)])
    positive = R.toarray() > 0
    lengths = positive.sum(axis=1, keepdims=True)
    weights = np.where(positive, 1, 2 * lengths / (20 - lengths))
    losses = np.log1p(np.exp(np.where(positive, -logits, logits)))
    assert_allclose(mean, (weights * losses).sum() / 12, rtol=0.02)


def test_negatives():
    """They are never positives, their number is as asked, and every other item has its turn."""
    R = interactions(30, 15).toarray()
    R[0], R[1], R[2] = 1, 0, np.arange(15) != 4  # all items; none; all but one
    R = sp.csr_array(R)
    rows = SparseRows.from_csr(R)
    lengths = np.diff(R.indptr)
    totals = np.zeros(R.shape)
    draws = []
    for _ in range(300):
        cells = with_negatives(rows, 4)
        dense = np.zeros(R.shape)
        np.add.at(dense, (cells.rows.numpy(), cells.indices.numpy()), cells.values.numpy())
        assert_array_equal(dense > 0, R.toarray() > 0)
        assert_array_equal(np.minimum(dense, 0).sum(axis=1), -4 * lengths * (lengths < 15))
        assert_array_equal(cells.column_rows, cells.rows[cells.column_order])
        assert_array_equal(cells.column_indptr, np.searchsorted(np.sort(cells.indices), range(16)))
        totals -= np.minimum(dense, 0)
        draws.append(dense)
    assert not np.array_equal(draws[0], draws[1]), "they are not redrawn"
    free = (R.toarray() == 0) & (lengths > 0)[:, None]
    expected = 300 * 4 * (lengths / np.maximum(15 - lengths, 1))[:, None] * free
    assert np.all(np.abs(totals - expected) <= 5 * np.sqrt(expected)), "they are not uniform"


@both
def test_a_user_moves_the_own_node_alone(n_negatives):
    R = interactions(12, 20)
    module, rows = module_and_rows(R, [3, 7], n_negatives=n_negatives)
    module.loss(rows, rows).backward()
    moved = np.flatnonzero(module.nodes.grad.abs().sum(dim=1))
    assert_array_equal(moved, [3, 7])


def test_gradients_of_the_nodes():
    R = interactions(12, 20)
    module, rows = module_and_rows(R)
    module.loss(rows, rows).backward()
    probabilities = torch.sigmoid(module(rows)).detach().numpy()
    codes = module.encode(rows).detach().numpy()
    W2 = module.decoder.weight.detach().numpy()
    expected = (probabilities - R.toarray()) @ W2 * (1 - codes**2) / 12
    assert_allclose(module.nodes.grad, expected)


def test_no_number_no_node():
    R = interactions(12, 20)
    module, rows = module_and_rows(R)
    own = module(rows)
    rows.training_rows = torch.where(torch.arange(12) % 2 == 0, -1, torch.arange(12))
    some = module(rows)
    rows.training_rows = None
    none = module(rows)
    assert_array_equal(some[1::2].detach(), own[1::2].detach())
    assert_allclose(some[::2].detach(), none[::2].detach())
    assert np.all(np.abs((own - none).detach().numpy()).max(axis=1) > 1e-3)
    torch.nn.init.zeros_(module.nodes)
    assert_allclose(module(rows).detach(), none.detach())


def without_node(model, X):
    with torch.no_grad():
        return model.net_.module_(SparseRows.from_csr(model._read(X))).numpy()


def test_known_rows_have_their_node_and_others_none():
    R = interactions()
    model = small(early_stopping=False).fit(R)
    module = model.net_.module_
    nodes = module.nodes.detach().numpy()
    assert np.all(np.abs(nodes).max(axis=1) > 0)
    inputs = R.toarray() / np.sqrt(np.diff(R.indptr))[:, None]
    lowest = model._training_rows(R)  # of duplicates
    assert_allclose(model.predict(R), dense_logits(module, inputs, nodes[lowest]), atol=1e-5)
    assert np.abs(model.predict(R) - without_node(model, R)).max() > 1e-3

    changed = R.toarray()
    changed[np.arange(120), changed.argmin(axis=1)] = 1  # one more item each
    changed = sp.csr_array(changed)
    new = model._training_rows(changed) < 0
    assert new.mean() > 0.9
    assert_allclose(model.predict(changed)[new], without_node(model, changed[new]), atol=1e-6)


def test_only_the_items_count():
    """Which training row a history is does not depend on its positive values."""
    R = interactions()
    weighted = R.copy()
    weighted.data = np.random.RandomState(0).randint(1, 6, size=R.nnz).astype(R.dtype)
    model = small(early_stopping=False).fit(weighted)
    assert_array_equal(model.predict(R), model.predict(weighted))
    assert_array_equal(small(early_stopping=False).fit(R).predict(R), model.predict(R))
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R))


@pytest.mark.parametrize("l2", [0.0, 10.0])
def test_users_held_out_for_early_stopping_have_no_node(l2):
    R = interactions(300)
    model = small(l2=l2, max_epochs=4).fit(R)
    assert "valid_ndcg" in model.history_
    train, valid = model._make_datasets(*model._split(R, np.random.RandomState(0)))
    assert len(train) == 270 and len(valid) == 30
    assert_array_equal(train.X.toarray(), R[train.training_rows].toarray())
    trained = np.isin(np.arange(300), train.training_rows)
    nodes = model.net_.module_.nodes.detach().numpy()
    assert_array_equal(np.abs(nodes).max(axis=1) > 0, trained)
    left_out = R[~trained]
    left_out = left_out[model._training_rows(left_out) == np.flatnonzero(~trained)]
    assert_allclose(model.predict(left_out), without_node(model, left_out), atol=1e-6)


def test_validation_measures_new_users():
    R = interactions(300)
    model = small(max_epochs=4).fit(R)
    _, valid = model._make_datasets(*model._split(R, np.random.RandomState(0)))
    dense = without_node(model, valid.X)
    ranked = np.argsort(np.where(valid.X.toarray() > 0, np.inf, -dense), axis=1, kind="stable")
    hits = np.take_along_axis(valid.targets.toarray() > 0, ranked, axis=1)
    discounts = 1 / np.log2(np.arange(2, 42))
    lengths = np.diff(valid.targets.indptr)
    ideal = np.cumsum(discounts)[lengths - 1]
    expected = np.mean(hits @ discounts / ideal)
    assert model.history_["valid_ndcg"].max() == pytest.approx(expected, abs=1e-5)


@both
def test_learns_more_than_popularity_for_new_users(n_negatives):
    R = interactions(600, 80)
    model = small(n_factors=20, max_epochs=30, lr=0.01, batch_size=100, n_negatives=n_negatives)
    popular = PopularityRecommender().fit(R[:500])
    assert model.fit(R[:500]).score(R[500:]) > popular.score(R[500:]) + 0.05


@both
def test_one_seed_one_model(n_negatives):
    R = interactions()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (small(n_negatives=n_negatives).fit(R) for _ in range(2))
    assert_array_equal(first.predict(R), second.predict(R))
    assert torch.equal(torch.get_rng_state(), state)
    other = small(n_negatives=n_negatives, random_state=1).fit(R)
    assert not np.array_equal(first.predict(R), other.predict(R))


@both
def test_saving(n_negatives, tmp_path):
    R = interactions(300)
    model = small(n_negatives=n_negatives).fit(R[:250])
    model.save(tmp_path / "model")
    for loaded in (sklearn_recsys.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(loaded.predict(R), model.predict(R))
        loaded.partial_fit(R)
        assert len(loaded.history_) == 6
    stored = set(model._save_state())
    assert "_cache_" not in stored and "weights_" in stored


def test_partial_fit_goes_on():
    R = interactions()
    R = R[np.sort(np.unique(R.toarray(), axis=0, return_index=True)[1])]  # no duplicates
    model = small(early_stopping=False).fit(R)
    before = model.history_["train_loss"].iloc[-1]
    steps = model.net_.optimizer_.state_dict()["state"][0]["step"].item()
    model.partial_fit(R)
    assert model.net_.optimizer_.state_dict()["state"][0]["step"].item() == 2 * steps
    assert len(model.history_) == 6
    assert model.history_["train_loss"].iloc[-1] < before


def test_partial_fit_takes_other_users():
    """Known rows bring their nodes, wherever they stand; new ones start at zero."""
    R = interactions()
    R = R[np.sort(np.unique(R.toarray(), axis=0, return_index=True)[1])]
    model = small(early_stopping=False).fit(R[:60])
    nodes = model.net_.module_.nodes.detach().clone()
    mixed = R[[70, 3, 80, 59]]
    model._assign_nodes(model._read(mixed))
    got = model.net_.module_.nodes.detach()
    assert_array_equal(got[[1, 3]], nodes[[3, 59]])
    assert_array_equal(got[[0, 2]], np.zeros((2, 8)))
    model = small(early_stopping=False).fit(R[:60]).partial_fit(R)
    trained = model.net_.module_.nodes.detach().abs().amax(dim=1)
    assert trained.shape == (R.shape[0],) and (trained > 0).all()
    assert_array_equal(model.interactions_.toarray(), R.toarray())
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R))


def test_the_penalty_reaches_the_nodes():
    R = interactions()
    free, held = (small(early_stopping=False, l2=l2).fit(R) for l2 in (0.0, 1000.0))
    norms = [model.net_.module_.nodes.detach().norm().item() for model in (free, held)]
    assert norms[1] < 0.5 * norms[0]


def test_search():
    R = interactions()
    grid = {"n_negatives": [None, 5], "normalize": [True, False]}
    search = GridSearchCV(small(), grid, cv=2).fit(R)
    assert 0 < search.best_score_ <= 1


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_factors": 0}, "The 'n_factors' parameter of CDAE"),
        ({"activation": "sine"}, "The 'activation' parameter of CDAE"),
        ({"dropout": 1.0}, "The 'dropout' parameter of CDAE"),
        ({"normalize": "l2"}, "The 'normalize' parameter of CDAE"),
        ({"n_negatives": 0}, "The 'n_negatives' parameter of CDAE"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        CDAE(**params).fit(interactions())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@both
def test_cuda(n_negatives):
    R = interactions()
    model = small(device="cuda", n_negatives=n_negatives).fit(R)
    assert np.isfinite(model.predict(R)).all()
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R), atol=1e-5)
