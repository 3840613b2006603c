"""Cosine neighbors against a dense product."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_recsys.utils._neighbors import (
    cosine_neighbors,
    scaled_rows,
    similar_rows,
    unit_rows,
)
from sklearn_recsys.utils._topk import top_n


def test_neighbors_are_the_greatest_cosines():
    rng = np.random.default_rng(0)
    vectors, others = rng.standard_normal((30, 4)), rng.standard_normal((50, 4)) * 100
    norms = np.linalg.norm(vectors, axis=1)[:, None] * np.linalg.norm(others, axis=1)
    expected = vectors @ others.T / norms
    ids, similarities = cosine_neighbors(vectors, others, 7)
    assert_array_equal(ids, np.argsort(-expected, axis=1)[:, :7])
    assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :7], atol=1e-6)
    with config_context(working_memory=1e-3):
        assert_array_equal(cosine_neighbors(vectors, others, 7)[0], ids)


def test_skipped_ones_and_ties():
    others = np.array([[1.0, 0], [2, 0], [3, 0], [0, 1]])
    ids, similarities = cosine_neighbors(others[:2], others, 4, skip=np.array([0, -1]))
    assert_array_equal(ids, [[1, 2, 3, -1], [0, 1, 2, 3]])
    assert_array_equal(similarities, [[1, 1, 0, -np.inf], [1, 1, 1, 0]])


def test_zeros_point_nowhere():
    others = np.array([[1.0, 0], [0, 0], [0, 1]])
    ids, similarities = cosine_neighbors(others, others, 3)
    assert_array_equal(ids, [[0, 2, -1], [-1, -1, -1], [2, 0, -1]])
    assert np.all(np.isneginf(similarities[ids < 0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_rows_of_any_magnitude_get_length_one(dtype, form):
    limits = np.finfo(dtype)
    peaks = [limits.max, limits.max / 3, limits.tiny, limits.smallest_subnormal * 64, 1, 1e20]
    X = np.array([[p, p, 0, p / 2] for p in peaks] + [[0, 0, 0, 0]], dtype=dtype)
    unit = unit_rows(form(X))
    assert unit.dtype == dtype
    unit = unit.toarray() if sp.issparse(unit) else unit
    assert_allclose(unit[:-1], np.tile([2 / 3, 2 / 3, 0, 1 / 3], (len(peaks), 1)), rtol=1e-6)
    assert_array_equal(unit[-1], 0)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_scaling_rows_is_exact(form):
    X = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    X[3] = 0
    scaled = scaled_rows(form(X))
    assert_array_equal((scaled_rows(form(X * np.float32(2.0**-90))) - scaled).sum(), 0)
    scaled = scaled.toarray() if sp.issparse(scaled) else scaled
    filled = np.arange(8) != 3
    peaks = np.abs(scaled).max(axis=1)[filled]
    assert np.all((peaks >= 0.5) & (peaks < 1))
    factors = scaled[filled] / X[filled]
    assert_array_equal(factors, factors[:, :1] * np.ones(5))
    assert_array_equal(np.frexp(factors)[0], 0.5)


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e-25, 1e20, 1e200])
def test_cosines_do_not_depend_on_the_scale(scale):
    rng = np.random.default_rng(0)
    vectors, others = rng.standard_normal((30, 4)), rng.standard_normal((50, 4))
    expected = cosine_neighbors(vectors, others, 7)
    ids, similarities = cosine_neighbors(vectors * scale, others / scale, 7)
    assert_array_equal(ids, expected[0])
    assert_allclose(similarities, expected[1], rtol=1e-5)


@pytest.mark.parametrize("n_columns, density", [(40, 0.4), (3000, 0.004)], ids=["dense", "sparse"])
@pytest.mark.parametrize("n_values", [2, 1000], ids=["ties", "distinct"])
@pytest.mark.parametrize("k", [1, 4, 30, 5000])
def test_the_most_similar_rows(n_columns, density, n_values, k):
    """The positive similarities of a product, except the row itself, ties by index."""
    rng = np.random.default_rng(0)
    P = sp.random_array((300, 200), density=density, format="csr", dtype=np.float32, rng=rng)
    fitted = sp.random_array((200, n_columns), density=0.1, format="csr", rng=rng)
    P.data = rng.integers(-1, n_values, P.nnz).astype(np.float32)
    fitted.data = rng.integers(1, 3, fitted.nnz).astype(np.float32)
    skip = rng.integers(-1, n_columns, 300)
    found = similar_rows(P, fitted, lambda rows: rows @ fitted, k, skip)
    products = (P @ fitted).toarray()
    products[np.arange(300)[skip >= 0], skip[skip >= 0]] = 0
    products[products <= 0] = -np.inf
    ids, _ = top_n(products, min(k, n_columns))
    expected = np.zeros((300, n_columns + 1), dtype=np.float32)  # the last is for empty slots
    expected[np.arange(300)[:, None], ids] = 1
    expected = np.where(expected[:, :-1] > 0, products, 0)
    assert found.has_canonical_format
    assert np.all(found.data > 0)
    assert_array_equal(found.toarray(), expected)
