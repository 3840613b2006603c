"""Latency for one user: `recommend` for single histories, one after the other, on one thread."""

import time

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.accuracy import ncf_split
from sklearn_recsys import ALS, EASE, RecommenderPipeline
from sklearn_recsys.preprocessing import InteractionEncoder

_USERS = 500


def _quantiles(recommend, users):
    seconds = []
    for user in users:
        start = time.perf_counter()
        recommend(user)
        seconds.append(time.perf_counter() - start)
    return 1e3 * np.quantile(seconds, [0.1, 0.5, 0.9])


def _encoded(X):
    """Return an encoder of synthetic raw ids, and the matrix of their events."""
    rows, columns = X.nonzero()
    events = {"user": rows + 1000, "item": columns + 5000, "rating": 1.0, "timestamp": 0}
    encoder = InteractionEncoder()
    return encoder, encoder.fit_transform(pd.DataFrame(events))


def one_user():
    """Milliseconds for ten items, for training rows and for rows without one of their items."""
    X, _, _ = ncf_split()
    encoder, R = _encoded(X)
    training = [X[[row]] for row in range(_USERS)]
    new = [X[[row]] for row in range(_USERS)]
    for history in new:
        history.data[0] = 0
        history.eliminate_zeros()
    rows = {}
    for model in (EASE(), ALS(max_iter=2, random_state=0)):
        name = type(model).__name__
        model.fit(X)
        with threadpool_limits(1):
            rows[f"{name}, training user"] = _quantiles(model.recommend, training)
            rows[f"{name}, new user"] = _quantiles(model.recommend, new)
        pipe = RecommenderPipeline([("model", model)], encoder=encoder).fit(R)
        with threadpool_limits(1):
            ids = [[user] for user in encoder.user_ids_[:_USERS]]
            rows[f"{name}, raw id through a pipeline"] = _quantiles(pipe.recommend, ids)
    columns = ["10th percentile, ms", "median, ms", "90th percentile, ms"]
    return pd.DataFrame(rows, index=columns).T.round(3)
