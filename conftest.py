"""What pytest collects, examples that need Dask or Optuna only where these are, and how."""

import gc
from importlib.util import find_spec

import pytest

collect_ignore = []
if find_spec("distributed") is None:  # `make test-dask` has it
    collect_ignore += ["docs/user_guide/clusters.rst", "sklearn_recsys/dask"]
if find_spec("distributed") is None or find_spec("optuna_integration") is None:
    collect_ignore += ["docs/user_guide/searches.rst"]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector away from modules and tests, which stay: a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
