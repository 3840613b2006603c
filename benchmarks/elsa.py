"""ELSA: accuracy on Yelp2018 and MovieLens-1M."""

import pandas as pd

from benchmarks._measure import seconds
from benchmarks.accuracy import ncf_split
from benchmarks.linear import yelp2018
from sklearn_recsys import EASE, ELSA
from sklearn_recsys.model_selection import evaluate

# normalization and epochs: chosen on a tenth of each user's training cells, with 256 factors
_YELP2018 = {
    "item_normalization": 0.5,
    "batch_size": 1024,
    "max_epochs": 5,
    "early_stopping": False,
    "random_state": 0,
}


def accuracy():
    """Recall@20 and NDCG@20 on Yelp2018, HR@10 and NDCG@10 in NCF's split of ml-1m."""
    rows = {}
    X, y = yelp2018()
    for n_factors in (128, 256, 512):
        model = ELSA(n_factors, **_YELP2018)
        rows["Yelp2018", f"ELSA({n_factors})"] = _row(model, X, y, ["recall@20", "ndcg@20"])
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
