"""Devices by name."""

from __future__ import annotations

import pytest

from sklearn_recsys.utils._device import check_device


def test_check_device():
    assert check_device("cpu").type == "cpu"
    assert check_device("auto").type in {"cpu", "cuda", "mps"}
    for device in ("gpu", "cuda:x", "", "meta"):
        with pytest.raises(ValueError, match='use "cpu", "cuda", "cuda:1", "mps" or "auto"'):
            check_device(device)
    with pytest.raises(ValueError, match="not available"):
        check_device("cuda:99")
