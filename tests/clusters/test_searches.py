"""Searches on Ray, by its backend for joblib; those on Dask are in tests/dask."""

from __future__ import annotations

import os

import pytest
from joblib import parallel_config
from sklearn.base import clone

from tests.model_selection.test_searches import assert_same_results, search_where, searches


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # in Ray itself
def test_a_search_equals_the_sequential_one(ray):
    from ray.util.joblib import register_ray

    register_ray()
    X, y, search, _ = searches("EASE")
    expected = clone(search).fit(X, y)
    with parallel_config("ray", n_jobs=2):
        assert_same_results(search.fit(X, y), expected)
        processes = set(search_where(X, y)["process"])
    assert os.getpid() not in processes
