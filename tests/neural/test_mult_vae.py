"""MultVAE, MultDAE and RecVAE, and through them the floor of the models that rank rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

import sklearn_recsys  # noqa: E402
from sklearn_recsys import MultDAE, MultVAE, PopularityRecommender, RecVAE  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.metrics import ndcg_at_k  # noqa: E402
from sklearn_recsys.neural import SparseRows  # noqa: E402
from sklearn_recsys.neural._base.validation import hold_out_users  # noqa: E402
from sklearn_recsys.neural._nn.losses import multinomial_loss, ndcg  # noqa: E402
from sklearn_recsys.neural._rec_vae import RecVAEEncoder, RowCodes  # noqa: E402

SMALL = {
    MultDAE: {"n_factors": 16},
    MultVAE: {"n_factors": 16, "hidden_layer_sizes": (32,), "anneal_cap": 0.2},
    RecVAE: {"n_factors": 16, "n_hidden": 32},
}
models = pytest.mark.parametrize("model", SMALL, ids=lambda model: model.__name__)


def interactions(n_users=300, n_items=60, seed=0):
    return make_interactions(n_users, n_items, density=0.15, random_state=seed)


def small(model, **params):
    return model(**{**SMALL[model], "lr": 0.01, "max_epochs": 40, "random_state": 0, **params})


def rows(X):
    return SparseRows.from_csr(sp.csr_array(X))


def activated(x, weight, bias):
    return np.tanh(x @ weight + bias)


def test_at_most_10_000_users_are_held_out():
    X = sp.csr_array(np.ones((120_000, 2), dtype=np.float32))
    train, valid = hold_out_users(X, 0.1, np.random.RandomState(0))
    assert (len(train), len(valid)) == (110_000, 10_000)


def test_the_multinomial_loss_and_its_gradient():
    rng = np.random.RandomState(0)
    X = sp.csr_array(rng.randint(0, 3, size=(5, 8)).astype(np.float32))
    logits = torch.from_numpy(rng.standard_normal((5, 8)).astype(np.float32)).requires_grad_()
    dense = torch.from_numpy(X.toarray())
    expected = -(dense * logits.log_softmax(dim=1)).sum() / 5
    (gradient,) = torch.autograd.grad(3 * expected, logits)
    loss = multinomial_loss(rows(X), logits)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_allclose(torch.autograd.grad(3 * loss, logits)[0], gradient, atol=1e-6)


@pytest.mark.parametrize("k", [3, 10, 100])
def test_ndcg_on_the_device_is_the_metric(k):
    rng = np.random.RandomState(0)
    cells = rng.uniform(size=(20, 30))
    known = sp.csr_array((cells < 0.2).astype(np.float32))
    held_out = sp.csr_array(((cells > 0.6) & (rng.uniform(size=cells.shape) < 0.7)).astype("f4"))
    scores = rng.standard_normal(cells.shape).astype(np.float32)
    masked = np.where(known.toarray() > 0, -np.inf, scores)
    ids = np.argsort(-masked, axis=1)[:, : min(k, 30)]
    ids = np.pad(ids, ((0, 0), (0, max(0, k - 30))), constant_values=-1)
    value = ndcg(torch.from_numpy(scores), rows(known), rows(held_out), k)
    assert value.item() == pytest.approx(ndcg_at_k(held_out, ids, k=k), rel=1e-5)


def test_rows_are_scaled_to_a_norm_of_one():
    X = sp.csr_array([[3.0, 0, 4.0], [0, 0, 0], [0, 2.0, 0]])
    assert_allclose(rows(X).normalized().values, [0.6, 0.8, 1.0], rtol=1e-6)


def test_mult_dae_is_the_formula():
    R = interactions()
    model = small(MultDAE, hidden_layer_sizes=(24,), max_epochs=3).fit(R)
    weights = {k: v.numpy() for k, v in model.net_.module_.state_dict().items()}
    x = R[:5].toarray()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    hidden = activated(x, weights["encoder.weight"], weights["encoder.bias"])
    code = activated(hidden, weights["encoder.layers.0.weight"].T, weights["encoder.layers.0.bias"])
    hidden = activated(code, weights["decoder.0.weight"].T, weights["decoder.0.bias"])
    logits = hidden @ weights["decoder.1.weight"].T + weights["decoder.1.bias"]
    assert code.shape == (5, 16) and hidden.shape == (5, 24)
    assert_allclose(model.predict(R[:5]), logits, atol=1e-5)


def test_mult_vae_predicts_from_the_mean():
    R = interactions()
    model = small(MultVAE, max_epochs=3).fit(R)
    weights = {k: v.numpy() for k, v in model.net_.module_.state_dict().items()}
    x = R[:5].toarray()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    hidden = activated(x, weights["encoder.weight"], weights["encoder.bias"])
    both = hidden @ weights["encoder.layers.0.weight"].T + weights["encoder.layers.0.bias"]
    assert both.shape == (5, 32)
    hidden = activated(both[:, :16], weights["decoder.0.weight"].T, weights["decoder.0.bias"])
    logits = hidden @ weights["decoder.1.weight"].T + weights["decoder.1.bias"]
    assert_allclose(model.predict(R[:5]), logits, atol=1e-5)


def test_the_divergence_of_mult_vae():
    """With β the loss grows by the closed form of KL(q ‖ N(0, 1)), per row."""
    R = interactions(40, 20)
    module = small(MultVAE, max_epochs=1).fit(R).net_.module_.eval()
    batch = rows(R)
    means, log_variances = module.encoder(batch).detach().chunk(2, dim=1)
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(
        normal(means, (log_variances / 2).exp()), normal(0.0, 1.0)
    )
    losses = []
    for beta in (0.0, 0.7):
        module.beta = beta
        torch.manual_seed(0)
        losses.append(module.loss(batch, batch).item())
    expected = 0.7 * divergence.sum().item() / len(batch)
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-3)


def test_annealing():
    model = small(MultVAE, anneal_cap=0.5, anneal_epochs=10)
    module = model._make_module(interactions())
    betas = []
    for epoch in (1, 5, 10, 30):
        module.begin_epoch(epoch)
        betas.append(module.beta)
    assert betas == [0.05, 0.25, 0.5, 0.5]
    model.set_params(max_epochs=4).fit(interactions())
    assert model.net_.module_.beta == pytest.approx(0.2)
    model.partial_fit(interactions())
    assert model.net_.module_.beta == pytest.approx(0.4)


def test_the_composite_prior():
    R = interactions(40, 20)
    module = small(RecVAE, max_epochs=8).fit(R).net_.module_.eval()
    batch, codes = rows(R), torch.randn(40, 16)
    former = [part.detach() for part in module.former(batch)]
    normal = torch.distributions.Normal
    zero = torch.zeros(40, 16)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([3 / 20, 3 / 4, 1 / 10])),
        normal(
            torch.stack([zero, former[0], zero], dim=-1),
            torch.stack([zero + 1, (former[1] / 2).exp(), zero + np.exp(5.0)], dim=-1),
        ),
    )
    assert_allclose(module._log_prior(batch, codes), mixture.log_prob(codes), rtol=1e-3, atol=1e-4)


def test_encoder_and_decoder_learn_by_turns():
    R = interactions()
    states = []
    for epochs in (1, 3, 4, 5):
        model = small(RecVAE, max_epochs=epochs, early_stopping=False).fit(R)
        states.append({k: v.clone() for k, v in model.net_.module_.state_dict().items()})

    def moved(first, second, part):
        names = [name for name in first if name.startswith(part)]
        return any(not torch.equal(first[name], second[name]) for name in names)

    first, third, fourth, fifth = states
    assert moved(first, third, "encoder") and not moved(first, third, "decoder")
    assert moved(third, fourth, "decoder") and not moved(third, fourth, "encoder")
    assert not moved(first, third, "former") and moved(third, fourth, "former")
    for name in fourth:  # the prior is the encoder at the end of its turn
        if name.startswith("encoder."):
            assert torch.equal(fourth[name], fourth[name.replace("encoder", "former", 1)])
    assert moved(fourth, fifth, "encoder") and not moved(fourth, fifth, "decoder")


def test_the_codes_of_the_prior_are_computed_once(monkeypatch):
    """They are kept from the epoch of the decoder, for the rows of that matrix alone."""
    R, n_rows = interactions(), []
    params = {"max_epochs": 7, "encoder_epochs": 2, "batch_size": 64, "early_stopping": False}
    forward = RecVAEEncoder.forward

    def counted(encoder, rows):
        if not encoder.weight.requires_grad and not encoder.training:
            n_rows.append(len(rows))
        return forward(encoder, rows)

    monkeypatch.setattr(RecVAEEncoder, "forward", counted)
    model = small(RecVAE, **params).fit(R)
    # the first prior in both epochs of the encoder, and the encoder in each epoch of the decoder
    assert sum(n_rows) == (2 + 2) * 300
    monkeypatch.setattr(RowCodes, "get", lambda *args: None)
    assert_allclose(small(RecVAE, **params).fit(R).predict(R), model.predict(R), atol=1e-3)
    monkeypatch.undo()
    assert model.net_.module_.former_codes.get(torch.arange(3)) is None


@models
def test_dropout_is_for_training_alone(model):
    R = interactions()
    fitted = small(model, max_epochs=2).fit(R)
    module = fitted.net_.module_
    encode = module.encoder if model is not RecVAE else lambda x: module.encoder(x)[0]
    module.encoder.requires_grad_(True)
    module.train()
    with torch.no_grad():
        assert not torch.equal(encode(rows(R)), encode(rows(R)))
    assert_array_equal(fitted.predict(R), fitted.predict(R))


@models
def test_learns_more_than_popularity_for_new_users(model):
    R = interactions(600, 80)
    fitted = small(model).fit(R[:500])
    popular = PopularityRecommender().fit(R[:500])
    assert fitted.score(R[500:]) > popular.score(R[500:]) + 0.02


@models
@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")  # as those it stops by
def test_early_stopping_by_the_ndcg_of_held_out_users(model):
    R = interactions(600, 80)
    fitted = small(model, max_epochs=300, lr=0.02, n_iter_no_change=8).fit(R)
    history = fitted.history_
    assert len(history) < 300
    best = history["valid_ndcg"].max()
    assert history["valid_ndcg"].iloc[-1] < best
    train, valid = fitted._make_datasets(*fitted._split(R, np.random.RandomState(0)))
    assert len(train) == 540 and len(valid) == 60
    value = fitted.score(valid.X, valid.targets, metric="ndcg@100")
    assert value == pytest.approx(best, rel=1e-4)


@models
def test_few_users_are_all_trained_on(model):
    R = interactions(100, 40)
    train, valid = small(model)._make_datasets(*small(model)._split(R, np.random.RandomState(0)))
    assert valid is None and len(train) == 100
    assert "valid_ndcg" not in small(model, max_epochs=2).fit(R).history_


@models
def test_one_seed_one_model(model):
    R = interactions()
    first, second = (small(model, max_epochs=5).fit(R) for _ in range(2))
    assert_array_equal(first.predict(R), second.predict(R))
    other = small(model, max_epochs=5, random_state=1).fit(R)
    assert not np.array_equal(first.predict(R), other.predict(R))


@models
def test_saving(model, tmp_path):
    R = interactions()
    fitted = small(model, max_epochs=6).fit(R)
    fitted.save(tmp_path / "model")
    loaded = sklearn_recsys.load(tmp_path / "model")
    for copy in (loaded, pickle.loads(pickle.dumps(fitted))):
        assert_array_equal(copy.predict(R), fitted.predict(R))
        assert_allclose(copy.history_["train_loss"], fitted.history_["train_loss"])
    loaded.partial_fit(R)
    assert len(loaded.history_) == 12


@models
def test_searches(model):
    R = interactions()
    search = GridSearchCV(small(model, max_epochs=15), {"lr": [1e-6, 0.01]}, cv=3).fit(R)
    assert search.best_params_ == {"lr": 0.01}


@models
def test_bad_parameters(model):
    name = model.__name__
    for params in ({"dropout": 1.0}, {"n_factors": 0}, {"l2": -1}):
        with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of {name}"):
            model(**params).fit(interactions())


@pytest.mark.parametrize("model", [MultDAE, MultVAE])
@pytest.mark.parametrize("sizes", [(0,), (20, -1), ("a",), (1.5,), [[3]]])
def test_bad_layer_sizes(model, sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes must be positive integers"):
        model(hidden_layer_sizes=sizes).fit(interactions())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@models
def test_cuda(model):
    R = interactions()
    fitted = small(model, device="cuda", max_epochs=5).fit(R)
    assert_allclose(pickle.loads(pickle.dumps(fitted)).predict(R), fitted.predict(R), atol=1e-4)
