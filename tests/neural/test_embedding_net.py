"""EmbeddingNet: its network against numpy, the range of its ratings, known and new users."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

import sklearn_recsys  # noqa: E402
from sklearn_recsys import EmbeddingNet  # noqa: E402
from sklearn_recsys.datasets import make_ratings  # noqa: E402
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout  # noqa: E402
from sklearn_recsys.neural._embedding_net import EmbeddingNetModule  # noqa: E402


def ratings(n_users=80, n_items=50):
    return make_ratings(n_users, n_items, density=0.3, random_state=0)


def small(**params):
    params = {"n_factors": 6, "hidden_layer_sizes": (8,), "max_epochs": 4, **params}
    return EmbeddingNet(**{"random_state": 0, **params})


def dense_outputs(module, u):
    """Return the shares of the range that all items have for users' vectors, by hand."""
    u, v = (tensor.detach().numpy().astype(np.float64) for tensor in (u, module.item_vectors))
    hidden = np.concatenate(
        [np.repeat(u, len(v), axis=0), np.tile(v, (len(u), 1))], axis=1
    )  # (n_rows * n_items, 2 * n_factors)
    for layer in [*module.tower.layers, module.output]:
        weight, bias = (p.detach().numpy().astype(np.float64) for p in layer.parameters())
        hidden = hidden @ weight.T + bias
        hidden = np.maximum(hidden, 0) if layer is not module.output else hidden
    return 1 / (1 + np.exp(-hidden.reshape(len(u), len(v))))


@pytest.mark.parametrize("sizes", [[], [8], [8, 5]])
def test_the_formula(sizes):
    torch.manual_seed(0)
    module = EmbeddingNetModule(7, 9, 4, sizes, 0.5, 0.5, 0.0, 5.0, 0.3).eval()
    assert module.output.bias.item() == pytest.approx(0.3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    got = module.score_all(module.user_vectors).detach()
    assert_allclose(got, dense_outputs(module, module.user_vectors), atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sizes", [[], [8], [8, 5]])
def test_batches_share_the_first_layer(sizes, training):
    """Value and gradients are those of the examples taken one by one."""
    torch.manual_seed(0)
    module = EmbeddingNetModule(7, 9, 4, sizes, 0.0, 0.0, 0.3, 5.0, 0.3).double().train(training)
    rng = np.random.default_rng(0)
    users, items = (torch.from_numpy(rng.integers(n, size=60)) for n in (7, 9))
    targets = torch.from_numpy(rng.random(60))
    losses, penalties = module.losses(module.user_vectors[users], items, targets)
    expected = (losses + training * penalties).mean()
    got = module.loss(users, items, targets)
    assert_allclose(got.item(), expected.item(), rtol=1e-12)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(got, list(module.parameters())),
        torch.autograd.grad(expected, list(module.parameters())),
        strict=True,
    ):
        assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("place", ["embedding_dropout", "dropout"])
def test_dropout_only_while_training(place):
    torch.manual_seed(0)
    shares = {"embedding_dropout": 0.0, "dropout": 0.0, place: 0.5}
    module = EmbeddingNetModule(7, 9, 4, [8], **shares, l2=0.0, unit=5.0, intercept=0.0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    pairs = module.user_vectors[[0] * 200], module.item_vectors[[1] * 200]
    assert module.train().score(*pairs).std() > 1e-3
    assert module.eval().score(*pairs).std() < 1e-6
    batch = torch.tensor([0, 0, 3]), torch.tensor([1, 4, 4]), torch.rand(3)
    losses = {
        mode: [module.train(mode).loss(*batch).item() for _ in range(5)] for mode in (False, True)
    }
    assert len(set(losses[True])) > 1
    assert len(set(losses[False])) == 1


@pytest.mark.parametrize("rating_range", [None, (1, 5), [0, 10], (0.5, 5.5)])
def test_predictions_are_the_formula_scaled_to_the_range(rating_range):
    R = ratings()
    model = small(rating_range=rating_range).fit(R)
    low, high = rating_range or (1, 5)
    margin = (high - low) / 8
    shares = dense_outputs(model.net_.module_, model.net_.module_.user_vectors)
    expected = low - margin + (high - low + 2 * margin) * shares
    assert_allclose(model.predict(R), np.clip(expected, 1, 5), atol=1e-4)
    _, scores = model.recommend(R, n=50, exclude_seen=False, return_scores=True)
    assert_allclose(np.sort(scores, axis=1), np.sort(expected, axis=1), atol=1e-4)


def test_outputs_start_at_the_mean_rating():
    R = ratings()
    model = small(lr=1e-12, early_stopping=False, max_epochs=1).fit(R)
    assert model.predict(R).mean() == pytest.approx(R.data.mean(), abs=0.05)


def test_losses_are_squared_errors_in_ratings():
    R = ratings()
    model = small(max_epochs=5, batch_size=64, lr=0.03).fit(R)
    _, valid = model._make_datasets(*model._split(R, np.random.RandomState(0)))
    rows, items = valid.X.nonzero()
    _, scores = model.recommend(R, n=50, exclude_seen=False, return_scores=True)
    ids = model.recommend(R, n=50, exclude_seen=False)
    dense = np.empty(R.shape)
    np.put_along_axis(dense, ids, scores, axis=1)
    error = np.mean((dense[rows, items] - R[rows, items]) ** 2)
    assert error == pytest.approx(model.history_["valid_loss"].min(), rel=1e-4)


def test_learns_more_than_item_means_for_known_and_new_users():
    R = ratings(300, 60)
    known, held_out = random_holdout(R, 0.2, random_state=0)
    model = small(n_factors=8, max_epochs=20, lr=0.03, batch_size=256).fit(known[:240])
    counts = np.diff(known[:240].tocsc().indptr)
    means = known[:240].sum(axis=0) / np.maximum(counts, 1)
    for rows in (slice(0, 240), slice(240, 300)):
        test = held_out[rows]
        baseline = np.sqrt(np.mean((test.data - means[test.indices]) ** 2))
        assert -model.score(known[rows], test) < 0.97 * baseline


def test_one_seed_one_model_and_global_state_is_left_alone():
    R = ratings()
    torch.manual_seed(7)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()
    first, second = (small().fit(R) for _ in range(2))
    assert_array_equal(first.predict(R), second.predict(R))
    assert not np.array_equal(first.predict(R), small(random_state=1).fit(R).predict(R))
    assert torch.equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], numpy_state[1])
    assert np.random.get_state()[2] == numpy_state[2]


def test_saving(tmp_path):
    R = ratings()
    model = small().fit(R[:60])
    model.save(tmp_path / "model")
    for loaded in (sklearn_recsys.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(loaded.predict(R), model.predict(R))
        assert len(loaded.partial_fit(R).history_) == len(model.history_) + 4


def test_going_on_with_other_ratings_keeps_the_scale():
    """What the net has learned does not change its meaning with the range of a later matrix."""
    R = ratings()
    model = small(max_epochs=10, batch_size=128, lr=0.02, early_stopping=False).fit(R)
    before = model.predict(R)
    low = R.copy()
    low.data = np.minimum(low.data, 3)
    model.net_.set_params(max_epochs=1, lr=1e-12)
    expected = model.predict(low)
    model.partial_fit(low)
    assert model.rating_range_ == (1, 5), "what was trained on first still counts"
    assert_allclose(model.predict(low), expected, atol=1e-4)
    assert before.max() > 3
    assert expected.max() > 3
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(low), model.predict(low))


def test_the_penalty_shrinks_the_vectors():
    R = ratings()
    free, held = (
        small(l2=l2, early_stopping=False, lr=0.03, batch_size=128).fit(R) for l2 in (0.0, 5.0)
    )
    norms = [model.net_.module_.item_vectors.detach().norm().item() for model in (free, held)]
    assert norms[1] < 0.5 * norms[0]


def test_search():
    R_fit, R_valid = random_holdout(ratings(), 0.1, random_state=0)
    grid = {"lr": [1e-6, 1e-2], "hidden_layer_sizes": [(), (8, 4)]}
    search = GridSearchCV(small(batch_size=64), grid, cv=HoldoutSplit()).fit(R_fit, R_valid)
    assert search.best_params_["lr"] == 1e-2


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_factors": 0}, "The 'n_factors' parameter of EmbeddingNet"),
        ({"hidden_layer_sizes": 8}, "The 'hidden_layer_sizes' parameter of EmbeddingNet"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes must be positive integers"),
        ({"embedding_dropout": 1.0}, "The 'embedding_dropout' parameter of EmbeddingNet"),
        ({"dropout": -0.1}, "The 'dropout' parameter of EmbeddingNet"),
        ({"rating_range": 5}, "The 'rating_range' parameter of EmbeddingNet"),
        ({"rating_range": (5, 1)}, r"the lowest and the highest rating.*got \(5, 1\)"),
        (
            {"rating_range": (2, 5)},
            r"X holds ratings from 1 to 5, outside of rating_range=\(2, 5\)",
        ),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    model = small(**params)
    with pytest.raises(ValueError, match=match):
        model.fit(ratings())
    assert not hasattr(model, "net_")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    R = ratings()
    model = small(device="cuda").fit(R[:60])
    assert np.isfinite(model.predict(R)).all()
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R), atol=1e-4)
