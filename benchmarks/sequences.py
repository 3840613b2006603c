"""Next items: the last item of each user, ranked among all items, by SASRec and other models."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sklearn_recsys import EASE, SVAE, ItemKNN, PopularityRecommender, SASRec
from sklearn_recsys.datasets import fetch_movielens
from sklearn_recsys.model_selection import evaluate, leave_last_out
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._cells import support

# chosen on the last but one item of each user
_MODELS = {
    "beauty": {
        "SASRec": SASRec(dropout=0.5, random_state=0),
        "SVAE": SVAE(next_k=1, max_length=50, random_state=0),
        "EASE": EASE(l2=300),
        "ItemKNN": ItemKNN(),
        "popularity": PopularityRecommender(),
    },
    "ml-1m": {
        "SASRec": SASRec(
            n_blocks=2,
            dropout=0.2,
            n_negatives=1024,
            lr=2e-3,
            batch_size=64,
            max_epochs=90,
            early_stopping=False,
            random_state=0,
        ),
        "SVAE": SVAE(next_k=1, random_state=0),
        "EASE": EASE(),
        "ItemKNN": ItemKNN(),
        "popularity": PopularityRecommender(),
    },
}
_ORDERED = {"SASRec", "SVAE"}


def beauty():
    """Return the positions of Amazon Beauty's interactions, 22,363 users and 12,101 items."""
    path = Path(os.environ["SKLEARN_RECSYS_DATA"]) / "beauty.txt"
    histories = [np.array(line.split()[1:], dtype=np.int64) - 1 for line in path.open()]
    lengths = [len(items) for items in histories]
    positions = np.concatenate([np.arange(1, length + 1) for length in lengths])
    X = sp.csr_array((positions, np.concatenate(histories), np.cumsum([0, *lengths])))
    X.sort_indices()
    return X


def movielens():
    """Return the positions of ml-1m's ratings, of items with at least five."""
    events = fetch_movielens("1m").interactions
    events = events[events.groupby("item")["item"].transform("size").ge(5)]
    return InteractionEncoder(values="position").fit_transform(events)


def validation(data, models):
    """Evaluate models on the last but one item of each user, fitted without it and the last one."""
    return _evaluated(leave_last_out(load(data))[0], models)


def load(data):
    """Return the positions of a data set by its name."""
    return {"beauty": beauty, "ml-1m": movielens}[data]()


def _evaluated(X, models):
    X, held_out = leave_last_out(X)
    rows = {}
    for name, model in models.items():
        known = X if model.__sklearn_tags__().recommender_tags.values == "order" else support(X)
        start = time.process_time()
        model.fit(known)
        row = {"CPU seconds of fit": time.process_time() - start}
        row |= evaluate(model, known, held_out, ("recall@10", "ndcg@10")).iloc[0].to_dict()
        rows[name] = row | {"epochs": len(getattr(model, "history_", ()))}
        print(name, rows[name], flush=True)
    return pd.DataFrame(rows).T.round(4)


def accuracy():
    """Fit on all but the last item of each user of both data sets, and rank that one."""
    return pd.concat({data: _evaluated(load(data), models) for data, models in _MODELS.items()})
