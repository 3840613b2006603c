"""Parameters of neural models: fields that are stated once, documented in the same words."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

pytest.importorskip("skorch")

from numpy.testing import assert_allclose  # noqa: E402
from sklearn.base import clone  # noqa: E402

from sklearn_recsys import ELSA, NCF, MultDAE, MultVAE  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.neural import NeuralRecommender  # noqa: E402
from sklearn_recsys.utils.discovery import all_recommenders  # noqa: E402

NEURAL = [cls for _, cls in all_recommenders() if issubclass(cls, NeuralRecommender)]
neural = pytest.mark.parametrize("cls", NEURAL, ids=lambda cls: cls.__name__)


def described(cls, section="Parameters"):
    """Return the type and the text of each entry in a numpydoc section."""
    found = re.search(rf"^{section}\n-+\n(.*?)\n\n", inspect.getdoc(cls), flags=re.M | re.S)
    entries = {}
    for entry in re.split(r"\n(?=\S)", found.group(1)):
        head, *lines = entry.split("\n")
        names, _, kind = head.partition(" : ")
        text = " ".join(line.strip() for line in lines)
        entries |= dict.fromkeys(names.split(", "), (kind, text))
    return entries


@neural
def test_shared_parameters_are_described_in_the_same_words(cls):
    shared, own = described(NeuralRecommender), described(cls)
    assert set(shared) <= set(own)
    for name in ("n_iter_no_change", "callbacks", "device", "verbose", "net_params"):
        assert own[name][1] == shared[name][1], name
    for name in ("lr", "max_epochs", "optimizer"):  # some models add a remark
        assert own[name][1].startswith(shared[name][1].rstrip(".")), name
    assert own["early_stopping"][1].startswith("Whether to stop when ")
    assert own["early_stopping"][1].endswith(", and keep the best weights.")
    assert own["validation_fraction"][1].startswith("The share of the ")
    assert own["random_state"][1].startswith("Seed of ")


@neural
def test_shared_attributes_are_described_in_the_same_words(cls):
    shared, own = described(MultVAE, "Attributes"), described(cls, "Attributes")
    for name in ("n_features_in_", "feature_names_in_", "item_labels_"):
        assert own[name] == shared[name]
    for name in ("net_", "history_", "interactions_"):
        assert own[name][0] == shared[name][0]
        assert own[name][1].startswith(shared[name][1].rstrip(".")), name


@pytest.mark.parametrize("cls", [NeuralRecommender, *NEURAL], ids=lambda cls: cls.__name__)
def test_documented_defaults_are_those_of_the_signature(cls):
    entries = described(cls)
    for name, parameter in inspect.signature(cls).parameters.items():
        default = ast.literal_eval(entries[name][0].partition("default=")[2])
        assert default == parameter.default, name


@neural
def test_constructors_only_assign(cls):
    values = {name: object() for name in inspect.signature(cls).parameters}
    model = cls(**values)
    assert vars(model) == values
    assert model.get_params(deep=False) == values


def test_positional_parameters():
    positional = {
        cls.__name__: [
            name
            for name, parameter in inspect.signature(cls).parameters.items()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        for cls in NEURAL
    }
    assert positional == {
        "AutoRec": ["kind", "n_factors"],
        "CDAE": ["n_factors"],
        "DeepAutoencoder": ["kind", "hidden_layer_sizes"],
        "ELSA": ["n_factors"],
        "EmbeddingNet": ["n_factors", "hidden_layer_sizes"],
        "ImplicitMatrixFactorization": ["n_factors"],
        "LightGCN": ["n_factors"],
        "MatrixFactorization": ["n_factors"],
        "MultDAE": ["n_factors", "hidden_layer_sizes"],
        "MultVAE": ["n_factors", "hidden_layer_sizes"],
        "NCF": ["architecture", "n_factors", "hidden_layer_sizes"],
        "RecVAE": ["n_factors", "n_hidden"],
        "SASRec": ["n_factors"],
        "SVAE": ["n_factors"],
        "SimpleX": ["n_factors"],
        "TwoTower": ["item_features"],
    }
    model = NCF("gmf", 3, (5,))  # the constructor takes them in the order of its signature
    assert (model.architecture, model.n_factors, model.hidden_layer_sizes) == ("gmf", 3, (5,))
    with pytest.raises(TypeError, match="positional"):
        MultVAE(8, (), "relu")


def test_general_parameters_come_last():
    names = list(inspect.signature(MultVAE).parameters)
    assert names[:6] == [
        "n_factors",
        "hidden_layer_sizes",
        "activation",
        "dropout",
        "anneal_cap",
        "anneal_epochs",
    ]
    assert names[6:] == list(inspect.signature(NeuralRecommender).parameters)


class Plain(MultDAE):
    """A user's model with a constructor of its own."""

    def __init__(self, n_factors=4, max_epochs=1, random_state=None):
        super().__init__(n_factors, max_epochs=max_epochs, random_state=random_state)


@pytest.mark.parametrize("cls", [ELSA, MultVAE])
def test_adam_updates_the_weights_in_one_pass(cls):
    R = make_interactions(60, 40, random_state=0)
    params = {"max_epochs": 3, "early_stopping": False, "random_state": 0}
    fused = cls(**params).fit(R)
    assert fused.net_.optimizer_.defaults["fused"]
    for net_params in ({"optimizer__fused": False}, {"optimizer__foreach": True}):
        model = cls(**params, net_params=net_params).fit(R)
        assert not model.net_.optimizer_.defaults["fused"]
        assert_allclose(model.predict(R), fused.predict(R), rtol=1e-4, atol=1e-5)


def test_a_model_may_write_its_own_constructor():
    model = clone(Plain(3, random_state=0))
    assert set(model.get_params()) == {"n_factors", "max_epochs", "random_state"}
    assert len(model.fit(make_interactions(30, 20, random_state=0)).history_) == 1


class Empty(NeuralRecommender):
    """A model without a module."""


def test_a_model_without_a_module_says_what_is_missing():
    with pytest.raises(NotImplementedError, match=r"Empty needs a method _make_module\(X\)"):
        Empty(early_stopping=False).fit(make_interactions(30, 20, random_state=0))


def test_early_stopping_needs_data_that_a_model_holds_out():
    with pytest.raises(ValueError, match="Empty holds out no data for early stopping: use early_"):
        Empty().fit(make_interactions(30, 20, random_state=0))
