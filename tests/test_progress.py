"""Progress bars: shown where they are asked for, and nothing else changes."""

from __future__ import annotations

import pickle
import re
import sys
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    ALS,
    EASE,
    NCF,
    SLIM,
    ItemKNN,
    MultVAE,
    RecommenderPipeline,
    VotingRecommender,
    evaluate,
    random_holdout,
    show_progress,
)
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.linear_model import _gram, _slim
from sklearn_recsys.linear_model._sparse_inverse import sparse_weights
from sklearn_recsys.utils import _threads, progress

R = make_interactions(60, 40, density=0.2, random_state=0)
TRAIN, TEST = random_holdout(R, random_state=0)
MODELS = {
    "ALS": ALS(n_factors=4, max_iter=3, random_state=0),
    "EASE": EASE(l2=10),
    "ItemKNN": ItemKNN(),
    "MultVAE": MultVAE(hidden_layer_sizes=[8], n_factors=4, max_epochs=3, random_state=0),
    "NCF": NCF(n_factors=4, hidden_layer_sizes=[4], max_epochs=3, random_state=0),
    "SLIM": SLIM(),
    "VotingRecommender": VotingRecommender([("ease", EASE()), ("knn", ItemKNN())]),
}
MODELS["RecommenderPipeline"] = RecommenderPipeline([("one", Binarizer()), ("als", MODELS["ALS"])])


class Bar:
    """Stands for a bar of tqdm, and is remembered."""

    made: list = []

    def __init__(self, total, desc, **options):
        self.total, self.desc, self.n, self.is_open = total, desc, 0, True
        self.made.append(self)

    def update(self, n=1):
        self.n += n

    def close(self):
        self.is_open = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


@pytest.fixture
def bars(monkeypatch, capsys):
    """Return a function that returns the count and the total of the first bar of each name."""
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(progress, "_tqdm", lambda: Bar)

    def read():
        assert capsys.readouterr() == ("", "")
        made = Bar.made.copy()
        Bar.made.clear()
        assert not any(bar.is_open for bar in made)
        return {bar.desc: (bar.n, bar.total) for bar in reversed(made)}

    return read


@pytest.fixture
def small_blocks(monkeypatch):
    """Let blocks hold few rows, so that small matrices have several."""
    monkeypatch.setattr(_threads, "rows_per_block", lambda row_bytes: 25)


def results(model):
    """Return what every method that takes long answers."""
    ids, scores = model.recommend(n=3), model.predict(TRAIN)
    pairs = model.predict_pairs(TRAIN, [0, 1, 5], [2, 3, 4])
    return ids, scores, pairs, model.score(TRAIN, TEST), model.explain(0, [2])


@pytest.mark.parametrize("name", MODELS)
def test_bars_change_no_result_and_are_off_by_default(name, bars, small_blocks):
    model = clone(MODELS[name]).fit(TRAIN)
    expected = results(model)
    assert bars() == {}
    with show_progress():
        actual = results(clone(MODELS[name]).fit(TRAIN))
    counts = bars()
    for one, other in zip(actual, expected, strict=True):
        assert_array_equal(one, other)
    assert counts["Ranking"] == counts["Scoring"] == (60, 60)  # users
    results(model)
    assert bars() == {}


def test_iterations_of_fits_are_counted(bars):
    with show_progress():
        MODELS["ALS"].fit(TRAIN)
        clone(MODELS["NCF"]).fit(TRAIN)
        clone(MODELS["MultVAE"]).fit(TRAIN)
        clone(MODELS["VotingRecommender"]).fit(TRAIN)
    counts = bars()
    assert counts["ALS"] == counts["NCF gmf"] == counts["NCF mlp"] == (3, 3)
    assert counts["MultVAE"] == (3, 3)
    assert counts["VotingRecommender"] == (2, 2)


def test_batches_of_an_epoch_are_counted(bars):
    model = clone(MODELS["MultVAE"]).set_params(batch_size=12, early_stopping=False)
    with show_progress():
        model.fit(TRAIN)
    assert bars()["Epoch"] == (5, 5)


def test_early_stopping_ends_a_bar(bars):
    model = NCF("gmf", n_factors=4, lr=0.3, max_epochs=50, n_iter_no_change=1, random_state=0)
    with show_progress():
        model.fit(TRAIN)
    assert bars()["NCF"] == (len(model.history_), model.max_epochs)
    assert len(model.history_) < model.max_epochs


def test_stages_of_closed_forms_are_counted(bars, monkeypatch):
    monkeypatch.setattr(_gram, "_CELLS", 100)
    X = np.random.RandomState(0).normal(size=(50, 24)).astype(np.float32)
    A = X.T @ X
    with show_progress():
        gram = _gram.lower_gram(TRAIN.astype(np.float32))
        inverse = _gram.invert_in_place(A.copy(), whole=4, tile=8, block=4)
        sparse_weights(TRAIN, 10.0, 5, 0.0)
    counts = bars()
    assert counts["Gram matrix"][0] == counts["Gram matrix"][1] > 1
    assert counts["Inverse"] == (3, 3)
    assert counts["Weights"][0] == counts["Weights"][1] > 1
    assert_array_equal(np.tril(gram), np.tril((TRAIN.T @ TRAIN).toarray()))
    assert_array_equal(inverse, _gram.invert_in_place(A.copy(), whole=4, tile=8, block=4))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_columns_of_slim_are_counted_as_their_results_come(bars, monkeypatch, n_threads):
    monkeypatch.setattr(_slim, "_COLUMNS", 8)
    monkeypatch.setattr(_threads, "n_threads", lambda: n_threads)
    with show_progress():
        SLIM().fit(TRAIN)
    assert bars()["SLIM"] == (5, 5)


@pytest.mark.parametrize("model", [MODELS["ALS"], MODELS["SLIM"]], ids=["ALS", "SLIM"])
def test_verbose_shows_a_fit_and_nothing_else(model, bars, small_blocks):
    shown = clone(model).set_params(verbose=1).fit(TRAIN)
    name = type(model).__name__
    counts = bars()
    assert list(counts) == [name]
    assert counts[name][0] == counts[name][1]
    assert_array_equal(shown.recommend(), clone(model).fit(TRAIN).recommend())
    assert bars() == {}


def test_scores_of_rating_models_and_evaluate_are_shown(bars, small_blocks):
    with show_progress():
        evaluate(EASE(l2=10).fit(TRAIN), TRAIN, TEST)
    assert bars()["Ranking"] == (60, 60)
    ratings = make_ratings(30, 15, density=0.4, random_state=0)
    train, test = random_holdout(ratings, random_state=0)
    model = VotingRecommender([("a", ItemKNN()), ("b", EASE())]).fit(train)
    with show_progress():
        model.predict_pairs(train, np.arange(30), np.arange(30) % 15)
    assert bars()["Scoring"] == (30, 30)


def test_bars_of_tqdm_show_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_DELAY", 0)
    with show_progress():
        ALS(n_factors=4, max_iter=3).fit(TRAIN)
    out, err = capsys.readouterr()
    assert not out  # they do not mix with what a program prints
    assert re.search(r"ALS: 100%\|.*\| 3/3 \[\d\d:\d\d<\d\d:\d\d", err)


def test_quick_calls_and_single_blocks_show_nothing(capsys):
    with show_progress():
        EASE(l2=10).fit(TRAIN).recommend(0)
        assert list(progress.progress([1], "One")) == [1]
    assert capsys.readouterr() == ("", "")


def test_the_context_ends_with_an_error_and_belongs_to_its_thread(bars):
    with pytest.raises(ZeroDivisionError), show_progress(), show_progress():
        raise ZeroDivisionError
    assert list(progress.progress(range(3), "Off")) == [0, 1, 2]
    with show_progress():
        thread = threading.Thread(target=lambda: list(progress.progress(range(3), "Thread")))
        thread.start()
        thread.join()
        with show_progress():
            pass
        assert list(progress.progress(range(3), "On")) == [0, 1, 2]
    assert list(bars()) == ["On"]


def test_a_failing_fit_closes_its_bar(bars):
    class Failing(ALS):
        def _half_step(self, *args):
            raise ZeroDivisionError

    with show_progress(), pytest.raises(ZeroDivisionError):
        Failing(n_factors=4).fit(TRAIN)
    assert bars() == {"Failing": (0, 16)}


def test_sizes_of_blocks_are_added_up(bars):
    blocks = [slice(0, 3), slice(3, 10)]
    with show_progress():
        shown = progress.progress(iter(blocks), "Rows", 10, unit="row", size=progress.length)
        assert list(shown) == blocks
    assert bars() == {"Rows": (10, 10)}


@pytest.mark.parametrize("n_threads", [1, 3])
def test_map_blocks_reports_each_block_and_an_error_cancels_the_rest(monkeypatch, n_threads):
    monkeypatch.setattr(_threads, "n_threads", lambda: n_threads)
    reported = []

    def report(blocks):
        for block in blocks:
            reported.append(block.start)
            yield block

    starts = _threads.map_blocks(lambda rows: rows.start, 10, 2, report)
    assert starts == reported == [0, 2, 4, 6, 8]

    def fail(blocks):
        yield blocks[0]
        raise ZeroDivisionError

    done = []
    started = threading.Event()

    def wait(rows):
        if rows.start:
            started.wait(0.001)
        done.append(rows.start)

    with pytest.raises(ZeroDivisionError):
        _threads.map_blocks(wait, 4000, 2, fail)
    assert len(done) < 2000


def test_no_progress_is_left_on_a_model(bars):
    with show_progress():
        model = clone(MODELS["ALS"]).fit(R)
    assert not [name for name in vars(model) if "progress" in name]
    assert_array_equal(pickle.loads(pickle.dumps(model)).recommend(), model.recommend())


def test_bars_without_tqdm_are_an_error_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"), show_progress():
        raise AssertionError
    clone(MODELS["ALS"]).fit(R).recommend()  # and all else does without
