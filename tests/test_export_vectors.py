"""Inner products of exported vectors are the scores, for every model with vectors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import TfidfTransformer

from sklearn_recsys import ALS, EASE, ELSA, MatrixFactorization, RecommenderPipeline, TwoTower
from sklearn_recsys.base import FactorsMixin
from sklearn_recsys.datasets import make_interactions, make_movies, make_ratings
from sklearn_recsys.preprocessing import InteractionEncoder
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


def test_pipelines_translate_raw_ids():
    movies = make_movies(n_users=50, n_items=30, random_state=0)
    encoder = InteractionEncoder()
    R = encoder.fit_transform(movies.interactions)
    steps = [("tfidf", TfidfTransformer()), ("als", ALS(n_factors=4, random_state=0))]
    pipe = RecommenderPipeline(steps, encoder=encoder).fit(R)
    ids = encoder.user_ids_[[7, 2]]
    users, items = pipe.export_vectors(ids)
    expected = pipe.predict(ids)
    pd.testing.assert_frame_equal(users @ items.T, expected, atol=1e-5)
    assert users.index.name == "user" and items.index.name == "item"
    of_all, same_items = pipe.export_vectors()
    assert of_all.index.tolist() == encoder.user_ids_.tolist()
    pd.testing.assert_frame_equal(items, same_items)
    mine = movies.interactions[movies.interactions["user"] == ids[0]].assign(user="stranger")
    stranger, _ = pipe.export_vectors(mine)
    assert stranger.index.tolist() == ["stranger"]
    assert_allclose(stranger, users[:1], rtol=1e-4, atol=1e-5)
    assert pipe.export_vectors([])[0].shape == (0, users.shape[1])
    arrays = RecommenderPipeline(pipe.steps).fit(R).export_vectors(np.array([7, 2]))
    assert_allclose(arrays[0] @ arrays[1].T, expected, rtol=1e-4, atol=1e-5)
    assert not hasattr(RecommenderPipeline([("ease", EASE())]), "export_vectors")
