"""Training by two processes against one, with one thread each."""

import time
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.accuracy import ratings
from sklearn_recsys import MatrixFactorization, MultVAE

_N_EPOCHS = 3


def _fits(process, n_processes, folder):
    """Fit each model; save its training curve, the seconds of its epochs and of CPU time."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store{n_processes}"
    dist.init_process_group("gloo", init_method=store, rank=process, world_size=n_processes)
    params = {"max_epochs": _N_EPOCHS, "early_stopping": False, "random_state": 0}
    if n_processes > 1:
        params["net_params"] = {"distributed": True}
    X, fits = ratings("1m"), {}
    models = {
        "MultVAE": MultVAE(**params),
        "MatrixFactorization": MatrixFactorization(**params),
        "MatrixFactorization, batches of 32,768": MatrixFactorization(batch_size=2**15, **params),
    }
    for name, model in models.items():
        binary = (X > 0).astype(np.float32) if isinstance(model, MultVAE) else X
        start = time.process_time()
        model.fit(binary)
        curve = model.history_
        fits[name] = (
            curve["train_loss"].to_numpy(),
            curve["dur"].sum(),
            time.process_time() - start,
        )
    torch.save(fits, f"{folder}/{n_processes}-{process}")
    dist.destroy_process_group()


def speed():
    with TemporaryDirectory() as folder:
        for n_processes in (1, 2):
            mp.spawn(_fits, args=(n_processes, folder), nprocs=n_processes)
        one, first, second = (
            torch.load(f"{folder}/{name}", weights_only=False) for name in ("1-0", "2-0", "2-1")
        )
    rows = {}
    for name, (losses, wall, cpu) in one.items():
        shared_losses, shared_wall, shared_cpu = first[name]
        rows[name] = {
            "1 process, s": wall,
            "2 processes, s": shared_wall,
            "ratio": shared_wall / wall,
            "CPU s of fit": cpu,
            "CPU s of fit, each of 2": (shared_cpu + second[name][2]) / 2,
            "loss difference": np.abs(shared_losses / losses - 1).max(),
        }
    return pd.DataFrame(rows).T
