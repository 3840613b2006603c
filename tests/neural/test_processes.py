"""Training on several processes equals training on one."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sklearn_recsys import NCF, MatrixFactorization, MultDAE, MultVAE, SASRec
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.neural import _mult_vae

N_PROCESSES = 3
SHARED = {"distributed": True}


def models(net_params=None):
    common = {"random_state": 0, "net_params": net_params}
    return {
        # 61 rows in batches of 20: shares of 6, 7 and 7 rows; the last batch is one row
        "MultDAE": MultDAE(
            8, dropout=0, l2=0.1, max_epochs=4, batch_size=20, early_stopping=False, **common
        ),
        "one batch": MultDAE(
            8, dropout=0, max_epochs=4, batch_size=100, early_stopping=False, **common
        ),
        "MultVAE": MultVAE(
            8, dropout=0, max_epochs=4, batch_size=20, early_stopping=False, **common
        ),
        "MultVAE, stopped": MultVAE(
            8, lr=0.03, max_epochs=40, batch_size=20, n_iter_no_change=2,
            validation_fraction=0.4, **common,
        ),
        "MatrixFactorization": MatrixFactorization(4, max_epochs=4, batch_size=37, **common),
        "MatrixFactorization, dropout": MatrixFactorization(
            4, max_epochs=4, batch_size=37, dropout=0.3, **common
        ),
    }  # fmt: skip


def data(name):
    if name.startswith("MatrixFactorization"):
        return make_ratings(61, 40, density=0.3, random_state=0)
    return make_interactions(61, 40, random_state=0)


def result(model):
    weights = {k: w.numpy() for k, w in model.net_.module_.state_dict().items()}
    return weights, model.history_.drop(columns="dur")


def means(means, log_variances):
    return means


def work(process, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=process, world_size=N_PROCESSES
    )
    fitted = {name: result(model.fit(data(name))) for name, model in models(SHARED).items()}
    _mult_vae.sample_codes = means
    fitted["MultVAE, means"] = result(models(SHARED)["MultVAE"].fit(data("MultVAE")))
    try:
        models(SHARED)["MultDAE"].set_params(random_state=process).fit(data("MultDAE"))
    except ValueError as error:
        fitted["error"] = str(error)
    torch.save(fitted, f"{folder}/{process}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, args=(str(folder),), nprocs=N_PROCESSES)
    return [torch.load(folder / str(i), weights_only=False) for i in range(N_PROCESSES)]


@pytest.mark.parametrize("name", models())
def test_all_processes_end_with_the_same_weights(fitted, name):
    weights, history = fitted[0][name]
    for other in fitted[1:]:
        for key, value in weights.items():
            np.testing.assert_array_equal(other[name][0][key], value)
        np.testing.assert_array_equal(other[name][1].to_numpy(), history.to_numpy())


@pytest.mark.parametrize("name", ["MultDAE", "one batch", "MatrixFactorization"])
def test_weights_equal_those_of_one_process(fitted, name):
    weights, history = result(models()[name].fit(data(name)))
    for key, value in fitted[0][name][0].items():
        np.testing.assert_allclose(value, weights[key], atol=1e-4)
    np.testing.assert_allclose(fitted[0][name][1]["train_loss"], history["train_loss"], rtol=1e-4)


@pytest.mark.parametrize("name", ["MatrixFactorization, dropout"])
def test_random_losses_agree_with_one_process(fitted, name):
    _, history = result(models()[name].fit(data(name)))
    np.testing.assert_allclose(fitted[0][name][1]["train_loss"], history["train_loss"], rtol=0.01)


def test_mult_vae_without_noise_equals_one_process(fitted, monkeypatch):
    monkeypatch.setattr(_mult_vae, "sample_codes", means)
    weights, history = result(models()["MultVAE"].fit(data("MultVAE")))
    shared_weights, shared_history = fitted[0]["MultVAE, means"]
    for key, value in shared_weights.items():
        np.testing.assert_allclose(value, weights[key], atol=1e-4)
    np.testing.assert_allclose(shared_history["train_loss"], history["train_loss"], rtol=1e-4)


def test_partial_fit_goes_on_in_one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/one", rank=0, world_size=1)
    try:
        model = models(SHARED)["MultDAE"].fit(data("MultDAE"))
    finally:
        dist.destroy_process_group()
    with pytest.raises(ValueError, match="init_process_group"):
        model.partial_fit(data("MultDAE"))
    model.set_params(net_params=None).partial_fit(data("MultDAE"))
    assert len(model.history_) == 8


def test_different_starts_are_refused_in_every_process(fitted):
    assert all("same X, parameters and random_state" in results["error"] for results in fitted)


@pytest.mark.parametrize(
    "model", [NCF(), SASRec(), MatrixFactorization(implicit=True)], ids=["NCF", "SASRec", "SVD++"]
)
def test_other_models_are_refused(model):
    model.set_params(net_params=SHARED, random_state=0)
    with pytest.raises(ValueError, match="cannot be trained on several processes"):
        model.fit(data("MatrixFactorization"))


def test_a_process_group_is_needed():
    with pytest.raises(ValueError, match="init_process_group"):
        models(SHARED)["MultVAE"].fit(data("MultVAE"))


@pytest.mark.parametrize(
    ("params", "message"),
    [({"random_state": None}, "random_state"), ({"checkpoint": "folder"}, "checkpoint")],
)
def test_parameters_that_processes_cannot_share(params, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/one", rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match=message):
            models(SHARED)["MultVAE"].set_params(**params).fit(data("MultVAE"))
    finally:
        dist.destroy_process_group()
