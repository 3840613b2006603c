"""ALS: accuracy on the NCF split of ml-1m, new users, and speed against `implicit`."""

import os
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from threadpoolctl import threadpool_limits

from benchmarks._measure import ratio, seconds
from benchmarks.accuracy import ncf_split, ratings
from sklearn_recsys import ALS, EASE, PopularityRecommender
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.model_selection import evaluate, random_holdout

# tuned on each user's last training interaction, among 99 sampled items
TUNED = {
    "n_factors": 192,
    "l2": 0.007,
    "unobserved_weight": 0.3,
    "max_iter": 16,
    "solver": "cg",
}


def accuracy():
    """Rank the latest item of each ml-1m user among the 99 published negatives."""
    X, items, negatives = ncf_split()
    tuned = ", ".join(f"{name}={value}" for name, value in TUNED.items())
    models = {
        "ALS()": ALS(random_state=0),
        f"ALS({tuned})": ALS(**TUNED, random_state=0),
        "EASE(l2=1320)": EASE(l2=1320),
        "popularity": PopularityRecommender(),
    }
    times = {name: seconds(partial(model.fit, X)) for name, model in models.items()}
    table = evaluate(models, X, items, ["hr@10", "ndcg@10"], candidates=negatives).round(4)
    table["fit, s"] = pd.Series(times).round(2)
    return table


def new_users(n_new=500):
    """Fold in users held out of ml-1m from 80 % of their history; compare with training on it."""
    R = ratings("1m")
    R.data[:] = 1
    given, held_out = random_holdout(R, 0.2, per_user=True, random_state=0)
    new = np.zeros(R.shape[0], dtype=bool)
    new[np.random.default_rng(0).choice(R.shape[0], n_new, replace=False)] = True
    rows = {}
    for name, params in (("default parameters", {}), ("tuned", TUNED)):
        model = ALS(**params, random_state=0)
        trained_in = model.fit(given).score(given[new], held_out[new], metric="ndcg@10")
        folded_in = model.fit(R[~new]).score(given[new], held_out[new], metric="ndcg@10")
        # with 80 % of the other users, too, only the fold-in differs
        same_data = model.fit(given[~new]).score(given[new], held_out[new], metric="ndcg@10")
        rows[name] = {
            "NDCG@10, trained in": trained_in,
            "folded in": folded_in,
            "ratio": folded_in / trained_in,
            "folded in, 80 % of the others, too": same_data,
            "its ratio": same_data / trained_in,
        }
    return pd.DataFrame(rows).T.round(4)


# one iteration first: implicit loads libraries and starts its threads
_IMPLICIT = """
import sys, time
import numpy as np, scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
folder, use_cg, threads, alpha, l2, factors, iterations = sys.argv[1], *map(float, sys.argv[2:])
X = sp.csr_matrix(sp.load_npz(folder + "/X.npz"))
def model(iterations):
    return AlternatingLeastSquares(
        int(factors), regularization=l2, alpha=alpha, iterations=int(iterations),
        use_cg=bool(use_cg), use_gpu=False, num_threads=int(threads), random_state=0,
    )
model(1).fit(X, show_progress=False)
fitted = model(iterations)
start, cpu = time.perf_counter(), time.process_time()
fitted.fit(X, show_progress=False)
print(time.perf_counter() - start, time.process_time() - cpu)
np.savez(folder + "/factors.npz", users=fitted.user_factors, items=fitted.item_factors)
"""


def _fit_implicit(python, folder, *numbers):
    """Fit implicit's ALS in its own interpreter; return seconds, CPU seconds and the factors."""
    command = [python, "-c", _IMPLICIT, folder, *map(str, numbers)]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    factors = np.load(Path(folder, "factors.npz"))
    return *map(float, run.stdout.split()[-2:]), factors["users"], factors["items"]


def _fit_ours(model, X, threads):
    """Return the seconds and the CPU seconds of a fit with some threads."""
    with threadpool_limits(threads):
        start, cpu = time.perf_counter(), time.process_time()
        model.fit(X)
        return time.perf_counter() - start, time.process_time() - cpu


def _ndcg_of(users, items, held_out, negatives):
    """Return NDCG@10 of the held-out items, each among its negatives."""
    ids = np.column_stack([held_out, negatives])  # may contain an item twice
    scores = np.full((len(users), len(items)), -np.inf)
    np.put_along_axis(scores, ids, np.einsum("uf,ucf->uc", users, items[ids]), axis=1)
    best = np.argsort(-scores, axis=1)[:, :10]
    truth = sp.csr_array(
        (np.ones(len(held_out)), held_out, np.arange(len(held_out) + 1)), (len(users), len(items))
    )
    return ndcg_at_k(truth, best, k=10)


def speed(repeats=5, n_factors=64, max_iter=10, alpha=5.0, l2=30.0, threads=2):
    """Fit ml-1m alternating with implicit, and recommend to all users; NDCG@10 as in `accuracy`.

    Each figure is the least of some fits, as other processes only make them longer. The environment
    variable IMPLICIT_PYTHON names an interpreter that has implicit.
    """
    X, held_out, negatives = ncf_split()
    models = {s: ALS(n_factors, max_iter=max_iter, solver=s) for s in ("cg", "cholesky")}
    rows = {}
    python = os.environ.get("IMPLICIT_PYTHON")
    if not python:
        print("IMPLICIT_PYTHON is not set: no comparison with implicit")
    with tempfile.TemporaryDirectory() as folder:
        sp.save_npz(Path(folder, "X.npz"), X)
        for solver, model in models.items():
            model.set_params(random_state=0).fit(X)
            settings = alpha, l2, n_factors, max_iter
            ours, theirs = {1: [], threads: []}, {1: [], threads: []}
            for _ in range(repeats):
                for n in ours:
                    ours[n].append(_fit_ours(model, X, n))
                    if python:
                        *times, users, items = _fit_implicit(
                            python, folder, int(solver == "cg"), n, *settings
                        )
                        theirs[n].append(times)
            row = _least("ours", ours)
            row["NDCG@10"] = model.score(X, held_out, metric="ndcg@10", candidates=negatives)
            if python:
                row |= _least("implicit", theirs)
                for name in list(_least("", ours)):
                    row[f"ratio{name}"] = row[f"ours{name}"] / row[f"implicit{name}"]
                row["its NDCG@10"] = _ndcg_of(users, items, held_out, negatives)
            rows[f"fit, {solver}, against implicit's"] = row
    fits = pd.DataFrame(rows).T.round(4)
    return pd.concat([fits, pd.DataFrame(_lists(models["cholesky"], X, repeats)).T]).T


def _least(name, times):
    """Return the least seconds with one thread and with several, and CPU seconds with one."""
    row = {f"{name}, {n} threads, s": min(wall for wall, _ in times[n]) for n in times}
    return row | {f"{name}, 1 threads, CPU s": min(cpu for _, cpu in times[1])}


def _lists(model, X, repeats, block=1024):
    """Time the top-10 of all users against a product of the factors and `torch.topk`."""
    users, items = (torch.from_numpy(f) for f in (model.user_factors_, model.item_factors_))
    rows_of = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))

    def bare():
        for start in range(0, X.shape[0], block):
            cells = slice(X.indptr[start], X.indptr[min(start + block, X.shape[0])])
            scores = users[start : start + block] @ items.T
            scores[rows_of[cells] - start, X.indices[cells]] = -np.inf
            torch.topk(scores, 10)

    row = ratio(lambda: model.recommend(n=10), [bare], repeats)
    row["user factors, s"] = np.median([seconds(lambda: model.transform(X)) for _ in range(3)])
    return {"top-10 of 6,040 users against a bare product and top-k": row}
