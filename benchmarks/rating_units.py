"""Rating models on ratings in other units."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from sklearn.base import clone

from benchmarks.accuracy import ratings
from sklearn_recsys import (
    AutoRec,
    DeepAutoencoder,
    EmbeddingNet,
    MatrixFactorization,
    TwoTower,
)
from sklearn_recsys.model_selection import random_holdout

MODELS = (AutoRec, DeepAutoencoder, MatrixFactorization, EmbeddingNet, TwoTower)
UNITS = [(1e-6, 0), (0.2, 0), (20, 0), (1e4, 0), (5, -14.5), (2, 1000)]


def _in_unit(X, a, b):
    return csr_array((a * X.data.astype(np.float64) + b, X.indices, X.indptr), shape=X.shape)


def equivariance(name="100k", **params):
    """Fit on a · R + b: RMSE in stars, and the largest error of predictions mapped back."""
    train, test = random_holdout(ratings(name), 0.1, random_state=0)
    rows = {}
    for kind in MODELS:
        model = kind(random_state=0, **params)
        expected = model.fit(train).predict(train)
        span = train.data.max() - train.data.min()
        row = {"RMSE": -model.score(train, test), "epochs": len(model.history_)}
        for a, b in UNITS:
            X = _in_unit(train, a, b)
            predicted = clone(model).fit(X).predict(X)
            off = np.abs((predicted.astype(np.float64) - b) / a - expected).max() / span
            row[f"{a:g} r {b:+g}"] = off
        print(kind.__name__, row, flush=True)
        rows[kind.__name__] = row
    return pd.DataFrame(rows).T


def accuracy(name="latest-small", seeds=1):
    """RMSE with default parameters on half stars, random 90/10."""
    splits = [random_holdout(ratings(name), 0.1, random_state=seed) for seed in range(seeds)]
    rows = {}
    for kind in MODELS:
        errors = [
            -kind(random_state=seed).fit(train).score(train, test)
            for seed, (train, test) in enumerate(splits)
        ]
        rows[kind.__name__] = {"RMSE": np.mean(errors)}
        print(kind.__name__, errors, flush=True)
    return pd.DataFrame(rows).T.round(4)
