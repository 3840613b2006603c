"""Training with products in bfloat16 against float32."""

import time

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

from benchmarks.accuracy import ratings
from benchmarks.sequences import movielens
from sklearn_recsys import MultVAE, RecVAE, SASRec

_N_EPOCHS = 2


def speed():
    """Train in both precisions in turn; return the least CPU seconds of an epoch.

    NDCG@10 is that of 500 users who were not trained on, after these epochs.
    """
    torch.set_num_threads(1)
    implicit, ordered = (ratings("1m") > 0).astype(np.float32), movielens()
    params = {"max_epochs": _N_EPOCHS, "early_stopping": False, "random_state": 0}
    sasrec = SASRec(n_blocks=2, dropout=0.2, n_negatives=1024, batch_size=64, **params)
    cases = {
        "MultVAE": (MultVAE(**params), implicit[:5000], implicit[-500:]),
        "SASRec": (sasrec, ordered[:500], ordered[-500:]),
        "RecVAE": (RecVAE(**params), implicit[:5000], implicit[-500:]),
    }
    rows = {}
    for name, (model, X, new) in cases.items():
        row = {}
        for precision in ("float32", "bf16") * 3:
            fitted = clone(model).set_params(net_params={"precision": precision})
            start = time.process_time()
            fitted.fit(X)
            spent = (time.process_time() - start) / _N_EPOCHS
            row[f"{precision}, s"] = min(spent, row.get(f"{precision}, s", spent))
            row[f"{precision}, loss"] = fitted.history_["train_loss"].iloc[-1]
            row[f"{precision}, NDCG@10"] = fitted.score(new)
        row["ratio"] = row["bf16, s"] / row["float32, s"]
        rows[name] = row
        print(name, row, flush=True)
    return pd.DataFrame(rows).T.round(4)
