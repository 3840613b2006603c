"""Known figures on real data, derived independently of this package."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_recsys import (
    EASE,
    SLIM,
    BiasRecommender,
    ItemKNNBaseline,
    PopularityRecommender,
    RecommenderPipeline,
    UserKNNBaseline,
)
from sklearn_recsys.datasets import fetch_movielens, fetch_ncf_split
from sklearn_recsys.metrics import make_recommender_scorer
from sklearn_recsys.model_selection import cell_kfold
from sklearn_recsys.preprocessing import InteractionEncoder


def needs(data_home, archive):
    if not ((data_home / f"{archive}.zip").exists() or (data_home / archive).exists()):
        pytest.skip(f"no {archive}.zip in SKLEARN_RECSYS_DATA={data_home}")
    return data_home


@pytest.fixture(scope="module")
def ml_100k(data_home):
    """Return the split `ua` as matrices of ratings, all items of the data set as columns."""
    data = fetch_movielens("100k", fold="ua", data_home=needs(data_home, "ml-100k"))
    encoder = InteractionEncoder().fit(data.interactions)
    return encoder, encoder.transform(data.train), encoder.transform(data.test)


@pytest.fixture(scope="module")
def ncf(data_home):
    """Return the training matrix, the held-out item and the negatives of each user."""
    data = fetch_ncf_split("ml-1m", data_home=needs(data_home, "ncf-ml-1m"))
    cells = (data.train["user"].to_numpy(), data.train["item"].to_numpy())
    train = sp.csr_array(
        (np.ones(len(data.train), np.float32), cells), shape=(data.n_users, data.n_items)
    )
    assert np.array_equal(data.test["user"], np.arange(data.n_users))
    return train, data.test["item"].to_numpy(), data.negatives


def test_ease_on_ml_100k(ml_100k):
    _, train, test = ml_100k
    assert train.shape == (943, 1682)
    assert np.all(np.diff(test.indptr) == 10)
    model = EASE(l2=500).fit(train)
    expected = {"ndcg": 0.27672, "hr": 0.90350, "precision": 0.23818}
    for metric, value in expected.items():
        assert model.score(train, test, metric=metric) == pytest.approx(value, abs=2e-4)
    # figures that others publish for the same split
    for metric, value in {"map": 0.1444, "mrr": 0.5888}.items():
        assert model.score(train, test, metric=metric) == pytest.approx(value, abs=2e-4)


def test_ease_with_the_transposed_weights_is_another_model(ml_100k):
    """The figures above tell the orientation of the weights."""
    _, train, test = ml_100k
    model = EASE(l2=500).fit(train)
    model.coef_ = np.ascontiguousarray(model.coef_.T)
    assert abs(model.score(train, test) - 0.27672) > 0.005


def test_slim_on_ml_100k(ml_100k):
    """Penalties chosen on ten cells of each user, taken out of train."""
    _, train, test = ml_100k
    model = SLIM(alpha=2.0, l1_ratio=0.005).fit(train)
    assert model.score(train, test) == pytest.approx(0.3155, abs=1e-3)


def test_baselines_and_neighbors_on_ml_100k(data_home):
    """Five folds of the ratings: Surprise reports .944 for BaselineOnly and .931 for KNNBaseline.

    The folds differ, by which the means differ by a few thousandths at most.
    """
    data = fetch_movielens("100k", data_home=needs(data_home, "ml-100k"))
    X, y, cv = cell_kfold(InteractionEncoder().fit_transform(data.interactions), 5, random_state=0)

    def rmse(model, n_folds=5):
        errors = [-model.fit(X[test]).score(X[test], y[test]) for _, test in cv[:n_folds]]
        return np.mean(errors)

    theirs = BiasRecommender(user_l2=15, item_l2=10)
    assert rmse(theirs) == pytest.approx(0.944, abs=0.003)
    assert rmse(BiasRecommender()) < 0.944
    assert rmse(ItemKNNBaseline(), 2) < rmse(UserKNNBaseline(), 2) < 0.931


def test_raw_ids_on_ml_100k(ml_100k):
    encoder, train, _ = ml_100k
    pipe = RecommenderPipeline([("ease", EASE(l2=500))], encoder=encoder).fit(train)
    frame = pipe.recommend([1, 943], n=10, return_scores=True)
    ids = EASE(l2=500).fit(train).recommend([0, 942])
    assert frame["item"].tolist() == encoder.item_ids_[ids].ravel().tolist()
    assert isinstance(frame, pd.DataFrame) and len(frame) == 20


def test_ease_on_the_ncf_split(ncf):
    train, held_out, negatives = ncf
    assert train.shape == (6040, 3706)
    scorer = make_recommender_scorer(["hr@10", "ndcg@10"], candidates=negatives)
    scores = scorer(EASE(l2=1320).fit(train), train, held_out)
    assert scores["hr@10"] == pytest.approx(0.7192, abs=4e-4)
    assert scores["ndcg@10"] == pytest.approx(0.4494, abs=4e-4)


def test_popularity_on_the_ncf_split(ncf):
    train, held_out, negatives = ncf
    model = PopularityRecommender().fit(train)
    assert 0.452 <= model.score(train, held_out, metric="hr@10", candidates=negatives) <= 0.4545
