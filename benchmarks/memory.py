"""Peak resident memory at ml-20m's shape, in separate processes."""

import numpy as np
import pandas as pd

from benchmarks._measure import peak
from benchmarks.speed import _ml20m
from sklearn_recsys import EASE, ItemKNN


def _ease():
    """Return a model with random weights: fitting is measured elsewhere."""
    X = _ml20m()
    model = EASE()
    model.coef_ = np.random.default_rng(0).standard_normal((X.shape[1],) * 2, dtype=np.float32)
    model.interactions_ = X
    model.n_features_in_ = X.shape[1]
    model._fallback_ = np.ones(X.shape[1], dtype=np.float32)
    return model


def _item_knn():
    return ItemKNN().fit(_ml20m())


def _recommend(model):
    assert model.recommend(n=10).shape == (138_493, 10)


def _score(model):
    assert 0 <= model.score(model.interactions_) <= 1


def recommend_and_score():
    rows = {}
    for name, prepare in [("EASE", _ease), ("ItemKNN", _item_knn)]:
        for run in (_recommend, _score):
            before, above, elapsed = peak(prepare, run)
            rows[f"{name} {run.__name__[1:]}"] = {
                "model and input, GiB": before,
                "peak above, GiB": above,
                "seconds": elapsed,
            }
    return pd.DataFrame(rows).T.round(2)
