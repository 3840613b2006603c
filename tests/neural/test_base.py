"""What all neural models share: validation that is missing, Ctrl-C, batches without an example."""

from __future__ import annotations

import _thread
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("skorch")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from skorch.callbacks import Callback, EarlyStopping  # noqa: E402

from sklearn_recsys import (  # noqa: E402
    CDAE,
    ELSA,
    NCF,
    SVAE,
    AutoRec,
    DeepAutoencoder,
    EmbeddingNet,
    ImplicitMatrixFactorization,
    LightGCN,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    RecVAE,
    SASRec,
    SimpleX,
    TwoTower,
)
from sklearn_recsys.datasets import make_interactions, make_ratings  # noqa: E402
from sklearn_recsys.exceptions import ConvergenceWarning  # noqa: E402
from sklearn_recsys.neural._data.random import (  # noqa: E402
    FitGenerators,
    dropout,
    generator,
    seeded,
)
from sklearn_recsys.neural._nn.losses import multinomial_loss  # noqa: E402
from sklearn_recsys.utils.discovery import all_recommenders  # noqa: E402

SMALL = {"n_factors": 4, "max_epochs": 2, "validation_fraction": 0.4, "random_state": 0}
RANKERS = {
    "MultDAE": MultDAE(),
    "MultVAE": MultVAE(hidden_layer_sizes=[4]),
    "RecVAE": RecVAE(n_hidden=4, encoder_epochs=1),
    "CDAE": CDAE(),
    "CDAE, sampled": CDAE(n_negatives=2),
    "ELSA": ELSA(),
    "LightGCN": LightGCN(),
    "SASRec": SASRec(n_negatives=5),
    "SVAE": SVAE(embedding_dim=4, n_recurrent=4, n_hidden=4),
    "SimpleX, softmax": SimpleX(),
    "SimpleX, hinge": SimpleX(loss="hinge"),
    "MF, logistic": ImplicitMatrixFactorization(),
    "MF, sampled": ImplicitMatrixFactorization(negatives="sampled"),
    "MF, bpr": ImplicitMatrixFactorization(loss="bpr"),
    "MF, warp": ImplicitMatrixFactorization(loss="warp"),
    "NCF, gmf": NCF("gmf"),
    "NCF, mlp": NCF("mlp", hidden_layer_sizes=[4]),
    "NCF, neumf": NCF(hidden_layer_sizes=[4]),
    "two towers, softmax": TwoTower(loss="softmax", embedding_dim=4, hidden_layer_sizes=[4]),
    "two towers, logistic": TwoTower(
        loss="logistic", embedding_dim=4, hidden_layer_sizes=[4], batch_norm=True
    ),
}
RATERS = {
    "AutoRec, item": AutoRec(),
    "AutoRec, user": AutoRec("user"),
    "DeepAutoencoder, user": DeepAutoencoder(hidden_layer_sizes=[4]),
    "DeepAutoencoder, item": DeepAutoencoder("item", hidden_layer_sizes=[4]),
    "EmbeddingNet": EmbeddingNet(hidden_layer_sizes=[4]),
    "MF, mse": MatrixFactorization(),
    "MF, implicit": MatrixFactorization(implicit=True),
    "two towers, mse": TwoTower(embedding_dim=4, hidden_layer_sizes=[4]),
}
MODELS = {**RANKERS, **RATERS}


def small(name, **params):
    model = clone(MODELS[name])
    names = set(SMALL) & set(model.get_params())
    return model.set_params(**{**{name: SMALL[name] for name in names}, **params})


def matrix(name, n_users=60, n_items=20):
    if name in RATERS:
        return make_ratings(n_users, n_items, density=0.3, random_state=0)
    return make_interactions(n_users, n_items, random_state=0)


def test_every_neural_model_is_here():
    neural = {cls for _, cls in all_recommenders() if ".neural." in cls.__module__}
    assert {type(model) for model in MODELS.values()} == neural


# ---------------------------------------------------------------- nothing to validate on


def single(X):
    """Return an interaction for each user: nothing can be held out of such a row."""
    cells = X.indptr[:-1][np.diff(X.indptr) > 0]
    indptr = np.arange(len(cells) + 1)
    return sp.csr_array((X.data[cells], X.indices[cells], indptr), shape=(len(cells), X.shape[1]))


@pytest.mark.parametrize("name", RANKERS)
def test_rankers_train_on_where_there_is_nothing_to_validate_on(name):
    X = matrix(name)
    model = small(name).fit(X)
    n = len(model.history_)
    assert "valid_ndcg" in model.history_
    model.partial_fit(single(X))
    assert len(model.history_) == n + 2  # all epochs
    assert model.history_["valid_ndcg"].iloc[n:].isna().all()
    assert np.isfinite(model.history_["train_loss"]).all()
    model.partial_fit(X)  # and validates again
    assert model.history_["valid_ndcg"].iloc[-2:].notna().all()


@pytest.mark.parametrize("name", ["MultVAE", "MF, bpr", "MF, mse", "two towers, mse"])
def test_early_stopping_begins_with_the_first_data_that_allow_it(name, recwarn):
    X = matrix(name)
    few = single(X)[:1] if name in RATERS else single(X)[:10]
    model = small(name, n_iter_no_change=1, lr=1e-9).fit(few)
    assert not any(column.startswith("valid") for column in model.history_)
    for going_on in (model, pickle.loads(pickle.dumps(model))):
        going_on.set_params(max_epochs=5).partial_fit(X)
        if name in RATERS:  # nothing improves
            assert len(going_on.history_) == 2 + 2
        else:
            assert going_on.history_["valid_ndcg"].iloc[2:].notna().all()


@pytest.mark.parametrize("name", [n for n in RATERS if "item" not in n])
def test_raters_train_where_one_rating_is_all(name):
    X = matrix(name)
    one = sp.csr_array(([3.0], ([0], [1])), shape=(2, 20))
    model = small(name).fit(X)
    with pytest.warns(UserWarning, match="all of X's values"):
        model.partial_fit(one)
    assert len(model.history_) == 4
    assert model.history_["valid_loss"].iloc[2:].isna().all()
    with pytest.warns(UserWarning, match="all of X's values"):
        model = small(name).fit(one)
    assert "valid_loss" not in model.history_
    assert np.isfinite(model.predict(X[:2])).all()


def test_a_callback_that_reads_what_is_not_measured_says_so():
    X = matrix("MultVAE")
    model = small("MultVAE", callbacks=[EarlyStopping("valid_ndcg", lower_is_better=False)])
    model.fit(X)
    with pytest.raises(ValueError, match="no data is held out"):
        model.partial_fit(X[:20])
    assert_array_equal(model.interactions_.indptr, X.indptr)


# ---------------------------------------------------------------- nothing in a batch


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("name", MODELS)
def test_empty_rows_give_no_loss_that_is_not_finite(name, batch_size):
    X = matrix(name, 24, 12).toarray()
    X[::3] = X[:7] = 0
    X[:, 3] = 0
    X[9] = (
        np.arange(1, 13) if name in ("SASRec", "SVAE") else 1 + np.arange(12) % 5
    )  # nothing is free to it
    model = small(name, batch_size=batch_size).fit(X)
    losses = model.history_.filter(regex="loss|ndcg").to_numpy(dtype=float)
    assert np.isfinite(losses).all()
    assert np.isfinite(model.predict(X)).all()


def test_empty_rows_change_nothing_of_a_logistic_loss():
    X = (np.random.default_rng(0).random((24, 6)) < 0.4).astype(float)
    X[::3] = 0
    model = ImplicitMatrixFactorization(4, max_epochs=3, random_state=0)
    with_empty = clone(model).fit(X).history_["train_loss"]
    without = clone(model).fit(X[X.any(axis=1)]).history_["train_loss"]
    assert with_empty.to_numpy() == pytest.approx(without.to_numpy(), abs=3e-3)
    assert without.to_numpy() == pytest.approx([0.691, 0.663, 0.638], abs=1e-3)


# ---------------------------------------------------------------- Ctrl-C


class CtrlC(Callback):
    """Interrupt the main thread in the second epoch, as Ctrl-C does, and count the epochs."""

    epochs: list = []

    def on_epoch_begin(self, net, **kwargs):
        self.epochs.append(len(net.history))
        if len(self.epochs) == 2:
            _thread.interrupt_main()


@pytest.fixture(name="epochs")
def fixture_epochs(monkeypatch):
    """Return the list of the epochs that were begun, of all clones."""
    monkeypatch.setattr(CtrlC, "epochs", [])
    return CtrlC.epochs


@pytest.mark.parametrize("name", ["NCF, neumf", "MultVAE", "MF, mse"])
def test_one_ctrl_c_ends_fit(name, epochs):
    model = small(name, max_epochs=5, callbacks=[CtrlC()])
    with pytest.raises(KeyboardInterrupt):
        model.fit(matrix(name))
    assert epochs == [1, 2]
    assert not model.__sklearn_is_fitted__()


def test_one_ctrl_c_ends_a_search(epochs):
    model = small("MultDAE", callbacks=[CtrlC()])
    search = GridSearchCV(model, {"dropout": [0.1, 0.2]}, cv=2, error_score=0.0)
    with pytest.raises(KeyboardInterrupt):
        search.fit(matrix("MultDAE"))
    assert epochs == [1, 2]


def test_partial_fit_takes_the_epochs_that_are_set():
    X = matrix("MultVAE")
    model = small("MultVAE").fit(X).set_params(max_epochs=5).partial_fit(X)
    assert len(model.history_) == 7


# ---------------------------------------------------------------- divergence

EXPLODING = {"optimizer": "sgd", "lr": 1e30, "max_epochs": 8}


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_a_diverged_fit_warns_and_predicts_nothing_that_is_not_finite(name, early_stopping):
    X = matrix(name)
    model = small(name, **EXPLODING, early_stopping=early_stopping)
    with pytest.warns(ConvergenceWarning, match=rf"{type(model).__name__} diverged in epoch \d+"):
        model.fit(X)
    assert len(model.history_) < 8 or np.isfinite(model.history_["train_loss"]).all()
    asked = [model.predict, model.recommend, lambda X: model.predict_pairs(X, [0], [1])]
    if hasattr(model, "transform"):
        asked += [model.transform, lambda X: model.similar_users(X)[0]]
    for ask in asked:
        try:
            answer = ask(X)
        except ValueError as error:
            assert "may have diverged" in str(error)
        else:
            assert np.isfinite(answer).all()


def test_the_epoch_of_an_explosion_is_named_though_earlier_weights_are_kept():
    R = make_ratings(80, 30, density=0.3, random_state=0)
    params = {"n_factors": 4, "embedding_dim": 4, "hidden_layer_sizes": (4,), "random_state": 0}
    model = TwoTower(**params, optimizer="sgd", lr=100, max_epochs=8)
    with pytest.warns(ConvergenceWarning, match=r"diverged in epoch \d.*Lower lr \(it is 100\)"):
        model.fit(R)
    assert np.isfinite(model.predict(R)).all()  # the weights of the best epoch


class Explode(Callback):
    """Set a weight to NaN in the second epoch that is trained."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 4:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(torch.nan)


@pytest.mark.parametrize("name", ["MultVAE", "MF, bpr", "AutoRec, item", "two towers, mse"])
def test_a_partial_fit_that_diverges_leaves_the_model_as_it_was(name):
    X = matrix(name)
    model = small(name, early_stopping=False, callbacks=[Explode()]).fit(X)
    before, history = model.predict(X), model.history_
    with pytest.warns(ConvergenceWarning, match="epoch 4.*The model stays as it was"):
        assert model.partial_fit(X) is model
    assert_array_equal(model.predict(X), before)
    assert model.history_.equals(history)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_refused(value):
    X = matrix("MF, bpr")
    model = small("MF, bpr").fit(X)
    model.item_factors_[3] = value
    with pytest.raises(ValueError, match="has vectors that are"):
        model.similar_items(0)
    model.user_factors_[3] = value
    with pytest.raises(ValueError, match="has vectors that are"):
        model.similar_users(0)


# ---------------------------------------------------------------- seeds


def test_modules_without_storage_are_made_without_random_numbers():
    """Of the size that those with storage have; `fit` asks for it first."""

    def made():
        layer = torch.nn.GRU(3, 2)
        torch.nn.init.kaiming_uniform_(tensor=layer.bias_hh_l0[None])
        return [*layer.parameters(), torch.randn(2, 3), torch.rand((4,), dtype=torch.float64)]

    with seeded(0), FitGenerators():
        expected = made()
    with seeded(0), torch.device("meta"), FitGenerators():
        without = made()
        assert_array_equal(generator().get_state(), torch.Generator().manual_seed(0).get_state())
    assert all(weight.is_meta for weight in without)
    sizes = [[(weight.shape, weight.dtype) for weight in w] for w in (without, expected)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", ["MultVAE", "NCF, mlp", "two towers, softmax"])
def test_seeds_hold_in_threads_and_the_global_states_stay(name):
    X = matrix(name)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    alone = small(name).fit(X).predict(X)
    with ThreadPoolExecutor(4) as pool:
        for predicted in pool.map(lambda _: small(name).fit(X).predict(X), range(4)):
            assert_array_equal(predicted, alone)
    assert_array_equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)


class DrawingModule(torch.nn.Module):
    """A module of a user, with torch's own layers, which draw in every way that torch has."""

    def __init__(self, n_items):
        super().__init__()
        self.first = torch.nn.Linear(n_items, 6)
        self.dropout = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.AlphaDropout(0.2))
        self.gru = torch.nn.GRU(6, 6, num_layers=2, dropout=0.5)
        self.last = torch.nn.Linear(6, n_items)

    def forward(self, rows):
        hidden = rows.matmul(self.first.weight.T) + self.first.bias
        if self.training:
            hidden = self.dropout(hidden) + torch.randn_like(hidden) + torch.rand(6)
        return self.last(self.gru(hidden[None])[0][0])

    def loss(self, inputs, targets):
        return multinomial_loss(targets, self(inputs))


class Drawing(MultDAE):
    def _make_module(self, X):
        return DrawingModule(X.shape[1])


def test_modules_of_users_draw_from_the_seed_too():
    X, state = matrix("MultDAE"), torch.get_rng_state()

    def weights(_=None):
        model = Drawing(max_epochs=2, early_stopping=False, random_state=0).fit(X)
        return torch.nn.utils.parameters_to_vector(model.net_.module_.parameters()).detach()

    alone = weights()
    torch.rand(3)  # whatever the user draws
    torch.set_rng_state(state)
    with ThreadPoolExecutor(3) as pool:
        for others in pool.map(weights, range(3)):
            assert_array_equal(others, alone)
    assert_array_equal(torch.get_rng_state(), state)
    other = Drawing(max_epochs=2, early_stopping=False, random_state=1).fit(X)
    got = torch.nn.utils.parameters_to_vector(other.net_.module_.parameters()).detach()
    assert not np.array_equal(got, alone)


def test_draws_are_those_of_the_global_generator_with_the_seed():
    with seeded(3):
        own = torch.rand(20, generator=generator()), torch.randperm(50, generator=generator())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert_array_equal(own[0], torch.rand(20))
        assert_array_equal(own[1], torch.randperm(50))
    assert generator() is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1e-3, 0.999, 1e-12])
def test_dropout_drops_a_share_and_scales_the_rest_up(share):
    values = torch.arange(1, 100_001, dtype=torch.float32).view(1000, 100).T
    with seeded(0):
        got = dropout(values, share)
        again = dropout(values, share)
    kept = got != 0
    margin = 5 * np.sqrt(share * (1 - share) / values.numel())
    assert kept.double().mean().item() == pytest.approx(1 - share, abs=margin)
    assert_allclose(got[kept], values[kept] / (1 - share), rtol=1e-6)
    assert torch.equal(got, again) == (share == 1e-12)
    for single in (torch.ones(()), torch.ones(0), torch.ones(3, dtype=torch.float64)):
        dropped = dropout(single, share)
        assert dropped.shape == single.shape and dropped.dtype == single.dtype
    assert dropout(values, share, training=False) is values
