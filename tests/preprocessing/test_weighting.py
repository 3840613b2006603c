"""BM25Transformer and LogTransformer against their formulas and scikit-learn's checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_recsys import EASE, RecommenderPipeline, load
from sklearn_recsys.preprocessing import BM25Transformer, LogTransformer


@parametrize_with_checks(
    [BM25Transformer(), BM25Transformer(k1=0.0, b=1.0), LogTransformer(), LogTransformer(2, clip=3)]
)
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


def test_great_and_tiny_values_keep_their_weights():
    X = np.array([[3e38, 3e38, 3e38], [1e-45, 1, 0], [0, 1e20, 1]], dtype=np.float32)
    for k1 in (0, 1.2, 100):
        weighted = BM25Transformer(k1=k1).fit_transform(X).toarray()
        assert np.all(np.isfinite(weighted))
        np.testing.assert_array_equal(weighted > 0, X > 0)
        exact = BM25Transformer(k1=k1).fit_transform(X.astype(np.float64)).toarray()
        np.testing.assert_allclose(weighted, exact, rtol=1e-6, atol=1e-45)


# ------------------------------------------------------------------------------- logarithms


@pytest.mark.parametrize("clip", [None, 2.5, 100])
@pytest.mark.parametrize("base", [None, 2, 10.0])
def test_logarithm_is_its_formula(base, clip):
    X = np.array([[1, 0, 3], [0, 352_698, 0], [0, 0, 0]])
    clipped = X if clip is None else np.minimum(X, clip)
    expected = np.log(1 + clipped) / (1 if base is None else np.log(base))
    transformer = LogTransformer(base, clip=clip)
    for dtype in (np.int64, np.float64, np.float32):
        for container in (np.asarray, sp.csr_array, sp.csc_matrix, sp.coo_array):
            weighted = transformer.fit_transform(container(X.astype(dtype)))
            assert isinstance(weighted, sp.csr_array)
            assert weighted.shape == X.shape
            assert weighted.dtype == (np.float32 if dtype == np.float32 else np.float64)
            np.testing.assert_allclose(weighted.toarray(), expected, rtol=1e-6)
    new = np.array([[0, 0, 7]])
    expected = np.log1p(7 if clip is None else min(7, clip)) / (1 if base is None else np.log(base))
    assert transformer.transform(new)[0, 2] == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_interaction_becomes_zero(dtype):
    tiny = np.nextafter(0, 1, dtype=dtype)
    X = sp.csr_array(np.array([[tiny, 3e38, 0], [1e-30, 0, 1]], dtype=dtype))
    weighted = LogTransformer(base=1e30).fit_transform(X)
    assert weighted.nnz == 4
    assert np.all((weighted.data > 0) & np.isfinite(weighted.data))
    zero = sp.csr_array((np.array([0.0, 2.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 3))
    assert LogTransformer().fit_transform(zero).nnz == 1


def test_logarithm_leaves_its_input_alone():
    X = sp.csr_array(random_matrix(3))
    before = X.copy()
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    weighted = LogTransformer().fit(X).transform(X)
    weighted.data[:] = weighted.indices[:] = weighted.indptr[:] = 0
    assert (X != before).nnz == 0


def test_logarithm_refuses_what_makes_no_sense():
    X = random_matrix(4)
    with pytest.raises(ValueError, match="Negative values in data passed to LogTransformer.*-5"):
        LogTransformer().fit(-X)
    with pytest.raises(ValueError, match="Negative values"):
        LogTransformer().fit(X).transform(-X)
    for parameters in ({"base": 1}, {"base": 0.5}, {"clip": 0}, {"clip": -1}):
        with pytest.raises(ValueError, match="parameter of LogTransformer"):
            LogTransformer(**parameters).fit(X)


def test_names_of_the_items_and_frames_as_output():
    """Frames can't hold sparse matrices: set_output changes nothing, as for BM25."""
    X = pd.DataFrame(random_matrix(5), columns=[f"i{i}" for i in range(12)])
    for transformer in (LogTransformer(), BM25Transformer()):
        assert not hasattr(transformer, "set_output")
        assert transformer.fit(X).get_feature_names_out().tolist() == list(X.columns)


def test_a_pipeline_with_a_logarithm_is_saved(tmp_path):
    X = sp.csr_array(random_matrix(6, dtype=np.float32))
    pipe = RecommenderPipeline([("log", LogTransformer(2, clip=4)), ("ease", EASE(l2=1))]).fit(X)
    pipe.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded[0].get_params() == {"base": 2, "clip": 4}
    np.testing.assert_array_equal(loaded.predict(X), pipe.predict(X))
