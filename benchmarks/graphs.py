"""RP3beta and GraphFilter: accuracy on real data."""

import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit
from sklearn.preprocessing import Binarizer

from benchmarks._measure import seconds
from benchmarks.accuracy import ncf_split, ratings
from benchmarks.linear import ml_100k_ua, yelp2018
from benchmarks.scale import latency
from sklearn_recsys import EASE, GraphFilter, RP3beta
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.model_selection import evaluate
from sklearn_recsys.utils._content_split import hold_out_by_content

# chosen on validation cells out of train: a tenth of each user's on Yelp2018, ten of each user's on
# ml-100k, one of each user's in NCF's split
_ML_100K = {
    "RP3beta": RP3beta(0.7, 0.2),
    "GraphFilter": GraphFilter(32, low_pass=0.1, random_state=0),
}
_NCF = {
    "RP3beta": RP3beta(0.8, 0.6, n_neighbors=200),
    "GraphFilter": GraphFilter(
        64, low_pass=0.3, sharpening=0.6, user_normalization=0.6, random_state=0
    ),
}
_YELP2018 = {
    "RP3beta": RP3beta(0.6, 0.5, n_neighbors=None, normalize=False),
    "GF-CF, as published": GraphFilter(256, low_pass=0.3, sharpening=0, random_state=0),
    "Turbo-CF, as published": GraphFilter(low_pass=0, sharpening=0.5, user_normalization=0.6),
    "GraphFilter": GraphFilter(256, sharpening=0.8, user_normalization=0.6, random_state=0),
}


def movielens():
    """NDCG@10 on ml-100k in the split ua, and in NCF's split of ml-1m."""
    X, y = ml_100k_ua()
    ones = Binarizer().fit_transform(X)
    rows = {}
    for name, model in _ML_100K.items():
        known = ones if name == "RP3beta" else X
        rows["ml-100k ua", name] = _row(model, known, y)
    X, items, negatives = ncf_split()
    for name, model in _NCF.items():
        rows["ml-1m NCF, 1 + 99", name] = _row(model, X, items, candidates=negatives)
    return pd.DataFrame(rows).T.round(4)


def _row(model, X, y, metrics=("hr@10", "ndcg@10"), **options):
    row = {"seconds of fit": seconds(lambda: model.fit(X))}
    return row | evaluate(model, X, y, metrics, **options).iloc[0].to_dict()


def yelp2018_test():
    """Recall@20 and NDCG@20 on the test cells."""
    X, y = yelp2018()
    rows = {}
    for name, model in _YELP2018.items():
        rows[name] = _row(model, X, y, ("recall@20", "ndcg@20"))
        rows[name]["one new user, ms"] = latency(model, X)["ms"]
        print(name, rows[name], flush=True)
    return pd.DataFrame(rows).T.round(4)


_GRIDS = {
    "RP3beta": (
        RP3beta(),
        {"alpha": [0.6, 0.75, 0.9], "beta": [0.2, 0.4], "n_neighbors": [100, 200]},
    ),
    "GraphFilter": (
        GraphFilter(32, random_state=0),
        {
            "low_pass": [0.1, 0.3],
            "sharpening": [0.6, 0.9],
            "user_normalization": [0.5, 0.6],
        },
    ),
    "EASE": (EASE(), {"l2": [300, 500, 700]}),
}


def new_users(n_splits=5):
    """Strong generalization as in `accuracy.new_users`, and compared with EASE user by user."""
    R = ratings("1m")
    R.data = (R.data >= 4).astype(R.dtype)
    R.eliminate_zeros()
    metrics = ["ndcg@10", "hr@10", "recall@10", "coverage@10"]
    tables, per_user, chosen = ({name: [] for name in _GRIDS} for _ in range(3))
    for train, test in KFold(n_splits, shuffle=True, random_state=0).split(R):
        known, held_out = hold_out_by_content(R[test])  # as in `score`
        for name, (model, grid) in _GRIDS.items():
            validation = ShuffleSplit(1, test_size=0.1, random_state=0)
            search = GridSearchCV(model, grid, cv=validation).fit(R[train])
            model = search.best_estimator_
            tables[name].append(evaluate(model, known, held_out, metrics=metrics).iloc[0])
            ids = model.recommend(known, n=10)
            per_user[name].append(ndcg_at_k(held_out, ids, average=None))
            chosen[name].append(tuple(search.best_params_.values()))
            print(name, search.best_params_, tables[name][-1].to_dict(), flush=True)
    ease = np.concatenate(per_user["EASE"])
    rows = {}
    for name in _GRIDS:
        difference = np.concatenate(per_user[name]) - ease
        difference = difference[~np.isnan(difference)]
        rows[name] = pd.DataFrame(tables[name]).mean().round(4)
        rows[name]["to EASE"] = difference.mean().round(4)
        rows[name]["s.e. of that"] = (difference.std() / len(difference) ** 0.5).round(4)
        rows[name]["chosen"] = ", ".join(map(str, dict.fromkeys(chosen[name])))
    return pd.DataFrame(rows).T
