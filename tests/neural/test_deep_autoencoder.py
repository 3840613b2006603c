"""DeepAutoencoder: its module against brute force, and what it does with the ratings."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

import sklearn_recsys  # noqa: E402
from sklearn_recsys import DeepAutoencoder  # noqa: E402
from sklearn_recsys.datasets import make_ratings  # noqa: E402
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout  # noqa: E402
from sklearn_recsys.neural import SparseRows  # noqa: E402
from sklearn_recsys.neural._deep_autoencoder import DeepAutoencoderModule  # noqa: E402

kinds = pytest.mark.parametrize("kind", ["user", "item"])
tied = pytest.mark.parametrize("tied", [False, True])


def ratings(n_users=120, n_items=80, seed=0):
    return make_ratings(n_users, n_items, density=0.3, random_state=seed)


def small(kind="user", **params):
    defaults = {"hidden_layer_sizes": (16, 8), "dropout": 0.2, "max_epochs": 30, "lr": 0.01}
    return DeepAutoencoder(kind, **{**defaults, "l2": 5.0, "random_state": 0, **params})


def module_of(n_inputs=30, sizes=(12, 7, 5), tied=False, dropout=0.0, **params):
    """Return a module of random weights and biases."""
    params = {"activation": "selu", "output_activation": "identity", "n_refeeds": 0, **params}
    torch.manual_seed(0)
    module = DeepAutoencoderModule(n_inputs, sizes, dropout=dropout, tied_weights=tied, **params)
    for bias in [*module.encoder_biases, *module.decoder_biases]:
        torch.nn.init.normal_(bias, std=0.3)
    return module


def rows_of(n_rows=9, n_columns=30, seed=1):
    """Return centered ratings, sparse and dense, and where they are."""
    R = ratings(n_rows, n_columns, seed)
    observed = R.toarray() > 0
    R.data -= 3.3
    return SparseRows.from_csr(R), R.toarray(), observed


def arrays(parameters):
    return [parameter.detach().numpy().astype(np.float64) for parameter in parameters]


def selu(x):
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def dense_pass(module, X, code=None):
    """Return codes and outputs by dense products; `code` stands in for the encoder's."""
    encoder = arrays(module.encoder_weights)
    decoder = encoder if module.tied_weights else arrays(module.decoder_weights)
    hidden = X
    for weight, bias in zip(encoder, arrays(module.encoder_biases), strict=True):
        hidden = selu(hidden @ weight + bias)
    code = hidden if code is None else code
    hidden = code
    biases = arrays(module.decoder_biases)
    for layer in range(len(decoder) - 1, 0, -1):
        hidden = selu(hidden @ decoder[layer].T + biases[layer])
    return code, hidden @ decoder[0].T + biases[0]


@tied
@pytest.mark.parametrize("sizes", [(12,), (12, 7), (12, 7, 5), (4, 20, 6, 3)])
def test_the_module_against_dense_products(sizes, tied):
    module = module_of(sizes=sizes, tied=tied).eval()
    rows, X, observed = rows_of()
    code, outputs = dense_pass(module, X)
    assert code.shape == (9, sizes[-1])
    assert_allclose(module.encode(rows).detach(), code, atol=1e-5)
    assert_allclose(module(rows).detach(), outputs, atol=1e-5)
    assert_allclose(module(torch.tensor(X)).detach(), outputs, atol=1e-5)
    loss = module.loss(rows, rows).item() * len(X) / observed.sum()
    mmse = np.sum(observed * (X - outputs) ** 2) / observed.sum()  # eq. 1
    assert loss == pytest.approx(mmse, rel=1e-5)


def test_the_decoder_mirrors_the_encoder():
    module = module_of(sizes=(12, 7, 5))
    encoder = [tuple(weight.shape) for weight in module.encoder_weights]
    assert encoder == [(30, 12), (12, 7), (7, 5)]
    assert [tuple(weight.shape) for weight in module.decoder_weights] == encoder
    assert [len(bias) for bias in module.encoder_biases] == [12, 7, 5]
    assert [len(bias) for bias in module.decoder_biases] == [30, 12, 7]
    model = small(hidden_layer_sizes=[6, 5, 4], max_epochs=1).fit(ratings())
    assert tuple(model.net_.module_.decoder_weights[0].shape) == (80, 6)


def test_tied_weights_are_one_parameter():
    """The gradient of a tied weight is the sum of those of both its uses."""
    tied, free = module_of(tied=True), module_of()
    free.load_state_dict(
        {
            **tied.state_dict(),
            **{f"decoder_weights.{i}": w.detach() for i, w in enumerate(tied.encoder_weights)},
        }
    )
    assert len(list(free.parameters())) - len(list(tied.parameters())) == 3
    assert tied.output_layer()[0] is tied.encoder_weights[0]
    rows, *_ = rows_of()
    assert_allclose(tied(rows).detach(), free(rows).detach())
    for module in (tied, free):
        module.loss(rows, rows).backward()
    for shared, *parts in zip(
        tied.encoder_weights, free.encoder_weights, free.decoder_weights, strict=True
    ):
        assert_allclose(shared.grad, sum(part.grad for part in parts), rtol=1e-4, atol=1e-6)


def test_dropout_is_on_the_code_and_in_training_only():
    module = module_of(sizes=(12, 200), dropout=0.6)
    rows, X, _ = rows_of()
    module.eval()
    code, outputs = dense_pass(module, X)
    assert_allclose(module(rows).detach(), outputs, atol=1e-5)
    module.train()
    torch.manual_seed(3)
    dropped = module.encode(rows).detach().numpy()
    kept = dropped != 0
    assert 0.3 < kept.mean() < 0.5
    assert_allclose(dropped, np.where(kept, code / 0.4, 0), atol=1e-5)
    torch.manual_seed(3)
    assert_allclose(module(rows).detach(), dense_pass(module, X, code=dropped)[1], atol=1e-4)


def test_the_loss_of_feeding_in_again():
    """The dense output is a constant, as input and as target, and only training sees it."""
    rows, X, observed = rows_of()
    plain, refed = module_of(), module_of(n_refeeds=2)
    _, first = dense_pass(refed, X)
    _, second = dense_pass(refed, first)
    _, third = dense_pass(refed, second)
    mmse = np.sum(observed * (X - first) ** 2) / observed.sum()
    expected = mmse + np.mean((second - first) ** 2) + np.mean((third - second) ** 2)
    per_row = observed.sum() / len(X)
    assert refed.loss(rows, rows).item() == pytest.approx(expected * per_row, rel=1e-5)
    refed.eval()
    assert refed.loss(rows, rows).item() == pytest.approx(mmse * per_row, rel=1e-5)

    refed = module_of(n_refeeds=1)
    for module in (plain, refed):
        module.loss(rows, rows).backward()
    dense = plain(rows).detach()
    extra = per_row * (plain(dense) - dense).square().mean()
    for gradient, weight, both in zip(
        torch.autograd.grad(extra, list(plain.parameters())),
        plain.parameters(),
        refed.parameters(),
        strict=True,
    ):
        assert_allclose(both.grad, weight.grad + gradient, rtol=1e-3, atol=1e-5)


def test_feeding_in_again_brings_outputs_nearer_to_a_fixed_point():
    R = ratings()
    distances = []
    for n_refeeds in (0, 1, 3):
        model = small(n_refeeds=n_refeeds, early_stopping=False).fit(R)
        module = model.net_.module_.eval()
        with torch.no_grad():
            dense = module(SparseRows.from_csr(model._rows(R)))
            distances.append((module(dense) - dense).square().mean().item())
    assert distances[1] < 0.5 * distances[0]
    assert distances[2] < distances[1]


@tied
@kinds
def test_learns_more_than_item_means(kind, tied):
    R = ratings(300, 150)
    train, test = random_holdout(R, 0.1, random_state=0)
    model = small(kind, tied_weights=tied, max_epochs=60, l2=20.0).fit(train)
    counts = np.diff(train.tocsc().indptr)
    means = train.sum(axis=0) / np.maximum(counts, 1)
    baseline = np.sqrt(np.mean((test.data - means[test.indices]) ** 2))
    assert -model.score(train, test) < 0.98 * baseline


def test_user_based_is_a_forward_pass():
    R = ratings()
    model = small(max_epochs=5).fit(R)
    mean = R.data.mean()
    centered = np.where(R.toarray() > 0, R.toarray() - mean, 0)
    outputs = dense_pass(model.net_.module_, centered)[1] + mean
    assert_allclose(model.predict(R), np.clip(outputs, 1, 5), atol=1e-4)
    assert_allclose(model.predict(R[:7]), model.predict(R)[:7], atol=1e-5)


@tied
def test_item_based_users_have_the_exact_solution(tied):
    """A row minimises its own ridge regression on the items' last hidden layer."""
    R = ratings()
    model = small("item", tied_weights=tied, max_epochs=5).fit(R)
    module, mean = model.net_.module_.eval(), R.data.mean()
    centered = R.copy()
    centered.data -= np.float32(mean)
    Z = module.hidden(SparseRows.from_csr(centered.T.tocsr())).detach().numpy()
    assert_allclose(model.item_factors_, Z, atol=1e-6)
    weight, bias = arrays(module.output_layer())
    assert weight.shape == (120, 16)
    rows = np.hstack([weight, bias[:, None]])
    prior, covariance = rows.mean(axis=0), np.cov(rows.T, bias=True)
    covariance = 0.5 * covariance / np.diag(covariance).mean() + 0.5 * np.eye(17)
    penalty = model.user_l2_ / 2 * np.linalg.inv(covariance)
    Z = np.hstack([Z, np.ones((80, 1))]).astype(np.float64)
    for row in (0, 17, 119):
        A, y = Z[R[[row]].indices], R[[row]].data - mean
        solution = prior + np.linalg.solve(A.T @ A + penalty, A.T @ (y - A @ prior))
        expected = np.clip(Z @ solution + mean, 1, 5)
        assert_allclose(model.predict(R[[row]])[0], expected, atol=1e-4)


@kinds
def test_one_seed_one_model_and_global_state_is_left_alone(kind):
    R = ratings()
    state = torch.get_rng_state()
    params = {"max_epochs": 3, "n_refeeds": 1}
    first, second = (small(kind, **params).fit(R) for _ in range(2))
    assert_array_equal(first.predict(R), second.predict(R))
    other = small(kind, **params, random_state=1).fit(R)
    assert not np.array_equal(first.predict(R), other.predict(R))
    assert torch.equal(torch.get_rng_state(), state)


@tied
@kinds
def test_saving(kind, tied, tmp_path):
    R = ratings()
    model = small(kind, tied_weights=tied, max_epochs=3).fit(R)
    model.save(tmp_path / "model")
    loaded = sklearn_recsys.load(tmp_path / "model")
    assert_array_equal(loaded.predict(R), model.predict(R))
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R))
    loaded.partial_fit(R)
    assert len(loaded.history_) == 6


@kinds
def test_partial_fit_goes_on(kind):
    R = ratings()
    model = small(kind, max_epochs=5, dropout=0.0, early_stopping=False).fit(R)
    before = model.history_["train_loss"].iloc[-1]
    model.partial_fit(R)
    assert len(model.history_) == 10
    assert model.history_["train_loss"].iloc[-1] < before
    if kind == "item":
        with pytest.raises(ValueError, match="Item-based DeepAutoencoder .* 120 training users"):
            model.partial_fit(R[:50])
    else:
        model.partial_fit(R[:50])


@kinds
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_training_lowers_the_penalised_loss(kind, optimizer):
    """No update raises it where one takes all rows, and re-feeding is part of it."""
    params = {"dropout": 0.0, "n_refeeds": 1, "early_stopping": False, "max_epochs": 4}
    model = small(kind, optimizer=optimizer, tied_weights=True, **params).fit(ratings())
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]


@pytest.mark.parametrize(
    "output", ["identity", "sigmoid", "tanh", "relu", "relu6", "elu", "selu", "swish", "softplus"]
)
def test_output_activations_reach_the_whole_range_of_ratings(output):
    """Whatever values the last layer can take, the ratings are among them."""
    R = ratings(30, 20)
    params = {"activation": "elu", "dropout": 0.0, "l2": 0.0, "early_stopping": False, "lr": 0.03}
    model = small(output_activation=output, max_epochs=60, **params).fit(R)
    users, items = R.nonzero()
    predicted = model.predict(R)[users, items]
    assert predicted[R.data == 1].mean() < 2
    assert predicted[R.data == 5].mean() > 4


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "leaky_relu", "swish"])
@kinds
def test_activations(kind, activation):
    R = ratings()
    predicted = small(kind, activation=activation, max_epochs=3).fit(R).predict(R)
    assert np.all(np.isfinite(predicted))
    assert predicted.min() >= 1 and predicted.max() <= 5


def test_search():
    R_fit, R_valid = random_holdout(ratings(), 0.1, random_state=0)
    grid = {"lr": [1e-5, 1e-2], "hidden_layer_sizes": [(8,), (8, 4)], "kind": ["user", "item"]}
    search = GridSearchCV(small(max_epochs=5), grid, cv=HoldoutSplit()).fit(R_fit, R_valid)
    assert search.best_params_["lr"] == 1e-2
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"kind": "users"}, "The 'kind' parameter of DeepAutoencoder"),
        ({"hidden_layer_sizes": 100}, "The 'hidden_layer_sizes' parameter"),
        ({"hidden_layer_sizes": []}, r"one or more integers above zero.*got \[\]"),
        ({"hidden_layer_sizes": (10, 0)}, r"integers above zero.*got \(10, 0\)"),
        ({"hidden_layer_sizes": (10, 2.5)}, r"got \(10, 2.5\)"),
        ({"activation": "sine"}, "The 'activation' parameter"),
        ({"output_activation": "linear"}, "The 'output_activation' parameter"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"n_refeeds": -1}, "The 'n_refeeds' parameter"),
        ({"tied_weights": "yes"}, "The 'tied_weights' parameter"),
        ({"cold_value": "zero"}, "The 'cold_value' parameter"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        small(**params).fit(ratings())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@kinds
def test_cuda(kind):
    R = ratings()
    params = {"max_epochs": 5, "n_refeeds": 1, "dropout": 0.0}
    model = small(kind, device="cuda", **params).fit(R)
    assert_allclose(model.predict(R), small(kind, **params).fit(R).predict(R), atol=0.05)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R), atol=1e-5)
