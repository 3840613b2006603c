"""Sampled negatives are distinct, unseen, and sampled with the probabilities stated."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_recsys.model_selection._negatives import _check_weights, _sample, sample_negatives


def make_interactions(seed=0, shape=(50, 40), density=0.3):
    """Return a binary csr_array with an empty and a full row."""
    rng = np.random.default_rng(seed)
    cells = rng.random(shape) < density
    cells[0], cells[1] = False, True
    return sp.csr_array(cells.astype(np.float32))


def sampled(X, n, weights=None, **sizes):
    """Return what `sample_negatives` returns, in blocks and rounds of other sizes."""
    X = sp.csr_array(X)
    return _sample([X], n, _check_weights(weights, X), np.random.RandomState(0), **sizes)


def assert_valid(negatives, taken, n):
    """Check shape, distinctness, that none is taken, and that slots are empty only for want."""
    assert negatives.shape == (taken.shape[0], n)
    assert negatives.dtype == np.int64
    n_free = np.count_nonzero(~taken, axis=1)
    for row, items in enumerate(negatives):
        sampled = items[items >= 0]
        assert len(sampled) == min(n, n_free[row])
        assert np.all(items[len(sampled) :] == -1)
        assert len(np.unique(sampled)) == len(sampled)
        assert not taken[row, sampled].any()


@pytest.mark.parametrize("block_cells", [1, 1000, 2**24])
@pytest.mark.parametrize("max_rounds", [0, 1, 6])
@pytest.mark.parametrize("n", [1, 10, 28, 40, 60])
def test_distinct_and_unseen(block_cells, max_rounds, n):
    X = make_interactions()
    sizes = {"block_cells": block_cells, "max_rounds": max_rounds}
    assert_valid(sampled(X, n, **sizes), X.toarray() > 0, n)
    uneven = np.linspace(0, 1, 40) ** 4  # item 0 is never sampled
    negatives = sampled(X, n, uneven, **sizes)
    taken = X.toarray() > 0
    taken[:, 0] = True
    assert_valid(negatives, taken, n)


def test_all_that_is_free_when_only_n_are_free():
    X = 1 - np.eye(30)[:, ::-1] - np.eye(30)
    X[X < 0] = 0
    negatives = np.sort(sample_negatives(X, 2, random_state=0))
    np.testing.assert_array_equal(negatives, np.sort(np.c_[:30, 29 - np.arange(30)]))


def test_exclude():
    X, valid, test = (make_interactions(seed, density=0.2) for seed in range(3))
    taken = X.toarray() > 0
    with_test = taken | (test.toarray() > 0)
    assert_valid(sample_negatives(X, 20, exclude=test, random_state=0), with_test, 20)
    both = with_test | (valid.toarray() > 0)
    sampled = sample_negatives(X, 20, exclude=[valid, test.toarray()], random_state=0)
    assert_valid(sampled, both, 20)
    one_item = np.arange(50) % 40
    taken[np.arange(50), one_item] = True
    assert_valid(sample_negatives(X, 20, exclude=one_item, random_state=0), taken, 20)


@pytest.mark.parametrize("max_rounds", [0, 1, 6])
def test_uniform_in_every_slot(max_rounds):
    n_users, n_items, n = 20_000, 12, 4
    X = np.zeros((n_users, n_items))
    X[:, [2, 7]] = 1
    negatives = sampled(X, n, max_rounds=max_rounds)
    free = np.delete(np.arange(n_items), [2, 7])
    expected = n_users / len(free)
    for slot in range(n):
        counts = np.bincount(negatives[:, slot], minlength=n_items)
        assert counts[[2, 7]].sum() == 0
        chi2 = np.sum((counts[free] - expected) ** 2 / expected)
        assert chi2 < 30  # 9 degrees of freedom: p = 4e-4
    pairs = np.bincount(negatives[:, 0] * n_items + negatives[:, 1], minlength=n_items**2)
    pairs = pairs.reshape(n_items, n_items)[np.ix_(free, free)][~np.eye(10, dtype=bool)]
    chi2 = np.sum((pairs - n_users / 90) ** 2 / (n_users / 90))
    assert chi2 < 140  # 89 degrees of freedom: p = 5e-4


@pytest.mark.parametrize("max_rounds", [0, 1, 6])
def test_weights_are_those_of_successive_draws(max_rounds):
    weights = np.array([8.0, 4.0, 2.0, 1.0, 0.0])
    X = np.zeros((20_000, 5))
    X[:, 4] = 1
    negatives = sampled(X, 2, weights, max_rounds=max_rounds)
    p = weights[:4] / weights.sum()
    expected = p[:, None] * p / (1 - p[:, None])  # first i, then j among the others
    np.fill_diagonal(expected, 0)
    observed = np.zeros((4, 4))
    np.add.at(observed, (negatives[:, 0], negatives[:, 1]), 1 / len(negatives))
    sd = np.sqrt(expected * (1 - expected) / len(negatives))
    assert np.all(np.abs(observed - expected) <= 4 * sd)


@pytest.mark.parametrize("max_rounds", [0, 1, 6])
def test_long_rows_come_in_the_order_of_the_draw(max_rounds):
    weights = np.arange(1.0, 1001.0)
    X = np.zeros((2000, 1001))
    X[:, 1000] = 1
    negatives = sampled(X, 500, np.append(weights, 0), max_rounds=max_rounds)
    p = weights.reshape(10, 100).sum(axis=1) / weights.sum()
    observed = np.bincount(negatives[:, 0] // 100, minlength=10) / 2000
    assert np.all(np.abs(observed - p) <= 4 * np.sqrt(p * (1 - p) / 2000))


def test_popularity_counts_interactions():
    X = make_interactions(3, shape=(400, 20), density=0.02)
    X = sp.csr_array(np.maximum(X.toarray(), np.arange(20) > 14))  # five items that everyone has
    X = sp.csr_array(X.toarray() * (np.arange(400)[:, None] < 200))  # half of the users are empty
    X.data[:] = np.random.default_rng(0).integers(1, 6, X.nnz)  # values do not matter
    negatives = sample_negatives(X, 3, weights="popularity", random_state=0)
    share = np.mean(negatives[200:] > 14)
    uniform = sample_negatives(X, 3, random_state=0)
    assert share > 0.9
    assert np.mean(uniform[200:] > 14) < 0.35
    counts = np.diff(X.tocsc().indptr)
    same = sample_negatives(X, 3, weights=counts, random_state=0)
    np.testing.assert_array_equal(negatives, same)


def test_items_without_weight_are_never_drawn():
    X = np.zeros((3, 6))
    X[0, :3] = 1
    negatives = sample_negatives(X, 4, weights="popularity", random_state=0)
    np.testing.assert_array_equal(np.sort(negatives), [[-1] * 4, [-1, 0, 1, 2], [-1, 0, 1, 2]])


def test_seeds():
    X = make_interactions(density=0.9)
    for weights in (None, "popularity"):
        draws = [sample_negatives(X, 5, weights=weights, random_state=s) for s in (0, 0, 1)]
        np.testing.assert_array_equal(draws[0], draws[1])
        assert np.any(draws[0] != draws[2])


def test_read_only_input_is_left_alone():
    X = make_interactions()
    before = X.toarray()
    for part in (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    sample_negatives(X, 5, exclude=X, weights="popularity", random_state=0)
    np.testing.assert_array_equal(X.toarray(), before)


def test_errors():
    X = make_interactions()
    with pytest.raises(ValueError, match="n == 0, must be >= 1"):
        sample_negatives(X, 0)
    with pytest.raises(TypeError, match="n must be an instance of int"):
        sample_negatives(X, 0.5)
    with pytest.raises(ValueError, match="X holds no interaction"):
        sample_negatives(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="exclude must have the shape of X"):
        sample_negatives(X, exclude=X[:, :4])
    with pytest.raises(ValueError, match="got 'uniform'"):
        sample_negatives(X, weights="uniform")
    with pytest.raises(ValueError, match=r"each of the 40 items; got shape \(3,\)"):
        sample_negatives(X, weights=[1, 2, 3])
    for bad in (-1.0, np.nan):
        with pytest.raises(ValueError, match="finite, nonnegative and not all zero"):
            sample_negatives(X, weights=np.full(40, bad))
    with pytest.raises(ValueError, match="not all zero"):
        sample_negatives(X, weights=np.zeros(40))
