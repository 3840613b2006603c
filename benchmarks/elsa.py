"""ELSA: accuracy on MovieLens-1M."""

import pandas as pd

from benchmarks._measure import seconds
from benchmarks.accuracy import ncf_split
from sklearn_recsys import EASE, ELSA
from sklearn_recsys.model_selection import evaluate


def accuracy():
    """HR@10 and NDCG@10 in NCF's split of ml-1m."""
    rows = {}
    X, items, negatives = ncf_split()
    for model in (EASE(l2=1320), ELSA(random_state=0)):
        metrics, options = ["hr@10", "ndcg@10"], {"candidates": negatives}
        rows["ml-1m NCF, 1 + 99", str(model)] = _row(model, X, items, metrics, **options)
    return pd.DataFrame(rows).T.round(4)


def _row(model, X, y, metrics, **options):
    row = {"seconds of fit": seconds(lambda: model.fit(X))}
    row |= evaluate(model, X, y, metrics, **options).iloc[0].to_dict()
    print(model, row, flush=True)
    return row
