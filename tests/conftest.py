"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_home():
    """Return the folder of the real data sets, or skip where it is not at hand."""
    folder = os.environ.get("SKLEARN_RECSYS_DATA")
    if not folder:
        pytest.skip("SKLEARN_RECSYS_DATA is not set: it names the folder of the MovieLens archives")
    return Path(folder)
