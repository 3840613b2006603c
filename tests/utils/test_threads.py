"""Blocks of bounded memory, and work in threads that changes no result."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from threadpoolctl import threadpool_limits

from sklearn_recsys.utils._threads import (
    map_blas_blocks,
    map_blocks,
    n_threads,
    row_blocks,
    rows_per_block,
    sparse_dot,
)


def test_row_blocks_cover_every_row_once_within_the_budget():
    with sklearn.config_context(working_memory=1):
        blocks = list(row_blocks(1000, 2**20 / 7))
    assert_array_equal(np.concatenate([np.arange(1000)[rows] for rows in blocks]), np.arange(1000))
    assert {rows.stop - rows.start for rows in blocks[:-1]} == {7}
    assert list(row_blocks(0, 8)) == []


def test_a_row_larger_than_the_budget_is_a_block():
    with sklearn.config_context(working_memory=1e-3):
        assert rows_per_block(2**30) == 1
        assert len(list(row_blocks(5, 2**30))) == 5


def test_map_blocks_keeps_the_order_and_the_errors():
    lengths = map_blocks(lambda rows: (rows.start, rows.stop), 10, 3)
    assert lengths == [(0, 3), (3, 6), (6, 9), (9, 10)]

    def fails(rows):
        if rows.start == 6:
            raise KeyError("block of 6")
        return rows

    with pytest.raises(KeyError, match="block of 6"):
        map_blocks(fails, 10, 3)
    assert len(map_blocks(lambda rows: rows, 0, 3)) <= 1


def test_threads_follow_the_limits_of_blas():
    with threadpool_limits(1, user_api="blas"):
        assert n_threads() == 1
        used = set(map_blocks(lambda rows: threading.get_ident(), 20, 1))
        assert used == {threading.get_ident()}
    assert n_threads() >= 1


def test_overlapping_limits_of_blas_end_with_the_last_one():
    """A fit that ends in one thread neither lifts the limit of another one, nor keeps it."""
    first_inside, second_inside, first_ended = (threading.Event() for _ in range(3))

    def first(rows):
        first_inside.set()
        assert second_inside.wait(10)
        return n_threads()

    def second(rows):
        second_inside.set()
        assert first_ended.wait(10)
        return n_threads()

    before = n_threads()
    with threadpool_limits(3, user_api="blas"), ThreadPoolExecutor(2) as pool:
        former = pool.submit(map_blas_blocks, first, 1, 1)
        assert first_inside.wait(10)
        latter = pool.submit(map_blas_blocks, second, 1, 1)
        assert former.result(10) == [1]
        first_ended.set()
        assert latter.result(10) == [1]
        assert n_threads() == 3
    assert n_threads() == before


def test_workers_of_joblib_do_not_multiply_threads():
    inner = Parallel(n_jobs=2)(delayed(n_threads)() for _ in range(2))
    assert max(inner) <= max(1, n_threads() // 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
def test_sparse_dot_is_the_product_bit_by_bit(dtype, sparse):
    rng = np.random.default_rng(0)
    X = sp.random_array((3000, 200), density=0.1, format="csr", dtype=np.float32, rng=rng)
    B = rng.standard_normal((200, 90)).astype(dtype)
    B[rng.random(B.shape) < 0.5] = 0
    expected = X @ B
    got = sparse_dot(X, sp.csr_array(B) if sparse else B)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.result_type(np.float32, dtype)
    if sparse:
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        expected = (X @ sp.csr_array(B)).toarray()
    assert_array_equal(got, expected)
    with threadpool_limits(1):
        assert_array_equal(sparse_dot(X, sp.csr_array(B) if sparse else B), got)


@pytest.mark.parametrize("shape", [(0, 5), (3, 5), (1, 5)])
def test_sparse_dot_of_little_or_nothing(shape):
    X = sp.csr_array(shape, dtype=np.float32)
    assert_array_equal(sparse_dot(X, np.ones((5, 4), np.float32)), np.zeros((shape[0], 4)))
    assert_array_equal(
        sparse_dot(X, sp.csr_array(np.ones((5, 4), np.float32))), np.zeros((shape[0], 4))
    )
