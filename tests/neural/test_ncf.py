"""NCF: its three networks against numpy, pre-training, and what a user sees of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

import sklearn_recsys  # noqa: E402
from sklearn_recsys import NCF, PopularityRecommender  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.model_selection import random_holdout  # noqa: E402
from sklearn_recsys.neural._ncf import NCFModule  # noqa: E402

architectures = pytest.mark.parametrize("architecture", ["gmf", "mlp", "neumf"])


def interactions(n_users=80, n_items=40, density=0.15):
    X = make_interactions(n_users, n_items, density=density, random_state=0)
    return X[np.sort(np.unique(X.toarray(), axis=0, return_index=True)[1])]


def small(architecture="neumf", **params):
    params = {
        "n_factors": 6,
        "hidden_layer_sizes": (8, 4),
        "max_epochs": 3,
        "batch_size": 256,
        **params,
    }
    return NCF(architecture, **{"random_state": 0, **params})


def random_module(architecture, sizes=(8, 4), n_factors=5):
    module = NCFModule(7, 9, architecture, n_factors, list(sizes), 0.0, 0.0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def arrays(*tensors):
    return [tensor.detach().numpy().astype(np.float64) for tensor in tensors]


def dense_logits(module):
    """Return all logits by eq. 9 to 12, one pair at a time."""
    U, V, weight, bias = arrays(
        module.user_vectors, module.item_vectors, module.output.weight[0], module.output.bias
    )
    logits, n = np.empty((len(U), len(V))), module.n_factors
    for i, u in enumerate(U):
        for j, v in enumerate(V):
            hidden = []
            if "gmf" in module.branches:
                hidden.append(u[:n] * v[:n])
            if "mlp" in module.branches:
                code = np.concatenate([u[-n:], v[-n:]])
                for layer in module.tower.layers:
                    W, b = arrays(layer.weight, layer.bias)
                    code = np.maximum(W @ code + b, 0)
                hidden.append(code)
            logits[i, j] = np.concatenate(hidden) @ weight + bias[0]
    return logits


@pytest.mark.parametrize("sizes", [(), (8,), (8, 4, 3)])
@architectures
def test_the_formulas(architecture, sizes):
    torch.manual_seed(0)
    module = random_module(architecture, sizes).eval()
    assert module.user_vectors.shape == (7, 10 if architecture == "neumf" else 5)
    assert_allclose(module.score_all(module.user_vectors).detach(), dense_logits(module), atol=1e-5)


@architectures
def test_predictions_are_the_formulas(architecture):
    X = interactions()
    model = small(architecture).fit(X)
    assert_allclose(model.predict(X), dense_logits(model.net_.module_), atol=1e-5)
    size = 12 if architecture == "neumf" else 6
    assert model.net_.module_.item_vectors.shape == (40, size)
    assert hasattr(model.net_.module_, "tower") == (architecture != "gmf")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("architecture", ["mlp", "neumf"])
def test_large_batches_share_the_first_layer(architecture, training):
    """Value and gradients of many examples at once are the means of those of small batches."""
    torch.manual_seed(0)
    module = random_module(architecture).double().train(training)
    module.l2 = 0.3
    rng = np.random.default_rng(0)
    batch = [torch.from_numpy(rng.integers(n, size=60)) for n in (7, 9, 2)]
    together = module.loss(*batch)
    apart = torch.stack(
        [module.loss(*part) for part in zip(*(x.split(10) for x in batch), strict=True)]
    ).mean()
    assert_allclose(together.item(), apart.item(), rtol=1e-12)
    for got, expected in zip(
        torch.autograd.grad(together, list(module.parameters())),
        torch.autograd.grad(apart, list(module.parameters())),
        strict=True,
    ):
        assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_gmf_starts_as_a_dot_product():
    torch.manual_seed(0)
    module = NCFModule(7, 9, "gmf", 5, [], 0.0, 0.0)
    U, V = arrays(module.user_vectors, module.item_vectors)
    assert_allclose(module.score_all(module.user_vectors).detach(), U @ V.T, atol=1e-7)


def test_joined_branches_are_their_mean():
    """Eq. 13 with α = ½: the logits of NeuMF are the mean of both branches'."""
    torch.manual_seed(0)
    gmf, mlp, joined = (random_module(name) for name in ("gmf", "mlp", "neumf"))
    joined.start_from(gmf, mlp)
    expected = (dense_logits(gmf) + dense_logits(mlp)) / 2
    assert_allclose(joined.score_all(joined.user_vectors).detach(), expected, atol=1e-5)
    before = dense_logits(joined)
    with torch.no_grad():  # the branches' weights are copied, not shared
        for branch in (gmf, mlp):
            for parameter in branch.parameters():
                parameter.zero_()
    assert_array_equal(dense_logits(joined), before)


def test_branches_of_neumf_are_what_was_joined():
    """Each is its module again, but for the bias, which is their mean; copied, not shared."""
    torch.manual_seed(0)
    gmf, mlp, joined = (random_module(name) for name in ("gmf", "mlp", "neumf"))
    joined.start_from(gmf, mlp)
    before = dense_logits(joined)
    for name, module in (("gmf", gmf), ("mlp", mlp)):
        alone = joined.branch(name)
        shift = (joined.output.bias - module.output.bias).item()
        assert_allclose(dense_logits(alone), dense_logits(module) + shift, atol=1e-5)
        with torch.no_grad():
            for parameter in alone.parameters():
                parameter.zero_()
    assert_array_equal(dense_logits(joined), before)


@pytest.mark.parametrize("pretrain", [True, False])
def test_new_users_of_neumf_have_the_vectors_of_its_branches(pretrain):
    """Pre-trained, a vector is that of either branch alone; else both are found together."""
    X = make_interactions(60, 30, random_state=0)
    params = {"n_factors": 4, "hidden_layer_sizes": (6,), "max_epochs": 3, "random_state": 0}
    model = NCF("neumf", pretrain=pretrain, **params).fit(X[:50])
    joined = model.net_.module_.eval()
    vectors = model._vectors(model._read(X[50:]))
    found = []
    for name in ("gmf", "mlp"):
        alone = NCF(name, **params).fit(X[:50])
        alone.net_.module_.load_state_dict(joined.branch(name).state_dict())
        found.append(alone._vectors(alone._read(X[50:])))
    same = np.allclose(vectors, torch.cat(found, dim=1), atol=1e-5)
    assert same == pretrain


class Spy(NCF):
    """Keep what each of the three nets started from and was trained on."""

    def _make_datasets(self, train, valid):
        datasets = super()._make_datasets(train, valid)
        log.append((self.architecture, "data", datasets))
        return datasets

    def _make_net(self, module, device, n_rows, valid, *args):
        net = super()._make_net(module, device, n_rows, valid, *args)
        logits = module.score_all(module.user_vectors).detach().numpy()
        log.append((self.architecture, "net", (module, logits, net.lr, valid)))
        return net


log = []


@pytest.mark.parametrize("early_stopping", [True, False])
def test_pretraining(early_stopping):
    """NeuMF goes on from its branches, trained and stopped on what it is trained on."""
    log.clear()
    X = interactions()
    params = {"early_stopping": early_stopping, "n_factors": 6, "hidden_layer_sizes": (8, 4)}
    model = Spy(max_epochs=3, lr=0.03, random_state=0, **params).fit(X)
    nets = {name: what for name, kind, what in log if kind == "net"}
    assert set(nets) == {"gmf", "mlp", "neumf"}
    expected = (dense_logits(nets["gmf"][0]) + dense_logits(nets["mlp"][0])) / 2
    assert_allclose(nets["neumf"][1], expected, atol=1e-5)
    assert np.abs(nets["gmf"][1] - dense_logits(nets["gmf"][0])).max() > 0.05, "never trained"
    assert nets["gmf"][2] == nets["mlp"][2] == 0.03
    assert nets["neumf"][2] == pytest.approx(0.01)
    (train, valid) = next(what for name, kind, what in log if (name, kind) == ("neumf", "data"))
    assert nets["gmf"][3] is nets["mlp"][3] is nets["neumf"][3] is valid
    assert (valid is not None) == early_stopping
    if early_stopping:
        held_out = X.toarray()
        held_out[valid.users, valid.candidates[:, 0]] -= 1
        assert_array_equal(train.X.toarray(), held_out)
        assert len(valid) == min(round(0.1 * X.nnz), X.shape[0])
        free = X.toarray()[valid.users[:, None], valid.candidates] == 0
        is_item = valid.candidates[:, 1:] >= 0  # users with fewer free items have empty last slots
        assert free[:, 1:][is_item].all() and not free[:, 0].any()
    assert len(model.history_) == 1  # a third of them


def test_without_pretraining_it_starts_at_random():
    log.clear()
    Spy(pretrain=False, max_epochs=1, n_factors=6, random_state=0).fit(interactions())
    (net,) = (what for _, kind, what in log if kind == "net")
    assert net[2] == 5e-3
    log.clear()
    Spy("gmf", max_epochs=1, n_factors=6, random_state=0).fit(interactions())
    assert [name for name, _, _ in log] == ["gmf", "gmf"]


def test_pretraining_is_done_once():
    log.clear()
    X = interactions()
    model = Spy(
        max_epochs=6, n_factors=6, batch_size=512, early_stopping=False, random_state=0
    ).fit(X)
    n = len(log)
    model.partial_fit(X)
    assert [name for name, _, _ in log[n:]] == ["neumf"]
    assert len(model.history_) == 2 + 6  # a third of them after pre-training


def test_learns_more_than_popularity_for_known_and_new_users():
    X, held_out = random_holdout(
        make_interactions(600, 80, density=0.15, random_state=0), 0.2, per_user=True, random_state=0
    )
    params = {"n_factors": 8, "max_epochs": 8, "lr": 0.02, "l2": 0.02}
    params |= {"n_negatives": 4, "batch_size": 128}
    model = small("gmf", early_stopping=False, **params).fit(X[:480])
    popular = PopularityRecommender().fit(X[:480])
    for rows in (slice(0, 480), slice(480, 600)):
        gain = model.score(X[rows], held_out[rows]) - popular.score(X[rows], held_out[rows])
        assert gain > 0.005


@architectures
def test_early_stopping_keeps_the_best_weights(architecture):
    X = interactions()
    model = small(architecture, max_epochs=6, lr=0.05).fit(X)
    history = model.history_["valid_ndcg"]
    _, valid = model.net_.train_split(None)
    users, candidates = torch.from_numpy(valid.users), torch.from_numpy(valid.candidates)
    assert model.net_.module_.eval().validate(users, candidates).item() == pytest.approx(
        history.max(), abs=1e-5
    )


@architectures
def test_one_seed_one_model(architecture):
    X = interactions()
    torch.manual_seed(7)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()
    first, second = (small(architecture).fit(X) for _ in range(2))
    other = small(architecture, random_state=1).fit(X)
    assert_array_equal(first.predict(X), second.predict(X))
    assert not np.array_equal(first.predict(X), other.predict(X))
    assert torch.equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], numpy_state[1])
    assert np.random.get_state()[2] == numpy_state[2]


@architectures
def test_saving(architecture, tmp_path):
    X = interactions()
    model = small(architecture).fit(X[:60])
    model.save(tmp_path / "model")
    for loaded in (sklearn_recsys.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(loaded.predict(X), model.predict(X))
        assert loaded.net_.lr == model.net_.lr
        assert len(loaded.partial_fit(X).history_) == len(model.history_) + 3


def test_search():
    grid = {"architecture": ["gmf", "mlp"], "n_negatives": [1, 4]}
    search = GridSearchCV(small(max_epochs=1), grid, cv=2).fit(interactions())
    assert 0 < search.best_score_ <= 1


def test_only_the_items_count():
    X = interactions()
    weighted = X.copy()
    weighted.data = np.random.RandomState(0).randint(1, 6, size=X.nnz).astype(X.dtype)
    model = small("gmf").fit(X)
    assert_array_equal(small("gmf").fit(weighted).predict(X), model.predict(X))
    assert_array_equal(model.predict(weighted), model.predict(X))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"architecture": "ncf"}, "The 'architecture' parameter of NCF"),
        ({"n_factors": 0}, "The 'n_factors' parameter of NCF"),
        ({"hidden_layer_sizes": 8}, "The 'hidden_layer_sizes' parameter of NCF"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be positive integers"),
        ({"pretrain": "yes"}, "The 'pretrain' parameter of NCF"),
        ({"n_negatives": 0}, "The 'n_negatives' parameter of NCF"),
        ({"dropout": 1.0}, "The 'dropout' parameter of NCF"),
        ({"schedule": "cosine"}, "The 'schedule' parameter of NCF"),
        ({"batch_size": "all"}, "The 'batch_size' parameter of NCF"),
        ({"optimizer": "adaam"}, "optimizer='adaam' is unknown"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    model = small(**params)
    with pytest.raises(ValueError, match=match):
        model.fit(interactions())
    assert not hasattr(model, "net_")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@architectures
def test_cuda(architecture):
    X = interactions()
    model = small(architecture, device="cuda").fit(X[:60])
    assert np.isfinite(model.predict(X)).all()
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X), atol=1e-5)
