"""BM25Transformer against its formula and scikit-learn's checks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_recsys.preprocessing import BM25Transformer


@parametrize_with_checks([BM25Transformer(), BM25Transformer(k1=0.0, b=1.0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def random_matrix(seed, n_users=30, n_items=12, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, size=(n_users, n_items)) * (rng.random((n_users, n_items)) < 0.3)
    X[4] = 0
    X[:, 7] = 0
    X[:, 2] = 1  # in nearly every history
    X[4, 2] = 0
    return X.astype(dtype)


def brute_force(train, X, k1, b):
    n = len(train)
    mean = sum(row.sum() for row in train) / n
    weighted = np.zeros(X.shape)
    for u, row in enumerate(X):
        for i, x in enumerate(row):
            df = np.sum(train[:, i] > 0)
            idf = np.log(1 + (n - df + 0.5) / (df + 0.5))
            if x > 0:
                weighted[u, i] = x * (k1 + 1) / (x + k1 * (1 - b + b * row.sum() / mean)) * idf
    return weighted


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.0, 0.5), (100, 0.0), (2.0, 1.0)])
def test_equals_the_formula_on_known_and_new_rows(k1, b):
    train, new = random_matrix(0), random_matrix(1, n_users=9)
    transformer = BM25Transformer(k1=k1, b=b).fit(sp.csr_array(train))
    for X in (train, new):
        weighted = transformer.transform(sp.csr_array(X))
        np.testing.assert_allclose(weighted.toarray(), brute_force(train, X, k1, b), rtol=1e-12)
        np.testing.assert_array_equal(weighted.toarray() > 0, X > 0)  # no weight is lost
    assert transformer.mean_length_ == pytest.approx(train.sum(axis=1).mean())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_dtype_and_container(dtype):
    dense = random_matrix(2, dtype=dtype)
    expected = np.float32 if dtype == np.float32 else np.float64
    reference = brute_force(dense, dense, 1.2, 0.75)
    for container in (np.asarray, sp.csr_array, sp.csc_matrix, sp.coo_array, sp.lil_array):
        weighted = BM25Transformer().fit_transform(container(dense))
        assert isinstance(weighted, sp.csr_array)
        assert weighted.dtype == expected
        assert weighted.has_canonical_format
        np.testing.assert_allclose(weighted.toarray(), reference, rtol=1e-6)


def test_input_is_left_alone_and_nothing_is_shared():
    X = sp.csr_array(random_matrix(3))
    before = X.copy()
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    weighted = BM25Transformer().fit(X).transform(X)
    weighted.data[:] = weighted.indices[:] = weighted.indptr[:] = 0
    assert (X != before).nnz == 0


def test_empty_training_matrix_is_harmless():
    transformer = BM25Transformer().fit(sp.csr_array((4, 3)))
    weighted = transformer.transform(np.array([[0.0, 2.0, 0.0]])).toarray()
    assert np.all(np.isfinite(weighted))
    assert weighted[0, 1] > 0


def test_errors():
    X = random_matrix(4)
    with pytest.raises(ValueError, match="Negative values in data passed to BM25.*smallest is -2"):
        BM25Transformer().fit(np.where(X == 1, -2, X))
    with pytest.raises(ValueError, match="Negative values"):
        BM25Transformer().fit(X).transform(-X)
    for parameters in ({"k1": -1}, {"b": 1.5}):
        with pytest.raises(ValueError, match="parameter of BM25Transformer"):
            BM25Transformer(**parameters).fit(X)
