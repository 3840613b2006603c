"""Ridge regressions of many rows at once, against one at a time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys.utils._fold_in import ridge_rows


def one_at_a_time(X, features):
    V = np.zeros((X.shape[0], features.shape[1]))
    for row in range(X.shape[0]):
        cells = slice(X.indptr[row], X.indptr[row + 1])
        A, y = features[X.indices[cells]], X.data[cells]
        V[row] = np.linalg.solve(A.T @ A + np.eye(features.shape[1]), A.T @ y)
    return V


@pytest.mark.parametrize("n_features", [1, 4, 30])
@pytest.mark.parametrize("block_bytes", [2**10, 2**26])
def test_rows_of_every_length(n_features, block_bytes):
    """Shorter and longer than the features are many: dual and primal, padded or not."""
    rng = np.random.default_rng(0)
    cells = rng.random((60, 50)) < rng.random((60, 1))
    cells[7] = False
    X = sp.csr_array(cells * rng.normal(size=cells.shape))
    features = rng.normal(size=(50, n_features))
    V = ridge_rows(X, features, block_bytes)
    assert_allclose(V, one_at_a_time(X, features), atol=1e-10)
    assert_array_equal(V[7], 0)


def test_an_explicit_zero_is_a_target():
    X = sp.csr_array((np.array([0.0, 2.0]), [0, 1], [0, 2]), shape=(1, 3))
    features = np.array([[1.0], [1.0], [5.0]])
    assert_allclose(ridge_rows(X, features), [[2 / 3]])


def test_no_rows():
    assert ridge_rows(sp.csr_array((0, 4)), np.ones((4, 2))).shape == (0, 2)
    assert_array_equal(ridge_rows(sp.csr_array((3, 4)), np.ones((4, 2))), 0)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e19])
def test_large_systems_are_as_exact_as_small_ones(scale):
    """Decomposed in float32 where this is precise enough, which large features prevent."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3, 150))
    features = scale * rng.normal(size=(150, 200))
    padded = np.hstack([X, np.zeros((3, 200))]).T
    expected = np.linalg.lstsq(np.vstack([features, np.eye(200)]), padded, rcond=None)[0].T
    V = ridge_rows(sp.csr_array(X), features)
    assert_allclose(scale * V, scale * expected, rtol=1e-7, atol=1e-7)
