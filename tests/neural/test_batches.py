"""Products with batches of sparse rows, against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

torch = pytest.importorskip("torch")

from sklearn_recsys.neural._data.row_batches import RowBatches, RowDataset  # noqa: E402
from sklearn_recsys.neural._data.sparse_rows import SparseRows  # noqa: E402


def random_rows(n_rows=7, n_columns=11, density=0.3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < density)
    X[2] = 0
    return sp.csr_array(X.astype(np.float32))


def test_matmul_and_its_gradient():
    X = random_rows()
    weight = torch.randn(11, 3, requires_grad=True, generator=torch.Generator().manual_seed(0))
    sparse = SparseRows.from_csr(X).matmul(weight)
    dense = torch.from_numpy(X.toarray()) @ weight
    torch.testing.assert_close(sparse, dense)
    (ours,) = torch.autograd.grad(sparse.pow(3).sum(), weight)
    (expected,) = torch.autograd.grad(dense.pow(3).sum(), weight)
    torch.testing.assert_close(ours, expected)


def test_sample_and_its_gradients():
    X = random_rows()
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(7, 3, requires_grad=True, generator=generator)
    right = torch.randn(11, 3, requires_grad=True, generator=generator)
    ours = SparseRows.from_csr(X).sample(left, right)
    observed = torch.from_numpy(X.toarray() != 0)
    expected = (left @ right.T)[observed]
    torch.testing.assert_close(ours, expected)
    values = torch.from_numpy(X.data)
    for got, want in zip(
        torch.autograd.grad((ours - values).square().sum(), (left, right)),
        torch.autograd.grad((expected - values).square().sum(), (left, right)),
        strict=True,
    ):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_row_once(batch_size, shuffle):
    X = random_rows()
    targets = X.copy()
    targets.data = 2 * targets.data
    torch.manual_seed(0)
    seen = []
    batches = RowBatches(RowDataset(X, targets), batch_size, shuffle=shuffle)
    for inputs, outputs in batches:
        assert len(inputs) <= batch_size
        assert_array_equal(outputs.values.numpy(), 2 * inputs.values.numpy())
        parts = [part.numpy() for part in (inputs.values, inputs.indices, inputs.indptr)]
        seen.append(sp.csr_array(tuple(parts), shape=inputs.shape).toarray())
    assert len(seen) == len(batches)
    rows = np.vstack(seen)
    if not shuffle:
        assert_array_equal(rows, X.toarray())
    assert_array_equal(np.sort(rows, axis=0), np.sort(X.toarray(), axis=0))


def test_memory_follows_the_interactions():
    """Nothing of the size rows × columns is made: it would be 40 GB here."""
    X = sp.csr_array((np.ones(100, dtype=np.float32), (range(100), range(100))), (10**5, 10**5))
    (inputs, _), *_ = RowBatches(RowDataset(X), batch_size=10**5)
    assert inputs.matmul(torch.ones(10**5, 2)).shape == (10**5, 2)
    assert inputs.sample(torch.ones(10**5, 2), torch.ones(10**5, 2)).tolist() == [2.0] * 100
