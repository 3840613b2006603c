"""Ranking autoencoders: new users on ml-1m, training users on ml-100k, speed and memory."""

from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.stats import ttest_rel

from benchmarks._measure import peak, ratio
from benchmarks.accuracy import ratings
from benchmarks.speed import _ml20m
from sklearn_recsys import (
    CDAE,
    EASE,
    ItemKNN,
    MultDAE,
    MultVAE,
    PopularityRecommender,
    RecVAE,
)
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.metrics import ndcg_at_k, recall_at_k
from sklearn_recsys.model_selection import random_holdout, user_split
from sklearn_recsys.neural import RowDataset

N_HELD_OUT = 750  # validation users, and as many test users


def _likes():
    R = ratings("1m")
    R.data = (R.data > 3).astype(np.float32)
    R.eliminate_zeros()
    return R[np.diff(R.indptr) >= 5]


def _splits(R, seed):
    """Return the training users, and (history, held-out) pairs of validation and test users."""
    split = user_split(R, test_size=N_HELD_OUT, valid_size=N_HELD_OUT, random_state=seed)
    return split.X_train, (split.X_valid, split.y_valid), (split.X_test, split.y_test)


def stopped_by(model, histories, held_out):
    """Return a subclass of a neural model: trains on all of X, stops early by these users."""

    class Stopped(model):
        def _split(self, X, rng):
            return RowDataset(X), RowDataset(histories, held_out)

    return Stopped


def _best(models, train, valid):
    """Return the parameter and the fitted model with the best NDCG@100 on validation users."""
    scores = {}
    for name, model in models.items():
        scores[name] = model.fit(train).score(*valid, metric="ndcg@100")
    best = max(scores, key=scores.get)
    return best, models[best]


def _per_user(model, histories, held_out):
    ids = model.recommend(histories, n=100)
    values = {"NDCG@100": ndcg_at_k(held_out, ids, k=100, average=None)}
    for k in (20, 50):
        values[f"recall@{k}"] = recall_at_k(held_out, ids, k=k, average=None)
        values[f"recall@{k}, truncated"] = recall_at_k(
            held_out, ids, k=k, average=None, truncated=True
        )
    return pd.DataFrame(values)


def new_users(seeds=5):
    """Strong generalization; epochs, EASE's l2 and n_neighbors are tuned on validation users.

    Every model is fitted on the same train users, and compared on the same test users.
    """
    R = _likes()
    values, chosen = {}, {}
    for seed in range(seeds):
        train, valid, test = _splits(R, seed)
        grids = {
            "EASE": {l2: EASE(l2=l2) for l2 in (100, 200, 300, 500, 700, 1000, 1500, 2000)},
            "ItemKNN": {n: ItemKNN(n_neighbors=n) for n in (20, 50, 100, 200, 400)},
            "popularity": {"": PopularityRecommender()},
        }
        for name, model in {
            "RecVAE": RecVAE,
            "MultVAE": MultVAE,
            "MultDAE": MultDAE,
            "CDAE": CDAE,
        }.items():
            grids[name] = {"": stopped_by(model, *valid)(random_state=seed)}
        for name, grid in grids.items():
            parameter, model = _best(grid, train, valid)
            values.setdefault(name, []).append(_per_user(model, *test))
            parameter = parameter or len(getattr(model, "history_", []))
            chosen.setdefault(name, []).append(parameter)
            print(seed, name, parameter, values[name][-1].mean().round(4).to_dict(), flush=True)
    rows = {}
    ease = [table["NDCG@100"].to_numpy() for table in values["EASE"]]
    for name, tables in values.items():
        means = pd.DataFrame([table.mean() for table in tables])
        ratios = [t["NDCG@100"].mean() / e.mean() for t, e in zip(tables, ease, strict=True)]
        rows[name] = means.mean().round(4)
        rows[name]["s.e. of NDCG@100"] = round(means["NDCG@100"].std(ddof=1) / seeds**0.5, 4)
        rows[name]["/ EASE"] = round(np.mean(ratios), 4)
        rows[name]["s.e. of that"] = round(np.std(ratios, ddof=1) / seeds**0.5, 4)
        rows[name]["p, paired by user"] = ttest_rel(
            np.concatenate([t["NDCG@100"] for t in tables]), np.concatenate(ease)
        ).pvalue
        rows[name]["l2, neighbors or epochs"] = ", ".join(map(str, chosen[name]))
    return pd.DataFrame(rows).T


def training_users():
    """Weak generalization on ml-100k: 80/10/10 in each row, all unseen items are candidates."""
    R = ratings("100k")
    R.data[:] = 1
    rest, test = random_holdout(R, 0.1, per_user=True, random_state=0)
    train, valid = random_holdout(rest, 1 / 9, per_user=True, random_state=0)
    grids = {
        "EASE": {l2: EASE(l2=l2) for l2 in (50, 100, 200, 300, 500, 1000)},
        "popularity": {"": PopularityRecommender()},
    }
    for model in (MultVAE, MultDAE, RecVAE, CDAE):
        grids[model.__name__] = {"": stopped_by(model, train, valid)(random_state=0)}
    rows = {}
    for name, grid in grids.items():
        parameter, model = _best(grid, train, (train, valid))
        # exclude training and validation items, as RecBole does
        ids = model.recommend(train, n=10, exclude=valid)
        rows[name] = {
            "NDCG@10": ndcg_at_k(test, ids, k=10),
            "recall@10": recall_at_k(test, ids, k=10),
            "l2 or epochs": parameter or len(getattr(model, "history_", [])),
        }
    return pd.DataFrame(rows).T.round(4)


def _epochs(X, batch_size=500):
    """Return one epoch of MultVAE, and of a bare dense loop with the same updates."""
    n_users, n_items = X.shape
    model = MultVAE(hidden_layer_sizes=[600], batch_size=batch_size, max_epochs=1)
    module = model._make_module(X)
    net = model._make_net(module, torch.device("cpu"), n_users, None).initialize()
    data = RowDataset(X)
    linear, dropout = torch.nn.Linear, torch.nn.functional.dropout
    encoder = torch.nn.Sequential(linear(n_items, 600), torch.nn.Tanh(), linear(600, 400))
    decoder = torch.nn.Sequential(linear(200, 600), torch.nn.Tanh(), linear(600, n_items))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def dense():
        order = torch.randperm(n_users).numpy()
        for start in range(0, n_users, batch_size):
            x = torch.from_numpy(X[order[start : start + batch_size]].toarray())
            optimizer.zero_grad()
            means, log_variances = encoder(dropout(torch.nn.functional.normalize(x), 0.5)).chunk(
                2, dim=1
            )
            codes = means + torch.randn_like(means) * (log_variances / 2).exp()
            loss = -(decoder(codes).log_softmax(dim=1) * x).sum() / len(x)
            divergence = (means.square() + log_variances.exp() - log_variances - 1).sum() / 2
            (loss + 0.1 * divergence / len(x)).backward()
            optimizer.step()

    return lambda: net.partial_fit(data), dense


def speed():
    rows = {}
    ours, dense = _epochs(_likes())
    ours()
    rows["MultVAE, ml-1m, likes"] = ratio(ours, [dense], 5)
    R = ratings("1m", values="one")
    ours, dense = _epochs(R)
    rows["MultVAE, ml-1m"] = ratio(ours, [dense], 5)
    ours, dense = _epochs(_ml20m())
    rows["MultVAE, 138,493 x 26,744, 20 M"] = ratio(ours, [dense], 1)
    return pd.DataFrame(rows).T


def _fit_once(X):
    MultVAE(max_epochs=1, random_state=0).fit(X)


def memory():
    """Fit one epoch: the peak grows with interactions and weights, not with users × items."""
    rows = {}
    for n_users, n_cells in [(50_000, 5_000_000), (200_000, 5_000_000)]:
        prepare = partial(
            make_interactions, n_users, 10_000, n_interactions=n_cells, random_state=0
        )
        before, above, elapsed = peak(prepare, _fit_once)
        rows[f"MultVAE, {n_users:,} x 10,000, {n_cells:,} interactions"] = {
            "before, GiB": before,
            "peak above, GiB": above,
            "users x items in float32, GiB": 4 * n_users * 10_000 / 2**30,
            "seconds": elapsed,
        }
    return pd.DataFrame(rows).T.round(2)
