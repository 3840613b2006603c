"""Models with user embeddings: the NCF split, ratings, new users, and speed."""

import os
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

from benchmarks._measure import peak, ratio, seconds
from benchmarks.accuracy import ncf_split, ratings
from sklearn_recsys import (
    ALS,
    EASE,
    NCF,
    EmbeddingNet,
    ImplicitMatrixFactorization,
    MatrixFactorization,
    PopularityRecommender,
)
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.model_selection import cell_kfold, evaluate, random_holdout
from sklearn_recsys.neural import NegativeSampler
from sklearn_recsys.neural._data.pair_batches import PairDataset
from sklearn_recsys.utils._cells import cell_rows

RANKERS = {
    "ImplicitMatrixFactorization()": ImplicitMatrixFactorization(),
    "NCF('gmf', n_factors=32)": NCF("gmf", n_factors=32),
    "NCF('mlp')": NCF("mlp"),
    "NCF('neumf')": NCF("neumf"),
}


def ranking():
    """Rank the latest item of each ml-1m user among the 99 published negatives."""
    X, items, negatives = ncf_split()
    models = {name: clone(model).set_params(random_state=0) for name, model in RANKERS.items()}
    models |= {
        "ALS()": ALS(random_state=0),
        "EASE(l2=1320)": EASE(l2=1320),
        "popularity": PopularityRecommender(),
    }
    rows = []
    for name, model in models.items():
        elapsed = seconds(partial(model.fit, X))
        row = evaluate({name: model}, X, items, ["hr@10", "ndcg@10"], candidates=negatives)
        row["fit, s"] = round(elapsed, 1)
        row["epochs"] = len(getattr(model, "history_", []))
        print(row.round(4).to_string(header=False), flush=True)
        rows.append(row)
    return pd.concat(rows).round(4)


def _surprise_folds(splits):
    """Return the RMSE of Surprise's SVD and the CPU seconds of its fit, on the same splits."""
    python = os.environ.get("SURPRISE_PYTHON")
    if not python:
        return np.full((len(splits), 2), np.nan)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for train, test in splits:
            for name, X in (("train", train), ("test", test)):
                cells = np.column_stack([cell_rows(X), X.indices, X.data])
                np.save(Path(folder, f"{name}.npy"), cells)
            run = subprocess.run(
                [python, "-c", _SURPRISE, folder], capture_output=True, text=True, check=True
            )
            results.append([float(number) for number in run.stdout.split()[-2:]])
    return np.array(results)


_SURPRISE = """
import sys, time
import numpy as np, pandas as pd
from surprise import SVD, Dataset, Reader
train, test = (np.load(f"{sys.argv[1]}/{name}.npy") for name in ("train", "test"))
frame = pd.DataFrame(train, columns=["user", "item", "rating"])
scale = (train[:, 2].min(), train[:, 2].max())
data = Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()
model = SVD(random_state=0)
start = time.process_time()
model.fit(data)
elapsed = time.process_time() - start
predicted = [model.predict(u, i).est for u, i, _ in test]
print(np.sqrt(np.mean((test[:, 2] - predicted) ** 2)), elapsed)
"""


def on_ratings():
    """Random splits and folds of ratings; everything is tuned on training data."""

    def folds(R):
        X, y, cv = cell_kfold(R, 5, random_state=0)
        return [(X[test], y[test]) for _, test in cv]

    def random_20(R, seeds):
        return [random_holdout(R, 0.2, random_state=seed) for seed in range(seeds)]

    protocols = {
        "ml-latest-small 2016, random 20 %": random_20(ratings("latest-small-2016"), 5),
        "ml-100k, random 20 %": random_20(ratings("100k"), 5),
        "ml-100k, 5 folds": folds(ratings("100k")),
        "ml-1m, 5 folds": folds(ratings("1m")),
    }
    models = {"MatrixFactorization()": MatrixFactorization(), "EmbeddingNet()": EmbeddingNet()}
    rows = {}
    for protocol, splits in protocols.items():
        results = {"Surprise's SVD": _surprise_folds(splits)}
        for name, model in models.items():
            results[name] = np.array([_rmse(model, s, *split) for s, split in enumerate(splits)])
        for name, values in results.items():
            errors, times = values.T
            rows[protocol, name] = {
                "RMSE": errors.mean(),
                "s.d. of RMSE": errors.std(ddof=1),
                "MSE": (errors**2).mean(),
                "fit, s": times.mean(),
            }
            print(protocol, name, rows[protocol, name], flush=True)
    return pd.DataFrame(rows).T.round(4)


def _rmse(model, seed, train, test):
    model = clone(model).set_params(random_state=seed)
    elapsed = seconds(partial(model.fit, train))
    return -model.score(train, test), elapsed


def new_users(models=None, n_new=500):
    """Fold in users held out of ml-1m from 80 % of their history; compare with training on it."""
    R = ratings("1m")
    given, held_out = random_holdout(R, 0.2, per_user=True, random_state=0)
    new = np.zeros(R.shape[0], dtype=bool)
    new[np.random.default_rng(0).choice(R.shape[0], n_new, replace=False)] = True
    models = models or {"MatrixFactorization()": MatrixFactorization(), **RANKERS}
    rows = {}
    for name, model in models.items():
        model = clone(model).set_params(random_state=0)
        row = {}
        for label, train in {"trained in": given, "folded in": given[~new]}.items():
            model.fit(train)
            row[label] = model.score(given[new], held_out[new], metric="ndcg@10")
        row["ratio"] = row["folded in"] / row["trained in"]
        rows[name] = row
        print(name, row, flush=True)
    return pd.DataFrame(rows).T.round(4)


def _fit_once(X, model):
    model.fit(X)


def memory():
    """Fit one epoch or iteration: the peak grows with interactions and embeddings only."""
    models = {
        "MatrixFactorization()": MatrixFactorization(max_epochs=1, random_state=0),
        "ImplicitMatrixFactorization()": ImplicitMatrixFactorization(max_epochs=1, random_state=0),
        "NCF('gmf', n_factors=32)": NCF("gmf", n_factors=32, max_epochs=1, random_state=0),
        "NCF('mlp')": NCF("mlp", max_epochs=1, random_state=0),
        "ALS()": ALS(max_iter=1, random_state=0),
    }
    rows = {}
    for name, model in models.items():
        make = make_ratings if name == "MatrixFactorization()" else make_interactions
        for n_users in (50_000, 200_000):
            params = {"n_interactions": 5_000_000, "random_state": 0}
            prepare = partial(make, n_users, 10_000, **params)
            before, above, elapsed = peak(prepare, partial(_fit_once, model=model))
            rows[f"{name}, {n_users:,} x 10,000, 5 M"] = {
                "before, GiB": before,
                "peak above, GiB": above,
                "users x items in float32, GiB": 4 * n_users * 10_000 / 2**30,
                "seconds": elapsed,
            }
            print(rows, flush=True)
    return pd.DataFrame(rows).T.round(2)


def speed(repeats=3):
    """Time an epoch of NCF against a bare loop, and the negative sampling alone against it."""
    X, _, _ = ncf_split()
    rows = {}
    for architecture in ("gmf", "mlp", "neumf"):
        ours, bare = _epochs(X, architecture)
        ours()
        rows[f"NCF('{architecture}'), an epoch"] = ratio(ours, [bare], repeats)
        if architecture == "gmf":
            rows["its sampling alone"] = ratio(_sampling(X), [ours], repeats)
    rows["MatrixFactorization() until Surprise's RMSE, ml-1m 90/10"] = _until_surprise()
    return pd.DataFrame(rows).T


def _sampling(X, n=4):
    sampler = NegativeSampler.from_csr(X)
    users = torch.from_numpy(cell_rows(X).astype(np.int64))
    order = torch.randperm(len(users))

    def sample():
        for cells in order.split(2**16):
            sampler.sample(users[cells], n)

    return sample


def _epochs(X, architecture, n_factors=32, n_negatives=4, batch_size=4096):
    """Return one epoch of NCF, and of a bare loop over the same model, batches and optimizer."""
    sizes = (64, 32, 16)
    params = {"batch_size": batch_size, "max_epochs": 1, "pretrain": False, "l2": 0.01}
    model = NCF(architecture, n_factors, sizes, **params, schedule="constant", lr=3e-3)
    data = PairDataset(X, NegativeSampler.from_csr(X), n_negatives)
    module = model._make_module(X)
    net = model._make_net(module, torch.device("cpu"), X.nnz, None).initialize()

    n_users, n_items = X.shape
    nn, branches = torch.nn, {"gmf": 1, "mlp": 1, "neumf": 2}[architecture]
    tables = [nn.Embedding(n, n_factors) for n in (n_users, n_items) for _ in range(branches)]
    widths = zip([2 * n_factors, *sizes], sizes, strict=False)
    tower = nn.Sequential(*(layer for pair in widths for layer in (nn.Linear(*pair), nn.ReLU())))
    width = n_factors * (architecture != "mlp") + sizes[-1] * (architecture != "gmf")
    output = nn.Linear(width, 1)
    bare = nn.ModuleList([*tables, tower, output])
    optimizer = torch.optim.Adam(bare.parameters(), lr=model.lr)
    positives = torch.from_numpy(cell_rows(X).astype(np.int64) * n_items + X.indices)
    loss_of = nn.BCEWithLogitsLoss()

    def loop():
        users = (positives // n_items).repeat(1 + n_negatives)
        negatives = torch.randint(n_items, (len(positives) * n_negatives,))
        keys = users[len(positives) :] * n_items + negatives
        while True:  # resample the positives
            found = torch.searchsorted(positives, keys).clamp(max=len(positives) - 1)
            wrong = (positives[found] == keys).nonzero().squeeze(1)
            if not len(wrong):
                break
            negatives[wrong] = torch.randint(n_items, (len(wrong),))
            keys = users[len(positives) :] * n_items + negatives
        items = torch.cat([positives % n_items, negatives])
        labels = torch.zeros(len(items))
        labels[: len(positives)] = 1
        for batch in torch.randperm(len(items)).split(batch_size):
            u, v = users[batch], items[batch]
            pairs = [
                (p(u), q(v)) for p, q in zip(tables[:branches], tables[branches:], strict=True)
            ]
            hidden = []
            if architecture != "mlp":
                hidden.append(pairs[0][0] * pairs[0][1])
            if architecture != "gmf":
                hidden.append(tower(torch.cat(pairs[-1], dim=1)))
            optimizer.zero_grad()
            loss = loss_of(output(torch.cat(hidden, dim=1)).squeeze(1), labels[batch])
            squares = sum(x.square().sum() for pair in pairs for x in pair)
            (loss + model.l2 / 2 * squares / len(u)).backward()
            optimizer.step()

    return lambda: net.partial_fit(data), loop


def _until_surprise(repeats=3):
    """Fit just enough epochs to reach the RMSE of Surprise's SVD; CPU seconds, in alternation.

    The parameters were chosen on a tenth of the training ratings.
    """
    train, test = random_holdout(ratings("1m"), 0.1, random_state=0)
    model = MatrixFactorization(
        n_factors=16, lr=0.02, l2=0.15, schedule="one_cycle", max_epochs=2, random_state=0
    )
    clone(model).set_params(max_epochs=1).fit(train[:100])  # imports what it needs
    rounds = []
    for _ in range(repeats):
        ((theirs, reference),) = _surprise_folds([(train, test)])
        start = time.process_time()
        model.fit(train)
        rounds.append([time.process_time() - start, reference])
    ours, reference = np.array(rounds).T
    return pd.Series(
        {
            "ours, s": np.median(ours),
            "reference, s": np.median(reference),
            "ratio": np.median(ours / reference),
            "repeats": repeats,
            "RMSE": -model.score(train, test),
            "its RMSE": theirs,
        }
    )
