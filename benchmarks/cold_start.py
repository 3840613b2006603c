"""Cold start on ml-1m: a tenth of the users or of the items is not in training, all are tested."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.two_tower import RANKER, _data, _likes
from sklearn_recsys import (
    EASE,
    ContentRecommender,
    PopularityRecommender,
    SwitchRecommender,
    TwoTower,
    VotingRecommender,
)
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.utils._cells import take_cells

_EASE = EASE(l2=300)


def _figures(model, X, y, groups, **features):
    """Return the NDCG@10 of all rows and of groups of them, and the values of the rows."""
    ids = model.recommend(X, 10, **features)
    values = ndcg_at_k(y, ids, average=None)
    figures = {name: np.nanmean(values[rows]) for name, rows in groups.items()}
    return {"all": np.nanmean(values), **figures}, values


def _compared(models, X, y, groups, chosen):
    """Return a table of the models, with paired differences of one of them from each other one."""
    results = {name: _figures(model, X, y, groups, **f) for name, (model, f) in models.items()}
    rows = {}
    for name, (figures, values) in results.items():
        difference = results[chosen][1] - values
        n = np.count_nonzero(~np.isnan(difference))
        rows[name] = figures | {
            f"{chosen} − this": np.nanmean(difference),
            "s.e. of it": np.nanstd(difference) / n**0.5,
        }
    return pd.DataFrame(rows).T.round(4)


def users(seed=0):
    """Rank for users of whom a tenth has attributes, but no history."""
    R, items, attributes = _data()
    likes, eligible = _likes(R)
    attributes = attributes.iloc[eligible]
    cold = np.random.RandomState(seed).permutation(likes.shape[0]) < likes.shape[0] // 10
    given, held_out = random_holdout(likes, 0.2, random_state=seed)
    known = {"user_features": attributes[~cold]}
    tower = TwoTower(items, random_state=seed, **RANKER)
    switch = SwitchRecommender([("tower", tower), ("ease", _EASE)], rule=[1])
    switch.fit(given[~cold], **known)
    tower, ease = switch.estimators_
    empty = sp.csr_array((cold.sum(), likes.shape[1]), dtype=np.float32)
    X = sp.vstack([given[~cold], empty], format="csr")
    y = sp.vstack([held_out[~cold], likes[cold]], format="csr")
    features = {"user_features": pd.concat([attributes[~cold], attributes[cold]])}
    popular = PopularityRecommender().fit(given[~cold])
    models = {
        "popularity": (popular, {}),
        "EASE": (ease, {}),
        "TwoTower": (tower, features),
        "switch": (switch, features),
    }
    is_new = np.arange(X.shape[0]) >= (~cold).sum()
    return _compared(models, X, y, {"known users": ~is_new, "new users": is_new}, "switch")


def items(seed=0):
    """Rank all items, of which a tenth has no interactions, only features.

    The weights are chosen with another tenth of the items taken out of the training matrix.
    """
    R, features, _ = _data()
    likes, _ = _likes(R)
    cold = np.random.RandomState(seed).permutation(likes.shape[1]) < likes.shape[1] // 10

    def without(X, items):
        """Return the interactions with other items and a fifth of them, and the rest."""
        new = take_cells(X, items[X.indices])
        given, held_out = random_holdout(take_cells(X, ~items[X.indices]), 0.2, random_state=seed)
        rows = (np.diff(given.indptr) > 0) & (np.diff((held_out + new).indptr) > 0)
        return given[rows], (held_out + new)[rows]

    train, test = without(likes, cold)
    blend = VotingRecommender([("ease", _EASE), ("content", ContentRecommender(features))])
    also_cold = ~cold & (np.random.RandomState(seed + 1).random(len(cold)) < 0.1)
    X_fit, X_valid = without(train, also_cold)
    weights = {}
    fitted = blend.fit(X_fit)
    for weight in (0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
        fitted.set_params(weights=[1 - weight, weight])
        weights[weight] = fitted.score(X_fit, X_valid)
    best = max(weights, key=weights.get)
    blend = blend.set_params(weights=[1 - best, best]).fit(train)
    ease, content = blend.estimators_
    models = {
        "popularity": (PopularityRecommender().fit(train), {}),
        "EASE": (ease, {}),
        "ContentRecommender": (content, {}),
        "blend": (blend, {}),
    }
    print("validation", {weight: round(score, 4) for weight, score in weights.items()}, flush=True)
    table = _compared(models, train, test, {}, "blend")
    cold_items = np.flatnonzero(cold)
    table["recall@50, new items"] = [
        model.score(train, test, metric="recall@50", candidates=cold_items)
        for model, _ in models.values()
    ]
    return table.round(4)
