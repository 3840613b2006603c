"""Content hashes of rows, and the index that finds a training row by its content."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from sklearn_recsys.utils._history_index import HistoryIndex, row_hashes


def random_rows(n_rows=200, n_items=12, seed=0):
    """Return few items and values, so that duplicates and empty rows abound."""
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 3, (n_rows, n_items)) * (rng.random((n_rows, n_items)) < 0.1)
    return sp.csr_array(X.astype(np.float32))


def by_comparison(train, X):
    train, X = train.toarray(), X.toarray()
    equal = (X[:, None] == train[None]).all(axis=2)
    return np.where(equal.any(axis=1), equal.argmax(axis=1), -1)


@pytest.mark.parametrize("seed", range(5))
def test_the_lowest_equal_row_is_found(seed):
    train, X = random_rows(seed=seed), random_rows(seed=seed + 100)
    found = HistoryIndex(train).lookup(X)
    expected = by_comparison(train, X)
    assert found.dtype == np.int64
    assert_array_equal(found, expected)
    assert np.any(expected >= 0) and np.any(expected < 0)
    assert_array_equal(HistoryIndex(train).lookup(train), by_comparison(train, train))
    one_by_one = [HistoryIndex(train).lookup(X[[row]])[0] for row in range(X.shape[0])]
    assert_array_equal(one_by_one, expected)


def test_order_of_the_asked_rows_is_irrelevant():
    train, X = random_rows(), random_rows(seed=1)
    index = HistoryIndex(train)
    order = np.random.default_rng(0).permutation(200)
    assert_array_equal(index.lookup(X[order]), index.lookup(X)[order])


@pytest.mark.parametrize("n_hashes", [1, 3, 17])
def test_colliding_hashes_change_nothing(n_hashes):
    class Colliding(HistoryIndex):
        def _hashes(self, X):
            return super()._hashes(X) % np.uint64(n_hashes)

    train, X = random_rows(seed=2), random_rows(seed=3)
    expected = by_comparison(train, X)
    index = Colliding(train)
    assert_array_equal(index.lookup(X), expected)
    assert_array_equal([index.lookup(X[[row]])[0] for row in range(X.shape[0])], expected)


def test_values_must_be_bit_identical():
    train = sp.csr_array(np.array([[1.0, 0.5]], dtype=np.float32))
    near = train.copy()
    near.data[1] = np.nextafter(np.float32(0.5), np.float32(1))
    index = HistoryIndex(train)
    assert_array_equal(index.lookup(train), [0])
    assert_array_equal(index.lookup(near), [-1])
    assert_array_equal(index.lookup(train[:, [1, 0]]), [-1])


def test_empty_rows_and_no_rows():
    train = sp.csr_array(np.array([[1, 0], [0, 0], [0, 0]], dtype=np.float32))
    index = HistoryIndex(train)
    assert_array_equal(index.lookup(sp.csr_array((2, 2), dtype=np.float32)), [1, 1])
    assert_array_equal(index.lookup(sp.csr_array((0, 2), dtype=np.float32)), [])
    without_rows = HistoryIndex(sp.csr_array((0, 2), dtype=np.float32))
    assert_array_equal(without_rows.lookup(train), [-1, -1, -1])


def test_hashes_depend_on_content_alone():
    X = random_rows(n_rows=3000, n_items=40, seed=4)
    hashes = row_hashes(X)
    order = np.random.default_rng(0).permutation(3000)
    assert_array_equal(row_hashes(X[order]), hashes[order])
    assert_array_equal(row_hashes(X[[7]]), hashes[[7]])
    assert_array_equal(row_hashes(X.astype(np.float64)), hashes)
    assert_array_equal(row_hashes(X.astype(np.int64)), hashes)
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    assert_array_equal(row_hashes(wide), hashes)
    assert len(np.unique(hashes)) == len(np.unique(X.toarray(), axis=0))


def test_hashes_tell_swapped_values_apart():
    X = sp.csr_array(np.array([[1.0, 2.0, 0], [2.0, 1.0, 0], [1.0, 0, 2.0], [3.0, 0, 0]]))
    assert len(set(row_hashes(X).tolist())) == 4


def test_rows_one_at_a_time_are_found_as_all_at_once():
    train, X = random_rows(), random_rows(seed=7)
    index = HistoryIndex(train)
    one = [index.lookup(X[[row]]).item() for row in range(X.shape[0])]
    assert_array_equal(one, index.lookup(X))
