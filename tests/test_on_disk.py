"""Fits to a memory-mapped matrix: those of the same matrix in memory, bit for bit, and no copy."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
from functools import cache

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_recsys import (
    ALS,
    EASE,
    ELSA,
    SLIM,
    AutoRec,
    GraphFilter,
    ItemKNN,
    MultVAE,
    PopularityRecommender,
    RP3beta,
    UserKNN,
    load,
    load_csr,
    save_csr,
)
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.decomposition._weighted_rows import WeightedRows
from sklearn_recsys.linear_model import _gram
from sklearn_recsys.utils import _neighbors, _on_disk
from sklearn_recsys.utils._on_disk import (
    by_rows,
    is_on_disk,
    some_cells,
    some_columns,
    some_rows,
    transposed,
)
from sklearn_recsys.utils._sparse import canonical_csr, is_read_only_map
from sklearn_recsys.utils.discovery import all_recommenders
from sklearn_recsys.utils.validation import check_csr

MORE = [
    EASE(l2=20, dropout=0.3, user_normalization=0.5, item_normalization=0.2),
    EASE(l2=20, density=0.2, low_pass=0.3, n_factors=5, random_state=0),
    ItemKNN(n_neighbors=5, metric="pearson"),
    ItemKNN(n_neighbors=5, metric="jaccard"),
    RP3beta(n_neighbors=5),
    SLIM(max_neighbors=10),
    UserKNN(n_neighbors=5, metric="pearson"),
]


@pytest.fixture
def small_blocks(monkeypatch):
    """Take matrices of any size as large, and read 100 cells at a time."""
    monkeypatch.setattr(_on_disk, "_SMALL", 0)
    monkeypatch.setattr(_on_disk, "_CELLS", 100)


def quick(model):
    """Return a model whose fit takes a moment."""
    quick = {"max_epochs": 2, "max_iter": 2, "n_factors": 8, "random_state": 0, "pretrain": False}
    params = model.get_params()
    return model.set_params(**{name: value for name, value in quick.items() if name in params})


def matrix(model):
    tags = model.__sklearn_tags__().recommender_tags
    if tags.values == "order":
        R = make_interactions(80, 40, random_state=0)
        R.data = np.random.default_rng(0).integers(1, 100, R.nnz).astype(np.float32)
        return R
    if tags.values == "rating" or getattr(model, "metric", None) == "pearson":
        return make_ratings(80, 40, density=0.3, random_state=0)
    return make_interactions(80, 40, random_state=0)


def on_disk(X, folder):
    save_csr(X, folder)
    return load_csr(folder)


def fitted_arrays(value, path="model"):
    """Yield all arrays of a fitted model, by their path."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        yield path, value
    elif sp.issparse(value):
        for name in ("data", "indices", "indptr"):
            yield f"{path}.{name}", getattr(value, name)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from fitted_arrays(item, f"{path}[{number}]")
    elif hasattr(value, "state_dict"):
        for name, tensor in value.state_dict().items():
            yield f"{path}.{name}", tensor.numpy()
    elif hasattr(value, "module_"):
        yield from fitted_arrays(value.module_, path)
    elif hasattr(value, "__dict__"):
        for name, item in vars(value).items():
            if name.endswith("_") or path != "model":
                yield from fitted_arrays(item, f"{path}.{name}")


def ids(models):
    return [f"{type(model).__name__}-{number}" for number, model in enumerate(models)]


ALL = all_recommenders()


@pytest.mark.parametrize(
    "model",
    [*(cls() for _, cls in ALL), *MORE],
    ids=[*(name for name, _ in ALL), *ids(MORE)],
)
def test_every_model_is_the_same_and_keeps_the_map(model, tmp_path, small_blocks):
    model = quick(model)
    X = matrix(model)
    X.data.flags.writeable = X.indices.flags.writeable = X.indptr.flags.writeable = False
    mapped = on_disk(X, tmp_path)
    assert is_on_disk(mapped) and not is_on_disk(X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn_recsys")
        expected = clone(model).fit(X)
        model = clone(model).fit(mapped)
    if model.__sklearn_tags__().recommender_tags.values != "order":  # positions replace the times
        for name in ("data", "indices", "indptr"):
            kept, ours = getattr(model.interactions_, name), getattr(mapped, name)
            assert np.shares_memory(kept, ours), name
    assert is_read_only_map(model.interactions_.indices)
    arrays, expected_arrays = dict(fitted_arrays(model)), dict(fitted_arrays(expected))
    assert arrays.keys() == expected_arrays.keys()
    assert len(arrays) > 3
    for path, array in arrays.items():
        assert_array_equal(array, expected_arrays[path], err_msg=path)
        assert array.dtype == expected_arrays[path].dtype
    lists = expected.recommend(n=5)
    assert_array_equal(model.recommend(n=5), lists)
    assert_array_equal(model.recommend(X[:7], n=5), expected.recommend(X[:7], n=5))
    assert_array_equal(pickle.loads(pickle.dumps(model)).recommend(n=5), lists)


LARGE = [
    EASE(),
    ItemKNN(),
    ItemKNN(shrinkage=0, metric="jaccard"),
    RP3beta(),
    ALS(),
    SLIM(max_neighbors=20),
    SLIM(tol=0.1),
    ELSA(early_stopping=False),
    MultVAE(early_stopping=False, hidden_layer_sizes=(20,)),
    AutoRec(kind="user", early_stopping=False),
    PopularityRecommender(),
]


@pytest.mark.parametrize("model", LARGE, ids=ids(LARGE))
def test_the_memory_of_a_fit_does_not_grow_with_the_interactions(model, tmp_path, monkeypatch):
    """Compare the peaks of numpy's arrays for some users, and for three times as many."""
    few, many = (on_disk(X, tmp_path / str(X.shape[0])) for X in (ratings(1_500), ratings(4_500)))
    model = quick(model)
    if isinstance(model, ALS):
        model.n_factors = 2  # the vectors of the users take memory, too
    model.fit(few)  # imports, and what is cached
    monkeypatch.setattr(_on_disk, "_SMALL", 0)
    for module in (_on_disk, _gram, _neighbors):
        monkeypatch.setattr(module, "_CELLS", 2_000)
    monkeypatch.setattr(WeightedRows.__init__, "__defaults__", (2**14,))  # bytes of a block
    peaks = []
    for X in (few, many):
        tracemalloc.start()
        try:
            model.fit(X)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    growth = peaks[1] - peaks[0]
    assert growth < 0.4 * (n_bytes(many) - n_bytes(few)), peaks


def n_bytes(X):
    return X.data.nbytes + X.indices.nbytes


@cache
def ratings(n_users):
    """Return ratings of about 60 of 150 items by each user."""
    rng = np.random.default_rng(0)
    items = (150 * rng.random((n_users, 75)) ** 2).astype(int)
    dense = np.zeros((n_users, 150), dtype=np.float32)
    np.put_along_axis(dense, items, rng.integers(1, 6, items.shape), 1)
    return sp.csr_array(dense)


# ------------------------------------------------------------------------------ the mechanism

R = sp.random_array((300, 40), density=0.2, format="csr", dtype=np.float32, rng=0)


def assert_same(X, expected):
    assert is_on_disk(X)
    assert X.shape == expected.shape
    for name in ("data", "indices", "indptr"):
        assert getattr(X, name).dtype == getattr(expected, name).dtype
        assert_array_equal(getattr(X, name), getattr(expected, name))


def test_what_is_made_of_a_matrix_on_disk_is_on_disk(tmp_path, small_blocks):
    save_csr(R, tmp_path)
    X = load_csr(tmp_path)
    assert_same(transposed(X), R.T.tocsr())
    assert_same(transposed(transposed(X)), R)
    rows = np.flatnonzero(np.arange(300) % 3)
    assert_same(some_rows(X, rows), R[rows])
    assert some_rows(X, rows[:0]).shape == (0, 40)
    mask = np.random.default_rng(0).random(R.nnz) < 0.5
    dense = R.toarray()
    dense[R.nonzero()] *= mask
    assert_same(some_cells(X, mask), sp.csr_array(dense))
    columns = np.array([7, 3, 20])
    assert_same(some_columns(X, columns), R[:, columns])

    calls = []

    @by_rows
    def scaled(X, factor):
        calls.append(X.shape)
        return sp.csr_array((X.data * factor, X.indices, X.indptr), shape=X.shape)

    assert_same(scaled(X, 3), R * np.float32(3))
    assert len(calls) > 10 and {n_columns for _, n_columns in calls} == {40}
    assert not is_on_disk(scaled(R, 3))


def test_rows_and_columns_without_cells(tmp_path, small_blocks):
    cells = [1.0, 2.0, 3.0], ([3, 3, 9], [1, 4, 4])
    save_csr(sp.csr_array(cells, shape=(12, 7), dtype=np.float32), tmp_path)
    X, mapped = load_csr(tmp_path, mmap_mode=None), load_csr(tmp_path)
    assert_same(transposed(mapped), X.T.tocsr())
    assert_same(some_rows(mapped, np.array([0, 3, 11])), X[[0, 3, 11]])
    nothing = some_cells(mapped, np.zeros(3, dtype=bool))
    assert (nothing.shape, nothing.nnz, nothing.dtype) == (X.shape, 0, np.float32)


def test_matrices_of_one_user_are_in_memory(tmp_path):
    """Temporary files would take longer than a recommendation."""
    save_csr(R, tmp_path)
    assert not is_on_disk(load_csr(tmp_path))
    assert is_read_only_map(load_csr(tmp_path).indices)


def test_only_maps_that_nobody_can_write_to_are_shared(tmp_path):
    save_csr(R, tmp_path)
    X = load_csr(tmp_path)
    assert np.shares_memory(canonical_csr(X, copy=True).data, X.data)
    for mmap_mode in ("c", None):
        X = load_csr(tmp_path, mmap_mode=mmap_mode)
        for writeable in (True, False):  # whoever set the flag can unset it
            for array in (X.data, X.indices, X.indptr):
                array.flags.writeable = writeable
            assert not is_read_only_map(X.data)
            copied = canonical_csr(X, copy=True)
            assert not np.shares_memory(copied.data, X.data)
    writable = np.load(tmp_path / "data.npy", mmap_mode="r+")
    assert not is_read_only_map(writable) and not is_read_only_map(writable[:5])


def test_validation_passes_a_map_through(tmp_path):
    save_csr(R, tmp_path)
    X = load_csr(tmp_path)
    checked = check_csr(X, dtype=np.float32)
    for name in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(checked, name), getattr(X, name))
    with pytest.raises(ValueError, match="contains NaN"):
        save_csr(sp.csr_array(np.array([[1.0, np.nan]], dtype=np.float32)), tmp_path)
        EASE().fit(load_csr(tmp_path))


@pytest.mark.parametrize("model", [UserKNN(), GraphFilter(n_factors=3, random_state=0)])
def test_models_that_keep_what_is_on_disk_can_be_saved_and_passed_on(model, tmp_path, small_blocks):
    X = on_disk(matrix(model), tmp_path / "X")
    lists = model.fit(X).recommend(n=5)
    model.save(tmp_path / "model")
    assert_array_equal(load(tmp_path / "model").recommend(n=5), lists)
    (elsewhere,) = joblib.Parallel(n_jobs=2, max_nbytes=1)([joblib.delayed(model.recommend)(n=5)])
    assert_array_equal(elsewhere, lists)


def test_a_fit_in_workers_of_joblib(tmp_path):
    """A map is passed by the name of its file, temporary ones are in no result."""
    save_csr(ratings(1_500), tmp_path)
    X = load_csr(tmp_path)
    models = [EASE(l2=10.0), ItemKNN(n_neighbors=5)]
    fitted = joblib.Parallel(n_jobs=2)(joblib.delayed(model.fit)(X) for model in models)
    for model, ours in zip(models, fitted, strict=True):
        assert_array_equal(ours.recommend(X[:9]), clone(model).fit(X).recommend(X[:9]))
