"""scikit-learn's callbacks: the tasks that fits report, and what callbacks can do with them."""

from __future__ import annotations

import pickle
import threading
from copy import copy
from importlib.util import find_spec

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys import (
    ALS,
    EASE,
    NCF,
    SLIM,
    HoldoutSplit,
    ImplicitMatrixFactorization,
    ItemKNN,
    MultVAE,
    PopularityRecommender,
    RerankedRecommender,
    StackingRecommender,
    TwoStageRecommender,
    VotingRecommender,
    load,
    make_recommender_pipeline,
    random_holdout,
)
from sklearn_recsys.base import _checkpoint
from sklearn_recsys.compose import MaximalMarginalRelevance
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.linear_model import _slim
from sklearn_recsys.metrics import make_recommender_scorer
from sklearn_recsys.neural import NeuralRecommender
from sklearn_recsys.preprocessing import BM25Transformer
from sklearn_recsys.utils.discovery import all_recommenders
from sklearn_recsys.utils.estimator_checks._tools import make_matrix

pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")
from sklearn.callback import ScoringMonitor  # noqa: E402

R = make_interactions(60, 40, density=0.2, random_state=0)
TRAIN, TEST = random_holdout(R, random_state=0)
BELOW_ALL = None  # the depth of a callback that all members of all members get
SMALL = {"n_factors": 4, "hidden_layer_sizes": [4], "embedding_dim": 4, "n_recurrent": 4}
SMALL |= {"n_hidden": 4, "max_epochs": 3, "max_iter": 3, "random_state": 0}


def small(cls):
    params = cls().get_params()
    return cls(**{name: value for name, value in SMALL.items() if name in params})


ALL = {name: small(cls) for name, cls in all_recommenders()}
ITERATIVE = {
    name: model
    for name, model in ALL.items()
    if isinstance(model, (ALS, NeuralRecommender)) and name != "NCF"
}
als = ALL["ALS"]
net = ImplicitMatrixFactorization(
    n_factors=4, schedule="constant", early_stopping=False, max_epochs=4, random_state=0
)


diverse = MaximalMarginalRelevance(np.eye(40))


class Recorder:
    """Record all calls, and stop or raise where it is told to.

    `stop` and `error` are called with the kind of a call and the context.
    """

    def __init__(self, *, depth=0, stop=None, error=None):
        self.calls = []
        self.stop = stop
        self.error = error
        if depth != 0:
            self.max_propagation_depth = depth

    def _call(self, kind, estimator, context):
        self.calls.append((kind, context.estimator_name, context.task_name, context.task_id))
        if self.error is not None and self.error(kind, context):
            raise ZeroDivisionError
        return self.stop is not None and self.stop(kind, context)

    def setup(self, estimator, context):
        self._call("setup", estimator, context)

    def teardown(self, estimator, context):
        self._call("teardown", estimator, context)

    def on_fit_task_begin(self, estimator, context):
        self._call("begin", estimator, context)

    def on_fit_task_end(self, estimator, context):
        return self._call("end", estimator, context)

    def ended(self):
        """Return the names and numbers of the tasks, in the order of their ends."""
        return [call[1:] for call in self.calls if call[0] == "end"]

    def check(self):
        """Assert that each task has begun and ended once, the inner ones first."""
        (first, *calls, last) = self.calls
        assert first[0] == "setup" and last[0] == "teardown"
        open_tasks = []
        for kind, *task in calls:
            if kind == "begin":
                open_tasks.append(task)
            else:
                assert kind == "end" and open_tasks.pop() == task
        assert not open_tasks


class Keeper:
    """Keep the usable model of each iteration, and where it is asked for a score."""

    def __init__(self):
        self.models = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.parent is not None:
            self.models.append(fitted_estimator)


def recorded(model, X=TRAIN, **options):
    recorder = Recorder(**options)
    model.set_callbacks(recorder).fit(X)
    recorder.check()
    return recorder


def stops_after(n):
    return lambda kind, context: kind == "end" and context.task_id == n - 1 and context.parent


# ---------------------------------------------------------------- tasks


@pytest.mark.filterwarnings("ignore")  # of models on random data
@pytest.mark.parametrize("name", ALL)
def test_every_recommender_reports_its_tasks_and_fits_the_same(name):
    model = clone(ALL[name])
    X = make_matrix(model)
    expected = clone(model).fit(X).predict(X[:5])
    recorder = recorded(model, X)
    assert recorder.calls[1] == ("begin", name, "fit", 0)
    assert_array_equal(model.predict(X[:5]), expected)
    assert model.recommend(0).shape == (1, 10)
    left = {name for name in vars(model) if "callback" in name and name != "callbacks"}
    assert left == {"_skl_callbacks"}
    recorder.calls.clear()
    if hasattr(model, "partial_fit"):
        model.partial_fit(X)
        recorder.check()
        assert {name for name in vars(model) if "_callback" in name} == {"_skl_callbacks"}


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.filterwarnings("ignore")
def test_iterative_models_report_each_iteration(name):
    model = clone(ITERATIVE[name])
    if name != "ALS":
        model.set_params(early_stopping=False)
    tasks = recorded(model, make_matrix(model)).ended()
    unit = "iteration" if name == "ALS" else "epoch"
    assert tasks == [*((name, unit, n) for n in range(3)), (name, "fit", 0)]


def test_pretrained_models_report_stages():
    tasks = recorded(clone(ALL["NCF"])).ended()
    epochs = [("NCF", "epoch", n) for n in range(3)]
    assert tasks == [
        *(*epochs, ("NCF", "gmf", 0)),
        *(*epochs, ("NCF", "mlp", 1)),
        *(epochs[0], ("NCF", "training", 2)),  # a third of the epochs
        ("NCF", "fit", 0),
    ]


def test_slim_reports_blocks_of_columns_and_solves_all_of_them(monkeypatch):
    monkeypatch.setattr(_slim, "_COLUMNS", 8)
    model = SLIM()
    tasks = recorded(model, stop=stops_after(2)).ended()
    assert tasks == [*(("SLIM", "columns", n) for n in range(5)), ("SLIM", "fit", 0)]
    assert_array_equal(model.coef_.toarray(), SLIM().fit(TRAIN).coef_.toarray())


COMPOSITES = {
    "voting": (VotingRecommender([("a", als), ("b", ItemKNN())]), ["ALS", "ItemKNN"]),
    "two stages": (TwoStageRecommender([("a", als)]), ["ALS", "ALS"]),
    "stacking": (StackingRecommender([("a", als), ("b", EASE())]), ["ALS", "EASE"] * 2),
    "reranked": (RerankedRecommender(als, [("mmr", diverse)]), ["ALS"]),
    "pipeline": (make_recommender_pipeline(BM25Transformer(), als), ["BM25Transformer", "ALS"]),
    "nested": (
        VotingRecommender([("a", make_recommender_pipeline(BM25Transformer(), als))]),
        ["BM25Transformer", "ALS", "RecommenderPipeline"],
    ),
}


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("partial", [False, True])
def test_callbacks_are_passed_to_members(name, partial):
    model, members = COMPOSITES[name]
    model = clone(model)
    recorder = recorded(model, depth=BELOW_ALL)
    if partial:
        recorder.calls.clear()
        model.partial_fit(TEST[:3])
        recorder.check()
    fits = [task[0] for task in recorder.ended() if task[1] == "fit"]
    assert fits == [*members, type(model).__name__]
    n_iterations = sum(task[1] == "iteration" for task in recorder.ended())
    assert n_iterations == 3 * members.count("ALS")
    assert not {"_parent_callback_ctx", "_callback_fit_ctx"} & set(vars(model))


def test_callbacks_that_are_not_propagated_stay_with_their_estimator():
    own, outer = Recorder(), Recorder()
    member = clone(als).set_callbacks(own)
    model = VotingRecommender([("a", member), ("b", EASE())]).set_callbacks(outer).fit(TRAIN)
    outer.check(), own.check()
    assert {task[0] for task in own.ended()} == {"ALS"}
    assert outer.ended()[-1] == ("VotingRecommender", "fit", 0)
    assert not any(task[1] == "iteration" for task in outer.ended())
    assert vars(model.estimators_[0])["_skl_callbacks"] == [own]


def test_propagated_callbacks_on_a_member_are_refused():
    member = clone(als).set_callbacks(Recorder(depth=BELOW_ALL))
    with pytest.raises(TypeError, match="Register them directly on the meta-estimator"):
        VotingRecommender([("a", member)]).fit(TRAIN)


# ---------------------------------------------------------------- stopping and errors


def test_a_callback_ends_als():
    model = clone(als).set_params(max_iter=10)
    recorded(model, stop=stops_after(2))
    expected = clone(als).set_params(max_iter=2).fit(TRAIN)
    assert model.n_iter_ == expected.n_iter_ == 2
    assert_array_equal(model.item_factors_, expected.item_factors_)


def test_a_callback_ends_training():
    model = clone(net)
    recorder = recorded(model, stop=stops_after(2))
    assert len(model.history_) == 2
    assert recorder.ended() == [
        *(("ImplicitMatrixFactorization", "epoch", n) for n in range(2)),
        ("ImplicitMatrixFactorization", "fit", 0),
    ]
    expected = clone(net).set_params(max_epochs=2).fit(TRAIN)
    assert_array_equal(model.predict(TRAIN), expected.predict(TRAIN))
    model.set_callbacks().partial_fit(TRAIN)
    assert len(model.history_) == 6


def test_a_callback_ends_a_stage_only():
    tasks = recorded(clone(ALL["NCF"]), stop=stops_after(1)).ended()
    assert [task[1] for task in tasks] == [
        "epoch",
        "gmf",
        "epoch",
        "mlp",
        "epoch",
        "training",
        "fit",
    ]


def test_early_stopping_of_skorch_ends_the_tasks():
    model = NCF("gmf", n_factors=4, lr=0.3, max_epochs=50, n_iter_no_change=1, random_state=0)
    tasks = recorded(model).ended()
    assert len(model.history_) < 50
    assert len(tasks) == len(model.history_) + 1


@pytest.mark.parametrize("model", [EASE(), als, net, COMPOSITES["nested"][0]], ids=str)
@pytest.mark.parametrize("kind", ["setup", "begin", "end", "teardown"])
def test_an_error_of_a_callback_is_raised_and_it_is_torn_down(model, kind):
    model = clone(model)
    recorder = Recorder(depth=BELOW_ALL, error=lambda happens, context: happens == kind)
    model.set_callbacks(recorder)
    with pytest.raises(ZeroDivisionError):
        model.fit(TRAIN)
    assert [call[0] for call in recorder.calls].count("teardown") == 1
    if kind != "teardown":  # which is called after a complete fit
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
    names = {name for name in vars(model) if name.startswith("_") and "callback" in name}
    assert names == {"_skl_callbacks"}
    model.set_callbacks().fit(TRAIN).recommend()


@pytest.mark.parametrize("model", [EASE(), als, net, VotingRecommender([("als", als)])], ids=str)
def test_an_error_in_partial_fit_leaves_the_model_and_tears_down(model):
    model = clone(model).fit(TRAIN)
    expected = model.predict(TRAIN)
    recorder = Recorder(error=lambda kind, context: kind == "end")
    model.set_callbacks(recorder)
    with pytest.raises(ZeroDivisionError):
        model.partial_fit(TRAIN)
    assert recorder.calls[-1][0] == "teardown"
    assert_array_equal(model.predict(TRAIN), expected)


def test_ctrl_c_in_a_callback_ends_the_fit_as_anywhere():
    def interrupt(kind, context):
        if kind == "begin" and context.task_id == 2:
            raise KeyboardInterrupt

    for model in (clone(als), clone(net)):
        recorder = Recorder(error=interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.set_callbacks(recorder).fit(TRAIN)
        assert not hasattr(model, "interactions_")
        assert recorder.calls[-1][0] == "teardown"


def test_a_model_of_a_user_reports_iterations_if_it_says_so():
    class Counting(PopularityRecommender):
        def _fit(self, X):
            self.values_ = list(self._progress.loop(range(3), "round"))
            super()._fit(X)

    assert recorded(Counting()).ended() == [("Counting", "fit", 0)]
    Counting._has_tasks = True
    model = Counting()
    tasks = recorded(model).ended()
    assert tasks == [*(("Counting", "round", n) for n in range(3)), ("Counting", "fit", 0)]
    assert model.values_ == [0, 1, 2]


def test_a_failing_fit_tears_down():
    class Failing(ALS):
        def _half_step(self, *args):
            raise ZeroDivisionError

    recorder = Recorder()
    with pytest.raises(ZeroDivisionError):
        Failing().set_callbacks(recorder).fit(TRAIN)
    assert [call[0] for call in recorder.calls] == ["setup", "begin", "begin", "teardown"]


def test_invalid_callbacks_are_refused():
    with pytest.raises(TypeError, match="FitCallback protocol"):
        EASE().set_callbacks(print)


# ---------------------------------------------------------------- usable models


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ITERATIVE)
def test_the_model_of_each_iteration_is_usable_and_training_goes_on_the_same(name):
    model = clone(ITERATIVE[name])
    X = make_matrix(model)
    expected = clone(model).fit(X)
    keeper = Keeper()
    model.set_callbacks(keeper).fit(X)
    assert_array_equal(model.predict(X), expected.predict(X))
    assert len(keeper.models) == 3
    values = [kept.predict(X) for kept in keeper.models]
    assert not np.array_equal(values[0], values[1])
    assert keeper.models[0].recommend(X[:2]).shape == (2, 10)
    if name == "ALS" or not (model.early_stopping or getattr(model, "schedule", "constant")):
        assert_array_equal(values[-1], model.predict(X))


@pytest.mark.parametrize("model", [als, net], ids=["ALS", "net"])
def test_the_model_of_an_iteration_is_that_of_a_shorter_fit(model):
    keeper = Keeper()
    length = "max_iter" if model is als else "max_epochs"
    clone(model).set_callbacks(keeper).fit(TRAIN)
    for n, kept in enumerate(keeper.models, start=1):
        expected = clone(model).set_params(**{length: n}).fit(TRAIN)
        assert_allclose(kept.predict(R), expected.predict(R), rtol=1e-6, atol=1e-7)
        kept = pickle.loads(pickle.dumps(kept))
        assert_array_equal(kept.recommend(TRAIN), expected.recommend(TRAIN))


@pytest.mark.parametrize("model", [als, net], ids=["ALS", "net"])
def test_scoring_monitor_measures_each_iteration_on_held_out_cells(model):
    model = clone(model)
    monitor = ScoringMonitor(scoring=make_recommender_scorer(["ndcg@10"]))
    model.set_callbacks(monitor).fit(TRAIN, TEST)
    rows = monitor.get_logs().data
    scores = [row["ndcg@10"] for row in rows if row["task_name"] != "fit"]
    assert len(scores) == (3 if isinstance(model, ALS) else 4)
    assert scores[-1] == pytest.approx(model.score(TRAIN, TEST, metric="ndcg@10"))
    assert len(set(scores)) > 1


# ---------------------------------------------------------------- with the rest


def test_clones_copies_and_pickles_keep_callbacks_and_files_do_not(tmp_path):
    recorder = Recorder()
    model = clone(als).set_callbacks(recorder)
    assert "callbacks" not in str(model.get_params())
    assert vars(clone(model))["_skl_callbacks"] == [recorder]
    model.fit(TRAIN)
    for other in (copy(model), pickle.loads(pickle.dumps(model))):
        assert [type(callback) for callback in vars(other)["_skl_callbacks"]] == [Recorder]
        assert_array_equal(other.recommend(), model.recommend())
    voting = VotingRecommender([("a", model)]).set_callbacks(Recorder()).fit(TRAIN)
    for fitted in (model, voting, make_recommender_pipeline(model).fit(TRAIN)):
        fitted.save(tmp_path / "model")
        loaded = load(tmp_path / "model")
        assert "_skl_callbacks" not in vars(loaded)
        assert_array_equal(loaded.recommend(), fitted.recommend())


@pytest.mark.parametrize("model", [clone(als).set_params(max_iter=6), net], ids=["ALS", "net"])
def test_a_fit_resumed_from_a_checkpoint_reports_the_rest(model, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "_SHARE", np.inf)  # each iteration
    expected = clone(model).fit(TRAIN)
    model = clone(model).set_params(checkpoint=tmp_path)
    dies = Recorder(error=lambda kind, context: kind == "begin" and context.task_id == 2)
    with pytest.raises(ZeroDivisionError):
        model.set_callbacks(dies).fit(TRAIN)
    resumed = recorded(model)
    n = expected.n_iter_ if isinstance(model, ALS) else len(expected.history_)
    assert len(resumed.ended()) - 1 == n - 2
    assert_array_equal(model.predict(TRAIN), expected.predict(TRAIN))


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_search_reports_its_fits_from_every_worker(backend):
    monitor = ScoringMonitor(scoring=make_recommender_scorer(["ndcg@10"]))
    model = clone(als).set_callbacks(monitor)
    search = GridSearchCV(model, {"l2": [0.01, 0.1]}, cv=HoldoutSplit(), n_jobs=2)
    with parallel_config(backend):
        search.fit(TRAIN, TEST)
    rows = monitor.get_logs().data
    assert sum(row["task_name"] == "iteration" for row in rows) == 3 * 3  # two, and the refit
    plain = GridSearchCV(als, search.param_grid, cv=HoldoutSplit()).fit(TRAIN, TEST)
    assert_array_equal(search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
    assert_array_equal(search.best_estimator_.recommend(), plain.best_estimator_.recommend())


def test_callbacks_of_a_search_reach_its_fits():
    recorder = Recorder(depth=BELOW_ALL)
    search = GridSearchCV(als, {"l2": [0.01, 0.1]}, cv=2).set_callbacks(recorder).fit(R)
    assert sum(task[:2] == ("ALS", "iteration") for task in recorder.ended()) == 3 * 5
    assert recorder.calls[-1][0] == "teardown"
    assert search.best_estimator_.recommend().shape == (60, 10)


def test_fits_in_several_threads_report_to_their_own_callbacks():
    recorders = [Recorder() for _ in range(4)]
    models = [clone(net if n % 2 else als) for n in range(4)]
    jobs = [
        threading.Thread(target=model.set_callbacks(recorder).fit, args=(TRAIN,))
        for model, recorder in zip(models, recorders, strict=True)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    for recorder, model in zip(recorders, models, strict=True):
        recorder.check()
        assert {task[0] for task in recorder.ended()} == {type(model).__name__}


@pytest.mark.skipif(find_spec("rich") is None, reason="the bars of scikit-learn need rich")
def test_progress_bar_of_scikit_learn(capsys):
    from sklearn.callback import ProgressBar

    search = GridSearchCV(als, {"l2": [0.01, 0.1]}, cv=2).set_callbacks(ProgressBar())
    search.fit(R)
    out = capsys.readouterr().out
    assert "GridSearchCV - fit" in out and "ALS - fit" in out and "100%" in out
    model = MultVAE(hidden_layer_sizes=[8], n_factors=4, max_epochs=2, random_state=0)
    make_recommender_pipeline(model).set_callbacks(ProgressBar()).fit(R)
    assert "MultVAE - fit" in capsys.readouterr().out
    PopularityRecommender().set_callbacks(ProgressBar()).fit(R)
    assert "PopularityRecommender - fit" in capsys.readouterr().out
