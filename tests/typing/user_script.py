"""What a user may write, from events to a saved model.

`make lint` checks its types, and `make release-check` runs it where only the package is installed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV

import sklearn_recsys
from sklearn_recsys import (
    ALS,
    EASE,
    AutoRec,
    HoldoutSplit,
    InteractionEncoder,
    ItemKNN,
    MultVAE,
    PopularityRecommender,
    RecommenderPipeline,
    evaluate,
    leave_last_out,
    load,
    make_recommender_pipeline,
    random_holdout,
    save,
)
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.datasets import make_movies, make_ratings
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.preprocessing import BM25Transformer


class CoOccurrence(RecommenderMixin, BaseEstimator):
    """A model of one's own."""

    def _fit(self, X: csr_array) -> None:
        self.counts_ = (X.T @ X).toarray()

    def _score_items(self, X: csr_array) -> np.ndarray:
        return X @ self.counts_


def compare(train: csr_array, test: csr_array) -> pd.DataFrame:
    models = {
        "popular": PopularityRecommender(),
        "EASE": EASE(l2=100),
        "ALS": ALS(n_factors=4, max_iter=2, random_state=0),
        "ItemKNN": ItemKNN(n_neighbors=20),
        "MultVAE": MultVAE(16, (32,), max_epochs=2, device="cpu", random_state=0),
    }
    for model in models.values():
        model.fit(train)
    return evaluate(models, train, test, metrics=["ndcg@10", "coverage@10"])


def tune(train: csr_array, valid: csr_array, encoder: InteractionEncoder) -> GridSearchCV:
    steps = [("bm25", BM25Transformer()), ("knn", ItemKNN())]
    pipe = RecommenderPipeline(steps, encoder=encoder)
    grid = {"knn__n_neighbors": [10, 50]}
    return GridSearchCV(pipe, grid, cv=HoldoutSplit()).fit(train, valid)


def rating_error(random_state: int) -> float:
    R = make_ratings(60, 40, density=0.3, random_state=random_state)
    train, test = random_holdout(R, random_state=random_state)
    model = AutoRec(n_factors=8, max_epochs=2, random_state=random_state).fit(train)
    return -model.score(train, test)


def check_types(X: csr_array) -> None:
    """What a type checker, or the completion of an editor, knows of a fitted model."""
    model = ALS(n_factors=4, max_iter=2, random_state=0).fit(X)
    assert_type(model, ALS)
    assert_type(model.partial_fit(X), ALS)
    assert_type(CoOccurrence().fit(X), CoOccurrence)
    assert_type(MultVAE(16, (32,), max_epochs=1).fit(X), MultVAE)

    assert_type(model.recommend(X, n=5), NDArray[np.int64])
    ids, scores = model.recommend(0, n=5, return_scores=True)
    assert_type(ids, NDArray[np.int64])
    assert_type(scores, NDArray[np.float32])
    for flag in (False, True):
        model.recommend(return_scores=flag)

    assert_type(model.predict(X), NDArray[np.float32])
    assert_type(model.predict_pairs(X, [0, 1], [2, 3]), NDArray[np.float32])
    assert_type(model.score(X), float)
    assert_type(model.explain(0, ids), pd.DataFrame)
    assert_type(model.why_not(0, 3), pd.DataFrame)
    neighbors, similarities = model.similar_items([0, 1], n=3)
    assert_type(neighbors, NDArray[np.int64])
    assert_type(similarities, NDArray[np.float32])
    assert_type(model.transform(X), NDArray[np.float32])

    # with an encoder a pipeline returns frames of raw ids, without one arrays
    pipe = make_recommender_pipeline(BM25Transformer(), EASE()).fit(X)
    assert_type(pipe, RecommenderPipeline)
    assert_type(pipe.recommend(X), Any)


def main(folder: Path) -> None:
    movies = make_movies(n_users=200, n_items=100, random_state=0)
    encoder = InteractionEncoder()
    X = encoder.fit_transform(movies.interactions)
    order = InteractionEncoder(values="position").fit_transform(movies.interactions)
    print(len(encoder.user_ids_), "users,", len(encoder.item_ids_), "items,", X.nnz, "interactions")
    X_train, X_test = leave_last_out(X, order)
    print(compare(X_train, X_test).round(3).to_string())
    check_types(X_train)

    X_fit, X_valid = random_holdout(X_train, random_state=0)
    search = tune(X_fit, X_valid, encoder)
    print(search.best_params_, f"{search.best_score_:.3f}")
    best: RecommenderPipeline = search.best_estimator_  # unknown to a checker otherwise
    save(best, folder / "model.recsys")
    model: RecommenderPipeline = load(folder / "model.recsys")
    answer = model.recommend(encoder.user_ids_[:1], n=5)
    print(answer.assign(title=answer["item"].map(movies.items["title"])).to_string(index=False))

    ids, scores = EASE().fit(X_train).recommend(n=10, return_scores=True)
    assert np.all(np.diff(scores) <= 0)
    print(f"NDCG@10 {ndcg_at_k(X_test, ids):.3f}, RMSE {rating_error(0):.3f}")
    print("sklearn_recsys", sklearn_recsys.__version__)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
