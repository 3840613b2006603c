"""Fits with a checkpoint, killed at random moments and started again.

Run ``python -m benchmarks.kills [number of kills] [--processes 2] [model ...]``. With several
processes, which train a model together, one of them is killed, and the others must raise an error.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from datetime import timedelta

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from sklearn.base import clone

from sklearn_recsys import ALS, NCF, SLIM, AutoRec, ImplicitMatrixFactorization
from sklearn_recsys.base._checkpoint import Part
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.neural import NeuralRecommender
from sklearn_recsys.persistence._encode import Encoder
from sklearn_recsys.utils.discovery import all_recommenders

N_KILLS = 100
KILLS_OF_A_FIT = 3
SEED = 0
SMALL = {"n_factors": 32, "max_epochs": 15, "random_state": 0}
VARIANTS = {
    ALS: [{"solver": "cholesky"}, {"solver": "cg"}],
    AutoRec: [{"kind": "item"}, {"kind": "user"}],
    ImplicitMatrixFactorization: [{"loss": loss} for loss in ("logistic", "bpr", "warp")],
    NCF: [{"architecture": "gmf"}, {"architecture": "neumf", "max_epochs": 6}],
    SLIM: [{"max_neighbors": None}, {"max_neighbors": 50}],
}
N_ITEMS = {SLIM: 1500}  # several blocks of columns


def _models():
    """Yield a label, a model and its data, for each iterative model and some of its variants."""
    for name, cls in all_recommenders():
        if "checkpoint" not in cls().get_params():
            continue
        for params in VARIANTS.get(cls, [{}]):
            model = cls(**{**{k: SMALL[k] for k in SMALL if k in cls().get_params()}, **params})
            make = make_interactions
            if model.__sklearn_tags__().recommender_tags.values == "rating":
                make = make_ratings
            label = ", ".join([name, *(str(v) for k, v in params.items() if k != "max_epochs")])
            yield label, model, make(600, N_ITEMS.get(cls, 200), random_state=0)


def _digest(model):
    """Return a digest of all that a file of the model would hold, except times."""
    if isinstance(model, NeuralRecommender):
        for epoch in model.net_.history:
            epoch["dur"] = 0.0
    encoder = Encoder()
    digest = hashlib.sha256(json.dumps(encoder.encode(model, "model")).encode())
    for array in encoder.arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _fit(model, X, path, rank, n_processes):
    """Fit in this process; write the digest, and the parts of the checkpoint that were resumed."""
    if n_processes > 1:
        method, wait = f"file://{path}.store", timedelta(seconds=10)
        dist.init_process_group("gloo", method, wait, n_processes, rank)
        model = clone(model).set_params(net_params={"distributed": True})
    resumed, load = [], Part.load

    def loaded(part):
        state = load(part)
        if state is not None:
            resumed.append(part.name)
        return state

    Part.load = loaded
    digest = _digest(clone(model).fit(X))
    with open(f"{path}.{rank}", "w") as file:
        json.dump([digest, sorted(resumed)], file)


def _in_children(model, X, path, n_processes, killed=0, seconds=None):
    """Fit in forked processes, one of which is killed after some seconds; return whether it was."""
    children = []
    for rank in range(n_processes):
        child = os.fork()
        if not child:
            status = 1
            try:
                _fit(model, X, path, rank, n_processes)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(children[killed], signal.SIGKILL)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if os.path.exists(f"{path}.store"):
        os.unlink(f"{path}.store")
    return statuses[killed] == -signal.SIGKILL


def _result(path, n_processes):
    """Return the digest, and the resumed parts in the first process, which reads the files."""
    results = []
    for rank in range(n_processes):
        try:
            with open(f"{path}.{rank}") as file:
                results.append(json.load(file))
            os.unlink(f"{path}.{rank}")
        except FileNotFoundError:  # refused, or another error
            results.append([None, []])
    digests = [digest for digest, _ in results]
    if None in digests:
        return None, results[0][1]
    return digests[0] if len(set(digests)) == 1 else "different", results[0][1]


def kills(n_kills=N_KILLS, names=(), n_processes=1):
    """Return a table of the kills of each model.

    Columns: fits; kills; those after which saved progress was resumed; fits that were lost: that
    failed, left files, or did not resume what was saved; fits that ended with other arrays.
    """
    torch.set_num_threads(1)  # a forked process has only one
    rng = random.Random(SEED)
    models = [
        item
        for item in _models()
        if (not names or item[0].split(",")[0] in names)
        and (n_processes == 1 or getattr(item[1], "_can_distribute", False))
    ]
    columns = ("fits", "kills", "resumed", "lost", "different")
    table = {label: dict.fromkeys(columns, 0) for label, *_ in models}
    expected, n_done = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        path, checkpoint = os.path.join(folder, "result"), os.path.join(folder, "checkpoint")
        while n_done < n_kills:
            for label, model, X in models:
                if n_done >= n_kills:
                    break
                if label not in expected:
                    digest = _digest(clone(model).fit(X))  # loads what forked processes need
                    start = time.perf_counter()
                    _in_children(model, X, path, n_processes)
                    duration = time.perf_counter() - start
                    expected[label] = _result(path, n_processes)[0], duration
                    if n_processes == 1 and expected[label][0] != digest:
                        raise AssertionError(f"{label}: two fits with one seed differ.")
                digest, duration = expected[label]
                row, model = table[label], clone(model).set_params(checkpoint=checkpoint)
                for attempt in range(KILLS_OF_A_FIT + 1):
                    saved, start = _saved(checkpoint), time.perf_counter()
                    last = attempt == KILLS_OF_A_FIT or n_done >= n_kills
                    seconds = None if last else rng.uniform(0, duration)
                    killed = rng.randrange(n_processes)
                    if not _in_children(model, X, path, n_processes, killed, seconds):
                        break
                    _result(path, n_processes)  # what others may have written before they ended
                    row["kills"] += 1
                    n_done += 1
                    row["resumed"] += bool(_saved(checkpoint))
                if attempt == 0:  # it was quicker than the kill
                    expected[label] = digest, min(duration, time.perf_counter() - start) / 2
                found, resumed = _result(path, n_processes)
                row["fits"] += 1
                row["lost"] += found is None or resumed != saved or bool(_saved(checkpoint))
                row["different"] += found is not None and found != digest
                for name in _saved(checkpoint):  # of a lost fit, for the next one
                    os.unlink(os.path.join(checkpoint, f"{name}.checkpoint"))
                print(f"{n_done} kills, {label}: {row}", file=sys.stderr, flush=True)
    table = pd.DataFrame(table).T
    table.loc["all"] = table.sum()
    return table


def _saved(checkpoint):
    """Return the sorted names of the parts that are saved."""
    names = os.listdir(checkpoint) if os.path.exists(checkpoint) else []
    return sorted(
        name.removesuffix(".checkpoint") for name in names if name.endswith(".checkpoint")
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("n_kills", type=int, nargs="?", default=N_KILLS)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_intermixed_args()
    print(kills(args.n_kills, args.models, args.processes).to_string())
