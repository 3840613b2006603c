"""Local clusters of two worker processes."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import sys
import tempfile
import warnings

import pytest


@pytest.fixture(scope="session")
def dask():
    """Return the client of a Dask cluster."""
    distributed = pytest.importorskip("distributed", reason="needs Dask: make test-dask")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(**options) as client:
        yield client


@pytest.fixture(scope="session")
def spark():
    """Return a Spark session."""
    sql = pytest.importorskip("pyspark.sql", reason="needs Spark: make test-dask")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, such as Debian's package default-jre-headless")
    options = {
        "spark.ui.enabled": False,
        "spark.driver.host": "127.0.0.1",
        # it starts sooner
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)  # python3 by default
        session = sql.SparkSession.builder.master("local[2]").config(map=options).getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def ray():
    """Return the module ray, connected to a cluster."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("RAY_AUTH_MODE", "token")  # one of its own is written to the home folder
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_worker_niceness", "0")  # 15: on a busy machine they may hardly run
        ray = pytest.importorskip("ray", reason="needs Ray: make test-dask")
        options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        ray.init(num_cpus=2, object_store_memory=100 * 2**20, _temp_dir=folder, **options)
        yield ray
        ray.shutdown()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it does not wait for its processes
            gc.collect()
