"""Training on several processes equals training on one."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping

from sklearn_recsys import (
    CDAE,
    ELSA,
    NCF,
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
    TwoTower,
)
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.neural import _mult_vae, _rec_vae
from sklearn_recsys.neural._base import exchange

N_PROCESSES = 3
SHARED = {"distributed": True}
CLIP = [("clip", GradientNormClipping(gradient_clip_value=0.05))]
RATING_MODELS = (AutoRec, DeepAutoencoder, EmbeddingNet, MatrixFactorization, TwoTower)


def models(net_params=None):
    common = {"random_state": 0, "net_params": net_params, "max_epochs": 4}
    rows = {**common, "batch_size": 20, "early_stopping": False}
    cells = {**common, "batch_size": 37}
    return {
        # 61 rows in batches of 20: shares of 6, 7 and 7 rows; the last batch is one row
        "MultDAE": MultDAE(8, dropout=0, l2=0.1, **rows),
        "one batch": MultDAE(8, dropout=0, **rows).set_params(batch_size=100),
        "without weight decay": MultDAE(8, dropout=0, l2=0.1, optimizer="rprop", **rows),
        "by messages": MultDAE(8, dropout=0, hidden_layer_sizes=(500,), **rows),
        "CDAE": CDAE(8, dropout=0, **rows),
        "ELSA": ELSA(8, **rows),
        "AutoRec": AutoRec(kind="user", n_factors=8, **rows).set_params(early_stopping=True),
        "DeepAutoencoder": DeepAutoencoder(
            hidden_layer_sizes=(8,), dropout=0, n_refeeds=0, **rows
        ),
        "TwoTower": TwoTower(
            n_factors=8, loss="mse", dropout=0, id_dropout=0, history_dropout=0, **rows
        ),
        "MatrixFactorization": MatrixFactorization(4, **cells),
        "MatrixFactorization, by messages": MatrixFactorization(4, **cells),
        "MatrixFactorization, clipped": MatrixFactorization(4, callbacks=CLIP, **cells),
        "EmbeddingNet": EmbeddingNet(4, embedding_dropout=0, dropout=0, **cells),
        "NCF": NCF(n_factors=4, hidden_layer_sizes=(8, 4), **cells),
        "ImplicitMatrixFactorization": ImplicitMatrixFactorization(4, **cells),
        "BPR": ImplicitMatrixFactorization(4, loss="bpr", **cells),
        "WARP": ImplicitMatrixFactorization(4, loss="warp", **cells),
    }  # fmt: skip


def noisy_models(net_params=None):
    common = {"random_state": 0, "net_params": net_params, "batch_size": 20}
    return {
        "MultVAE": MultVAE(8, dropout=0, max_epochs=4, early_stopping=False, **common),
        "RecVAE": RecVAE(8, 16, dropout=0, max_epochs=8, early_stopping=False, **common),
        "MultVAE, stopped": MultVAE(
            8, lr=0.03, max_epochs=40, n_iter_no_change=2, validation_fraction=0.4, **common
        ),
        "AutoRec, LBFGS": AutoRec(  # whose line search depends on rounding
            n_factors=8, optimizer="lbfgs", max_epochs=2, early_stopping=False, **common
        ),
        "MatrixFactorization, dropout": MatrixFactorization(
            4, max_epochs=4, dropout=0.3, **common
        ),
    }  # fmt: skip


def data(model):
    if isinstance(model, RATING_MODELS):
        return make_ratings(61, 40, density=0.3, random_state=0)
    return make_interactions(61, 40, random_state=0)


def result(model):
    model.fit(data(model))
    weights = {k: w.numpy() for k, w in model.net_.module_.state_dict().items()}
    return weights, model.history_.drop(columns="dur")


def means(means, log_variances):
    return means


class Fail(Callback):
    def on_epoch_end(self, net, **kwargs):
        if dist.get_rank() == 1 and len(net.history) == 2:
            raise ValueError("in this process")


class Unequal(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("unequal", len(net.history) * float(dist.get_rank() != 1))


def error_of(model):
    """Return the error of a fit; afterwards all processes still work together."""
    try:
        model.fit(data(model))
    except Exception as error:
        n_failed = torch.ones(())
        dist.all_reduce(n_failed)
        return f"{type(error).__name__} in {int(n_failed)}: {error}"
    return "none"


def work(process, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=process, world_size=N_PROCESSES
    )
    memory, fitted = exchange._SHARED_MEMORY, {}
    for name, model in {**models(SHARED), **noisy_models(SHARED)}.items():
        exchange._SHARED_MEMORY = "/none" if "by messages" in name else memory
        fitted[name] = result(model)
    _mult_vae.sample_codes = _rec_vae.sample_codes = means
    for name in ("MultVAE", "RecVAE"):
        fitted[f"{name}, means"] = result(noisy_models(SHARED)[name])
    stop = EarlyStopping("unequal", lower_is_better=False, patience=2)
    errors = {
        "seed": models(SHARED)["MultDAE"].set_params(random_state=process),
        "error": models(SHARED)["MatrixFactorization"].set_params(callbacks=[Fail()]),
        "stop": models(SHARED)["BPR"].set_params(callbacks=[Unequal(), stop]),
    }
    fitted["errors"] = {name: error_of(model) for name, model in errors.items()}
    torch.save(fitted, f"{folder}/{process}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, args=(str(folder),), nprocs=N_PROCESSES)
    return [torch.load(folder / str(i), weights_only=False) for i in range(N_PROCESSES)]


def assert_equal_results(actual, expected):
    for key, value in expected[0].items():
        np.testing.assert_allclose(actual[0][key], value, atol=1e-4)
    for key, values in expected[1].items():
        if key.endswith(("loss", "ndcg")):
            np.testing.assert_allclose(actual[1][key], values, rtol=1e-4)


@pytest.mark.parametrize("name", [*models(), *noisy_models()])
def test_all_processes_end_with_the_same_weights(fitted, name):
    weights, history = fitted[0][name]
    for other in fitted[1:]:
        for key, value in weights.items():
            np.testing.assert_array_equal(other[name][0][key], value)
        np.testing.assert_array_equal(other[name][1].to_numpy(), history.to_numpy())


@pytest.mark.parametrize("name", models())
def test_weights_equal_those_of_one_process(fitted, name):
    assert_equal_results(fitted[0][name], result(models()[name]))


@pytest.mark.parametrize("name", ["MultVAE", "RecVAE"])
def test_without_sampled_codes_weights_equal_those_of_one_process(fitted, name, monkeypatch):
    monkeypatch.setattr(_mult_vae, "sample_codes", means)
    monkeypatch.setattr(_rec_vae, "sample_codes", means)
    assert_equal_results(fitted[0][f"{name}, means"], result(noisy_models()[name]))


@pytest.mark.parametrize("name", ["AutoRec, LBFGS", "MatrixFactorization, dropout"])
def test_losses_agree_with_one_process(fitted, name):
    _, history = result(noisy_models()[name])
    np.testing.assert_allclose(fitted[0][name][1]["train_loss"], history["train_loss"], rtol=0.01)


def test_a_failure_raises_an_error_in_every_process(fitted):
    errors = [results["errors"]["error"] for results in fitted]
    assert errors[1] == "ValueError in 3: in this process"
    for error in errors[0], errors[2]:
        assert error.startswith("RuntimeError in 3: Another process has ended its fit")


def test_an_end_of_training_in_one_process_raises_an_error_in_every_process(fitted):
    for results in fitted:
        assert (
            "RuntimeError in 3: The processes end training in different"
            in (results["errors"]["stop"])
        )


def test_partial_fit_goes_on_in_one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/one", rank=0, world_size=1)
    try:
        model = models(SHARED)["MultDAE"]
        X = data(model)
        model.fit(X)
    finally:
        dist.destroy_process_group()
    with pytest.raises(ValueError, match="init_process_group"):
        model.partial_fit(X)
    model.set_params(net_params=None).partial_fit(X)
    assert len(model.history_) == 8


def test_different_starts_are_refused_in_every_process(fitted):
    for results in fitted:
        assert "random_state is 1 there and 0 here" in results["errors"]["seed"]


@pytest.mark.parametrize(
    "model",
    [
        LightGCN(),
        SASRec(),
        MatrixFactorization(implicit=True),
        DeepAutoencoder(n_refeeds=1),
        TwoTower(loss="softmax"),
        TwoTower(loss="mse", batch_norm=True),
    ],
    ids=str,
)
def test_other_models_are_refused(model):
    model.set_params(net_params=SHARED, random_state=0)
    with pytest.raises(ValueError, match="cannot be trained on several processes"):
        model.fit(data(model))


def test_a_process_group_is_needed():
    with pytest.raises(ValueError, match="init_process_group"):
        models(SHARED)["MultDAE"].fit(make_interactions(61, 40, random_state=0))


@pytest.mark.parametrize(
    ("params", "message"),
    [({"random_state": None}, "random_state"), ({"checkpoint": "folder"}, "checkpoint")],
)
def test_parameters_that_processes_cannot_share(params, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = models(SHARED)["MultDAE"]
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/one", rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match=message):
            model.set_params(**params).fit(data(model))
    finally:
        dist.destroy_process_group()
