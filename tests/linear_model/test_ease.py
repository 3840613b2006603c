"""EASE against equation 8 of Steck (2019) in float64."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from threadpoolctl import threadpool_limits

from sklearn_recsys.linear_model import EASE, _gram
from sklearn_recsys.linear_model._gram import Gram, invert_in_place, lower_gram


def random_matrix(n_users, n_items, density=0.1, weighted=True, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_users, n_items), density=density, format="csr", rng=rng)
    X.data = rng.integers(1, 6, X.nnz) if weighted else np.ones(X.nnz)
    X.data = X.data.astype(np.float32)
    return X


def equation_8(X, l2):
    """Return I − P · diagMat(1 ⊘ diag(P)) with P = (XᵀX + λI)⁻¹, all in float64."""
    X = X.toarray().astype(np.float64)
    P = np.linalg.inv(X.T @ X + l2 * np.eye(X.shape[1]))
    B = np.eye(len(P)) - P / np.diag(P)
    np.fill_diagonal(B, 0)
    return B


def cuda():
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


needs_cuda = pytest.mark.skipif(not cuda(), reason="needs a CUDA device")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("l2", [0.5, 10.0, 500.0])
@pytest.mark.parametrize("n_items", [1, 2, 37, 120])
def test_weights_are_those_of_equation_8(n_items, l2, weighted):
    X = random_matrix(300, n_items, weighted=weighted)
    coef = EASE(l2=l2).fit(X).coef_
    assert coef.dtype == np.float32
    assert_allclose(coef, equation_8(X, l2), atol=2e-6)
    assert_array_equal(np.diag(coef), 0)


def test_negative_weights_count():
    X = random_matrix(200, 30)
    X.data *= np.where(np.random.default_rng(1).random(X.nnz) < 0.3, -1, 1).astype(np.float32)
    assert_allclose(EASE(l2=5.0).fit(X).coef_, equation_8(X, 5.0), atol=2e-6)


@pytest.mark.parametrize("l2", [1e-3, 1e-5, 1e-7])
def test_small_penalties_fall_back_to_float64(l2):
    """Fewer users than items: without the penalty the Gram matrix has no inverse."""
    X = random_matrix(40, 80, density=0.3)
    expected = equation_8(X, l2)
    assert_allclose(EASE(l2=l2).fit(X).coef_, expected, atol=1e-4 * np.abs(expected).max())


def test_identical_items():
    """Two columns alike lean on each other; all that parts the matrix from singular is l2."""
    X = random_matrix(100, 10, density=0.4)
    X = sp.csr_array(sp.hstack([X, X[:, [3]]]))
    for l2 in (1.0, 1e-2, 1e-4, 1e-6):
        coef = EASE(l2=l2).fit(X).coef_
        assert_allclose(coef, equation_8(X, l2), atol=5e-3)
        assert coef[3, 10] > 0.99 and coef[10, 3] > 0.99


def test_singular_is_a_clear_error():
    X = random_matrix(100, 10, density=0.4, weighted=False)
    X = sp.csr_array(sp.hstack([X, X]))
    model = EASE(l2=1e-300)
    with pytest.raises(ValueError, match=r"l2=1e-300 is too small"):
        model.fit(X)
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "interactions_")


def test_scores_run_from_the_history_to_the_item():
    """coef_[i, j] is what item i of a history adds to the score of item j."""
    # everyone with item 0 has item 1, but item 1 is popular with others, too
    X = np.array([[1, 1, 0]] * 5 + [[0, 1, 1]] * 20 + [[0, 1, 0]] * 20, dtype=np.float32)
    model = EASE(l2=1.0).fit(X)
    assert model.coef_[0, 1] > 2 * model.coef_[1, 0] > 0
    assert_array_equal(model.predict(np.array([[1, 0, 0]]))[0], model.coef_[0])
    assert_array_equal(model.predict(np.array([[0, 1, 0]]))[0], model.coef_[1])
    X = random_matrix(60, 20, density=0.4)
    model.fit(X)
    expected = X.toarray().astype(np.float64) @ equation_8(X, 1.0)
    assert_allclose(model.predict(X), expected, atol=1e-4)
    assert not np.allclose(model.predict(X), X.toarray() @ equation_8(X, 1.0).T, atol=1e-2)


def test_contributions_are_values_times_weights():
    X = random_matrix(80, 30, density=0.3)
    model = EASE(l2=3.0).fit(X)
    new = random_matrix(5, 30, density=0.5, seed=9)
    new.data *= np.float32(0.7)
    why = model.explain(new, [0, 7, 29])
    dense = new.toarray()
    users, items, history = (why[name].to_numpy() for name in ("user", "item", "history_item"))
    expected = dense[users, history] * model.coef_[history, items]
    assert_allclose(why["contribution"], expected, rtol=1e-6)
    assert len(why) == 3 * new.nnz
    assert why["contribution"].dtype == np.float32
    sums = why.groupby(["user", "item"])["contribution"].sum()
    assert_allclose(sums, model.predict(new)[:, [0, 7, 29]].ravel(), rtol=1e-4, atol=1e-5)


def test_contributions_that_are_not_finite_are_refused():
    model = EASE(l2=1.0).fit(random_matrix(20, 10))
    model.coef_[:] *= 10
    history = sp.csr_array(np.full((1, 10), 3e38, dtype=np.float32))
    with pytest.raises(ValueError, match="EASE scores items as infinite"):
        model.explain(history, int(np.abs(model.coef_).max(axis=0).argmax()))


def test_partial_fit_is_a_fit_on_all_rows():
    X = random_matrix(90, 40)
    model = EASE(l2=4.0).fit(X[:50])
    model.partial_fit(X[50:70]).partial_fit(X[70:])
    whole = EASE(l2=4.0).fit(X)
    assert_allclose(model.coef_, whole.coef_, atol=1e-7)
    assert_array_equal(model.recommend(), whole.recommend())
    assert model.interactions_.shape == (90, 40)


def test_threads_change_nothing():
    X = random_matrix(500, 700, density=0.05)
    many = EASE(l2=10.0).fit(X)
    with threadpool_limits(1):
        one = EASE(l2=10.0).fit(X)
        predicted = one.predict(X)
    assert_allclose(one.coef_, many.coef_, atol=1e-5)
    assert_allclose(predicted, many.predict(X), atol=1e-4)


def test_blocks_change_nothing():
    X = random_matrix(300, 50)
    model = EASE().fit(X)
    whole = model.predict(X)
    with config_context(working_memory=1e-3):
        assert_array_equal(model.predict(X), whole)


@pytest.mark.parametrize("n_items", [1, 5, 511, 700])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lower_gram(n_items, dtype):
    X = random_matrix(200, n_items)
    G = lower_gram(X, dtype)
    assert G.dtype == dtype
    dense = X.toarray().astype(dtype)
    assert_array_equal(np.tril(G), np.tril(dense.T @ dense))


def positive_definite(n, dtype):
    """Return a matrix whose upper triangle is not to be read, and its inverse."""
    root = np.random.default_rng(n).standard_normal((n, n))
    A = root @ root.T + np.eye(n)
    expected = np.linalg.inv(A)
    A = A.astype(dtype)
    A[np.triu_indices(n, 1)] = np.nan
    return A, expected


SIZES = [
    {},
    {"whole": 0, "tile": 16, "block": 16},
    {"whole": 0, "tile": 16, "block": 5},
    {"whole": 0, "tile": 33, "block": 64},
    {"whole": 0, "tile": 7, "block": 3},
    {"whole": 0},
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33, 64, 65, 130])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_invert_in_place(n, sizes, dtype):
    """In one piece, as for small catalogs, and swept by tiles, as for large ones."""
    A, expected = positive_definite(n, dtype)
    inverse = invert_in_place(A, **sizes)
    assert inverse.dtype == dtype
    assert np.shares_memory(inverse, A)
    assert_allclose(inverse, expected, atol=2e-5 if dtype == np.float32 else 1e-12)
    assert_array_equal(inverse, inverse.T)


@pytest.mark.parametrize("sizes", [{}, {"whole": 0, "tile": 256, "block": 100}])
@pytest.mark.parametrize("wrong", [0, 300, 599])
def test_an_indefinite_matrix_is_refused(sizes, wrong):
    A = np.eye(600)
    A[wrong, wrong] = -1
    with pytest.raises(np.linalg.LinAlgError):
        invert_in_place(A, **sizes)


class Recorder:
    """Stands in for ``get_blas_funcs`` or ``get_lapack_funcs``; notes the arrays of each call."""

    def __init__(self, get):
        self.get, self.calls = get, []

    def __call__(self, names, arrays=()):
        functions = self.get(names, arrays)
        return [self.recorded(name, f) for name, f in zip(names, functions, strict=True)]

    def recorded(self, name, function):
        def call(*args, **options):
            arrays = [a for a in (*args, *options.values()) if isinstance(a, np.ndarray)]
            self.calls.append((name, [a.shape for a in arrays]))
            result = function(*args, **options)
            if name != "potrf" and name != "potri":  # in place: scipy made no copy
                assert any(np.shares_memory(result, a) for a in arrays)
            return result

        return call


@pytest.fixture
def recorder(monkeypatch):
    recorders = {}
    for name in ("get_blas_funcs", "get_lapack_funcs"):
        recorders[name] = Recorder(getattr(_gram, name))
        monkeypatch.setattr(_gram, name, recorders[name])
    return lambda: [call for recorder in recorders.values() for call in recorder.calls]


@pytest.mark.parametrize("n", [50, 100, 301])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_blas_sees_does_not_grow_with_the_matrix(recorder, n, dtype):
    A, _ = positive_definite(n, dtype)
    invert_in_place(A, whole=20, tile=20, block=8)
    calls = recorder()
    assert {name for name, _ in calls} == {"gemm", "syrk", "trsm", "potrf", "potri"}
    assert max(max(shape) for _, shapes in calls for shape in shapes) == 20


def test_what_blas_sees_by_default(recorder):
    """Beyond what is inverted at once."""
    n = _gram._WHOLE + 4
    X = sp.random_array((50, n), density=0.01, format="csr", rng=np.random.default_rng(0))
    X = X.astype(np.float32)
    model = EASE(l2=5.0).fit(X)
    assert max(max(shape) for _, shapes in recorder() for shape in shapes) == _gram._TILE
    assert _gram._TILE <= _gram._WHOLE <= 4096  # from some 18,000 on OpenBLAS crashes
    # (XᵀX + λI)(I − B) is diagonal: times a vector of random signs it is the diagonal
    first, second = np.random.default_rng(1).choice([-1.0, 1.0], size=(2, n))
    diagonals = []
    for signs in (first, second):
        image = signs - model.coef_ @ signs
        diagonals.append(signs * (X.T @ (X @ image) + 5.0 * image))
    assert_allclose(*diagonals, rtol=1e-4)


@pytest.mark.parametrize("tiled", [False, True])
def test_fit_holds_items_by_items_once(monkeypatch, tiled):
    """At most 1.3 times one float32 items × items matrix above the input."""
    if tiled:
        tiles = partial(invert_in_place, whole=0, tile=256, block=256)
        monkeypatch.setattr(_gram, "invert_in_place", tiles)
    n_items = 3000
    X = random_matrix(2000, n_items, density=0.005)
    model = EASE(l2=10.0)
    model.fit(X[:, :600])  # whatever is loaded once
    tracemalloc.start()
    model.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    square = 4 * n_items**2
    of_input = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    assert peak <= 1.3 * square + 4 * of_input, f"{peak / square:.2f} times the matrix"


def test_device_auto_is_as_good():
    X = random_matrix(300, 200)
    assert_allclose(EASE(l2=20.0, device="auto").fit(X).coef_, equation_8(X, 20.0), atol=5e-6)


@pytest.mark.parametrize("l2", [1e-2, 1e-4, 1e-9])
def test_on_a_device_a_small_penalty_is_an_error_or_right(l2):
    """Where float32 is too short the answer must not be silently wrong."""
    X = random_matrix(40, 80, density=0.3)
    try:
        coef = EASE(l2=l2, device="auto").fit(X).coef_
    except ValueError as error:
        assert "too small" in str(error)
    else:
        expected = equation_8(X, l2)
        assert_allclose(coef, expected, atol=0.05 * np.abs(expected).max())


@needs_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_device_cuda(device):
    X = random_matrix(500, 1030, density=0.05)
    model = EASE(l2=20.0, device=device).fit(X)
    assert isinstance(model.coef_, np.ndarray)
    assert model.coef_.dtype == np.float32
    assert_allclose(model.coef_, equation_8(X, 20.0), atol=1e-5)
    assert_array_equal(np.diag(model.coef_), 0)


@needs_cuda
def test_device_cuda_says_when_float32_is_too_short():
    X = random_matrix(40, 80, density=0.3)
    with pytest.raises(ValueError, match="too small"):
        EASE(l2=1e-9, device="cuda").fit(X)


def test_the_inverse_of_other_devices():
    """What runs on a GPU is torch's; it can be tried on the CPU."""
    torch = pytest.importorskip("torch")
    X = random_matrix(150, 70)
    P = _gram._inverse_on_device(Gram(X), 20.0, torch.device("cpu"))
    expected = np.linalg.inv((X.T @ X).toarray().astype(np.float64) + 20 * np.eye(70))
    assert_allclose(P, expected, atol=1e-7)
    with pytest.raises(ValueError, match=r"l2=1e-09 is too small .* in float32"):
        gram = Gram(random_matrix(40, 80, density=0.3))
        _gram._inverse_on_device(gram, 1e-9, torch.device("cpu"))
