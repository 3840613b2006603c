"""A fit with a checkpoint that is interrupted anywhere ends with the arrays of one that is not."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer
from skorch.callbacks import Callback, EpochScoring, GradientNormClipping, LRScheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

import sklearn_recsys
from sklearn_recsys import (
    ALS,
    ELSA,
    NCF,
    SLIM,
    SVAE,
    AutoRec,
    DeepAutoencoder,
    EmbeddingNet,
    ImplicitMatrixFactorization,
    LightGCN,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    RecommenderPipeline,
    RecVAE,
    SASRec,
    SimpleX,
    TwoTower,
    load,
    persistence,
)
from sklearn_recsys.base import _checkpoint
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.linear_model import _slim
from sklearn_recsys.neural import CDAE, NeuralRecommender
from sklearn_recsys.persistence import ModelFileError, _files
from sklearn_recsys.persistence._container import write
from sklearn_recsys.persistence._encode import Encoder
from sklearn_recsys.utils._cells import with_values
from sklearn_recsys.utils.discovery import all_recommenders

ROOT = Path(sklearn_recsys.__file__).parents[1]
RATINGS = make_ratings(60, 15, density=0.3, random_state=0)
INTERACTIONS = make_interactions(220, 15, random_state=0)
TIMES = with_values(INTERACTIONS, np.arange(1, INTERACTIONS.nnz + 1))
FEW = INTERACTIONS[:60]
FEATURES = np.linspace(-1, 1, 45).reshape(15, 3)

MODELS = {
    "ALS": ALS(),
    "ALS, cg": ALS(solver="cg"),
    "AutoRec, item": AutoRec("item"),
    "AutoRec, user": AutoRec("user"),
    "CDAE": CDAE(),
    "CDAE, negatives": CDAE(n_negatives=2),
    "DeepAutoencoder": DeepAutoencoder(),
    "ELSA": ELSA(),
    "EmbeddingNet": EmbeddingNet(schedule="one_cycle"),
    "ImplicitMatrixFactorization": ImplicitMatrixFactorization(dropout=0.1),
    "ImplicitMatrixFactorization, bpr": ImplicitMatrixFactorization(loss="bpr"),
    "ImplicitMatrixFactorization, warp": ImplicitMatrixFactorization(loss="warp"),
    "LightGCN": LightGCN(),
    "MatrixFactorization": MatrixFactorization(rating_range=(1, 5)),
    "MatrixFactorization, implicit": MatrixFactorization(implicit=True, schedule="one_cycle"),
    "MultDAE": MultDAE(),
    "MultVAE": MultVAE(anneal_epochs=3),
    "NCF, gmf": NCF("gmf"),
    "NCF, neumf": NCF(dropout=0.1, max_epochs=2),
    "RecVAE": RecVAE(encoder_epochs=2, batch_size=64),
    "SASRec": SASRec(),
    "SASRec, unvalidated": SASRec(early_stopping=False),
    "SLIM": SLIM(low_pass=0.1),
    "SLIM, candidates": SLIM(max_neighbors=4),
    "SVAE": SVAE(anneal_epochs=3),
    "SimpleX": SimpleX(),
    "SimpleX, one cycle": SimpleX(schedule="one_cycle", optimizer="adam", early_stopping=False),
    "TwoTower, mse": TwoTower(FEATURES),
    "TwoTower, softmax": TwoTower(loss="softmax", batch_norm=True),
    # optimizers, which have states of different kinds
    "adamax": MultVAE(optimizer="adamax"),
    "lbfgs": MultDAE(optimizer="lbfgs", max_epochs=4, net_params={"optimizer__max_iter": 4}),
    "momentum": MultVAE(optimizer="sgd", net_params={"optimizer__momentum": 0.9}),
    "rprop": MultDAE(optimizer="rprop", l2=1.0),
}
SMALL = {
    "n_factors": 4,
    "hidden_layer_sizes": [4],
    "embedding_dim": 4,
    "n_recurrent": 4,
    "n_hidden": 4,
    "n_iter_no_change": 2,
    "random_state": 0,
}


def small(model):
    params = model.get_params()
    model = clone(model).set_params(**{k: SMALL[k] for k in SMALL if k in params})
    if isinstance(model, NeuralRecommender):
        model.set_params(max_epochs=min(6, model.max_epochs))
    return model


def data_of(model):
    if isinstance(model, NCF):
        return FEW
    values = model.__sklearn_tags__().recommender_tags.values
    return {"rating": RATINGS, "order": TIMES}.get(values, INTERACTIONS)


def contents(model):
    """Return all that a file of the model would hold, and the optimizer, without times."""
    optimizer = None
    if isinstance(model, NeuralRecommender):
        for epoch in model.net_.history:
            epoch["dur"] = 0.0
        optimizer = model.net_.optimizer_.state_dict()
    encoder = Encoder()
    tree = encoder.encode(model, "model")
    return tree, encoder.arrays, optimizer


def assert_same(model, expected):
    (tree, arrays, optimizer), (tree_2, arrays_2, optimizer_2) = contents(model), contents(expected)
    assert tree == tree_2
    for array, array_2 in zip(arrays, arrays_2, strict=True):
        assert array.dtype == array_2.dtype and array.shape == array_2.shape
        assert array.tobytes() == array_2.tobytes()
    if optimizer is not None:
        assert optimizer["param_groups"] == optimizer_2["param_groups"]
        torch.testing.assert_close(optimizer["state"], optimizer_2["state"], rtol=0, atol=0)


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def kills(monkeypatch):
    """Return a function that makes every fit end after the n-th time that it saves."""
    write = _checkpoint.write_checkpoint
    monkeypatch.setattr(_checkpoint, "_SHARE", np.inf)  # saves after each epoch
    monkeypatch.setattr(_slim, "_COLUMNS", 4)  # so that there are several blocks
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and not killed for real

    def kill_after(n):
        saves = count(1)

        def write_and_die(path, state):
            write(path, state)
            if next(saves) >= n:
                raise Killed

        monkeypatch.setattr(_checkpoint, "write_checkpoint", write_and_die)

    return kill_after


def fit_with_kills(model, X, kills, n=1, **params):
    """Fit a model, with a new copy after each kill; return it and the number of kills."""
    for n_kills in range(100):
        kills(n)
        try:
            return clone(model).fit(X, **params), n_kills
        except Killed:
            pass
    raise AssertionError("the fit makes no progress")


def test_every_iterative_model_is_tested():
    iterative = {name for name, cls in all_recommenders() if "checkpoint" in cls().get_params()}
    neural = {name for name, cls in all_recommenders() if issubclass(cls, NeuralRecommender)}
    assert iterative == neural | {"ALS", "SLIM"}
    assert iterative <= {type(model).__name__ for model in MODELS.values()}


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_that_is_killed_after_each_epoch(name, kills, tmp_path):
    model = small(MODELS[name])
    X = data_of(model)
    kills(np.inf)
    expected = clone(model).fit(X)
    model.set_params(checkpoint=tmp_path / "new" / "folder")
    resumed, n_kills = fit_with_kills(model, X, kills)
    assert n_kills >= 3
    assert_same(resumed, expected)
    assert_array_equal(resumed.predict(X), expected.predict(X))
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_the_second_kill_of_a_fit_may_be_anywhere(kills, tmp_path):
    model = small(NCF(max_epochs=2, hidden_layer_sizes=()))
    kills(np.inf)
    expected = clone(model).fit(FEW)
    model.set_params(checkpoint=tmp_path)
    for n in (3, 5):  # in the second stage, and in the last one
        kills(n)
        with pytest.raises(Killed):
            clone(model).fit(FEW)
        kills(np.inf)
        assert_same(clone(model).fit(FEW), expected)


@pytest.mark.parametrize("model", [DeepAutoencoder(), TwoTower(FEATURES)], ids=["deep", "towers"])
def test_features_of_users(model, kills, tmp_path):
    features = np.linspace(-1, 1, 60).reshape(60, 1)
    model = small(model)
    kills(np.inf)
    expected = clone(model).fit(RATINGS, user_features=features)
    model.set_params(checkpoint=tmp_path)
    resumed, _ = fit_with_kills(model, RATINGS, kills, user_features=features)
    assert_same(resumed, expected)
    kills(1)
    with pytest.raises(Killed):
        clone(model).fit(RATINGS, user_features=features)
    with pytest.raises(ValueError, match=r"another fit: user_features is \(60, 1\) \(\w+\) there"):
        clone(model).fit(RATINGS, user_features=features**2)
    with pytest.raises(ValueError, match=r"user_features is .* there and None here"):
        clone(model).fit(RATINGS)


KILLED = """
import os, random, signal, sys, time
import numpy as np, torch
from sklearn.base import clone
from sklearn_recsys import ALS, SLIM, MultVAE
from sklearn_recsys.datasets import make_interactions

torch.set_num_threads(1)  # a forked process has only one
folder, result = sys.argv[1:]
random.seed(0)
R = make_interactions(300, 600, random_state=0)
mult_vae = MultVAE(n_factors=50, max_epochs=20, early_stopping=False, random_state=0)
for model in (ALS(max_iter=20, random_state=0), SLIM(), mult_vae):
    expected = clone(model).fit(R).predict(R[:9])
    model.set_params(checkpoint=folder)
    for attempt in range(6):
        child = os.fork()
        if not child:
            np.save(result, model.fit(R).predict(R[:9]))
            os._exit(0)
        if attempt < 5:
            patience = time.monotonic() + 20
            while not (os.path.exists(folder) and os.listdir(folder)):
                time.sleep(0.001)
                assert time.monotonic() < patience
            time.sleep(random.uniform(0, 0.02) * attempt)
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            break
    assert status == 0 and np.array_equal(np.load(result), expected), (model, status)
    assert os.listdir(folder) == [], os.listdir(folder)
    print(attempt)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked, and killed")
def test_processes_that_are_killed(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "folder"), str(tmp_path / "result.npy")]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert sum(map(int, done.stdout.split())) >= 3, done.stdout  # kills


# ------------------------------------------------------------------------------- random states


@pytest.mark.parametrize("name", ["ALS", "MultVAE", "NCF, neumf", "SLIM"])
def test_a_resumed_fit_has_the_random_state_of_the_interrupted_one(name, kills, tmp_path):
    model = small(MODELS[name])
    X = data_of(model)
    kills(np.inf)
    first = np.random.RandomState(3)
    expected = clone(model).set_params(random_state=first)
    expected = expected.fit(X)  # not a clone, which would copy the state
    model.set_params(checkpoint=tmp_path)
    kills(2)
    with pytest.raises(Killed):
        clone(model).set_params(random_state=np.random.RandomState(3)).fit(X)
    kills(np.inf)
    other = np.random.RandomState(4)
    resumed = clone(model)
    resumed.random_state = other
    resumed.fit(X)
    assert_array_equal(resumed.predict(X), expected.predict(X))
    assert_array_equal(other.get_state()[1], first.get_state()[1])  # as after the whole fit


@pytest.mark.parametrize("name", ["ALS", "MultVAE", "NCF, neumf"])
def test_a_resumed_fit_without_a_seed_draws_nothing(name, kills, tmp_path):
    model = small(MODELS[name]).set_params(random_state=None)
    X = data_of(model)
    before = np.random.get_state()
    try:
        kills(np.inf)
        np.random.seed(3)
        expected = clone(model).fit(X)
        np.random.seed(3)
        model.set_params(checkpoint=tmp_path)
        kills(2)
        with pytest.raises(Killed):
            clone(model).fit(X)
        np.random.seed(4)
        state = np.random.get_state()
        kills(np.inf)
        resumed = clone(model).fit(X)
        assert_array_equal(resumed.predict(X), expected.predict(X))
        assert_array_equal(np.random.get_state()[1], state[1])
    finally:
        np.random.set_state(before)


# ------------------------------------------------------------------------------- callbacks


class Counter(Callback):
    """A user's callback with a state: it lowers the learning rate after each third batch."""

    def on_train_begin(self, net, **kwargs):
        self.n_batches_ = 0
        self.log_ = [net]  # not plain, so it starts over

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_batches_ += training
        if self.n_batches_ % 3 == 0:
            net.optimizer_.param_groups[0]["lr"] *= 0.9


CALLBACKS = {
    "clipping": GradientNormClipping(0.1),
    "counter": Counter(),
    "plateau": LRScheduler(ReduceLROnPlateau, monitor="train_loss", patience=0),
    "scoring": EpochScoring(lambda net, *_: len(net.history) % 3, name="own", use_caching=False),
    "steps": LRScheduler(StepLR, step_size=2, gamma=0.5),
    "steps of batches": LRScheduler(StepLR, step_size=5, gamma=0.7, step_every="batch"),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_of_the_user(name, kills, tmp_path):
    model = small(MultVAE(batch_size=64, early_stopping=False))
    model.set_params(callbacks=[("own", CALLBACKS[name])])
    kills(np.inf)
    expected = model.fit(INTERACTIONS)
    curve = expected.history_.drop(columns="dur")
    predicted = expected.predict(INTERACTIONS)
    model = clone(model).set_params(checkpoint=tmp_path)
    for _ in range(6):  # not a clone, which would fail for a function
        kills(1)
        with pytest.raises(Killed):
            model.fit(INTERACTIONS)
    model.fit(INTERACTIONS)
    assert_array_equal(model.predict(INTERACTIONS), predicted)
    assert model.history_.drop(columns="dur").equals(curve)


class Unsaved:
    """An object with a state that is not plain."""

    def state_dict(self):
        return {"function": print}

    def load_state_dict(self, state):
        raise AssertionError


class Holder(Callback):
    def on_train_begin(self, net, **kwargs):
        self.object_ = Unsaved()


def test_a_callback_whose_state_cannot_be_saved(kills, tmp_path):
    model = small(MultVAE(callbacks=[Holder()], checkpoint=tmp_path))
    kills(np.inf)
    with pytest.raises(
        TypeError, match=r"attribute object_ of the callback Holder holds a builtin"
    ):
        model.fit(INTERACTIONS)
    assert list(tmp_path.iterdir()) == []


class CtrlC(Callback):
    def on_batch_begin(self, net, training=False, **kwargs):
        if len(net.history) == 3 and training and len(net.history[-1]["batches"]) == 2:
            raise KeyboardInterrupt


def test_a_keyboard_interrupt_within_an_epoch(kills, tmp_path, monkeypatch):
    model = small(MultVAE(batch_size=64, callbacks=[CtrlC()]))
    kills(np.inf)
    with pytest.raises(KeyboardInterrupt):
        clone(model).set_params(checkpoint=tmp_path).fit(INTERACTIONS)
    monkeypatch.setattr(CtrlC, "on_batch_begin", Callback.on_batch_begin)
    expected = clone(model).fit(INTERACTIONS).set_params(callbacks=None)
    resumed = clone(model).set_params(checkpoint=tmp_path).fit(INTERACTIONS)
    assert_same(resumed.set_params(callbacks=None), expected)


def test_a_fit_that_diverges(kills, tmp_path):
    model = small(MultDAE(optimizer="sgd", lr=3e3, early_stopping=False))
    kills(np.inf)
    with pytest.warns(ConvergenceWarning, match="diverged in epoch"):
        expected = clone(model).fit(INTERACTIONS)
    with pytest.warns(ConvergenceWarning, match="diverged in epoch"):
        model.set_params(checkpoint=tmp_path)
        resumed, n_kills = fit_with_kills(model, INTERACTIONS, kills)
    assert n_kills
    assert_same(resumed, expected)


# ------------------------------------------------------------------------------- refusals


@pytest.fixture
def interrupted(kills, tmp_path):
    """Return a folder with the checkpoint of a fit of `model()`, and `INTERACTIONS`."""
    kills(2)
    with pytest.raises(Killed):
        model(tmp_path).fit(INTERACTIONS)
    kills(np.inf)
    assert [path.name for path in tmp_path.iterdir()] == ["training.checkpoint"]
    return tmp_path


def model(folder, **params):
    return small(MultVAE()).set_params(checkpoint=folder, **params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lr": 0.01}, "another fit: lr is 0.001 there and 0.01 here. To resume"),
        ({"n_factors": 5, "l2": 1}, "l2 is 0.0 there and 1 here; n_factors is 4 there and 5 here"),
        ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes is \[4\] there and \[\] here"),
        ({"random_state": 1}, "random_state is 0 there and 1 here"),
        ({"random_state": None}, "random_state is 0 there and None here"),
        ({"optimizer": torch.optim.SGD}, "optimizer is 'adam' there and torch.optim.sgd.SGD here"),
        (
            {"callbacks": [GradientNormClipping(2.0)]},
            r"None there and \[GradientNormClipping\({'gr",
        ),
        ({"net_params": {"warm_start": True}}, "net_params is None there and {'warm_start': True}"),
    ],
)
def test_other_parameters_are_refused(params, message, interrupted):
    with pytest.raises(ValueError, match=message):
        model(interrupted, **params).fit(INTERACTIONS)
    assert (interrupted / "training.checkpoint").exists()
    model(interrupted).fit(INTERACTIONS)  # the former fit is still there


@pytest.mark.parametrize(
    "X",
    [INTERACTIONS[:-1], INTERACTIONS[::-1], INTERACTIONS[:, ::-1]],
    ids=["fewer users", "other order of users", "other order of items"],
)
def test_other_data_are_refused(X, interrupted):
    with pytest.raises(
        ValueError, match=r"another fit: X is 220 × 15 with \d+ interactions \(\w+\)"
    ):
        model(interrupted).fit(X)


def test_another_class_is_refused(interrupted):
    with pytest.raises(ValueError, match=r"its model is .*\.MultVAE instead of .*\.MultDAE\. To"):
        small(MultDAE(checkpoint=interrupted)).fit(INTERACTIONS)


def test_another_version_is_refused(interrupted, monkeypatch):
    monkeypatch.setattr(_checkpoint, "version", lambda package: "0.0")
    with pytest.raises(ValueError, match=f"torch is {torch.__version__.partition('+')[0]}.* there"):
        model(interrupted).fit(INTERACTIONS)


@pytest.mark.parametrize(
    "params",
    [
        {"verbose": 1},
        {"hidden_layer_sizes": (4,)},
        {"hidden_layer_sizes": np.array([4])},
        {"lr": np.float64(0.001)},
    ],
    ids=str,
)
def test_what_does_not_change_the_result(params, interrupted, capsys):
    expected = small(MultVAE()).fit(INTERACTIONS)
    resumed = model(interrupted, **params).fit(INTERACTIONS.toarray())
    assert_array_equal(resumed.predict(INTERACTIONS), expected.predict(INTERACTIONS))
    printed = capsys.readouterr().out
    assert ("\n      3  " in printed) == ("verbose" in params)
    assert "\n      2  " not in printed  # it was trained before


def test_an_error_before_the_first_epoch_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="hidden_layer_sizes must be positive"):
        model(tmp_path, hidden_layer_sizes=[0]).fit(INTERACTIONS)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------- files


@pytest.mark.parametrize("length", [0, 5, 20, 48, 100, 1000, 0.5, -1])
def test_a_torn_file_is_refused(length, interrupted):
    path = interrupted / "training.checkpoint"
    data = path.read_bytes()
    length = int(length * len(data)) if isinstance(length, float) else length
    path.write_bytes(data[:length])
    with pytest.raises(
        ValueError, match=r"training.checkpoint is damaged or .* Delete it to begin"
    ):
        model(interrupted).fit(INTERACTIONS)
    path.unlink()
    assert len(model(interrupted).fit(INTERACTIONS).history_)


def test_a_file_of_something_else_is_refused(interrupted):
    path = interrupted / "training.checkpoint"
    small(MultVAE()).fit(INTERACTIONS).save(path)
    with pytest.raises(ValueError, match="it is not a checkpoint"):
        model(interrupted).fit(INTERACTIONS)
    for state in ({"weights": 1}, [], {"fit": {}, "start": None, "state": {}}):
        _checkpoint.write_checkpoint(path, state)
        with pytest.raises(ValueError, match=r"damaged or not a checkpoint|is of another fit"):
            model(interrupted).fit(INTERACTIONS)


def test_a_checkpoint_is_no_model(interrupted):
    with pytest.raises(ModelFileError, match=r"model.json does not describe a model"):
        load(interrupted / "training.checkpoint")


def test_other_files_in_the_folder_stay(interrupted):
    (interrupted / "model.recsys").write_bytes(b"a model")
    (interrupted / "notes").mkdir()
    (interrupted / f"{_files._prefix()}{2**31 - 2}-0.tmp").touch()  # of a process that was killed
    model(interrupted).fit(INTERACTIONS)
    assert sorted(path.name for path in interrupted.iterdir()) == ["model.recsys", "notes"]


def test_a_failing_write_leaves_the_former_checkpoint(interrupted, monkeypatch):
    before = (interrupted / "training.checkpoint").read_bytes()

    def fail(*paths):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            model(interrupted).fit(INTERACTIONS)
    assert (interrupted / "training.checkpoint").read_bytes() == before
    expected = small(MultVAE()).fit(INTERACTIONS)
    assert_same(model(interrupted).fit(INTERACTIONS), expected)


@pytest.mark.skipif(os.name == "nt", reason="folders have no locks")
def test_two_fits_in_one_folder(tmp_path):
    class Inner(Callback):
        def on_epoch_end(self, net, **kwargs):
            with pytest.raises(ValueError, match="Another fit is saving its progress in the fol"):
                model(tmp_path).fit(INTERACTIONS)

    model(tmp_path, callbacks=[Inner()], max_epochs=2).fit(INTERACTIONS)
    model(tmp_path).fit(INTERACTIONS)  # the lock is released


# ------------------------------------------------------------------------------- the parameter


def test_the_folder_belongs_to_the_machine(tmp_path):
    fitted = model(tmp_path).fit(INTERACTIONS)
    fitted.save(tmp_path / "model.recsys")
    assert load(tmp_path / "model.recsys").checkpoint is None
    assert pickle.loads(pickle.dumps(fitted)).checkpoint == tmp_path
    node = Encoder().encode(small(MultVAE()), "model")
    node["params"]["checkpoint"] = "/home"
    write(tmp_path / "hostile", {"versions": persistence._PACKAGES, "model": node}, [])
    with pytest.raises(ModelFileError, match="no parameter 'checkpoint'"):
        load(tmp_path / "hostile")


@pytest.mark.parametrize("name", ["ALS", "MultVAE", "SLIM"])
def test_only_paths_are_taken(name):
    with pytest.raises(ValueError, match=r"The 'checkpoint' parameter of \w+ must be an instance"):
        small(MODELS[name]).set_params(checkpoint=3).fit(INTERACTIONS)


def test_partial_fit_of_a_network_saves_nothing(kills, tmp_path):
    fitted = model(tmp_path).fit(INTERACTIONS)
    kills(1)
    fitted.partial_fit(INTERACTIONS)
    with pytest.raises(Killed):
        model(tmp_path).partial_fit(INTERACTIONS)  # the first call is a fit


def test_partial_fit_of_a_closed_form_goes_on(kills, tmp_path):
    kills(np.inf)
    expected = small(ALS()).fit(INTERACTIONS[:200]).partial_fit(INTERACTIONS[200:])
    fitted = small(ALS(checkpoint=tmp_path)).fit(INTERACTIONS[:200])
    kills(3)
    with pytest.raises(Killed):
        fitted.partial_fit(INTERACTIONS[200:])
    kills(np.inf)
    assert_same(fitted.partial_fit(INTERACTIONS[200:]), expected)


def test_a_model_in_a_pipeline(kills, tmp_path):
    kills(np.inf)
    pipe = RecommenderPipeline([("binary", Binarizer()), ("model", small(ALS()))])
    expected = clone(pipe).fit(INTERACTIONS)
    pipe.set_params(model__checkpoint=tmp_path)
    resumed, n_kills = fit_with_kills(pipe, INTERACTIONS, kills, 4)
    assert n_kills == 4
    assert_array_equal(resumed.predict(INTERACTIONS), expected.predict(INTERACTIONS))


def test_candidates_of_a_search_take_turns(kills, tmp_path):
    kills(np.inf)
    grid = {"max_iter": [2, 3]}
    expected = GridSearchCV(small(ALS()), grid, cv=2).fit(INTERACTIONS)
    search = GridSearchCV(small(ALS(checkpoint=tmp_path)), grid, cv=2).fit(INTERACTIONS)
    scores = search.cv_results_["mean_test_score"]
    assert_array_equal(scores, expected.cv_results_["mean_test_score"])
    kills(1)
    with pytest.raises(Killed):
        small(ALS(checkpoint=tmp_path, max_iter=9)).fit(INTERACTIONS)
    kills(np.inf)
    with pytest.raises(ValueError, match=r"of another fit: max_iter is 9 there and 2 here"):
        search.fit(INTERACTIONS)  # all fits fail, for which scikit-learn raises
