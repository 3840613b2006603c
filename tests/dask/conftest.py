"""A Dask cluster for the tests, in this process."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def client():
    """Return the client of two workers in threads of this process."""
    distributed = pytest.importorskip("distributed", reason="needs Dask: make test-dask")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(processes=False, **options) as client:
        yield client
