"""SLIM: accuracy on public splits, and its solver against skrecsys's."""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks._measure import seconds
from benchmarks.accuracy import ncf_split
from benchmarks.linear import ml_100k_ua
from sklearn_recsys import SLIM
from sklearn_recsys.utils._threads import n_threads

# chosen on cells taken out of train: ten of each user of ml-100k, one of each user of ml-1m
_RATINGS = {"alpha": 2.0, "l1_ratio": 0.005}
_NCF = {
    "alpha": 3e-4,
    "l1_ratio": 0.005,
    "user_normalization": 0.25,
    "item_normalization": 0.25,
}
_THEIRS = """
import sys, time, warnings
import numpy as np
import scipy.sparse as sp
from skrecsys.recommendation import SLIMElasticNet
folder, alpha, l1_ratio, threads = sys.argv[1:]
X = sp.csr_array(sp.load_npz(folder + "/X.npz"))
pairs = np.column_stack(X.nonzero())
model = SLIMElasticNet(float(alpha), float(l1_ratio), X.shape[1], n_jobs=int(threads))
warnings.simplefilter("ignore")
start = time.perf_counter()
model.fit(pairs)
print(time.perf_counter() - start)
sp.save_npz(folder + "/W.npz", sp.csr_array(model.similarity_))
np.save(folder + "/items.npy", model.item_ids_)
"""


def accuracy():
    """Return the accuracy of models with tuned parameters on the test cells."""
    rows = {}
    X, y = ml_100k_ua()
    rows["ml-100k ua"] = _row(_RATINGS, X, y)
    X, y, negatives = ncf_split()
    rows["ml-1m NCF, 1 + 99"] = _row(_NCF, X, y, candidates=negatives)
    return pd.DataFrame(rows).T


def _row(params, X, y, **options):
    model = SLIM(**params)
    row = {"seconds of fit": round(seconds(lambda: model.fit(X)), 1)}
    for metric in ("hr@10", "ndcg@10"):
        row[metric] = model.score(X, y, metric=metric, **options)
    row["weights per item"] = model.coef_.nnz / X.shape[1]
    return {**row, "parameters": ", ".join(f"{name}={value}" for name, value in params.items())}


def speed(repeats=3):
    """Fit ml-1m alternating with skrecsys, and compare the objectives: the lower, the better.

    The environment variable SKRECSYS_PYTHON names an interpreter that has skrecsys.
    """
    X, *_ = ncf_split()
    python = os.environ.get("SKRECSYS_PYTHON")
    if not python:
        print("SKRECSYS_PYTHON is not set: no comparison with skrecsys")
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        sp.save_npz(Path(folder, "X.npz"), X)
        for alpha, l1_ratio in ((0.01, 0.1), (0.001, 0.05)):
            model = SLIM(alpha, l1_ratio)
            ours, theirs = [], []
            for _ in range(repeats):
                ours.append(seconds(lambda model=model: model.fit(X)))
                if python:
                    arguments = map(str, (folder, alpha, l1_ratio, n_threads()))
                    command = [python, "-c", _THEIRS, *arguments]
                    run = subprocess.run(command, capture_output=True, text=True, check=True)
                    theirs.append(float(run.stdout.split()[-1]))
            row = {"ours, s": np.median(ours), "objective": model.objective_}
            if python:
                row["reference, s"] = np.median(theirs)
                row["ratio"] = np.median(np.array(ours) / theirs)
                W = sp.load_npz(Path(folder, "W.npz"))
                items = np.load(Path(folder, "items.npy"))
                row["its objective"] = _objective(X[:, items], W, alpha, l1_ratio)
            rows[f"alpha={alpha}, l1_ratio={l1_ratio}"] = row
    return pd.DataFrame(rows).T


def _objective(X, W, alpha, l1_ratio):
    """Return the objective of SLIM in float64, summed over all items."""
    X, W = X.astype(np.float64), sp.csr_array(W).astype(np.float64)
    G = X.T @ X
    errors = G.diagonal().sum() - 2 * (G * W).sum() + ((G @ W) * W).sum()
    penalty = l1_ratio * np.abs(W.data).sum() + (1 - l1_ratio) * (W.data @ W.data) / 2
    return errors / (2 * X.shape[0]) + alpha * penalty
