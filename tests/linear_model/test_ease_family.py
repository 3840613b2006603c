"""The relatives of EASE against their closed forms in float64, and item features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

from sklearn_recsys import RecommenderPipeline, load
from sklearn_recsys.linear_model import EASE
from sklearn_recsys.linear_model._gram import Gram, inverse_gram
from sklearn_recsys.preprocessing import FeatureEncoder, InteractionEncoder
from sklearn_recsys.utils.estimator_checks import (
    check_checkerboard,
    check_permutations,
    recommender_checks,
)


def random_matrix(n_users=200, n_items=40, density=0.15, seed=0):
    rng = np.random.default_rng(seed)
    X = sp.random_array((n_users, n_items), density=density, format="csr", rng=rng)
    X.data = rng.integers(1, 4, X.nnz).astype(np.float32)
    return X


def weights(X, l2, dropout=0.0, max_diagonal=0.0):
    """Return W = I − P(Λ + diagMat μ) of a dense matrix, all in float64."""
    G = X.T @ X
    penalty = l2 + dropout / (1 - dropout) * np.diag(G)
    P = np.linalg.inv(G + np.diag(penalty))
    mu = np.maximum(0, (1 - max_diagonal) / np.diag(P) - penalty)
    return np.eye(len(G)) - P * (penalty + mu)


def dense(X):
    return X.toarray().astype(np.float64)


@pytest.mark.parametrize("max_diagonal", [0, 0.1, 0.4, 1])
@pytest.mark.parametrize("dropout", [0, 0.3, 0.9])
@pytest.mark.parametrize("l2", [0.5, 50.0])
def test_closed_form(l2, dropout, max_diagonal):
    X = random_matrix()
    params = {"dropout": dropout, "max_diagonal": max_diagonal}
    model = EASE(l2, **params).fit(X)
    assert model.coef_.dtype == np.float32
    assert_allclose(model.coef_, weights(dense(X), l2, **params), atol=2e-6)
    assert model.coef_.diagonal().max() <= max_diagonal


def test_the_weights_are_the_optimum():
    """No direction that keeps the diagonal within its bound lowers the denoising objective."""
    X, l2, dropout, bound = dense(random_matrix(n_items=12)), 5.0, 0.4, 0.2
    W = EASE(l2, dropout=dropout, max_diagonal=bound).fit(X).coef_.astype(np.float64)
    penalty = l2 + dropout / (1 - dropout) * np.sum(X**2, axis=0)
    gradient = 2 * (X.T @ (X @ W - X) + penalty[:, None] * W)
    tight = np.isclose(W.diagonal(), bound)
    assert 0 < tight.sum()
    assert np.all(gradient.diagonal()[tight] < 0)  # it would grow
    gradient[np.diag(tight)] = 0
    assert_allclose(gradient, 0, atol=2e-3)


def test_dropout_is_the_expected_loss_of_denoising():
    """The mean over random masks of ‖X − (M ∘ X) W‖² / (1 − p)² + λ‖W‖²: EDLAE's, up to 1 − p."""
    X, p, l2 = dense(random_matrix(60, 8, density=0.5)), 0.3, 2.0
    W = EASE(l2, dropout=p).fit(X).coef_.astype(np.float64)
    rng, loss = np.random.default_rng(0), 0.0
    n_masks = 4000
    for _ in range(n_masks):
        masked = X * (rng.random(X.shape) >= p) / (1 - p)
        loss += np.sum((X - masked @ W) ** 2) / n_masks
    penalty = p / (1 - p) * np.sum(X**2, axis=0)
    expected = np.sum((X - X @ W) ** 2) + np.sum(penalty[:, None] * W**2)
    assert loss == pytest.approx(expected, rel=5e-3)


def test_the_default_is_ease_to_the_last_bit():
    X = random_matrix()
    expected = inverse_gram(Gram(X), 50.0)
    expected /= -expected.diagonal().copy()
    np.fill_diagonal(expected, 0)
    explicit = {"dropout": 0, "max_diagonal": 0, "user_normalization": 0, "item_normalization": 0}
    for params in ({}, explicit):
        assert_array_equal(EASE(50, **params).fit(X).coef_, expected)


def test_without_a_bound_it_is_ridge_regression():
    X = random_matrix()
    expected = np.linalg.solve(dense(X).T @ dense(X) + 3 * np.eye(40), dense(X).T @ dense(X))
    assert_allclose(EASE(3, max_diagonal=1).fit(X).coef_, expected, atol=2e-6)


@pytest.mark.parametrize("max_diagonal", [0, 1])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.25, 0), (0, 1.5)])
def test_normalization(a, b, max_diagonal):
    X = dense(random_matrix())
    scaled = X / X.sum(axis=1, keepdims=True).clip(1) ** a / X.sum(axis=0).clip(1) ** b
    params = {"user_normalization": a, "item_normalization": b, "max_diagonal": max_diagonal}
    model = EASE(0.7, dropout=0.2, **params).fit(X)
    expected = weights(scaled, 0.7, 0.2, max_diagonal)
    assert_allclose(model.coef_, expected, atol=1e-5)
    assert_allclose(model.predict(X), X @ expected, atol=2e-4)  # histories as they are


def test_items_and_users_without_interactions():
    X = random_matrix().toarray()
    X[:, 3] = X[7] = 0
    params = {"user_normalization": 0.5, "item_normalization": 0.5, "max_diagonal": 0.3}
    model = EASE(1.0, dropout=0.5, **params).fit(X)
    assert np.isfinite(model.coef_).all()
    assert not model.coef_[3].any() and not model.coef_[:, 3].any()
    assert model.recommend().shape == (200, 10)


def test_a_search_chooses_all_of_them():
    grid = {"dropout": [0, 0.5], "max_diagonal": [0, 1], "item_normalization": [0, 0.5]}
    search = GridSearchCV(EASE(2.0), grid, cv=2).fit(random_matrix())
    assert search.best_params_.keys() == grid.keys()
    assert len(np.unique(search.cv_results_["mean_test_score"].round(9))) > 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("dropout", 1), ("dropout", -0.1), ("max_diagonal", 1.1), ("max_diagonal", -0.1)]
    + [("user_normalization", -1), ("item_normalization", "all"), ("feature_weight", -1)],
)
def test_parameters_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of EASE must be"):
        EASE(**{name: value}).fit(random_matrix())


def test_a_singular_matrix_is_a_clear_error():
    X = random_matrix(10, 30)
    with pytest.raises(ValueError, match=r"l2=1e-300 is too small"):
        EASE(1e-300, user_normalization=0.5, max_diagonal=1).fit(X)


# ---------------------------------------------------------------- item features


def random_features(n_items=40, n_features=6, density=0.3):
    rng = np.random.default_rng(5)
    F = sp.random_array((n_items, n_features), density=density, format="csr", rng=rng)
    return F.astype(np.float32)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csr_matrix, sp.coo_array])
@pytest.mark.parametrize("density", [0.02, 0.9])  # multiplied as sparse rows, as dense ones
def test_features_are_further_rows(kind, density):
    X, F = random_matrix(), random_features(density=density)
    params = {"max_diagonal": 0.1, "dropout": 0.2}
    model = EASE(5.0, item_features=kind(F.toarray()), feature_weight=2.0, **params).fit(X)
    stacked = np.vstack([dense(X), 2 * dense(F).T])
    assert_allclose(model.coef_, weights(stacked, 5.0, 0.2, 0.1), atol=2e-6)
    assert model.interactions_.shape == X.shape


def test_features_are_not_normalized():
    X, F = dense(random_matrix()), random_features()
    scaled = X / X.sum(axis=1, keepdims=True).clip(1) ** 0.5
    model = EASE(5.0, item_features=F, user_normalization=0.5).fit(X)
    assert_allclose(model.coef_, weights(np.vstack([scaled, dense(F).T]), 5.0), atol=2e-6)


def test_a_weight_of_zero_is_no_feature():
    X = random_matrix()
    model = EASE(5.0, item_features=random_features(), feature_weight=0).fit(X)
    assert_allclose(model.coef_, EASE(5.0).fit(X).coef_, atol=1e-7)


def two_genres(n_items=40):
    """Return histories of one of two genres each, all without the last two items, and a frame."""
    genre = np.arange(n_items) % 2
    rng = np.random.default_rng(0)
    X = (np.arange(60)[:, None] % 2 == genre) & (rng.random((60, n_items)) < 0.4)
    X[:, -2:] = False
    return X.astype(np.float32), pd.DataFrame({"genre": np.array(["war", "love"])[genre]})


def test_items_without_users_are_recommended():
    X, frame = two_genres()
    model = EASE(20.0, item_features=frame, feature_weight=3.0).fit(X)
    ids = model.recommend(candidates=[38, 39], n=1)
    assert_array_equal(ids[:, 0], 38 + np.arange(60) % 2)
    assert not EASE(1.0).fit(X).coef_[:, 38:].any()


def test_an_unknown_value_is_nothing_in_common():
    X, frame = two_genres()
    frame.loc[[36, 37, 38, 39], "genre"] = None
    coef = EASE(1.0, item_features=frame).fit(X).coef_
    assert not coef[:, 38:].any()


def test_the_encoder_is_a_clone():
    X, frame = two_genres()
    frame["year"] = np.arange(40) % 5
    encoder = FeatureEncoder(kinds={"year": "drop"})
    model = EASE(1.0, item_features=frame, encoder=encoder).fit(X)
    assert not hasattr(encoder, "kinds_")
    assert_allclose(model.coef_, EASE(1.0, item_features=frame[["genre"]]).fit(X).coef_, atol=1e-7)


def test_features_follow_the_raw_ids_of_a_pipeline():
    X, frame = two_genres()
    users, items = np.nonzero(X)
    events = pd.DataFrame({"user": users, "item": [f"i{item:02}" for item in items]})
    catalog = frame.set_index(pd.Index([f"i{item:02}" for item in range(40)], name="item"))
    encoder = InteractionEncoder(items=catalog.index, values="one").fit(events)
    model = EASE(1.0, item_features=catalog.sample(frac=1, random_state=0))
    pipe = RecommenderPipeline([("model", model)], encoder=encoder)
    pipe.fit(encoder.transform(events))
    expected = EASE(1.0, item_features=frame).fit(X)
    assert_allclose(pipe.steps[-1][1].coef_, expected.coef_, atol=1e-6)


def test_features_of_other_items_are_refused():
    with pytest.raises(ValueError, match=r"one row per item.*expected 40, got 39"):
        EASE(item_features=random_features(39)).fit(random_matrix())
    with pytest.raises(ValueError, match="infinity|too large"):
        EASE(item_features=np.full((40, 2), np.inf)).fit(random_matrix())


@pytest.mark.parametrize("density", [0.04, 0.9])
def test_keeps_the_contract_with_features(density):
    """The checks fit to matrices of 30 items; except for these two."""
    for check in recommender_checks(EASE(item_features=random_features(30, density=density))):
        if check.func not in {check_permutations, check_checkerboard}:
            check()


def test_save_and_load(tmp_path):
    X, frame = two_genres()
    params = {"dropout": 0.2, "max_diagonal": 0.1, "user_normalization": 0.5, "feature_weight": 3.0}
    model = EASE(1.0, item_features=frame, encoder=FeatureEncoder(), **params).fit(X)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert_array_equal(loaded.coef_, model.coef_)
    assert {name: loaded.get_params()[name] for name in params} == params
    loaded.partial_fit(X[:5])
    assert_allclose(loaded.coef_, model.partial_fit(X[:5]).coef_)


@pytest.mark.parametrize("features", [False, True])
def test_on_a_device(features):
    """What runs on a GPU is torch's; it can be tried on the CPU."""
    torch = pytest.importorskip("torch")
    from sklearn_recsys.linear_model._gram import _inverse_on_device

    X, rows = random_matrix(), random_features(density=0.9).toarray().T if features else None
    penalty = np.linspace(1, 5, 40)
    P = _inverse_on_device(Gram(X, rows), penalty, torch.device("cpu"))
    stacked = np.vstack([dense(X), rows]) if features else dense(X)
    assert_allclose(P, np.linalg.inv(stacked.T @ stacked + np.diag(penalty)), atol=1e-6)
