"""EASE's `partial_fit` changes its weights instead of inverting again."""

from __future__ import annotations

import copy
import signal
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys import load
from sklearn_recsys.linear_model import EASE, _ease
from sklearn_recsys.linear_model._new_users import NewUsers
from sklearn_recsys.utils import _memory

N_ITEMS = 300


def histories(n_users, n_items=N_ITEMS, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_users, n_items), density=0.05, format="csr", rng=rng)
    X.data = rng.integers(1, 4, X.nnz).astype(np.float32)
    return X


@pytest.fixture
def inversions(monkeypatch):
    """Return a list that grows with each inversion."""
    calls, invert = [], _ease.inverse_gram

    def counted(*args):
        calls.append(args)
        return invert(*args)

    monkeypatch.setattr(_ease, "inverse_gram", counted)
    return calls


def assert_same(model, expected, atol):
    assert_allclose(model.coef_, expected.coef_, atol=atol)
    assert_array_equal(model.interactions_.toarray(), expected.interactions_.toarray())
    X = histories(20, seed=9)
    assert_allclose(model.predict(X), expected.predict(X), atol=10 * atol)


@pytest.mark.parametrize("max_diagonal", [0, 0.05, 0.3, 1])
@pytest.mark.parametrize("l2", [0.5, 30.0, 1000.0])
def test_it_is_a_fit_on_all_rows(l2, max_diagonal, inversions):
    X = histories(900)
    model = EASE(l2, max_diagonal=max_diagonal).fit(X[:880])
    model.partial_fit(X[880:881]).partial_fit(X[881:])
    assert len(inversions) == 1
    assert model.coef_.dtype == np.float32
    assert_same(model, EASE(l2, max_diagonal=max_diagonal).fit(X), 1e-6)
    assert model.coef_.diagonal().max() <= max_diagonal


@pytest.mark.parametrize("max_diagonal", [0, 0.2])
def test_rounding_does_not_add_up(max_diagonal, inversions):
    X = histories(2000)
    model = EASE(20.0, max_diagonal=max_diagonal).fit(X[:1000])
    for start in range(1000, 2000, 20):
        model.partial_fit(X[start : start + 20])
    assert len(inversions) == 1
    assert_same(model, EASE(20.0, max_diagonal=max_diagonal).fit(X), 1e-6)


def test_users_of_items_without_training_users(inversions):
    """And negative values, repeated rows, a row without interactions."""
    X = histories(400).toarray()
    X[:380, :10] = 0
    X[390] = -X[391]
    X[392] = X[393] = X[0]
    X[394] = 0
    model = EASE(2.0).fit(X[:380]).partial_fit(X[380:])
    assert len(inversions) == 1
    assert_same(model, EASE(2.0).fit(X), 2e-6)


def test_the_weights_change_only_when_they_are_told_to():
    X = histories(440)
    model, expected = EASE(20.0).fit(X[:400]), EASE(20.0).fit(X)
    coef = model.coef_.copy()
    users = NewUsers(coef, model._inverse_diagonal_, X[400:], 20.0, 0)
    assert_array_equal(coef, model.coef_)
    users.add_to(coef)
    assert_allclose(coef, expected.coef_, atol=1e-6)
    assert_allclose(users.inverse_diagonal, expected._inverse_diagonal_, rtol=1e-5)


FIT_AGAIN = {
    "dropout": {"dropout": 0.2},
    "user normalization": {"user_normalization": 0.5},
    "item normalization": {"item_normalization": 0.5},
    "features": {"item_features": np.ones((N_ITEMS, 1), dtype=np.float32)},
}


@pytest.mark.parametrize("params", FIT_AGAIN.values(), ids=FIT_AGAIN)
def test_what_depends_on_all_rows_is_fitted_again(params, inversions):
    X = histories(420)
    model = EASE(20.0, **params).fit(X[:400]).partial_fit(X[400:])
    assert len(inversions) == 2
    assert_same(model, EASE(20.0, **params).fit(X), 1e-6)


@pytest.mark.parametrize(
    "params", [{"l2": 21.0}, {"max_diagonal": 0.1}, *FIT_AGAIN.values()], ids=lambda p: [*p][0]
)
def test_changed_parameters_hold_for_all_rows(params, inversions):
    X = histories(420)
    model = EASE(20.0).fit(X[:400])
    model.set_params(**params).partial_fit(X[400:])
    assert len(inversions) == 2
    assert_same(model, EASE(20.0).set_params(**params).fit(X), 1e-6)
    defaults = {name: EASE().get_params()[name] for name in params} | {"l2": 20.0}
    model.set_params(**defaults).partial_fit(X[:10])
    assert len(inversions) == 4
    assert_same(model, EASE(20.0).fit(sp.vstack([X, X[:10]], format="csr")), 1e-6)


def test_many_new_users_are_fitted_with_all_rows(inversions):
    X = histories(500)
    model = EASE(20.0).fit(X[:400]).partial_fit(X[400:])
    assert len(inversions) == 2
    assert_same(model, EASE(20.0).fit(X), 1e-6)


def test_weights_too_coarse_to_be_updated_are_fitted_again(inversions):
    """Float64 found them; the float32 of the weights does not determine the inverse."""
    X = histories(60)
    model = EASE(1e-5).fit(X[:50]).partial_fit(X[50:])
    assert len(inversions) == 2
    assert_array_equal(model.coef_, EASE(1e-5).fit(X).coef_)


@pytest.mark.filterwarnings("ignore:EASE reads values as weights")
@pytest.mark.parametrize("scale", [1e-15, 1e-4, 1e4])
def test_new_users_in_another_unit(scale):
    X = histories(420)
    X.data[X.indptr[400] :] *= np.float32(scale)
    model = EASE(20.0).fit(X[:400]).partial_fit(X[400:])
    assert_same(model, EASE(20.0).fit(X), 1e-5)


@pytest.mark.parametrize("scale", [2.0**-50, 2.0**50])
def test_any_unit(scale):
    X = histories(420)
    scaled = X * np.float32(scale)
    model = EASE(20.0 * scale**2).fit(scaled[:400]).partial_fit(scaled[400:])
    assert_allclose(model.coef_, EASE(20.0).fit(X).coef_, atol=1e-5)


def test_loaded_models_are_updated(tmp_path, inversions):
    X = histories(420)
    EASE(20.0, max_diagonal=0.1).fit(X[:400]).save(tmp_path / "model")
    model = load(tmp_path / "model").partial_fit(X[400:])
    assert len(inversions) == 1
    assert_same(model, EASE(20.0, max_diagonal=0.1).fit(X), 1e-6)


def test_models_of_earlier_versions_are_fitted_again(tmp_path, inversions):
    """Their files hold no diagonal of the inverse."""
    X = histories(420)
    model = EASE(20.0).fit(X[:400])
    for name in ("_inverse_diagonal_", "_fitted_l2_", "_fitted_max_diagonal_"):
        delattr(model, name)
    model.save(tmp_path / "model")
    model = load(tmp_path / "model").partial_fit(X[400:])
    assert len(inversions) == 2
    assert_same(model, EASE(20.0).fit(X), 1e-6)
    model.partial_fit(X[:5])
    assert len(inversions) == 3  # that of the comparison, and no other


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["_update", "_fit", "_set_interactions"])
def test_a_failing_update_leaves_the_model_as_it_was(method, error, monkeypatch):
    X = histories(420)
    model = EASE(20.0).fit(X[:400])
    coef, before = model.coef_.copy(), vars(model).copy()
    del before["coef_"]  # otherwise the update would not be in place
    original = getattr(EASE, method)

    def fails(self, *args, **params):
        original(self, *args, **params)
        raise error("here")

    monkeypatch.setattr(EASE, method, fails)
    with pytest.raises(error, match="here"):
        model.partial_fit(X[400:])
    assert vars(model).keys() == {*before, "coef_"}
    assert all(vars(model)[name] is value for name, value in before.items())
    assert_array_equal(model.coef_, coef)


def test_an_interrupt_waits_until_the_weights_are_changed(monkeypatch):
    X = histories(420)
    model = EASE(20.0).fit(X[:400])
    add_to = NewUsers.add_to

    def interrupted(self, coef):
        signal.raise_signal(signal.SIGINT)
        add_to(self, coef)

    monkeypatch.setattr(NewUsers, "add_to", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X[400:])
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same(model, EASE(20.0).fit(X), 1e-6)


def test_the_weights_are_changed_in_place():
    X = histories(420)
    model = EASE(20.0).fit(X[:400])
    address = model.coef_.ctypes.data
    for start in (400, 410):
        model.partial_fit(X[start : start + 10])
        assert model.coef_.ctypes.data == address
    assert_same(model, EASE(20.0).fit(X), 1e-6)


def read_only(model):
    """As in a model from a memory-mapped pickle."""
    model.coef_.flags.writeable = False


HOLDERS = {
    "a copy of the model": copy.copy,
    "a variable": lambda model: model.coef_,
    "a view": lambda model: model.coef_[:3].T,
    "nobody, but it is read-only": read_only,
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_nothing_else_sees_the_weights_change(holder):
    X = histories(420)
    model = EASE(20.0).fit(X[:400])
    address, coef = model.coef_.ctypes.data, model.coef_.copy()
    held = holder(model)
    model.partial_fit(X[400:])
    assert model.coef_.ctypes.data != address
    assert_same(model, EASE(20.0).fit(X), 1e-6)
    if isinstance(held, EASE):
        assert_array_equal(held.predict(X), X @ coef)
    elif held is not None:
        assert_array_equal(held, coef if held.shape == coef.shape else coef[:3].T)


def test_memory_is_checked_before_it_is_allocated(monkeypatch):
    X = histories(420)
    model = EASE(20.0).fit(X[:400])
    coef, size = model.coef_, model.coef_.nbytes
    monkeypatch.setattr(_memory, "available_memory", lambda: size - 1)
    with pytest.raises(MemoryError, match="new matrix of 300 × 300 weights"):
        model.partial_fit(X[400:])
    assert model.coef_ is coef
    del coef
    monkeypatch.setattr(_memory, "available_memory", lambda: 0)
    model.partial_fit(X[400:])  # in place
    monkeypatch.undo()
    assert_same(model, EASE(20.0).fit(X), 1e-6)


def test_no_new_matrix():
    X = histories(1020, 3000)
    model = EASE(20.0).fit(X[:1000])
    tracemalloc.start()
    model.partial_fit(X[1000:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * model.coef_.nbytes
