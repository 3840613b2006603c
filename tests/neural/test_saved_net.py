"""A net is saved as fitted, whatever the parameters are set to afterwards."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("skorch")

from sklearn.base import clone  # noqa: E402

from sklearn_recsys import (  # noqa: E402
    CDAE,
    ELSA,
    NCF,
    SVAE,
    AutoRec,
    DeepAutoencoder,
    EmbeddingNet,
    ImplicitMatrixFactorization,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    RecVAE,
    SASRec,
    TwoTower,
    load,
)
from sklearn_recsys.datasets import make_interactions, make_ratings  # noqa: E402
from sklearn_recsys.persistence import ModelFileError  # noqa: E402
from sklearn_recsys.persistence._container import write  # noqa: E402
from sklearn_recsys.persistence._encode import Encoder  # noqa: E402
from sklearn_recsys.utils._sklearn import Interval, StrOptions  # noqa: E402

RATINGS = make_ratings(40, 15, density=0.3, random_state=0)
INTERACTIONS = make_interactions(40, 15, random_state=0)
NEW = make_ratings(6, 15, density=0.3, random_state=1)
SMALL = {"n_factors": 4, "max_epochs": 1, "random_state": 0, "device": "cpu"}
MODELS = {
    "AutoRec, item": AutoRec(),
    "AutoRec, user": AutoRec("user"),
    "CDAE": CDAE(),
    "DeepAutoencoder": DeepAutoencoder(hidden_layer_sizes=np.array([4])),
    "ELSA": ELSA(),
    "EmbeddingNet": EmbeddingNet(hidden_layer_sizes=[4]),
    "MF, mse": MatrixFactorization(),
    "MF, implicit": MatrixFactorization(implicit=True),
    "MF, logistic": ImplicitMatrixFactorization(),
    "MF, bpr": ImplicitMatrixFactorization(loss="bpr"),
    "MultDAE": MultDAE(hidden_layer_sizes=pd.Index([4])),
    "MultVAE": MultVAE(hidden_layer_sizes=[4]),
    "NCF, gmf": NCF("gmf"),
    "NCF, neumf": NCF(hidden_layer_sizes=[4]),
    "RecVAE": RecVAE(n_hidden=4, encoder_epochs=1),
    "SASRec": SASRec(),
    "SVAE": SVAE(embedding_dim=4, n_recurrent=4, n_hidden=4),
    "two towers": TwoTower(embedding_dim=4, hidden_layer_sizes=[4]),
}
OF_A_RUN = {"device", "random_state", "verbose"}


def fitted(name):
    model = clone(MODELS[name])
    model.set_params(**{k: v for k, v in SMALL.items() if k in model.get_params()})
    tag = model.__sklearn_tags__().recommender_tags.values
    X = RATINGS if tag == "rating" else INTERACTIONS
    return model.fit(X), X


def other_values(model):
    """Return another value for each parameter of a number, a choice or a truth value."""
    others = {}
    for name, value in model.get_params().items():
        if name in OF_A_RUN:
            continue
        for accepted in type(model)._parameter_constraints[name]:
            if isinstance(accepted, StrOptions):
                options = sorted(accepted.options - {value})
                others.update((name, option) for option in options[:1])
            elif accepted == "boolean":
                others[name] = not value
            elif isinstance(accepted, Interval) and isinstance(value, int):
                others[name] = value + 3
        if name == "hidden_layer_sizes":
            others[name] = (5, 3)
    return {**others, "lr": 0.123, "optimizer": "sgd"}


@pytest.mark.parametrize("name", MODELS)
def test_parameters_that_change_after_fit(name, tmp_path):
    model, X = fitted(name)
    expected, of_new_users = model.predict(X), model.predict(NEW)
    others = other_values(model)
    assert {"n_factors", "hidden_layer_sizes"} & set(others)
    model.set_params(**others)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    for other in (model, loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(model)):
        assert_array_equal(other.predict(X), expected)
        assert_array_equal(other.predict(NEW), of_new_users)
        assert {k: other.get_params()[k] for k in others} == others
        assert other.net_.lr == model.net_.lr  # partial_fit goes on with what fit began with
    loaded.save(tmp_path / "again")
    loaded = load(tmp_path / "again")
    assert_array_equal(loaded.predict(X), expected)
    loaded.set_params(early_stopping=False).partial_fit(X)
    assert len(loaded.net_.module_.state_dict()) == len(model.net_.module_.state_dict())


def test_a_fit_after_loading_is_of_the_parameters_that_were_set(tmp_path):
    model, X = fitted("MultVAE")
    model.set_params(n_factors=3, activation="relu").save(tmp_path / "model")
    loaded = load(tmp_path / "model").fit(X)
    assert_array_equal(loaded.predict(X), clone(model).fit(X).predict(X))
    loaded.save(tmp_path / "model")
    assert_array_equal(load(tmp_path / "model").predict(X), loaded.predict(X))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("AutoRec, item", {"kind": "user"}),
        ("AutoRec, user", {"kind": "item"}),
        ("EmbeddingNet", {"rating_range": (0, 9)}),
        ("MF, mse", {"rating_range": (0, 9)}),
        ("MF, logistic", {"loss": "bpr"}),
        ("MF, bpr", {"loss": "logistic", "n_negatives": 9}),
        ("NCF, neumf", {"architecture": "gmf", "pretrain": False}),
        ("two towers", {"loss": "softmax"}),
    ],
)
def test_training_goes_on_as_fit_began(name, changed):
    model, X = fitted(name)
    expected = fitted(name)[0].partial_fit(X).predict(NEW)
    values = model.__sklearn_tags__().recommender_tags.values
    model.set_params(**changed)
    assert model.__sklearn_tags__().recommender_tags.values == values
    assert_array_equal(model.partial_fit(X).predict(NEW), expected)
    again = clone(model).fit(X)  # and the next fit is of what was set
    assert_array_equal(model.fit(X).predict(NEW), again.predict(NEW))
    assert not np.array_equal(again.predict(NEW), expected)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ([], "are invalid"),
        ({"no_such": 1}, "are invalid"),
        ({"interactions_": 1}, "are invalid"),
        ({"device": "cuda:99"}, "are invalid"),
        ({"net_params": {"compile": True}}, "are invalid"),
        ({"callbacks": [1]}, "are invalid"),
        ({"n_factors": np.zeros((2, 2))}, "are invalid"),
        ({"hidden_layer_sizes": [[1]]}, "are invalid"),
        ({"n_factors": 10**8}, "require"),
        ({"n_factors": -1}, "must be an int in the range"),
        ({"n_factors": "4"}, "must be an int in the range"),
        ({"hidden_layer_sizes": [1] * 500}, "more layers than it has weights"),
        ({"hidden_layer_sizes": [10**6] * 2}, "more layers|require|missing"),
        ({"optimizer": "os.system"}, "is unknown"),
    ],
)
def test_parameters_of_a_fit_that_a_file_must_not_hold(params, match, tmp_path):
    model, _ = fitted("MultVAE")
    encoder = Encoder()
    node = encoder.encode(model, "model")
    node["state"]["_fit_params_"] = encoder.encode(params, "params")
    versions = {
        "sklearn_recsys": "0.1.0",
        "scikit-learn": pytest.importorskip("sklearn").__version__,
    }
    write(tmp_path / "model", {"versions": versions, "model": node}, encoder.arrays)
    with pytest.raises(ModelFileError, match=match):
        load(tmp_path / "model")
