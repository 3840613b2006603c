"""SimpleX and LightGCN on Yelp2018, SimpleX for new users of ml-1m, and WARP against BPR."""

import time
from functools import partial

import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import KFold

from benchmarks import pairs
from benchmarks.accuracy import ncf_split, ratings
from benchmarks.linear import yelp2018
from sklearn_recsys import ImplicitMatrixFactorization, LightGCN, SimpleX
from sklearn_recsys.model_selection import evaluate
from sklearn_recsys.utils._content_split import hold_out_by_content

# chosen on a tenth of each user's training cells
_ONE_CYCLE = {"schedule": "one_cycle", "early_stopping": False, "random_state": 0}
_YELP2018 = [
    SimpleX(dropout=0.0, max_epochs=80, **_ONE_CYCLE),
    LightGCN(batch_size=512, max_epochs=60, **_ONE_CYCLE),
]


def cpu_seconds(function):
    """Return the seconds of all processors that a call takes."""
    start = time.process_time()
    function()
    return time.process_time() - start


def yelp2018_test():
    """Recall@20 and NDCG@20 on the test cells."""
    X, y = yelp2018()
    rows = {}
    for model in map(clone, _YELP2018):
        row = {"CPU seconds": cpu_seconds(partial(model.fit, X)), "epochs": len(model.history_)}
        row |= evaluate(model, X, y, ["recall@20", "ndcg@20"]).iloc[0].to_dict()
        rows[str(model)] = row
        print(model, row, flush=True)
    return pd.DataFrame(rows).T.round(4)


def new_users():
    """Users held out of ml-1m from their histories alone, against training on them."""
    one_cycle = {"schedule": "one_cycle", "max_epochs": 25, "early_stopping": False}
    return pairs.new_users(models={"SimpleX": SimpleX(**one_cycle)})


# epochs on NCF's split and on the likes, which take about equal times; the penalty is the
# best of a few on one training item of each user
_SAME_TIME = {
    "BPR": (ImplicitMatrixFactorization(64, loss="bpr", n_negatives=1, l2=0.01), (14, 16)),
    "WARP": (ImplicitMatrixFactorization(64, loss="warp", l2=0.03), (7, 9)),
}


def warp():
    """WARP against BPR after equal times: NCF's split, and a fold of new users of ml-1m."""
    X, items, negatives = ncf_split()
    R = ratings("1m")
    R.data = (R.data >= 4).astype(R.dtype)
    R.eliminate_zeros()
    train, test = next(KFold(5, shuffle=True, random_state=0).split(R))
    protocols = {
        "NCF, 1 + 99": (X, X, items, {"candidates": negatives}),
        "new users": (R[train], *hold_out_by_content(R[test]), {}),  # as in `score`
    }
    rows = {}
    for name, (model, epochs) in _SAME_TIME.items():
        params = {"validation_fraction": 0.006, "n_iter_no_change": 99, "random_state": 0}
        for n, (protocol, (X, known, y, options)) in zip(epochs, protocols.items(), strict=True):
            model = clone(model).set_params(max_epochs=n, **params)
            row = {"CPU seconds": cpu_seconds(partial(model.fit, X)), "epochs": n}
            row |= evaluate(model, known, y, ["hr@10", "ndcg@10"], **options).iloc[0].to_dict()
            rows[protocol, name] = row
            print(protocol, name, row, flush=True)
    return pd.DataFrame(rows).T.round(4)
