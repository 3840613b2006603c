"""The fit of every model with its default parameters: seconds, epochs and accuracy."""

import time

import numpy as np
import pandas as pd
import torch

from benchmarks.accuracy import ratings
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.model_selection import leave_last_out, random_holdout
from sklearn_recsys.utils.discovery import all_recommenders

# models that read features of items, and those without a fit to speak of
LEFT_OUT = {"ContentRecommender", "RandomRecommender"}


def product_seconds(n=4096):
    """Return the CPU seconds of a float32 product of two n × n matrices, a unit of this machine."""
    left, right = torch.rand(2, n, n)
    start = time.process_time()
    left @ right
    return time.process_time() - start


def held_out(name):
    """Return train and test matrices of an edition of MovieLens by what a model reads.

    Of each user's cells a random tenth is held out; for models that read the order, the last cell.
    """
    R = ratings(name)
    train, test = random_holdout(R, 0.1, per_user=True, random_state=0)
    ones = [X.copy() for X in (train, test)]
    for X in ones:
        X.data[:] = 1
    positions = leave_last_out(ratings(name, values="position"))
    return {"rating": (train, test), "order": positions, "binary": ones, "weight": ones}


def default_fit(model, train, test):
    """Fit a model; return its CPU and wall seconds, its epochs, and its accuracy on the test part.

    The accuracy is the RMSE of rating models, and NDCG@10 over all unseen items of the others, with
    its standard error over the test ratings or the users.
    """
    values = model.__sklearn_tags__().recommender_tags.values
    unit = product_seconds()
    cpu, wall = time.process_time(), time.perf_counter()
    model.fit(train)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    unit = (unit + product_seconds()) / 2
    row = {"CPU s": cpu, "wall s": wall, "products": cpu / unit}
    row["epochs"] = len(model.history_) if hasattr(model, "history_") else np.nan
    if values == "rating":
        cells = test.tocoo()
        errors = (model.predict_pairs(train, cells.row, cells.col) - cells.data) ** 2
        row["RMSE"] = np.sqrt(errors.mean())
        row["s.e."] = standard_error(errors) / (2 * row["RMSE"])  # the delta method
    else:
        gains = ndcg_at_k(test, model.recommend(n=10), k=10, average=None)
        row["NDCG@10"] = np.nanmean(gains)
        row["s.e."] = standard_error(gains)
    return row


def standard_error(values):
    """Return the standard error of the mean of values, without those that are NaN."""
    return np.nanstd(values, ddof=1) / np.sqrt(np.isfinite(values).sum())


def default_fits(edition="1m", names=None):
    """Fit every model with its default parameters, or the named ones."""
    data, rows = held_out(edition), {}
    for name, cls in all_recommenders():
        if name in LEFT_OUT or (names and name not in names):
            continue
        model = cls()
        if "random_state" in model.get_params():
            model.set_params(random_state=0)
        values = model.__sklearn_tags__().recommender_tags.values
        rows[name] = default_fit(model, *data[values])
        print(name, {key: round(float(value), 4) for key, value in rows[name].items()}, flush=True)
    return pd.DataFrame(rows).T.round(4)
