"""Warnings lead to the line that called the package."""

from __future__ import annotations

import gc
import threading
import warnings
from inspect import currentframe
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from joblib.parallel import BatchedCalls, get_active_backend
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import (
    GridSearchCV,
    cross_validate as sklearn_cross_validate,
    learning_curve,
)

from sklearn_recsys import EASE, PopularityRecommender
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.exceptions import LeakWarning, RecommenderWarning, ValuesWarning
from sklearn_recsys.model_selection import cross_validate
from sklearn_recsys.utils._warnings import _shown, warn


class Warns(BaseEstimator):
    _parameter_constraints: dict = {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X):
        warn("deep down", LeakWarning)


def test_the_line_is_the_callers():
    with pytest.warns(LeakWarning, match="deep down") as record:
        warn("deep down", LeakWarning)
    assert record[0].filename == __file__
    assert record[0].lineno == currentframe().f_lineno - 2


def test_wrappers_of_scikit_learn_are_skipped():
    # `fit` of a recommender is called by scikit-learn's `_fit_context`; here our own method stands
    # for the user's line, as the innermost one that is in no library
    with pytest.warns(LeakWarning) as record:
        Warns().fit(None)
    assert record[0].filename == __file__


def test_a_filter_by_the_base_category_silences_all():
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("ignore", RecommenderWarning)
        warn("quiet", LeakWarning)
    assert not record


R = make_interactions(30, 20, random_state=0)
model = PopularityRecommender()


def scorer(estimator, X, y=None):
    return estimator.score(X)


def search(**kwargs):
    GridSearchCV(EASE(), {"l2": [1, 2]}, cv=3, return_train_score=True, **kwargs).fit(R)


SEARCHES = {
    "grid": search,
    "curve": lambda: learning_curve(model, R, None, cv=3, train_sizes=[0.4, 0.6, 1.0]),
    "folds": lambda: sklearn_cross_validate(model, R, cv=4, return_train_score=True),
    "own folds": lambda: cross_validate(model, sp.vstack([R, R]), cv=2),
    "nested": lambda: sklearn_cross_validate(
        GridSearchCV(EASE(), {"l2": [1, 2]}, cv=2, return_train_score=True), R, cv=2
    ),
}


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_warns_once_at_the_users_line(name, n_jobs):
    with (
        warnings.catch_warnings(record=True) as record,
        parallel_config("threading", n_jobs=n_jobs),
    ):
        warnings.simplefilter("always")
        for count in (1, 2):
            SEARCHES[name]()
            assert len(record) == count, "each search warns by itself"
    lines = {line for _, _, line in SEARCHES[name].__code__.co_lines()}
    for warning in record:
        assert warning.category is LeakWarning
        assert warning.filename == __file__
        assert warning.lineno in lines


def test_in_a_scorer_of_the_users_the_line_is_there():
    with pytest.warns(LeakWarning) as record:
        search(scoring=scorer)
    assert len(record) == 1
    assert record[0].lineno == scorer.__code__.co_firstlineno + 1


class Counting(PopularityRecommender):
    """Warns with another number in each fold."""

    def score(self, X, y=None):
        warn(f"{X.sum()} interactions", LeakWarning)
        warn(f"{X.sum()} interactions", ValuesWarning)
        warn(f"{X.sum()} values", LeakWarning)
        return 0.5


def test_messages_of_a_search_that_differ_in_numbers_count_as_one():
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        sklearn_cross_validate(Counting(), R, cv=3)
    assert len(record) == 3, "by category and text"


def test_a_filter_that_raises_does_so_in_every_task():
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakWarning)
        warnings.filterwarnings("ignore", "Scoring failed")
        scores = sklearn_cross_validate(Counting(), R, cv=3)["test_score"]
    assert np.isnan(scores).all()


def test_direct_calls_are_left_to_the_filters_of_python():
    fitted = PopularityRecommender().fit(R)
    for action, count in [("always", 3), ("default", 1), ("ignore", 0)]:
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter(action)
            for _ in range(3):
                fitted.score(R)
        assert len(record) == count


def test_two_searches_in_threads_warn_each():
    """Which of them a worker belongs to can't be told: rather too often than not at all."""
    with warnings.catch_warnings(record=True) as record, parallel_config("threading", n_jobs=2):
        warnings.simplefilter("always")
        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(record) >= 2


def test_worker_processes_warn():
    """They have no line of the user's; the method of the package that was called stands in."""
    fitted = PopularityRecommender().fit(R)
    task = BatchedCalls([(fitted.score, (R,), {})], get_active_backend())
    with pytest.warns(LeakWarning) as record:
        for _ in range(2):
            worker = threading.Thread(target=task)  # a worker without a caller in this process
            worker.start()
            worker.join()
    assert [Path(warning.filename).name for warning in record] == ["_scoring.py", "_scoring.py"]


def test_nothing_outlives_the_search():
    with pytest.warns(LeakWarning):
        search()
    gc.collect()
    assert not len(_shown)
