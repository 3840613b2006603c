"""NegativeSampler: against the distribution over free items, written out densely."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.neural import NegativeSampler  # noqa: E402

alphas = pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])


def matrix():
    """Return interactions with rows of every kind; the last user is like none of the others."""
    X = make_interactions(30, 12, density=0.4, random_state=0).toarray()
    X[:, 5] = 0  # an item of no popularity
    X[0] = 0
    X[1] = 1
    X[1, 5] = 0
    X[2] = X[1]
    X[2, 3] = 0  # one item is free, except for the one without popularity
    X[3] = np.arange(12) < 6
    X[3, 5] = 0
    X[4] = np.arange(12) >= 6
    X[-1] = 0
    X[-1, -1] = 1
    return sp.csr_array(X)


def probabilities(X, alpha):
    """Return the probability of each item for each user; rows of zeros where nothing is free."""
    taken = X.toarray() > 0
    weights = np.where(taken, 0.0, taken.sum(axis=0) ** alpha if alpha else 1.0)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)


def counts_of(items, n_items):
    counts = np.zeros((len(items), n_items))
    np.add.at(counts, (np.arange(len(items))[:, None], items), 1)
    return counts


@alphas
def test_draws_follow_the_distribution_over_free_items(alpha):
    X = matrix()
    sampler = NegativeSampler.from_csr(X, alpha)
    torch.manual_seed(0)
    items = sampler.sample(torch.arange(30), 4000).numpy()
    assert items.shape == (30, 4000)
    expected = probabilities(X, alpha)
    none = expected.sum(axis=1) == 0
    assert_array_equal(none, (items == -1).all(axis=1))
    assert none[1] == (alpha > 0) and not none[0] and not none[2:5].any()
    counts = counts_of(items[~none], 12)
    expected = 4000 * expected[~none]
    assert np.all(counts[expected == 0] == 0), "a positive, or an item without weight, was sampled"
    error = np.where(expected > 0, (counts - expected) ** 2 / np.maximum(expected, 1e-9), 0)
    freedom = ((expected > 0).sum(axis=1) - 1).sum()
    assert error.sum() < freedom + 4 * np.sqrt(2 * freedom)


def test_one_free_item_none_and_all():
    X = sp.csr_array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 0]])
    sampler = NegativeSampler.from_csr(X)
    torch.manual_seed(0)
    users = torch.tensor([4, 0, 1, 3, 2, 0])
    items = sampler.sample(users, 200).numpy()
    for place, only in ((0, 3), (1, 2), (2, -1), (3, 0), (5, 2)):
        assert_array_equal(items[place], only)
    assert_array_equal(np.unique(items[4]), [0, 1, 2, 3])


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_matrix_without_free_items(alpha):
    sampler = NegativeSampler.from_csr(sp.csr_array(np.ones((3, 4))), alpha)
    assert_array_equal(sampler.sample(torch.tensor([0, 2]), 3), -1)


def test_places_are_the_inverse_distribution_function():
    """Equally spaced places hit every free item alike, in order; the ends are the ends."""
    X = matrix()
    sampler = NegativeSampler.from_csr(X)
    users = torch.arange(30)
    for user, free in enumerate(X.toarray() == 0):
        n = int(free.sum())
        shares = (torch.arange(3 * n, dtype=torch.float64) + 0.5) / (3 * n)
        got = sampler.quantiles(users[[user]], shares[None])
        assert_array_equal(got[0], np.repeat(np.flatnonzero(free), 3))
    ends = torch.tensor([[0.0, np.nextafter(1.0, 0.0)]], dtype=torch.float64).expand(30, -1)
    first, last = sampler.quantiles(users, ends).T.numpy()
    free = X.toarray() == 0
    assert_array_equal(first, free.argmax(axis=1))
    assert_array_equal(last, 11 - free[:, ::-1].argmax(axis=1))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_places_of_weighted_items(alpha):
    X = matrix()
    sampler = NegativeSampler.from_csr(X, alpha)
    shares = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    items = sampler.quantiles(torch.arange(30), shares.expand(30, -1)).numpy()
    assert np.all(np.diff(items, axis=1) >= 0)
    expected = probabilities(X, alpha)
    able = expected.sum(axis=1) > 0
    assert_allclose(counts_of(items[able], 12) / 5000, expected[able], atol=2 / 5000)


def test_draws_come_from_torchs_generator():
    sampler = NegativeSampler.from_csr(matrix(), 0.5)
    users = torch.arange(30).repeat(4)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append((sampler.sample(users, 5), sampler.sample(users, 5)))
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[2][0])
    assert not torch.equal(draws[0][0], draws[0][1])


@alphas
def test_no_draw_depends_on_who_else_is_asked(alpha):
    sampler = NegativeSampler.from_csr(matrix(), alpha)
    shares = torch.rand(30, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = sampler.quantiles(torch.arange(30), shares)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    assert_array_equal(sampler.quantiles(order, shares[order]), together[order])
    assert_array_equal(sampler.quantiles(torch.tensor([29]), shares[[29]]), together[[29]])


def test_int32_and_int64_indices():
    X = matrix()
    wide = sp.csr_array((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), X.shape)
    shares = torch.rand(30, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (
        NegativeSampler.from_csr(Y, device=torch.device("cpu")).quantiles(torch.arange(30), shares)
        for Y in (X, wide)
    )
    assert_array_equal(first, second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@alphas
def test_cuda(alpha):
    X = matrix()
    shares = torch.rand(30, 50, dtype=torch.float64)
    users = torch.arange(30)
    expected = NegativeSampler.from_csr(X, alpha).quantiles(users, shares)
    sampler = NegativeSampler.from_csr(X, alpha, device="cuda")
    assert_array_equal(sampler.quantiles(users.cuda(), shares.cuda()).cpu(), expected)
    assert sampler.sample(users.cuda(), 3).device.type == "cuda"
