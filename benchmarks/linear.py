"""Linear models on real data: accuracy of the relatives of EASE, and the cost of new users."""

import os
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.model_selection import ParameterGrid

from benchmarks._measure import in_child, seconds
from benchmarks.accuracy import ncf_split
from sklearn_recsys import EASE
from sklearn_recsys.datasets import fetch_movielens, make_interactions
from sklearn_recsys.model_selection import random_holdout, sample_negatives
from sklearn_recsys.preprocessing import InteractionEncoder

_RELATIVES = {"dropout": [0, 0.3, 0.5], "max_diagonal": [0, 0.2, 1]}


def yelp2018():
    """Return the training and the test matrix of Yelp2018 in the split of LightGCN."""
    folder = Path(os.environ["SKLEARN_RECSYS_DATA"])
    train, test = (sp.load_npz(folder / f"yelp2018-{part}.npz") for part in ("train", "test"))
    return sp.csr_array(train).astype(np.float32), sp.csr_array(test).astype(np.float32)


def ml_100k_ua():
    """Return the split ua of ml-100k as matrices of ratings."""
    data = fetch_movielens("100k", fold="ua")
    encoder = InteractionEncoder().fit(data.interactions)
    return encoder.transform(data.train), encoder.transform(data.test)


def _normalized(user, item, l2):
    return {"user_normalization": [user], "item_normalization": [item], "l2": l2}


def _search(grids, X, y, **options):
    """Return the best parameters on validation cells for EASE, and for all of its relatives."""
    scores = []
    for grid in grids:
        for params in ParameterGrid({**_RELATIVES, **grid}):
            model = EASE(**params).fit(X)
            scores.append((model.score(X, y, **options), params))
    of_ease = [pair for pair in scores if not sum(pair[1].values()) - pair[1]["l2"]]
    return {
        name: max(pairs, key=lambda pair: pair[0])
        for name, pairs in {"EASE": of_ease, "best relative": scores}.items()
    }


def ease_relatives():
    """Choose on validation cells out of train, then fit to all of train."""
    rows = {}
    X, y = ml_100k_ua()
    grids = [
        {"l2": [500, 1300, 2600]},
        _normalized(0.25, 0, [100, 200, 400]),
        _normalized(0, 0.25, [50, 100, 200]),
        _normalized(0.25, 0.25, [5, 10, 20]),
        _normalized(0.5, 0.5, [0.3, 1, 4]),
    ]
    chosen = _search(grids, *random_holdout(X, 0.1, per_user=True, random_state=0))
    for name, pair in chosen.items():
        rows["ml-100k ua", name] = _row(pair, X, y)
    X, y, negatives = ncf_split()
    grids = [
        {"l2": [700, 1320, 2600]},
        _normalized(0.25, 0, [40, 80]),
        _normalized(0, 0.25, [50, 100]),
        _normalized(0.25, 0.25, [2.5, 5]),
    ]
    valid = random_holdout(X, 1, per_user=True, random_state=0)
    chosen = _search(grids, *valid, candidates=sample_negatives(X, n=99, random_state=0))
    for name, pair in chosen.items():
        rows["ml-1m NCF, 1 + 99", name] = _row(pair, X, y, candidates=negatives)
    return pd.DataFrame(rows).T


def _row(pair, X, y, metrics=("hr@10", "ndcg@10"), **options):
    score, params = pair
    model = EASE(**params)
    row = {"seconds of fit": round(seconds(lambda: model.fit(X)), 1), "validation": score}
    row |= {metric: model.score(X, y, metric=metric, **options) for metric in metrics}
    params = {name: value for name, value in params.items() if value}
    return {**row, "chosen": ", ".join(f"{name}={value}" for name, value in params.items())}


def ease_density():
    """Dense and sparse weights on Yelp2018, in a process each: figures, seconds and memory."""
    rows = {}
    for density in (0.005, 0.01, 0.02, None):
        run = partial(_fit_density, density=density)
        (row, weights), before, above, _ = in_child(yelp2018, run)
        rows["dense" if density is None else f"density={density}"] = {
            **row,
            "share of weights": weights,
            "interactions, GiB": before,
            "peak above, GiB": above,
        }
        print(rows, flush=True)
    return pd.DataFrame(rows).T.round(4)


def _fit_density(data, density):
    X, y = data
    model = EASE(300, density=density)
    row = {"seconds of fit": seconds(lambda: model.fit(X))}
    for metric in ("recall@20", "ndcg@20"):
        row[metric] = model.score(X, y, metric=metric)
    return row, (model.coef_ != 0).sum() / X.shape[1] ** 2


def ease_new_users():
    """EASE's partial_fit on 20,000 items against fit on all rows, its memory, and 50 updates."""
    row, before, above, _ = in_child(_fitted, _add_100_users)
    row["model and input, GiB"], row["peak of partial_fit above, GiB"] = before, above
    row["coef_, GiB"] = 4 * 20_000**2 / 2**30
    rows = {"20,000 items": row}
    X = make_interactions(6_000, 4_000, n_interactions=600_000, random_state=0)
    model, whole = EASE(300).fit(X[:5_000]), EASE(300).fit(X)
    for start in range(5_000, 6_000, 20):
        model.partial_fit(X[start : start + 20])
    rows["4,000 items, 50 times 20 users"] = {"largest deviation": _deviation(model, whole, X)}
    return pd.DataFrame(rows).T


def _fitted():
    X = make_interactions(30_100, 20_000, n_interactions=3_000_000, random_state=0)
    cpu = process_time()
    model = EASE(300)
    wall = seconds(lambda: model.fit(X[:30_000]))
    return X[30_000:], model, wall, process_time() - cpu


def _add_100_users(fitted):
    X, model, *of_fit = fitted
    cpu = process_time()
    of_update = seconds(lambda: model.partial_fit(X)), process_time() - cpu
    row = {}
    for name, fit, update in zip(("seconds", "CPU seconds"), of_fit, of_update, strict=True):
        row |= {f"{name} of fit": fit, f"of partial_fit, 100 users, {name}": update}
    return {**row, "ratio": of_update[1] / of_fit[1]}


def _deviation(model, expected, X):
    scores = expected.predict(X)
    return np.abs(model.predict(X) - scores).max() / np.abs(scores).max()
