"""What pytest collects, examples that need Dask or Optuna only where these are, and how."""

import gc
import os
import signal
from importlib.util import find_spec

import pytest

collect_ignore = []
if "SITE" not in os.environ:  # the folder of the built pages: `make site-test`, `make notebooks`
    collect_ignore += ["tests/site"]
if find_spec("distributed") is None:  # `make test-dask` has it
    collect_ignore += ["docs/user_guide/clusters.rst", "sklearn_recsys/dask"]
if find_spec("distributed") is None or find_spec("optuna_integration") is None:
    collect_ignore += ["docs/user_guide/searches.rst"]
if find_spec("matplotlib") is None:
    collect_ignore += ["sklearn_recsys/inspection", "docs/user_guide/explanations.rst"]


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a shell: `make test &`
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector away from modules and tests, which stay: a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
