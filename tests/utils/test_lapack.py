"""Many symmetric systems, against numpy's solver for any matrix."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys.utils import _lapack
from sklearn_recsys.utils._lapack import cholesky, cholesky_solve


@pytest.fixture(params=["C function", "scipy's wrapper"])
def routine(request, monkeypatch):
    """Both ways to LAPACK: the second one is for builds of scipy with other integers."""
    if request.param == "scipy's wrapper":
        monkeypatch.setattr(_lapack, "_c_function", lambda *args: None)
    else:
        assert _lapack._c_function("potrf", "d", 5) is not None
        assert _lapack._c_function("potrs", "f", 8) is not None


def systems(n_systems, n, dtype):
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(n_systems, n, 2 * n))
    return (Y @ Y.transpose(0, 2, 1)).astype(dtype), rng.normal(size=(n_systems, n)).astype(dtype)


@pytest.mark.usefixtures("routine")
@pytest.mark.parametrize("n", [1, 5, 70])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_equals_a_general_solver(n, dtype, tolerance):
    A, b = systems(6, n, dtype)
    expected = np.linalg.solve(A.astype(np.float64), b[..., None])[..., 0]
    A[:, *np.triu_indices(n, 1)] = np.nan  # is not read
    assert_array_equal(cholesky(A), np.zeros(6, dtype=bool))
    cholesky_solve(A, b)
    assert_allclose(b, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("routine")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_names_the_systems_that_are_not_positive_definite(dtype):
    A, b = systems(4, 3, dtype)
    expected = np.linalg.solve(A, b[..., None])[..., 0]
    A[1] = 0
    A[2] *= -1
    assert_array_equal(cholesky(A), [False, True, True, False])
    cholesky_solve(A, b)
    assert_allclose(b[[0, 3]], expected[[0, 3]], rtol=1e-4)


@pytest.mark.usefixtures("routine")
def test_nothing_to_solve():
    A, b = np.ones((0, 3, 3)), np.ones((0, 3))
    assert_array_equal(cholesky(A), [])
    cholesky_solve(A, b)
