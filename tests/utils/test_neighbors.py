"""Cosine neighbours against a dense product."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_recsys.utils._neighbors import cosine_neighbors


def test_neighbours_are_the_greatest_cosines():
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
