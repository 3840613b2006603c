"""AutoRec, and through it the floor that neural models stand on."""

from __future__ import annotations

import doctest
import pickle
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

from skorch.callbacks import Callback, EarlyStopping  # noqa: E402

import sklearn_recsys  # noqa: E402
from sklearn_recsys import AutoRec, RecommenderPipeline  # noqa: E402
from sklearn_recsys.datasets import make_ratings  # noqa: E402
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout  # noqa: E402
from sklearn_recsys.neural import NeuralRecommender  # noqa: E402
from sklearn_recsys.utils.estimator_checks import check_recommender  # noqa: E402

kinds = pytest.mark.parametrize("kind", ["item", "user"])


def ratings(n_users=120, n_items=80, seed=0):
    return make_ratings(n_users, n_items, density=0.3, random_state=seed)


def small(kind="item", **params):
    params = {"n_factors": 20, "max_epochs": 60, "lr": 0.01, "l2": 5.0, "random_state": 0, **params}
    return AutoRec(kind, **params)


def item_means(R):
    counts = np.diff(R.tocsc().indptr)
    return R.sum(axis=0) / np.maximum(counts, 1)


@kinds
def test_learns_more_than_item_means(kind):
    R = ratings(300, 150)
    train, test = random_holdout(R, 0.1, random_state=0)
    model = small(kind).fit(train)
    rows = np.repeat(np.arange(300), np.diff(test.indptr))
    baseline = np.sqrt(np.mean((test.data - item_means(train)[test.indices]) ** 2))
    rmse = -model.score(train, test)
    assert_allclose(
        rmse,
        np.sqrt(np.mean((test.data - model.predict(train)[rows, test.indices]) ** 2)),
        rtol=1e-5,
    )
    assert rmse < 0.97 * baseline


def test_user_based_is_a_forward_pass():
    R = ratings()
    model = small("user", max_epochs=5).fit(R)
    module = model.net_.module_
    V, mu, W, b = (p.detach().numpy() for p in (module.V, module.mu, module.W, module.b))
    mean = R.data.mean()
    centered = np.where(R.toarray() > 0, R.toarray() - mean, 0)
    outputs = 1 / (1 + np.exp(-(centered @ V + mu))) @ W.T + b  # eq. 1
    assert_allclose(model.predict(R), np.clip(outputs + mean, 1, 5), atol=1e-4)


def test_item_based_users_have_the_exact_solution():
    """Every row minimises its own ridge regression; its prior are the trained decoder rows."""
    R = ratings()
    model = small(max_epochs=5).fit(R)
    codes = model.item_factors_.astype(np.float64)
    module = model.net_.module_
    rows = np.hstack([module.W.detach().numpy(), module.b.detach().numpy()[:, None]])
    prior, covariance = rows.mean(axis=0), np.cov(rows.T, bias=True)
    covariance = 0.5 * covariance / np.diag(covariance).mean() + 0.5 * np.eye(len(covariance))
    penalty = model.user_l2_ / 2 * np.linalg.inv(covariance)
    mean = R.data.mean()
    Z = np.hstack([codes, np.ones((len(codes), 1))])
    for row in (0, 17, 119):
        items = R[[row]].indices
        A, y = Z[items], R[[row]].data - mean
        solution = prior + np.linalg.solve(A.T @ A + penalty, A.T @ (y - A @ prior))
        expected = np.clip(Z @ solution + mean, 1, 5)
        assert_allclose(model.predict(R[[row]])[0], expected, atol=1e-4)


def test_a_sigmoid_at_the_output_is_a_line_from_the_prior_on():
    """With little freedom a user gets the prior's output; a little more follows its slope."""
    R = ratings()
    model = small(max_epochs=5, decoder_activation="sigmoid", user_l2=1e8).fit(R)
    module = model.net_.module_
    rows = np.hstack([module.W.detach().numpy(), module.b.detach().numpy()[:, None]])
    Z = np.hstack([model.item_factors_, np.ones((R.shape[1], 1))])
    logits = Z @ rows.mean(axis=0)
    outputs = 1 / (1 + np.exp(-logits))
    assert_allclose(model.predict(R[:1])[0], 1 + 4 * outputs, atol=1e-4)
    free = small(max_epochs=5, decoder_activation="sigmoid", user_l2=1e4).fit(R)
    moved = free._features_ / model._features_ / np.sqrt(1e4)
    assert_allclose(moved, 1, rtol=1e-6)
    slopes = outputs * (1 - outputs)
    root = model._root_ * np.sqrt(2 / 1e8)
    assert_allclose(model._features_, slopes[:, None] * (Z @ root), rtol=1e-4, atol=1e-9)


def test_the_penalty_of_the_ridge_regressions_can_be_given():
    R = ratings()
    free, stiff = (small(max_epochs=5, user_l2=value).fit(R) for value in (1.0, 1e8))
    assert stiff.user_l2_ == 1e8
    mean_row = stiff._base_ + R.data.mean()
    assert_allclose(stiff.predict(R), np.tile(np.clip(mean_row, 1, 5), (120, 1)), atol=1e-3)
    assert np.abs(free.predict(R) - stiff.predict(R)).max() > 0.1


def test_known_and_new_users_take_one_path():
    R = ratings()
    model = small(max_epochs=5).fit(R[:100])
    together = model.predict(R)
    assert_allclose(together[:100], model.predict(R[:100]), atol=1e-5)
    assert_allclose(together[100:], model.predict(R[100:]), atol=1e-5)


@kinds
@pytest.mark.parametrize(("cold", "value"), [("midpoint", 3.0), ("mean", None), (2.5, 2.5)])
def test_items_without_a_rating(kind, cold, value):
    R = ratings()
    R = sp.csr_array(sp.hstack([R, sp.csr_array((R.shape[0], 2), dtype=R.dtype)]))
    model = small(kind, max_epochs=2, cold_value=cold).fit(R)
    assert_allclose(model.predict(R)[:, -2:], R.data.mean() if value is None else value, rtol=1e-5)
    assert_allclose(model.predict_pairs(R, [0], [81]), model.predict(R)[0, 81])


def test_predictions_are_clipped_and_rankings_are_not():
    R = ratings()
    model = small(l2=0.01, user_l2=0.1, early_stopping=False, max_epochs=100).fit(R)
    predicted = model.predict(R)
    assert predicted.min() >= 1 and predicted.max() <= 5
    _, scores = model.recommend(n=80, exclude_seen=False, return_scores=True)
    assert scores.max() > 5


@kinds
def test_early_stopping_keeps_the_best_weights(kind):
    R = ratings()
    model = small(kind, lr=0.05, l2=0.0, max_epochs=200, n_iter_no_change=5).fit(R)
    history = model.history_
    assert history.columns[:2].tolist() != [] and history.index.name == "epoch"
    assert len(history) < 200, "it should have stopped"
    best = history["valid_loss"].min()
    train, valid = model._make_datasets(*model._split(R, np.random.RandomState(0)))
    net = model.net_
    with torch.no_grad():
        net.module_.eval()
        losses = [(net.module_.loss(i, o).item(), len(o)) for i, o in net.get_iterator(valid)]
    loss = np.average([loss for loss, _ in losses], weights=[size for _, size in losses])
    assert loss == pytest.approx(best, rel=1e-4)
    assert history["valid_loss"].iloc[-1] > best


@kinds
def test_one_seed_one_model_and_global_state_is_left_alone(kind):
    R = ratings()
    torch.manual_seed(7)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[2]
    first, second = (small(kind, max_epochs=3).fit(R) for _ in range(2))
    other = small(kind, max_epochs=3, random_state=1).fit(R)
    assert_array_equal(first.predict(R), second.predict(R))
    assert not np.array_equal(first.predict(R), other.predict(R))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.get_state()[2] == numpy_state


@kinds
def test_partial_fit_goes_on(kind):
    R = ratings()
    model = small(kind, max_epochs=3, early_stopping=False).fit(R)
    before = model.history_["train_loss"].iloc[-1]
    model.partial_fit(R)
    assert len(model.history_) == 6
    assert model.history_["train_loss"].iloc[-1] < before


@kinds
def test_partial_fit_extends_the_range_of_the_ratings(kind):
    """What is predicted is clipped to all ratings that were trained on."""
    R = ratings()
    narrow = R.copy()
    narrow.data = np.clip(R.data, 2, 4)
    model = small(kind, max_epochs=2).fit(narrow)
    assert model.rating_range_ == (2, 4)
    assert model.partial_fit(R).rating_range_ == (1, 5)
    assert model.partial_fit(narrow).rating_range_ == (1, 5)


def test_partial_fit_of_other_users_is_an_error_where_they_are_inputs():
    R = ratings()
    model = small(max_epochs=2).fit(R)
    with pytest.raises(ValueError, match="120 training users"):
        model.partial_fit(R[:50])
    small("user", max_epochs=2).fit(R).partial_fit(R[:50])


@kinds
def test_early_stopping_of_a_callback_ends_training_by_one(kind):
    R = ratings()
    stop = EarlyStopping("train_loss", patience=2, threshold=1e9, threshold_mode="abs")
    model = small(kind, max_epochs=30, callbacks=[stop]).fit(R)
    assert len(model.history_) == 3
    assert np.all(np.isfinite(model.predict(R)))


class Count(Callback):
    """Count the epochs into a list that clones share."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(len(net.history))


def test_callbacks_and_net_params():
    R = ratings()
    epochs = []
    model = small(max_epochs=4, early_stopping=False, callbacks=[("count", Count(epochs))])
    model.set_params(net_params={"optimizer__betas": (0.5, 0.9)})
    clone(model)
    model.fit(R)
    assert epochs == [1, 2, 3, 4]
    assert model.net_.optimizer_.param_groups[0]["betas"] == (0.5, 0.9)


@pytest.mark.parametrize("optimizer", ["adam", "rprop", "lbfgs", "SGD", torch.optim.Adagrad])
def test_optimizers(optimizer):
    R = ratings()
    lr = {"SGD": 1e-3}.get(optimizer, 0.01)
    model = small(optimizer=optimizer, lr=lr, max_epochs=8, early_stopping=False).fit(R)
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_the_penalty_is_that_of_the_paper():
    """Full-batch gradients vanish where the squared errors and λ/2 (‖W‖² + ‖V‖²) balance."""
    R = ratings(40, 30)
    model = small(l2=30.0, optimizer="lbfgs", max_epochs=60, early_stopping=False).fit(R)
    module = model.net_.module_
    (inputs, targets), *_ = model.net_.get_iterator(model._make_datasets(*model._split(R, None))[0])
    module.zero_grad()
    loss = module.loss(inputs, targets) * len(targets)
    (loss + 15 * (module.V.square().sum() + module.W.square().sum())).backward()
    for weight in (module.V, module.W):
        assert weight.grad.norm() < 1e-2 * 30 * max(float(weight.detach().norm()), 1.0)


def test_decays_reach_the_weights_alone():
    model = small(max_epochs=1, l2=37.0).fit(ratings())
    decays = {
        parameter: group["weight_decay"]
        for group in model.net_.optimizer_.param_groups
        for parameter in group["params"]
    }
    module = model.net_.module_
    assert decays[module.V] == decays[module.W] == pytest.approx(37 / 80)
    assert decays[module.mu] == decays[module.b] == 0


def test_searches():
    R = ratings()
    R_fit, R_valid = random_holdout(R, 0.1, random_state=0)
    grid = {"lr": [1e-4, 1e-2], "n_factors": [5, 10]}
    model = small("user", max_epochs=5)
    search = GridSearchCV(model, grid, cv=HoldoutSplit()).fit(R_fit, R_valid)
    assert search.best_params_["lr"] == 1e-2
    parallel = GridSearchCV(model, grid, cv=HoldoutSplit(), n_jobs=2).fit(R_fit, R_valid)
    assert_allclose(
        parallel.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], rtol=1e-4
    )
    pipe = RecommenderPipeline([("model", model)])
    grid = {f"model__{name}": values for name, values in grid.items()}
    piped = GridSearchCV(pipe, grid, cv=HoldoutSplit(), n_jobs=2).fit(R_fit, R_valid)
    assert_allclose(
        piped.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], rtol=1e-5
    )


@kinds
def test_saving(kind, tmp_path):
    R = ratings()
    model = small(kind, max_epochs=3).fit(R)
    model.save(tmp_path / "model")
    loaded = sklearn_recsys.load(tmp_path / "model")
    assert_array_equal(loaded.predict(R), model.predict(R))
    assert_allclose(loaded.history_["train_loss"], model.history_["train_loss"])
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R))
    assert torch.equal(torch.get_rng_state(), state)
    loaded.partial_fit(R)
    assert len(loaded.history_) == 6


@pytest.mark.parametrize("decoder", ["identity", "sigmoid", "tanh"])
@pytest.mark.parametrize("encoder", ["identity", "sigmoid", "selu"])
@kinds
def test_activations(kind, encoder, decoder):
    R = ratings()
    model = small(kind, max_epochs=3, encoder_activation=encoder, decoder_activation=decoder)
    predicted = model.fit(R).predict(R)
    assert np.all(np.isfinite(predicted))
    assert predicted.min() >= 1 and predicted.max() <= 5


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"optimizer": "adamm"}, "optimizer='adamm' is unknown; use one of .*adam"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
        ({"kind": "items"}, "The 'kind' parameter of AutoRec"),
        ({"n_factors": 0}, "The 'n_factors' parameter of AutoRec"),
        ({"encoder_activation": "sine"}, "The 'encoder_activation' parameter"),
        ({"lr": -1}, "The 'lr' parameter"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        AutoRec(**params).fit(ratings())


def test_a_constant_matrix_is_no_rating_data():
    with pytest.warns(UserWarning, match="predicts ratings, but all of X's values are 1"):
        small(max_epochs=1).fit(np.ones((6, 5)))


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_the_documented_template_keeps_the_contract(monkeypatch):
    """The complete example in NeuralRecommender's docstring is a real recommender."""
    test = doctest.DocTestParser().get_doctest(
        NeuralRecommender.__doc__, {"__name__": __name__}, "template", None, None
    )
    for example in test.examples:
        exec(example.source, test.globs)
    for name in ("LinearModule", "LinearAutoencoder"):  # pickle looks them up
        monkeypatch.setattr(sys.modules[__name__], name, test.globs[name], raising=False)
    check_recommender(test.globs["LinearAutoencoder"]())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@kinds
def test_cuda(kind):
    R = ratings()
    model = small(kind, device="cuda", max_epochs=5).fit(R)
    expected = small(kind, max_epochs=5).fit(R).predict(R)
    assert_allclose(model.predict(R), expected, atol=0.05)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(R), model.predict(R), atol=1e-5)
