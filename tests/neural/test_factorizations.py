"""What both matrix factorizations are as estimators, whatever their loss."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

from skorch.callbacks import Callback  # noqa: E402

import sklearn_recsys  # noqa: E402
from sklearn_recsys import ImplicitMatrixFactorization, MatrixFactorization  # noqa: E402
from sklearn_recsys.datasets import make_interactions, make_ratings  # noqa: E402
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout  # noqa: E402

RANKERS = {
    "all": {"loss": "logistic"},
    "sampled": {"loss": "logistic", "negatives": "sampled"},
    "bpr": {"loss": "bpr"},
    "warp": {"loss": "warp"},
}
RATERS = {"mse": {}, "range": {"rating_range": (1, 5)}, "implicit": {"implicit": True}}
KINDS = {**RATERS, **RANKERS}
kinds = pytest.mark.parametrize("kind", KINDS)


def ratings(n_users=80, n_items=50, density=0.3):
    return make_ratings(n_users, n_items, density=density, random_state=0)


def interactions(n_users=80, n_items=40, density=0.15):
    X = make_interactions(n_users, n_items, density=density, random_state=0)
    return X[np.sort(np.unique(X.toarray(), axis=0, return_index=True)[1])]


def data(kind):
    return interactions() if kind in RANKERS else ratings()


def small(kind, **params):
    cls = ImplicitMatrixFactorization if kind in RANKERS else MatrixFactorization
    batch_size = "auto" if kind == "all" else 128
    defaults = {"n_factors": 6, "max_epochs": 6, "batch_size": batch_size, "random_state": 0}
    return cls(**{**defaults, **KINDS[kind], **params})


def unclipped(model, X):
    """Return the scores of all items, as rankings see them."""
    ids, scores = model.recommend(X, n=X.shape[1], exclude_seen=False, return_scores=True)
    dense = np.empty(X.shape)
    np.put_along_axis(dense, ids, scores, axis=1)
    return dense


# -------------------------------------------------------------------------- as an estimator


@pytest.mark.parametrize("kind", ["mse", *RANKERS])
def test_factors_and_biases_make_the_scores(kind):
    X = data(kind)
    model = small(kind).fit(X)
    constant = X.data.mean(dtype=np.float64) if kind == "mse" else 0.0
    scores = model.user_factors_ @ model.item_factors_.T + constant
    scores += model.user_biases_[:, None] + model.item_biases_
    assert model.user_factors_.shape == (X.shape[0], 6)
    assert model.item_factors_.shape == (X.shape[1], 6)
    assert model.user_factors_.dtype == model.item_biases_.dtype == np.float32
    assert_allclose(unclipped(model, X), scores, atol=1e-4)


# -------------------------------------------------------------------------- as an estimator


# -------------------------------------------------------------------------- as an estimator


@kinds
def test_early_stopping(kind):
    X = data(kind)
    model = small(kind, max_epochs=60, lr=0.05, n_iter_no_change=2).fit(X)
    column = "valid_loss" if kind in RATERS else "valid_ndcg"
    history = model.history_[column]
    assert ("valid_ndcg" in model.history_) == (kind in RANKERS)
    best = history.min() if column == "valid_loss" else history.max()
    assert len(history) < 60, "it should have stopped"
    _, valid = model.net_.train_split(None)
    net, module = model.net_, model.net_.module_.eval()
    measure = module.loss if column == "valid_loss" else module.validate
    with torch.no_grad():
        parts = [(measure(*batch).item(), len(batch[0])) for batch in net.get_iterator(valid)]
    values, sizes = zip(*parts, strict=True)
    assert np.average(values, weights=sizes) == pytest.approx(best, rel=1e-3)
    without = small(kind, early_stopping=False).fit(X).history_
    assert column not in without and len(without) == 6


class RecordedRates(Callback):
    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            rates.append(net.optimizer_.param_groups[0]["lr"])


rates = []


@pytest.mark.parametrize("kind", ["mse", "all", "bpr"])
def test_one_cycle(kind):
    params = {"max_epochs": 5, "early_stopping": False, "lr": 0.02}
    params["batch_size"] = 8 if kind == "all" else 80  # rows, or pairs
    callbacks = [RecordedRates()]
    rates.clear()
    small(kind, schedule="one_cycle", callbacks=callbacks, **params).fit(data(kind))
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(0.02, rel=0.02)
    assert 0.1 < top / len(rates) < 0.5
    assert np.all(np.diff(rates[: top + 1]) > 0) and np.all(np.diff(rates[top:]) < 0)
    assert rates[0] < 0.1 * 0.02 and rates[-1] < 0.05 * 0.02
    rates.clear()
    small(kind, callbacks=callbacks, **params).fit(data(kind))
    assert set(rates) == {0.02}


@kinds
def test_sgd(kind):
    X = data(kind)
    params = {"early_stopping": False, "batch_size": 32, "l2": 0.0, "max_epochs": 6}
    lr = 0.1 if kind in RATERS else 1.0
    losses = small(kind, optimizer="sgd", lr=lr, **params).fit(X).history_["train_loss"]
    assert losses.iloc[-1] < 0.97 * losses.iloc[0]


def test_default_rates_and_penalties():
    for kind, lr, l2 in (("mse", 0.003, 0.22), ("all", 0.01, 0.01), ("bpr", 0.01, 0.01)):
        net = small(kind, max_epochs=1).fit(data(kind)).net_
        assert net.lr == lr and net.module_.l2 == l2


@kinds
def test_the_penalty_shrinks_the_vectors(kind):
    X = data(kind)
    params = {"early_stopping": False, "max_epochs": 15, "lr": 0.05, "batch_size": 256}
    free, held = (small(kind, l2=l2, **params).fit(X).net_.module_ for l2 in (0.0, 2.0))
    for name in ("user_vectors", "item_vectors"):
        norms = [getattr(module, name).detach().norm().item() for module in (free, held)]
        assert norms[1] < 0.7 * norms[0]


# -------------------------------------------------------------------------- as an estimator


@kinds
def test_one_seed_one_model_and_global_state_is_left_alone(kind):
    X = data(kind)
    torch.manual_seed(7)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()
    first, second = (small(kind).fit(X) for _ in range(2))
    new = small(kind).fit(X[:60])
    new.predict(X)
    other = small(kind, random_state=1).fit(X)
    assert_array_equal(first.predict(X), second.predict(X))
    assert not np.array_equal(first.predict(X), other.predict(X))
    assert torch.equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], numpy_state[1])
    assert np.random.get_state()[2] == numpy_state[2]


@kinds
def test_saving(kind, tmp_path):
    X = data(kind)
    model = small(kind).fit(X[:60])
    model.save(tmp_path / "model")
    for loaded in (sklearn_recsys.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(loaded.predict(X), model.predict(X))  # known and new users
        assert_array_equal(loaded.user_factors_, model.user_factors_)
        n = len(model.history_)
        assert len(loaded.partial_fit(X).history_) > n
    stored = set(model._save_state())
    assert not {"_cache_", "_split_", "net_"} & stored


@pytest.mark.parametrize("kind", ["mse", "all"])
def test_search(kind):
    fit, valid = random_holdout(data(kind), 0.1, random_state=0)
    grid = {"lr": [1e-7, 2e-2], "n_factors": [2, 4]}
    model = small(kind, max_epochs=8, batch_size=64, early_stopping=False)
    search = GridSearchCV(model, grid, cv=HoldoutSplit()).fit(fit, valid)
    assert search.best_params_["lr"] == 2e-2
    search = GridSearchCV(small(kind), {"l2": [0.01, 0.1]}, cv=2).fit(data(kind))
    assert np.isfinite(search.best_score_)


@kinds
def test_the_tag_follows_the_loss(kind):
    tags = small(kind).__sklearn_tags__().recommender_tags
    assert tags.values == ("rating" if kind in RATERS else "binary")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none():
    for kind in KINDS:
        with pytest.raises(ValueError, match="device='cuda' is not available"):
            small(kind, device="cuda").fit(data(kind))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@kinds
def test_cuda(kind):
    X = data(kind)
    model = small(kind, device="cuda").fit(X[:60])
    assert np.isfinite(model.predict(X)).all()
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X), atol=1e-4)
