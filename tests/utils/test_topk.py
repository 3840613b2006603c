"""Stable top-n against a stable sort."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from sklearn_recsys.utils._topk import top_n, top_n_cells


def by_sorting(scores, n):
    n_rows, n_columns = scores.shape
    ids = np.full((n_rows, n), -1)
    values = np.full((n_rows, n), -np.inf, dtype=scores.dtype)
    for row, line in enumerate(scores):
        best = np.argsort(-line, kind="stable")[:n]
        best = best[line[best] > -np.inf]
        ids[row, : len(best)] = best
        values[row, : len(best)] = line[best]
    return ids, values


def random_scores(rng):
    shape = (rng.integers(0, 9), rng.integers(1, rng.choice([40, 400])))
    n_levels = rng.choice([1, 2, 3, 10, 10_000])
    scores = rng.integers(-n_levels, n_levels, shape).astype(rng.choice([np.float32, np.float64]))
    scores[rng.random(shape) < rng.choice([0, 0.1, 0.5, 0.99, 1])] = -np.inf
    if rng.random() < 0.1:
        scores[rng.random(shape) < 0.2] = np.inf
    return scores


@pytest.mark.parametrize("seed", range(20))
def test_top_n_is_a_stable_sort(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        scores = random_scores(rng)
        before = scores.copy()
        n = int(rng.integers(1, 50))
        ids, values = top_n(scores, n)
        expected_ids, expected_values = by_sorting(scores, n)
        assert_array_equal(ids, expected_ids)
        assert_array_equal(values, expected_values)
        assert ids.dtype == np.int64
        assert values.dtype == scores.dtype
        assert_array_equal(scores, before)


def test_few_finite_scores_in_a_wide_row_leave_empty_slots():
    scores = np.full((3, 1000), -np.inf, dtype=np.float32)
    scores[0, [3, 999]] = 7, 5
    scores[1, 999] = 1
    for got, expected in zip(top_n(scores, 10), by_sorting(scores, 10), strict=True):
        assert_array_equal(got, expected)


@pytest.mark.parametrize("n", [1, 7, 100, 1999, 2000, 2001])
def test_top_n_over_several_blocks(n):
    rng = np.random.default_rng(n)
    scores = rng.integers(0, 4, (700, 2000)).astype(np.float32)
    scores[::7] = -np.inf
    scores[1::7, 3:] = -np.inf
    for got, expected in zip(top_n(scores, n), by_sorting(scores, n), strict=True):
        assert_array_equal(got, expected)


def test_top_n_of_negative_zero_is_a_tie():
    ids, _ = top_n(np.array([[-0.0, 0.0, -0.0, 0.0]]), 3)
    assert_array_equal(ids, [[0, 1, 2]])


def test_top_n_without_columns():
    ids, values = top_n(np.empty((2, 0), dtype=np.float32), 3)
    assert_array_equal(ids, [[-1] * 3] * 2)
    assert_array_equal(values, [[-np.inf] * 3] * 2)


@pytest.mark.parametrize("seed", range(20))
def test_top_n_cells_is_a_stable_sort_of_the_stored_cells(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        dense = random_scores(rng)
        kept = rng.random(dense.shape) < 0.5
        rows, columns = np.nonzero(kept)
        indptr = np.append(0, np.cumsum(kept.sum(axis=1)))
        cells = sp.csr_array((np.ones(len(rows)), columns, indptr), shape=dense.shape)
        n = int(rng.integers(1, 50))
        ids, values = top_n_cells(cells, dense[rows, columns], n)
        expected_ids, expected_values = by_sorting(np.where(kept, dense, -np.inf), n)
        assert_array_equal(ids, expected_ids)
        assert_array_equal(values, expected_values)
        assert ids.dtype == np.int64
