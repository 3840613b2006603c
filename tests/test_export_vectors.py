"""Inner products of exported vectors are the scores, for every model with vectors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys import ALS, ELSA, MatrixFactorization, TwoTower
from sklearn_recsys.base import FactorsMixin
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.utils.discovery import all_recommenders

QUICK = {"max_epochs": 2, "n_factors": 6, "random_state": 0, "batch_size": 64}
MODELS = [
    *(kind() for _, kind in all_recommenders() if issubclass(kind, FactorsMixin)),
    ALS(solver="cg"),
    MatrixFactorization(implicit=True),
    TwoTower(loss="mse"),
]
N_TRAINED = 50


def fitted(model):
    params = model.get_params()
    model.set_params(**{name: value for name, value in QUICK.items() if name in params})
    is_rating = model.__sklearn_tags__().recommender_tags.values == "rating"
    make = make_ratings if is_rating else make_interactions
    R = make(n_users=60, n_items=25, density=0.3, random_state=0)
    return model.fit(R[:N_TRAINED]), R


def scores_of(model, users):
    """Return unclipped scores of all items."""
    ids, scores = model.recommend(users, 25, exclude_seen=False, return_scores=True)
    return np.take_along_axis(scores, np.argsort(ids, axis=1), axis=1)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_inner_products_are_the_scores(model):
    model, R = fitted(model)
    X = sp.vstack([R, sp.csr_array((1, 25))], format="csr")  # known, new, and without a history
    users, items = model.export_vectors(X)
    products, expected = users @ items.T, scores_of(model, X)
    assert users.dtype == items.dtype == np.float32
    if isinstance(model, ELSA):  # a seen item's own value is not a part of its score
        unseen = X.toarray() == 0
        products, expected = products[unseen], expected[unseen]
    assert_allclose(products, expected, rtol=1e-4, atol=1e-5 * np.ptp(expected))
    some, same_items = model.export_vectors(np.array([3, 1]))
    assert_array_equal(same_items, items)
    assert_allclose(some, model.export_vectors()[0][[3, 1]], rtol=1e-4, atol=1e-5)


def test_features_of_users():
    features = np.random.default_rng(0).normal(size=(60, 3))
    R = make_interactions(n_users=60, n_items=25, density=0.3, random_state=0)
    model = TwoTower(loss="softmax", **QUICK).fit(R, user_features=features)
    users, items = model.export_vectors(R[:5], user_features=features[5:10])
    expected = model.predict(R[:5], user_features=features[5:10])
    assert_allclose(users @ items.T, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="user_features"):
        ALS(n_factors=3).fit(R).export_vectors(R, user_features=features)
