"""Training on several processes equals training on one."""

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.base import clone
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
from sklearn_recsys.neural._base.net import Net

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
        "MultDAE, bf16": MultDAE(8, dropout=0, max_epochs=4, early_stopping=False, **common)
        .set_params(net_params={**(net_params or {}), "precision": "bf16"}),
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


class Interrupt(Callback):
    """Raise an error in the process 1 after some epochs, of all stages of a fit together."""

    left = 0

    def on_epoch_end(self, net, **kwargs):
        Interrupt.left -= 1
        if dist.get_rank() == 1 and Interrupt.left == 0:
            raise ValueError("in this process")


class NeverBegins(Callback):
    def initialize(self):
        if dist.get_rank() == 1:
            raise ValueError("before training")


class NeverEnds(MultDAE):
    def _finish(self, X, split):
        super()._finish(X, split)
        if dist.get_rank() == 1:
            raise ValueError("after training")


RESUMED = {  # the epochs after which their fit fails
    "MultDAE": [3],
    "MultVAE, stopped": [2, 2],
    "RecVAE": [4],
    "MatrixFactorization": [3],
    "MatrixFactorization, dropout": [2],
    "NCF": [3, 3],  # while the branches are trained, of four epochs each
}


def resumed(name, folder):
    """Return the results of a fit that fails and is resumed, and the epochs that were resumed."""
    model = {**models(SHARED), **noisy_models(SHARED)}[name]
    model.set_params(checkpoint=folder / name, callbacks=[Interrupt()])
    for Interrupt.left in RESUMED[name]:
        assert "ValueError" in error_of(model) or dist.get_rank() != 1
    left = list(folder.joinpath(name).iterdir())
    n_resumed = []
    load = Net._resume
    Net._resume = lambda net: n_resumed.append(load(net)) or n_resumed[-1]
    try:
        return *result(model), len(left), n_resumed
    finally:
        Net._resume = load


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
    folder = Path(folder)
    fitted["resumed"] = {name: resumed(name, folder) for name in RESUMED}
    _mult_vae.sample_codes = _rec_vae.sample_codes = means
    for name in ("MultVAE", "RecVAE"):
        fitted[f"{name}, means"] = result(noisy_models(SHARED)[name])
    stop = EarlyStopping("unequal", lower_is_better=False, patience=2)
    rows = models(SHARED)["MultDAE"]
    with_folder = clone(rows).set_params(checkpoint=folder / "left", callbacks=[Interrupt()])
    Interrupt.left = 3
    errors = {
        "left": with_folder,
        "other fit": clone(with_folder).set_params(lr=0.1),
        "one folder": clone(rows).set_params(checkpoint=None if process else folder / "one"),
        "never begins": clone(rows).set_params(callbacks=[NeverBegins()]),
        "never ends": NeverEnds(**rows.get_params()).set_params(checkpoint=folder / "ended"),
        "seed": clone(rows).set_params(random_state=process),
        "no seed": clone(rows).set_params(random_state=0 if process else None),
        "error": models(SHARED)["MatrixFactorization"].set_params(callbacks=[Fail()]),
        "stop": models(SHARED)["BPR"].set_params(callbacks=[Unequal(), stop]),
    }
    fitted["errors"] = {name: error_of(model) for name, model in errors.items()}
    torch.save(fitted, folder / str(process))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, args=(str(folder),), nprocs=N_PROCESSES)
    results = [torch.load(folder / str(i), weights_only=False) for i in range(N_PROCESSES)]
    results[0]["folder"] = folder
    return results


@pytest.fixture
def one_process(tmp_path):
    wait = timedelta(seconds=17)
    dist.init_process_group("gloo", f"file://{tmp_path}/one", wait, world_size=1, rank=0)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


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


@pytest.mark.parametrize(
    "name", ["AutoRec, LBFGS", "MatrixFactorization, dropout", "MultDAE, bf16"]
)
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


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_fit_ends_with_the_same_weights(fitted, name):
    for results in fitted:
        weights, history, n_files, n_resumed = results["resumed"][name]
        assert n_files and max(n_resumed) > 0
        for key, value in results[name][0].items():
            np.testing.assert_array_equal(weights[key], value)
        np.testing.assert_array_equal(history, results[name][1])
    assert list((fitted[0]["folder"] / name).iterdir()) == []


def test_a_checkpoint_of_more_processes_is_refused(fitted, one_process):
    folder = fitted[0]["folder"]
    assert fitted[1]["errors"]["left"] == "ValueError in 3: in this process"
    model = models(SHARED)["MultDAE"]
    model.set_params(checkpoint=folder / "left", callbacks=[Interrupt()])
    with pytest.raises(ValueError, match="the number of processes is 3 there and 1 here"):
        model.fit(data(model))


@pytest.mark.parametrize(
    ("name", "process", "error"),
    [
        ("other fit", 0, "ValueError in 3: The checkpoint in .* is of another fit: lr is 0.001"),
        ("never begins", 1, "ValueError in 3: before training"),
        ("never ends", 1, "ValueError in 3: after training"),
        ("no seed", 0, "ValueError in 3: .* an integer as random_state.* got None"),
    ],
)
def test_what_fails_in_one_process_only_raises_an_error_in_every_process(
    fitted, name, process, error
):
    for rank, results in enumerate(fitted):
        expected = error
        if rank != process:
            told = f"OtherProcessError in 3: Process {process} has ended its fit: "
            expected = told + error.replace(" in 3", "")
        assert re.match(expected, results["errors"][name])


def test_an_error_in_another_process_keeps_the_checkpoint(fitted):
    assert [path.name for path in (fitted[0]["folder"] / "ended").iterdir()] == [
        "training.checkpoint"
    ]


def test_processes_wait_for_each_other_as_long_as_their_group_does(one_process):
    exchanged = exchange.Exchange(3, torch.device("cpu"))
    assert exchanged._group._get_backend(torch.device("cpu")).options._timeout.seconds == 17
    exchanged.close()


def test_partial_fit_goes_on_in_one_process(one_process):
    model = models(SHARED)["MultDAE"]
    X = data(model)
    model.fit(X)
    dist.destroy_process_group()
    with pytest.raises(ValueError, match="init_process_group"):
        model.partial_fit(X)
    model.set_params(net_params=None).partial_fit(X)
    assert len(model.history_) == 8


def test_different_starts_are_refused_in_every_process(fitted):
    for results in fitted:
        assert "random_state is 1 there and 0 here" in results["errors"]["seed"]
        assert "checkpoint is None there and a folder here" in results["errors"]["one folder"]


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
