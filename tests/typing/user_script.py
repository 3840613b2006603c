"""What a user may write, for a type checker: `make lint` runs pyright on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

import sklearn_recsys
from sklearn_recsys import (
    ALS,
    EASE,
    ItemKNN,
    MultVAE,
    PopularityRecommender,
    RecommenderPipeline,
    load,
    save,
)
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.model_selection import leave_last_out
from sklearn_recsys.preprocessing import BM25Transformer, InteractionEncoder


def main(folder: Path) -> float:
    X = csr_array(np.eye(4, dtype=np.float32))
    train, test = leave_last_out(X, X)
    model = EASE(l2=100).fit(train)
    save(model, folder / "ease.recsys")
    loaded = load(folder / "ease.recsys")
    ids = loaded.recommend(n=3)
    for other in (ALS(n_factors=2), ItemKNN(n_neighbors=2), PopularityRecommender(), MultVAE()):
        other.fit(train).recommend(0, n=2)
    encoder = InteractionEncoder(values="one")
    pipe = RecommenderPipeline([("bm25", BM25Transformer()), ("knn", ItemKNN())], encoder=encoder)
    pipe.fit(train)
    sklearn_recsys.metrics.recall_at_k(test, ids, k=3)
    print(sklearn_recsys.__version__, sklearn_recsys.datasets.make_interactions(5, 4).shape)
    return float(ndcg_at_k(test, ids, k=3))


print(main(Path()))
