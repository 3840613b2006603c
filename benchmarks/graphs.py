"""RP3beta and GraphFilter: accuracy on real data."""

import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit
from sklearn.preprocessing import Binarizer

from benchmarks._measure import seconds
from benchmarks.accuracy import ncf_split, ratings
from benchmarks.linear import ml_100k_ua
from sklearn_recsys import EASE, ELSA, SLIM, GraphFilter, RP3beta
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.model_selection import evaluate
from sklearn_recsys.utils._content_split import hold_out_by_content

# chosen on validation cells out of train: ten of each user's on ml-100k, one in NCF's split
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


_GRIDS = {
    "RP3beta": (RP3beta(), {"alpha": [0.6, 0.75], "beta": [0.2, 0.4], "n_neighbors": [100, 200]}),
    "GraphFilter": (
        GraphFilter(32, random_state=0),
        {"low_pass": [0.1, 0.3], "sharpening": [0.6, 0.9], "user_normalization": [0.5, 0.6]},
    ),
    "SLIM": (SLIM(), {"alpha": [0.01, 0.03], "l1_ratio": [0.01, 0.03]}),
    "ELSA": (ELSA(random_state=0), {}),  # early stopping on a tenth of the training users
    "EASE": (EASE(), {"l2": [300, 500, 700]}),
    "EASE, normalized": (
        EASE(user_normalization=0.25, item_normalization=0.25),
        {"l2": [2.5, 5, 10], "max_diagonal": [0, 0.2]},
    ),
    "RDLAE": (EASE(dropout=0.5), {"l2": [100, 300, 1000], "max_diagonal": [0, 0.2, 1]}),
    "RDLAE, normalized": (
        EASE(dropout=0.5, user_normalization=0.25),
        {"l2": [10, 30, 100], "max_diagonal": [0, 0.2, 1]},
    ),
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
