"""What all neural models share: validation that is missing, Ctrl-C, batches without an example."""

from __future__ import annotations

import _thread
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

pytest.importorskip("skorch")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from skorch.callbacks import Callback, EarlyStopping  # noqa: E402

from sklearn_recsys import (  # noqa: E402
    CDAE,
    NCF,
    SVAE,
    AutoRec,
    DeepAutoencoder,
    EmbeddingNet,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    RecVAE,
    TwoTowerRecommender,
)
from sklearn_recsys.datasets import make_interactions, make_ratings  # noqa: E402
from sklearn_recsys.utils.discovery import all_recommenders  # noqa: E402

SMALL = {"n_factors": 4, "max_epochs": 2, "validation_fraction": 0.4, "random_state": 0}
RANKERS = {
    "MultDAE": MultDAE(),
    "MultVAE": MultVAE(hidden_layer_sizes=[4]),
    "RecVAE": RecVAE(n_hidden=4, encoder_epochs=1),
    "CDAE": CDAE(),
    "CDAE, sampled": CDAE(n_negatives=2),
    "SVAE": SVAE(n_embedding=4, n_recurrent=4, n_hidden=4),
    "MF, logistic": MatrixFactorization(loss="logistic"),
    "MF, sampled": MatrixFactorization(loss="logistic", negatives="sampled"),
    "MF, bpr": MatrixFactorization(loss="bpr"),
    "NCF, gmf": NCF("gmf"),
    "NCF, mlp": NCF("mlp", hidden_layer_sizes=[4]),
    "NCF, neumf": NCF(hidden_layer_sizes=[4]),
    "two towers, softmax": TwoTowerRecommender(
        loss="softmax", n_embedding=4, hidden_layer_sizes=[4]
    ),
    "two towers, logistic": TwoTowerRecommender(
        loss="logistic", n_embedding=4, hidden_layer_sizes=[4], batch_norm=True
    ),
}
RATERS = {
    "AutoRec, item": AutoRec(),
    "AutoRec, user": AutoRec("user"),
    "DeepAutoencoder, user": DeepAutoencoder(hidden_layer_sizes=[4]),
    "DeepAutoencoder, item": DeepAutoencoder("item", hidden_layer_sizes=[4]),
    "EmbeddingNet": EmbeddingNet(hidden_layer_sizes=[4]),
    "MF, mse": MatrixFactorization(),
    "two towers, mse": TwoTowerRecommender(n_embedding=4, hidden_layer_sizes=[4]),
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
    with pytest.raises(ValueError, match="nothing is held out"):
        model.partial_fit(X[:20])
    assert_array_equal(model.interactions_.indptr, X.indptr)


# ---------------------------------------------------------------- nothing in a batch


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("name", MODELS)
def test_empty_rows_give_no_loss_that_is_not_finite(name, batch_size):
    X = matrix(name, 40, 12).toarray()
    X[::3] = X[:7] = 0
    X[:, 3] = 0
    X[9] = np.arange(1, 13) if name == "SVAE" else 1 + np.arange(12) % 5  # nothing is free to it
    model = small(name, batch_size=batch_size).fit(X)
    losses = model.history_.filter(regex="loss|ndcg").to_numpy(dtype=float)
    assert np.isfinite(losses).all()
    assert np.isfinite(model.predict(X)).all()


def test_empty_rows_change_nothing_of_a_logistic_loss():
    X = (np.random.default_rng(0).random((24, 6)) < 0.4).astype(float)
    X[::3] = 0
    model = MatrixFactorization(4, loss="logistic", max_epochs=3, random_state=0)
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
