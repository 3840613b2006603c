"""ONNX files give the scores of the models that wrote them, from raw rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_recsys import (
    ALS,
    CDAE,
    EASE,
    ELSA,
    AutoRec,
    DeepAutoencoder,
    GraphFilter,
    ItemKNN,
    MultDAE,
    MultVAE,
    RecVAE,
)
from sklearn_recsys.datasets import make_ratings
from sklearn_recsys.linear_model._low_pass import LowPassMixin
from sklearn_recsys.utils.discovery import all_recommenders

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NET = {"max_epochs": 3, "random_state": 0}
MODELS = [
    EASE(l2=5, low_pass=0.5, n_factors=4),
    ItemKNN(),
    GraphFilter(n_factors=4, sharpening=0.5),
    MultDAE(n_factors=6, **NET),
    MultVAE(n_factors=6, hidden_layer_sizes=[8], activation="swish", **NET),
    RecVAE(n_factors=6, n_hidden=8, **NET),
    ELSA(n_factors=6, **NET),
    AutoRec(kind="user", n_factors=6, decoder_activation="sigmoid", cold_value="mean", **NET),
    DeepAutoencoder(hidden_layer_sizes=[8, 4], tied_weights=True, **NET),
]
N_ITEMS = 30


def ratings():
    """Return ratings from 10 to 50 of 70 users, in which nobody has the last item."""
    R = make_ratings(n_users=70, n_items=N_ITEMS - 1, density=0.3, random_state=0)
    R.resize(70, N_ITEMS)
    R.data *= 10
    return R


def scores_of(model, X):
    """Return unclipped scores of all items."""
    ids, scores = model.recommend(X, N_ITEMS, exclude_seen=False, return_scores=True)
    return np.take_along_axis(scores, np.argsort(ids, axis=1), axis=1)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_file_gives_the_scores_of_raw_rows(model, tmp_path):
    R = ratings()
    if model.__sklearn_tags__().recommender_tags.values == "binary":
        R.data -= 25  # a negative value is no interaction
    model.fit(R[:50])
    model.export_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    X = np.vstack([R.toarray(), np.zeros((1, N_ITEMS))]).astype(np.float32)
    expected = scores_of(model, X)
    for rows in (slice(0, 1), slice(45, 71)):  # batches of any size; the last row is empty
        (scores,) = session.run(["scores"], {"histories": X[rows]})
        assert scores.dtype == np.float32
        assert_allclose(scores, expected[rows], rtol=1e-5, atol=1e-5 * np.ptp(expected))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_models_that_are_no_function_of_a_dense_row_refuse():
    R = ratings()
    with pytest.raises(ValueError, match=r"Item-based AutoRec solves .* use kind='user'"):
        AutoRec(n_factors=4, **NET).fit(R).export_onnx("unwritten.onnx")
    features = np.random.default_rng(0).normal(size=(70, 2))
    model = DeepAutoencoder(hidden_layer_sizes=[4], **NET).fit(R, user_features=features)
    with pytest.raises(ValueError, match="fitted with user_features"):
        model.export_onnx("unwritten.onnx")
    for model in (ALS(), CDAE()):
        with pytest.raises(AttributeError, match=r"Models that have it: AutoRec, .*RecVAE"):
            model.export_onnx("unwritten.onnx")


def test_every_model_with_the_method_is_tested():
    having = {kind for _, kind in all_recommenders() if hasattr(kind, "export_onnx")}
    as_EASE = {kind for kind in having if issubclass(kind, LowPassMixin)}
    assert having - as_EASE | {EASE} == {type(model) for model in MODELS}


def test_weights_that_do_not_fit_in_a_file_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sklearn_recsys.base._onnx._LARGEST", 100)
    with pytest.raises(ValueError, match="The weights of EASE take 0.0 GiB"):
        EASE().fit(ratings()).export_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
