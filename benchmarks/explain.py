"""Explanations on MovieLens-1M: sums against scores, and what is lost without the top reason."""

import time

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.defaults import held_out
from sklearn_recsys.utils.discovery import all_recommenders

_USERS = 1000
_LEFT_OUT = ("MatrixFactorization", "MultVAE", "LightGCN", "SVAE", "NCF")
_SHORT = {"NCF": {"max_epochs": 1}, "SVAE": {"max_epochs": 1}}  # accuracy is not measured here
_FEWER = {"NCF": 100, "SVAE": 100}  # fold-in by gradient descent, and long recurrences


def _fitted(name, data):
    model = dict(all_recommenders())[name](**_SHORT.get(name, {}))
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    return model.fit(data[model.__sklearn_tags__().recommender_tags.values][0])


def _explained(model, n_users):
    """Return users, their first items and the scores of these, reasons, and milliseconds each."""
    X = model.interactions_
    users = np.random.RandomState(0).choice(X.shape[0], n_users, replace=False)
    items, scores = model.recommend(users, n=1, return_scores=True)
    start = time.process_time()
    why = model.explain(users, items)
    milliseconds = 1e3 * (time.process_time() - start) / n_users
    why["row"] = pd.Series(np.arange(n_users), index=users)[why["user"]].to_numpy()
    return users, items[:, 0], scores[:, 0], why, milliseconds


def additive(names=None):
    """Models whose scores are sums: the largest difference from the scores of first items."""
    data, rows = held_out("1m"), {}
    for name, cls in all_recommenders():
        if not cls().__sklearn_tags__().recommender_tags.additive or name == "ContentRecommender":
            continue
        if names and name not in names:
            continue
        model = _fitted(name, data)
        _, _, scores, why, milliseconds = _explained(model, _USERS)
        gaps = np.abs(why.groupby("row")["contribution"].sum() - scores)
        rows[name] = {
            "users": _USERS,
            "max |sum - score|": gaps.max(),
            "relative to the score": (gaps / np.abs(scores)).max(),
            "CPU ms": milliseconds,
        }
        print(name, rows[name], flush=True)
    return pd.DataFrame(rows).T


def leave_one_out(names=_LEFT_OUT):
    """Other models: scores and first places with histories that lack one item, if really removed.

    The item is the top reason, or another item of the history, drawn at random.
    """
    data, rows = held_out("1m"), {}
    for name in names:
        start = time.process_time()
        model = _fitted(name, data)
        seconds = time.process_time() - start
        users, items, scores, why, milliseconds = _explained(model, _FEWER.get(name, _USERS))
        first = why.drop_duplicates("row")  # the largest contribution
        others = why.drop(first.index)
        others = others.sample(frac=1, random_state=0).drop_duplicates("row").sort_values("row")
        row = {"users": len(users), "history": len(why) / len(users)}
        for label, removed in (("top", first), ("random", others)):
            own = removed["row"].to_numpy()
            X = model.interactions_[users[own]]
            shorter = X.tolil()
            shorter[np.arange(len(own)), removed["history_item"].to_numpy()] = 0
            shorter = sp.csr_array(shorter)
            lists = model.recommend(shorter, n=1, exclude=X)[:, 0]
            shown = {"n": 1, "exclude_seen": False, "candidates": items[own, None]}
            without = model.recommend(shorter, return_scores=True, **shown)[1][:, 0]
            loss = scores[own] - without
            row[f"lower, {label}"] = np.mean(loss > 0)
            row[f"no longer first, {label}"] = np.mean(lists != items[own])
            row[f"error, {label}"] = np.abs(loss - removed["contribution"].to_numpy()).max()
        rows[name] = {**row, "CPU ms": milliseconds, "fit CPU s": seconds}
        print(name, {key: round(float(value), 6) for key, value in rows[name].items()}, flush=True)
    return pd.DataFrame(rows).T.round(6)
