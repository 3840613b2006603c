"""Training users are found by their rows, in an index that is made when it is asked for."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, vstack

from sklearn_recsys import ALS, CDAE, NCF, ImplicitMatrixFactorization, TwoTower, UserKNN, load
from sklearn_recsys.base import _histories
from sklearn_recsys.datasets import make_interactions

NEURAL = {"max_epochs": 1, "early_stopping": False, "random_state": 0}
MODELS = {
    "ALS": ALS(n_factors=3, max_iter=2, random_state=0),
    "UserKNN": UserKNN(n_neighbors=3),
    "NCF": NCF("gmf", 3, **NEURAL),
    "CDAE": CDAE(n_factors=3, **NEURAL),
    "TwoTower": TwoTower(loss="softmax", n_factors=3, hidden_layer_sizes=(4,), **NEURAL),
}
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def data(n_users=20):  # distinct rows
    return csr_array(make_interactions(n_users, 60, density=0.2, random_state=0))


def rows_of(model, X, **features):
    return model._training_rows(model._read(model._checked(X)), **features)


@models
def test_predictions_neither_change_nor_enlarge_what_is_saved(model, tmp_path):
    X = data()
    model = copy.deepcopy(model).fit(X)
    fitted, pickled = set(vars(model)), len(pickle.dumps(model))
    expected = model.predict(X)
    assert set(vars(model)) == fitted  # as scikit-learn demands
    assert model._cache_
    assert len(pickle.dumps(model)) == pickled
    model.save(tmp_path / "model")
    assert b"HistoryIndex" not in (tmp_path / "model").read_bytes()
    copies = load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.copy(model)
    for other in copies:
        assert set(vars(other)) == fitted and not other._cache_
        assert_array_equal(other.predict(X), expected)
        assert_array_equal(rows_of(other, X), rows_of(model, X))


@models
def test_the_index_is_that_of_the_last_fit(model):
    X = data()
    model = copy.deepcopy(model).fit(X[:12])
    assert (rows_of(model, X[12:]) == -1).all()
    model.fit(X[6:])
    assert_array_equal(rows_of(model, X[6:]), rows_of(copy.deepcopy(model).fit(X[6:]), X[6:]))
    assert (rows_of(model, X[:6]) == -1).all()
    if hasattr(model, "partial_fit"):
        former = rows_of(model, X)
        with pytest.raises(ValueError, match="features"):
            model.partial_fit(X[:, :4])
        assert_array_equal(rows_of(model, X), former)
        model.partial_fit(X[:6])
        assert (rows_of(model, X[:6]) >= 0).all()


def test_a_partial_fit_in_another_thread_does_not_leave_its_index_behind(monkeypatch):
    """Attributes are replaced while the index of the former ones is being made."""
    X = data()
    model = ALS(n_factors=3, max_iter=2, random_state=0).fit(X[:12])
    index = _histories.HistoryIndex

    def interrupted(rows):
        monkeypatch.setattr(_histories, "HistoryIndex", index)
        model.partial_fit(X[12:])
        return index(rows)

    monkeypatch.setattr(_histories, "HistoryIndex", interrupted)
    assert_array_equal(rows_of(model, X[:12]), np.arange(12))
    assert_array_equal(rows_of(model, X), np.arange(20))


def test_the_index_compares_what_a_model_reads():
    """A model of a binary matrix takes the items alone for the user, in every method."""
    X = data()
    model = ImplicitMatrixFactorization(3, loss="bpr", **NEURAL).fit(X)
    other_values = X.copy()
    other_values.data[:] = 7
    assert_array_equal(model.transform(other_values), model.user_factors_)
    ids, _ = model.similar_users(other_values, n=20)
    assert not (ids == np.arange(20)[:, None]).any()  # no user is their own neighbor


def test_duplicates_and_features():
    X = data(6)
    X = vstack([X, X[[2]], X[[2]]], format="csr")
    features = pd.DataFrame({"age": [0, 0, 0, 0, 0, 0, 0, 1]})
    model = TwoTower(loss="softmax", n_factors=3, hidden_layer_sizes=(4,), **NEURAL)
    model.fit(X, user_features=features)
    encoded = model.user_features_
    assert_array_equal(rows_of(model, X, user_features=encoded), [0, 1, 2, 3, 4, 5, 2, 7])
    assert_array_equal(rows_of(UserKNN().fit(X), X), [0, 1, 2, 3, 4, 5, 2, 2])
