"""Accuracy on real data."""

import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit

from sklearn_recsys import EASE, ItemKNN, PopularityRecommender, RandomRecommender, UserKNN
from sklearn_recsys.datasets import fetch_movielens, fetch_ncf_split
from sklearn_recsys.model_selection import evaluate
from sklearn_recsys.preprocessing import InteractionEncoder


def ratings(name, **params):
    """Return an edition of MovieLens as a matrix, by default of ratings."""
    return InteractionEncoder(**params).fit_transform(fetch_movielens(name).interactions)


def ncf_split():
    """Return He et al.'s split of ml-1m: the training matrix, the test items, the negatives."""
    split = fetch_ncf_split("ml-1m")
    encoder = InteractionEncoder(values="one").fit(pd.concat([split.train, split.test]))
    test = split.test.sort_values("user")["item"]
    return encoder.transform(split.train), encoder.encode_items(test), split.negatives


def reproduced_figures():
    data = fetch_movielens("100k", fold="ua")
    encoder = InteractionEncoder().fit(data.interactions)
    X, y = encoder.transform(data.train), encoder.transform(data.test)
    tables = {}
    tables["ml-100k ua"] = evaluate(
        {"EASE(l2=500)": EASE(l2=500).fit(X)}, X, y, ["hr@10", "ndcg@10", "precision@10"]
    )
    X, items, negatives = ncf_split()
    models = {
        "EASE(l2=1320)": EASE(l2=1320),
        "ItemKNN": ItemKNN(),
        "UserKNN": UserKNN(),
        "popularity": PopularityRecommender(),
        "random": RandomRecommender(random_state=0),
    }
    for model in models.values():
        model.fit(X)
    tables["ml-1m NCF, 1 + 99"] = evaluate(
        models, X, items, ["hr@10", "ndcg@10", "precision@10"], candidates=negatives
    )
    return pd.concat(tables).round(5)


def new_users(n_splits=5):
    """Strong generalization: hyperparameters are tuned on a tenth of each fold's training users."""
    R = ratings("1m")
    R.data = (R.data >= 4).astype(R.dtype)
    R.eliminate_zeros()
    neighbors = {"n_neighbors": [20, 50, 100, 200, 400], "shrinkage": [0, 5, 20]}
    searches = {
        "EASE": (EASE(), {"l2": [100, 200, 300, 500, 700, 1000, 1500]}),
        "UserKNN": (UserKNN(), neighbors),
        "ItemKNN": (ItemKNN(), neighbors),
        "popularity": (PopularityRecommender(), {}),
        "random": (RandomRecommender(random_state=0), {}),
    }
    metrics = ["ndcg@10", "hr@10", "recall@10", "coverage@10"]
    rows = {}
    for name, (model, grid) in searches.items():
        tables, chosen = [], []
        for train, test in KFold(n_splits, shuffle=True, random_state=0).split(R):
            validation = ShuffleSplit(1, test_size=0.1, random_state=0)
            search = GridSearchCV(model, grid, cv=validation).fit(R[train])
            chosen.append(tuple(search.best_params_.values()))
            tables.append(evaluate(search.best_estimator_, R[test], metrics=metrics).iloc[0])
        folds = pd.DataFrame(tables)
        rows[name] = folds.mean()
        rows[name]["ndcg@10 s.e."] = folds["ndcg@10"].std(ddof=1) / np.sqrt(n_splits)
        rows[name]["chosen"] = ", ".join(map(str, dict.fromkeys(chosen))) if grid else ""
    table = pd.DataFrame(rows).T
    table[table.columns[:-1]] = table[table.columns[:-1]].astype(float).round(4)
    return table
