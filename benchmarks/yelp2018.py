"""Linear models on Yelp2018, in the split of LightGCN: all items are ranked, without the seen."""

import pandas as pd
from sklearn.base import clone

from benchmarks._measure import seconds
from benchmarks.linear import yelp2018
from benchmarks.scale import latency
from sklearn_recsys import (
    EASE,
    ELSA,
    SLIM,
    GraphFilter,
    ItemKNN,
    RecommenderPipeline,
    RP3beta,
)
from sklearn_recsys.model_selection import evaluate
from sklearn_recsys.preprocessing import BM25Transformer

_HALF = {"user_normalization": 0.5, "item_normalization": 0.5}
_LOW_PASS = {"n_factors": 256, "random_state": 0}
_DENOISING = {"dropout": 0.4, "max_diagonal": 1, "density": 0.02}
# of others: as published; all else is chosen on a tenth of each user's training cells, SLIM's on a
# tenth of all cells and 2,500 random items
_MODELS = {
    "ItemKNN, BM25": RecommenderPipeline(
        [("bm25", BM25Transformer()), ("model", ItemKNN(200, shrinkage=10))]
    ),
    "RP3beta": RP3beta(0.6, 0.5, n_neighbors=None, normalize=False),
    "GF-CF, as published": GraphFilter(256, low_pass=0.3, sharpening=0, random_state=0),
    "Turbo-CF, as published": GraphFilter(low_pass=0, sharpening=0.5, user_normalization=0.6),
    "GraphFilter": GraphFilter(256, sharpening=0.8, user_normalization=0.6, random_state=0),
    "ELSA": ELSA(
        256,
        item_normalization=0.5,
        batch_size=1024,
        max_epochs=5,
        early_stopping=False,
        random_state=0,
    ),
    "SLIM": SLIM(2.5e-4, 0.0025, user_normalization=0.25, item_normalization=0.25),
    "denoising": EASE(100, **_DENOISING),
    "denoising, low-pass": EASE(100, low_pass=0.2, **_DENOISING, **_LOW_PASS),
    "denoising, users normalized, low-pass": EASE(
        8, user_normalization=0.25, low_pass=0.2, **_DENOISING, **_LOW_PASS
    ),
    "ridge, normalized": EASE(2, max_diagonal=1, density=0.05, **_HALF),
    "EASE, as published": EASE(300),
}


def linear_models():
    """Recall@20, NDCG@20 and seconds. The dense model, the last one, takes 6 GiB and minutes."""
    X, y = yelp2018()
    rows = {}
    for name, model in _MODELS.items():
        model = clone(model)
        row = {"seconds of fit": seconds(lambda model=model: model.fit(X))}
        row |= evaluate(model, X, y, ["recall@20", "ndcg@20"]).iloc[0].to_dict()
        row["one new user, ms"] = latency(model, X)["ms"]
        rows[name] = row
        print(name, row, flush=True)
    return pd.DataFrame(rows).T.round(4)
