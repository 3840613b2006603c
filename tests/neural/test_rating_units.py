"""Rating models on ratings in any unit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys import (
    AutoRec,
    DeepAutoencoder,
    EmbeddingNet,
    MatrixFactorization,
    TwoTower,
    load,
)
from sklearn_recsys.datasets import make_ratings

QUICK = {"max_epochs": 2, "random_state": 0}
MODELS = {
    "AutoRec": AutoRec(n_factors=6, **QUICK),
    "AutoRec, user": AutoRec("user", n_factors=6, **QUICK),
    "AutoRec, sigmoid": AutoRec(n_factors=6, decoder_activation="sigmoid", **QUICK),
    "AutoRec, all ratings": AutoRec(n_factors=6, early_stopping=False, **QUICK),
    "DeepAutoencoder": DeepAutoencoder(hidden_layer_sizes=(6, 4), **QUICK),
    "DeepAutoencoder, item": DeepAutoencoder("item", hidden_layer_sizes=(6,), **QUICK),
    "DeepAutoencoder, tanh": DeepAutoencoder(output_activation="tanh", **QUICK),
    "DeepAutoencoder, relu": DeepAutoencoder(output_activation="relu", **QUICK),
    "MatrixFactorization": MatrixFactorization(6, **QUICK),
    "MatrixFactorization, implicit": MatrixFactorization(6, implicit=True, **QUICK),
    "MatrixFactorization, all ratings": MatrixFactorization(6, early_stopping=False, **QUICK),
    "EmbeddingNet": EmbeddingNet(6, (8,), **QUICK),
    "TwoTower": TwoTower(n_factors=6, embedding_dim=6, hidden_layer_sizes=(8,), **QUICK),
}
UNITS = [(1e-6, 0), (0.2, 0), (20, 0), (1e4, 0), (5, -14.5), (2, 1000)]


def in_unit(X, a, b):
    return sp.csr_array((a * X.data.astype(np.float64) + b, X.indices, X.indptr), shape=X.shape)


def ratings(step=0.5, seed=0):
    """Half stars, a user and an item without any."""
    R = make_ratings(
        60, 30, density=0.25, rating_range=(0.5, 5), step=step, random_state=seed
    ).toarray()
    R[7], R[:, 4] = 0, 0
    return sp.csr_array(R)


def back(predicted, a, b):
    return (predicted.astype(np.float64) - b) / a


def unseen_scores(model, X):
    """Return the scores that rank items, which are not clipped; −inf where an item was seen."""
    ids, scores = model.recommend(X, n=X.shape[1], return_scores=True)
    rows, slots = np.nonzero(ids >= 0)
    result = np.full(X.shape, -np.inf)
    result[rows, ids[rows, slots]] = scores[rows, slots]
    return result


@pytest.mark.parametrize("name", MODELS)
def test_predictions_follow_the_unit(name):
    R, others = ratings(), ratings(seed=1)
    model = MODELS[name].fit(R)
    known, new = model.predict(R), model.predict(others)
    ids, scores_of_all = model.recommend(others, n=5), unseen_scores(model, others)
    curve, score = model.history_.drop(columns="dur"), model.score(others)
    for a, b in UNITS:
        model.fit(in_unit(R, a, b))
        assert_allclose(back(model.predict(in_unit(R, a, b)), a, b), known, atol=1e-4)
        assert_allclose(back(model.predict(in_unit(others, a, b)), a, b), new, atol=1e-4)
        assert_allclose(model.score(in_unit(others, a, b)) / a, score, rtol=1e-4)
        others_ids = model.recommend(in_unit(others, a, b), n=5)
        best = [np.take_along_axis(scores_of_all, i, axis=1) for i in (ids, others_ids)]
        assert_allclose(*best, atol=1e-4)  # other items at ties: float32 near 1000 merges scores
        assert b or np.mean(others_ids == ids) > 0.98
        assert_array_equal(model.history_.drop(columns="dur"), curve)


@pytest.mark.parametrize("name", ["AutoRec", "DeepAutoencoder"])
def test_cold_values_are_ratings(name):
    X = in_unit(ratings(), 20, 1000)
    for cold_value, expected in [
        ("midpoint", sum((X.data.min(), X.data.max())) / 2),
        ("mean", X.data.mean()),
        (1033.3, 1033.3),
    ]:
        model = MODELS[name].set_params(cold_value=cold_value).fit(X)
        assert_allclose(model.predict(X)[:5, 4], expected, rtol=1e-6)
    MODELS[name].set_params(cold_value="midpoint")


@pytest.mark.parametrize("name", ["MatrixFactorization", "EmbeddingNet"])
@pytest.mark.parametrize("a, b", UNITS)
def test_the_range_is_given_in_the_unit_of_the_ratings(name, a, b):
    """In float64, while the ratings are read as float32: 0.1 is a little less than they hold."""
    R = ratings()
    model = MODELS[name].set_params(rating_range=(0.5, 6))
    expected = model.fit(R).predict(R)
    X = in_unit(R, a, b)
    model.set_params(rating_range=(a * 0.5 + b, a * 6 + b))
    assert_allclose(back(model.fit(X).predict(X), a, b), expected, atol=1e-4)
    model.set_params(rating_range=(float(X.data.min()), float(X.data.max()))).fit(X)
    middle = float(np.median(X.data))
    with pytest.raises(ValueError, match="outside of rating_range"):
        model.set_params(rating_range=(float(X.data.min()), middle)).fit(X)
    model.set_params(rating_range=None)


@pytest.mark.parametrize("name", MODELS)
def test_training_on_keeps_the_scale(name):
    """Ratings beyond the former ones are read on the scale that the model was trained on."""
    R = ratings()
    wide = in_unit(R, 2, 0)
    wide.data[0] = 1.5 - 9 / 8  # 0 on the scale of 1.5 to 6
    predicted = []
    for a, b in [(1, 0), (20, 0), (5, -14.5)]:
        model = MODELS[name].fit(in_unit(R, a, b))
        scale = model._rating_scale_
        model.partial_fit(in_unit(wide, a, b))
        assert model._rating_scale_ is scale
        assert_allclose(model.rating_range_, (a * 0.375 + b, a * 10 + b))
        predicted.append(back(model.predict(in_unit(R, a, b)), a, b))
    assert_allclose(predicted[1], predicted[0], atol=2e-4)
    assert_allclose(predicted[2], predicted[0], atol=2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_negative_ratings_and_their_files(name, tmp_path):
    X = in_unit(ratings(), 5, -14)  # -11.5 to 11, and none of them is zero
    assert X.data.min() < 0 < X.data.max()
    model = MODELS[name].fit(X)
    expected = model.predict(X)
    model.save(tmp_path / "model.recsys")
    assert_array_equal(load(tmp_path / "model.recsys").predict(X), expected)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), expected)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:.*all of X's values:UserWarning")
@pytest.mark.parametrize("value", [1e-5, -7, 3])
def test_one_rating_is_predicted_by_itself(name, value):
    X = ratings()
    X.data[:] = value
    assert_allclose(MODELS[name].fit(X).predict(X), value, rtol=1e-6)


def test_files_without_a_scale_predict_as_they_did():
    """They were trained on ratings as they came, which is what they still read and return."""
    R = make_ratings(60, 30, density=0.25, random_state=0)  # from 1 to 5, where it is the same
    assert (R.data.min(), R.data.max()) == (1, 5)
    for model in MODELS.values():
        expected = model.fit(R).predict(R)
        state = model._save_state()
        del state["_rating_scale_"]
        model._forget()
        model._load_state(state)
        assert_array_equal(model.predict(R), expected)
        assert_array_equal(model._read(in_unit(R, 0.2, 0)).data, in_unit(R, 0.2, 0).data)
        model.partial_fit(R)
        assert model._rating_scale is None
        assert np.all(np.isfinite(model.predict(R)))
