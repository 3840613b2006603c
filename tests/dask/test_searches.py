"""Searches on Dask clusters, by joblib's backend: equal to the sequential ones, without copies."""

from __future__ import annotations

import os

import pytest
from joblib import parallel_config
from sklearn.base import clone

from sklearn_recsys.model_selection import HoldoutSplit, random_holdout
from tests.model_selection.test_searches import (
    EPOCHS,
    SEARCHED,
    R,
    assert_same_results,
    cross_validate_where,
    halving,
    large,
    search_where,
    searches,
)

distributed = pytest.importorskip("distributed", reason="needs Dask: make test-dask")


@pytest.mark.parametrize("name", SEARCHED)
def test_searches_equal_the_sequential_ones(client, name):
    X, y, search, folds = searches(name)
    expected = search.fit(X, y), folds.fit(X)
    with parallel_config("dask", scatter=[X, y]):
        parallel = clone(search).fit(X, y), clone(folds).fit(X)
    for got, wanted in zip(parallel, expected, strict=True):
        assert_same_results(got, wanted)


def test_worker_processes():
    """They hold one matrix each, and their searches equal the one of this process."""
    X, y = large()
    small = random_holdout(R, 0.2, random_state=0)
    neural, _ = SEARCHED["MultVAE"]
    grid = {"lr": [1e-4, 1e-3, 1e-2, 0.1]}
    search = halving(neural, grid, cv=HoldoutSplit(), error_score="raise", **EPOCHS)
    expected = clone(search).fit(*small)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(processes=True, **options):
        with parallel_config("dask", scatter=[X, y]):
            frames = search_where(X, y), cross_validate_where(X, y)
        with parallel_config("dask", scatter=small):
            assert_same_results(search.fit(*small), expected)
    for seen in frames:
        assert os.getpid() not in set(seen["process"])
        addresses = [column for column in seen if column.endswith("address")]
        assert len(addresses) == 4
        assert (seen.groupby("process")[addresses].nunique() == 1).all(axis=None)
