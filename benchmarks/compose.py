"""Stacks and two stages on real data, against the best of their members, user by user."""

from copy import copy

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit
from sklearn.preprocessing import Binarizer

from benchmarks.accuracy import ratings
from benchmarks.als import TUNED
from benchmarks.contrastive import _YELP2018 as CONTRASTIVE
from benchmarks.linear import yelp2018
from benchmarks.yelp2018 import _MODELS as LINEAR
from sklearn_recsys import (
    ALS,
    EASE,
    GraphFilter,
    ItemKNN,
    RecommenderPipeline,
    RP3beta,
    StackingRecommender,
    TwoStageRecommender,
)
from sklearn_recsys.datasets import fetch_ncf_split
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._content_split import hold_out_by_content
from sklearn_recsys.utils._items import check_held_out

_QUARTER = {"user_normalization": 0.25, "item_normalization": 0.25}
_LIKES = {
    "ridge": EASE(dropout=0.5, user_normalization=0.25),
    "EASE": EASE(max_diagonal=0.2, **_QUARTER),
    "ALS": ALS(128, solver="cg", random_state=0),
    "RP3beta": RP3beta(0.75, 0.4, n_neighbors=200),
    "GraphFilter": GraphFilter(
        32, low_pass=0.1, sharpening=0.6, user_normalization=0.6, random_state=0
    ),
    "ItemKNN": ItemKNN(100),
}
_GRIDS = {"ridge": {"l2": [10, 30, 100]}, "EASE": {"l2": [2.5, 5, 10]}}
# chosen on one training interaction of each user, see `linear`, `als` and `graphs`
_NCF = {
    "ridge": EASE(2.5, dropout=0.5, max_diagonal=0.2, **_QUARTER),
    "ALS": ALS(**TUNED, random_state=0),
    "RP3beta": RP3beta(0.8, 0.6, n_neighbors=200),
    "GraphFilter": GraphFilter(
        64, low_pass=0.3, sharpening=0.6, user_normalization=0.6, random_state=0
    ),
    "ItemKNN": ItemKNN(100),
}


def _per_user(models, X, y, k=10, **options):
    """Return NDCG@k by model and user."""
    return {
        name: ndcg_at_k(y, model.recommend(X, n=k, **options), k=k, average=None)
        for name, model in models.items()
    }


def _members_and_stacks(stack):
    """Return the members of a fitted stack, a blend of equal weights, and the stack."""
    blend = copy(stack)
    blend.weights_ = np.full_like(stack.weights_, 1 / len(stack.weights_))
    return {**stack.named_estimators_, "equal weights": blend, "stack": stack}


def _table(values, members):
    """Return the means, and their differences from the best member with standard errors."""
    best = max(members, key=lambda name: np.nanmean(values[name]))
    rows = {}
    for name, of_users in values.items():
        difference = of_users - values[best]
        difference = difference[~np.isnan(difference)]
        rows[name] = {
            "ndcg": np.nanmean(of_users),
            f"to {best}": difference.mean(),
            "s.e. of that": difference.std() / len(difference) ** 0.5,
        }
    return pd.DataFrame(rows).T.round(4)


def new_users(n_splits=5):
    """Likes of ml-1m, 5-fold over users, as in `graphs.new_users`."""
    R = ratings("1m")
    R.data = (R.data >= 4).astype(R.dtype)
    R.eliminate_zeros()
    folds = []
    for train, test in KFold(n_splits, shuffle=True, random_state=0).split(R):
        validation = ShuffleSplit(1, test_size=0.1, random_state=0)
        members = []
        for name, model in _LIKES.items():
            search = GridSearchCV(model, _GRIDS.get(name, {}), cv=validation, refit=False)
            if name in _GRIDS:
                search.fit(R[train])
                model = model.set_params(**search.best_params_)
            members.append((name, model))
        stack = StackingRecommender(members, held_out="users").fit(R[train])
        models = _members_and_stacks(stack)
        logistic = StackingRecommender(members, LogisticRegression(), held_out="users")
        models["stack, logistic regression"] = logistic.fit(R[train])
        models["two stages"] = TwoStageRecommender(members, held_out="users").fit(R[train])
        known, held_out = hold_out_by_content(R[test])  # as in `score`
        folds.append(_per_user(models, known, held_out))
        print(dict(zip(_LIKES, stack.weights_.round(3), strict=True)), flush=True)
        values = {name: np.concatenate([fold[name] for fold in folds]) for name in models}
        print(_table(values, _LIKES), flush=True)
    return _table(values, _LIKES)


def ncf():
    """NCF's split of ml-1m: the last item of each user is ranked among 99 others."""
    split = fetch_ncf_split("ml-1m")
    encoder = InteractionEncoder(values="position").fit(pd.concat([split.train, split.test]))
    X = encoder.transform(split.train)
    items = encoder.encode_items(split.test.sort_values("user")["item"])
    y = check_held_out(items, X.shape)
    members = [
        (name, RecommenderPipeline([("ones", Binarizer()), ("model", model)]))
        for name, model in _NCF.items()
    ]
    stack = StackingRecommender(members, held_out="latest").fit(X)
    models = _members_and_stacks(stack)
    names = ["scores", "popularity", "history_length"]
    of_order = [*names, "recency", "recent_scores"]
    for label, features in (("two stages", names), ("two stages, of an order", of_order)):
        models[label] = TwoStageRecommender(
            members, features=features, n_candidates=400, held_out="latest"
        ).fit(X)
    candidates = np.column_stack([items, split.negatives])
    values = _per_user(models, X, y, candidates=candidates)
    print(dict(zip(_NCF, stack.weights_.round(3), strict=True)), flush=True)
    return _table(values, _NCF)


def movielens():
    """Both protocols on ml-1m."""
    return pd.concat({"new users": new_users(), "NCF, 1 + 99": ncf()})


def yelp2018_blend():
    """Two linear models and a factor model on Yelp2018, NDCG@20 of all users.

    The members are those of `yelp2018` and `contrastive`; a tenth of each user's training cells is
    held out to learn the weights. About half an hour of CPU time, most of it for SimpleX.
    """
    X, y = yelp2018()
    members = {
        "GraphFilter": LINEAR["GraphFilter"],
        "RDLAE": LINEAR["denoising, users normalized, low-pass"],
        "SimpleX": CONTRASTIVE[0],
    }
    stack = StackingRecommender(list(members.items()), holdout=0.1, held_out="cells").fit(X)
    print(dict(zip(members, stack.weights_.round(3), strict=True)), flush=True)
    return _table(_per_user(_members_and_stacks(stack), X, y, k=20), members)
