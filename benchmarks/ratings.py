"""Rating models on five folds of the ratings of MovieLens: RMSE and seconds."""

import time

import numpy as np
import pandas as pd
from sklearn.base import clone

from benchmarks.accuracy import ratings
from sklearn_recsys import BiasRecommender, ItemKNNBaseline, MatrixFactorization, UserKNNBaseline
from sklearn_recsys.model_selection import cell_kfold

MODELS = {
    "BiasRecommender()": BiasRecommender(),
    "UserKNNBaseline()": UserKNNBaseline(),
    "ItemKNNBaseline()": ItemKNNBaseline(),
    "MatrixFactorization()": MatrixFactorization(),
    "MatrixFactorization(implicit=True)": MatrixFactorization(implicit=True),
}
# chosen on a tenth of the training ratings of one random 90/10 split
ONE_CYCLE = {"n_factors": 64, "lr": 0.015, "l2": 0.18, "schedule": "one_cycle", "max_epochs": 10}
MODELS_ML_1M = {
    "BiasRecommender()": BiasRecommender(),
    "MatrixFactorization, one cycle": MatrixFactorization(**ONE_CYCLE),
    "the same, implicit": MatrixFactorization(**ONE_CYCLE, implicit=True),
}


def folds(name):
    """Return the train and the test matrices of five folds of an edition's ratings."""
    X, y, cv = cell_kfold(ratings(name), 5, random_state=0)
    return [(X[test], y[test]) for _, test in cv]


def accuracy(name="100k", models=MODELS):
    """Fit models to each fold; times are CPU seconds of one thread."""
    rows = {}
    for label, model in models.items():
        results = []
        for seed, (train, test) in enumerate(folds(name)):
            model = clone(model)
            if "random_state" in model.get_params():
                model.set_params(random_state=seed)
            start = time.process_time()
            model.fit(train)
            fit = time.process_time() - start
            start = time.process_time()
            error = -model.score(train, test)
            results.append([error, fit, time.process_time() - start])
        errors, fit, predict = np.array(results).T
        rows[label] = {
            "RMSE": errors.mean().round(4),
            "s.d.": errors.std(ddof=1).round(4),
            "fit, s": fit.mean().round(3),
            "predict, s": predict.mean().round(3),
        }
        print(label, rows[label], flush=True)
    return pd.DataFrame(rows).T


def accuracy_ml_1m():
    return accuracy("1m", MODELS_ML_1M)
