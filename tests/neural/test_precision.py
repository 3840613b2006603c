"""Training with matrix products in bfloat16."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from sklearn_recsys import (
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
    load,
)
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.neural import NeuralRecommender
from sklearn_recsys.utils._cells import with_values
from sklearn_recsys.utils.discovery import all_recommenders

BF16 = {"precision": "bf16"}
RATINGS = make_ratings(60, 25, density=0.3, random_state=0)
INTERACTIONS = make_interactions(120, 25, random_state=0)
TIMES = with_values(INTERACTIONS, np.arange(1, INTERACTIONS.nnz + 1))
FEATURES = np.linspace(-1, 1, 75).reshape(25, 3)
COMMON = {"max_epochs": 3, "early_stopping": False, "random_state": 0}

MODELS = {
    "AutoRec": AutoRec(n_factors=8),
    "CDAE": CDAE(8),
    "DeepAutoencoder": DeepAutoencoder(hidden_layer_sizes=(8, 4)),
    "ELSA": ELSA(8),
    "EmbeddingNet": EmbeddingNet(8),
    "ImplicitMatrixFactorization": ImplicitMatrixFactorization(8),
    "BPR": ImplicitMatrixFactorization(8, loss="bpr"),
    "WARP": ImplicitMatrixFactorization(8, loss="warp"),
    "LightGCN": LightGCN(8),
    "MatrixFactorization": MatrixFactorization(8),
    "MultDAE": MultDAE(8),
    "MultVAE": MultVAE(8, hidden_layer_sizes=(16,)),
    "NCF": NCF(n_factors=8, hidden_layer_sizes=(8, 4)),
    "RecVAE": RecVAE(8, 16),
    "SASRec": SASRec(8),
    "SASRec, gbce": SASRec(8, loss="gbce", n_negatives=4),
    "SVAE": SVAE(n_factors=8, n_recurrent=8, n_hidden=8, embedding_dim=8),
    "SimpleX": SimpleX(8),
    "SimpleX, hinge": SimpleX(8, loss="hinge", margin=0.0),
    "TwoTower": TwoTower(FEATURES, n_factors=8),
    "TwoTower, softmax": TwoTower(n_factors=8, loss="softmax"),
    "TwoTower, logistic": TwoTower(n_factors=8, loss="logistic", batch_norm=True),
}
WITHOUT_PRODUCTS = {"AutoRec", "BPR", "ELSA", "MatrixFactorization", "WARP"}


def data_of(model):
    values = model.__sklearn_tags__().recommender_tags.values
    return {"rating": RATINGS, "order": TIMES}.get(values, INTERACTIONS)


def test_every_neural_model_is_tested():
    neural = {name for name, cls in all_recommenders() if issubclass(cls, NeuralRecommender)}
    assert neural == {type(model).__name__ for model in MODELS.values()}


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_near_that_of_float32(name):
    model = clone(MODELS[name]).set_params(**COMMON)
    X = data_of(model)
    expected = clone(model).fit(X).history_["train_loss"]
    model.set_params(net_params=BF16).fit(X)
    np.testing.assert_allclose(model.history_["train_loss"], expected, rtol=0.05)
    assert model.predict(X[:5]).dtype == np.float32
    assert all(weight.dtype == torch.float32 for weight in model.net_.module_.parameters())


def gradients(model, precision):
    """Return the gradient of the first batch of a fit that has one, as one array."""
    found = []

    class Keep(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            grads = [p.grad for _, p in named_parameters if p.grad is not None]
            found.append(torch.cat([grad.to_dense().flatten() for grad in grads]).numpy())

    params = {**COMMON, "max_epochs": 1, "callbacks": [Keep()]}
    clone(model).set_params(**params, net_params={"precision": precision}).fit(data_of(model))
    return next(gradient for gradient in found if gradient.any())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_gradient_is_rounded(name):
    exact, rounded = (gradients(MODELS[name], precision) for precision in ("float32", "bf16"))
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert error < 0.05
    assert (error == 0) == (name in WITHOUT_PRODUCTS)


def test_accuracy_is_that_of_float32():
    R = make_interactions(500, 60, random_state=0)
    model = MultVAE(16, lr=0.01, max_epochs=20, early_stopping=False, random_state=0)
    expected = model.fit(R[:400]).score(R[400:])
    actual = model.set_params(net_params=BF16).fit(R[:400]).score(R[400:])
    assert abs(actual - expected) < 0.01 < expected - 0.1


def test_only_the_loss_is_in_bfloat16(monkeypatch):
    dtypes = {True: set(), False: set()}  # in training, and in validation
    linear = torch.nn.Linear.forward

    def forward(layer, inputs):
        output = linear(layer, inputs)
        dtypes[layer.training].add(output.dtype)
        return output

    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    model = MultVAE(8, max_epochs=1, random_state=0, net_params=BF16)
    model.fit(make_interactions(400, 25, random_state=0))
    assert dtypes == {True: {torch.bfloat16}, False: {torch.float32}}


def test_partial_fit_reads_the_current_precision(tmp_path):
    model = MultVAE(8, **COMMON, net_params=BF16).fit(INTERACTIONS)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(INTERACTIONS), model.predict(INTERACTIONS))
    for precision in ("bf16", "float32"):
        loaded.set_params(net_params={"precision": precision}).partial_fit(INTERACTIONS)
        assert loaded.net_.precision == precision


class PowerCut(Callback):
    comes = True

    def on_epoch_end(self, net, **kwargs):
        if self.comes and len(net.history) == 2:
            raise SystemExit


def test_a_checkpoint_is_resumed(tmp_path, monkeypatch):
    model = MultVAE(8, **COMMON, net_params=BF16, callbacks=[PowerCut()])
    with pytest.raises(SystemExit):
        clone(model).set_params(checkpoint=tmp_path).fit(INTERACTIONS)
    monkeypatch.setattr(PowerCut, "comes", False)
    other = clone(model).set_params(checkpoint=tmp_path, net_params=None)
    with pytest.raises(ValueError, match=r"net_params is {.*bf16.* there and None here"):
        other.fit(INTERACTIONS)
    resumed = clone(model).set_params(checkpoint=tmp_path).fit(INTERACTIONS)
    expected = model.fit(INTERACTIONS).predict(INTERACTIONS)
    np.testing.assert_array_equal(resumed.predict(INTERACTIONS), expected)


@pytest.mark.parametrize(
    ("net_params", "message"),
    [
        ({"precision": "fp16"}, "must be one of .*'bf16'.*; got 'fp16'"),
        ({"precision": torch.bfloat16}, "got torch.bfloat16"),
        ({"compile": True}, "'compile': True} is not supported"),
    ],
)
def test_what_is_refused(net_params, message):
    model = MultDAE(8, **COMMON, net_params=net_params)
    with pytest.raises(ValueError, match=message):
        model.fit(INTERACTIONS)
    model.set_params(net_params={"compile": False}).fit(INTERACTIONS)
    model.set_params(net_params=net_params)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(INTERACTIONS)
