"""A `partial_fit` that is refused or fails leaves the former model as it was."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import Binarizer
from skorch.callbacks import Callback

from sklearn_recsys import ALS, NCF, MultVAE, RecommenderPipeline
from sklearn_recsys.neural import ImplicitMatrixFactorization, NeuralRecommender
from sklearn_recsys.utils.discovery import all_recommenders

N_USERS, N_ITEMS = 24, 12
ITEMS = [f"item {i}" for i in range(N_ITEMS)]

SMALL = {
    "n_factors": 3,
    "n_neighbors": 4,
    "hidden_layer_sizes": [4],
    "embedding_dim": 4,
    "n_recurrent": 4,
    "n_hidden": 4,
    "l2": 1.0,
    "max_epochs": 2,
    "max_iter": 2,
    "random_state": np.random.RandomState(0),
}


def small(model):
    names = set(model.get_params()) & set(SMALL)
    return clone(model).set_params(**{name: SMALL[name] for name in names})


MODELS = {name: small(cls()) for name, cls in all_recommenders()}
MODELS |= {
    "AutoRec, user": small(MODELS["AutoRec"]).set_params(kind="user"),
    "ImplicitMatrixFactorization, logistic": small(ImplicitMatrixFactorization()),
    "ImplicitMatrixFactorization, bpr": small(ImplicitMatrixFactorization(loss="bpr")),
    "ImplicitMatrixFactorization, warp": small(ImplicitMatrixFactorization(loss="warp")),
    "NCF, gmf": small(NCF("gmf")),
    "TwoTower, softmax": small(MODELS["TwoTower"]).set_params(loss="softmax"),
    "pipeline": RecommenderPipeline([("tfidf", TfidfTransformer()), ("m", small(ALS()))]),
    "neural pipeline": RecommenderPipeline([("like", Binarizer()), ("m", small(MultVAE()))]),
}


def histories(seed=0, n_users=N_USERS):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, size=(n_users, N_ITEMS)) * (rng.random((n_users, N_ITEMS)) < 0.5)
    X[:, 0] = 2
    return pd.DataFrame(X.astype(float), columns=ITEMS)


def with_value(value):
    return histories(1).mask(histories(1) > 4, value)


class Error(Exception):
    """An error that only these tests raise."""


@cache
def fitted(name):
    return MODELS[name].fit(histories())


@cache
def predicted(name):
    """Return what the model predicted of new users before it failed for the first time."""
    return fitted(name).predict(histories(2))


def inner_model(model):
    return model.steps[-1][1] if isinstance(model, RecommenderPipeline) else model


def weights(model):
    """Return what training changes in place: copies of the weights, the optimizer and the curve."""
    if not isinstance(model, NeuralRecommender):
        return {}
    net = model.net_
    moments = net.optimizer_.state_dict()["state"]
    return {
        **{name: value.numpy().copy() for name, value in net.module_.state_dict().items()},
        **{
            f"{i} {k}": torch.as_tensor(v).numpy().copy()
            for i, s in moments.items()
            for k, v in s.items()
        },
        "curve": model.history_.copy(),
    }


def state(model):
    """Return the attributes, and random states, weights and curve as they are now."""
    inner = inner_model(model)
    steps = [vars(step).copy() for _, step in getattr(model, "steps", [])]
    randoms = [
        p.get_state()[1].copy() for p in model.get_params().values() if hasattr(p, "randint")
    ]
    return [vars(model).copy(), *steps], randoms, weights(inner)


def assert_unchanged(model, before):
    (attributes, randoms, values), (then, randoms_then, values_then) = state(model), before
    for now, former in zip(attributes, then, strict=True):
        assert now.keys() == former.keys()
        assert all(now[name] is former[name] for name in now)
    for now, former in zip(randoms, randoms_then, strict=True):
        assert_array_equal(now, former)
    assert values.keys() == values_then.keys()
    for name in values:
        assert_array_equal(values[name], values_then[name], err_msg=name)


def refused(X, error=ValueError, **params):
    def fail(model, monkeypatch):
        with pytest.raises(error):
            model.partial_fit(X, **params)

    return fail


def bad_parameter(model, monkeypatch):
    inner = inner_model(model)
    names = ("n_factors", "n_neighbors", "l2", "user_l2", "alpha", "encoder", "random_state")
    name = next(name for name in names if hasattr(inner, name))
    former = getattr(inner, name)
    setattr(inner, name, -1.5)
    with pytest.raises((ValueError, TypeError)):
        model.partial_fit(histories(1))
    setattr(inner, name, former)


def failing(method, error):
    """Fail at the end of a method, after all that it changes."""

    def fail(model, monkeypatch):
        inner = inner_model(model)
        original = getattr(type(inner), method)

        def fails(self, *args, **params):
            original(self, *args, **params)
            raise error("here")

        monkeypatch.setattr(type(inner), method, fails)
        with pytest.raises(error, match="here"):
            model.partial_fit(histories(1))

    return fail


class Failing(Callback):
    """Raise an error in the first or second epoch of `partial_fit`."""

    error = None
    epoch = 1

    def on_train_begin(self, net, **kwargs):
        self.epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        if self.error is not None and self.epochs == self.epoch:
            raise self.error


def failing_callback(error, epoch):
    def fail(model, monkeypatch):
        inner = inner_model(model)
        inner.net_.callbacks_.append(("failing", Failing()))
        inner.callbacks = [inner.net_.callbacks_[-1][1]]
        before = state(model)
        inner.callbacks[0].error, inner.callbacks[0].epoch = error, epoch
        with pytest.raises(error):
            model.partial_fit(histories(1))
        assert_unchanged(model, before)
        inner.net_.callbacks_.pop()
        inner.callbacks = None

    return fail


OF_TRAINING = {"at the end", "callback", "callback, second epoch", "Ctrl-C in training"}

FAILURES = {
    "fewer items": refused(histories(1).iloc[:, :-1]),
    "one dimension": refused(np.ones(N_ITEMS)),
    "NaN": refused(with_value(np.nan)),
    "inf": refused(with_value(np.inf)),
    "strings": refused(histories(1).astype(str).map("x{}".format)),
    "no row": refused(histories(1)[:0]),
    "other labels": refused(histories(1).add_prefix("other ")),
    "user features": refused(histories(1), (TypeError, ValueError), user_features=[[1.0]] * 24),
    "bad parameter": bad_parameter,
    "memory": failing("_fit", MemoryError),
    "Ctrl-C": failing("_fit", KeyboardInterrupt),
    "at the end": failing("_finish", Error),
    "callback": failing_callback(Error, 1),
    "callback, second epoch": failing_callback(Error, 2),
    "Ctrl-C in training": failing_callback(KeyboardInterrupt, 2),
}


def applies(failure, model):
    if failure in OF_TRAINING:
        return isinstance(inner_model(model), NeuralRecommender)
    return failure != "bad parameter" or bool(model.get_params())


CASES = [(n, f) for n, model in MODELS.items() for f in FAILURES if applies(f, model)]


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize(("name", "failure"), CASES)
def test_a_failing_partial_fit_leaves_the_model_as_it_was(name, failure, monkeypatch):
    model = fitted(name)
    expected, before = predicted(name), state(model)
    try:
        FAILURES[failure](model, monkeypatch)
    finally:
        monkeypatch.undo()
    assert_unchanged(model, before)
    assert_array_equal(model.predict(histories(2)), expected)
