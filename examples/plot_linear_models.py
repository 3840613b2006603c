"""
Which linear model?
===================

A linear model learns a matrix W of items × items and scores a history x as x W. Compare the ones of
this package: choose their hyperparameters on validation data, plot accuracy against the time that a
fit takes, and look at what a weight says.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Three parts
# -----------
# A rating of 4 or 5 is a like. A fifth of each user's likes is the test part; a fifth of the rest
# serves to choose hyperparameters, after which a model is fitted on both.

import os
import time

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    EASE,
    ELSA,
    SLIM,
    GraphFilter,
    ItemKNN,
    PopularityRecommender,
    RP3beta,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import (
    HoldoutSplit,
    evaluate,
    random_holdout,
)
from sklearn_recsys.preprocessing import InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=1500, n_items=400, density=0.08, random_state=0
    )

encoder = InteractionEncoder()
likes = Binarizer(threshold=3.5).transform(
    encoder.fit_transform(data.interactions)
)
train, test = random_holdout(likes, 0.2, per_user=True, random_state=0)
fitted, valid = random_holdout(train, 0.2, per_user=True, random_state=1)
print(
    f"{train.shape[0]} users, {train.shape[1]} items, {train.nnz} likes to train on"
)

# %%
# Search
# ------
# Each model has few hyperparameters. Three of the entries are EASE: as it is, as a denoising
# autoencoder with a relaxed diagonal (EDLAE, RDLAE), and on a matrix whose cells are divided by
# powers of the degrees.

searches = {
    "ItemKNN": (
        ItemKNN(),
        {"n_neighbors": [20, 100], "shrinkage": [0, 10, 50]},
    ),
    "RP3beta": (RP3beta(), {"alpha": [0.6, 1.0], "beta": [0.2, 0.4, 0.6]}),
    "GraphFilter": (
        GraphFilter(n_factors=32, random_state=0),
        {"low_pass": [0.03, 0.1, 0.3], "sharpening": [0, 0.3, 0.6]},
    ),
    "SLIM": (
        SLIM(),
        {"alpha": [5e-3, 2e-2, 0.1, 0.4], "l1_ratio": [0.02, 0.1]},
    ),
    "EASE": (EASE(), {"l2": [100, 300, 1000, 3000]}),
    "EASE, denoising": (
        EASE(),
        {
            "l2": [100, 300, 1000],
            "dropout": [0.2, 0.5],
            "max_diagonal": [0, 0.3],
        },
    ),
    "EASE, normalized": (
        EASE(
            max_diagonal=1, user_normalization=0.25, item_normalization=0.25
        ),
        {"l2": [1, 5, 20, 80], "item_normalization": [0.25, 0.5]},
    ),
    "ELSA": (ELSA(n_factors=64, random_state=0), {"max_epochs": [10, 30]}),
}
models, seconds, settings = (
    {"popularity": PopularityRecommender().fit(train)},
    {},
    {},
)
for name, (model, grid) in searches.items():
    search = GridSearchCV(model, grid, cv=HoldoutSplit(), refit=False).fit(
        fitted, valid
    )
    best = clone(model).set_params(**search.best_params_)
    start = time.perf_counter()
    models[name] = best.fit(train)
    seconds[name] = time.perf_counter() - start
    settings[name] = ", ".join(
        f"{key}={value}" for key, value in search.best_params_.items()
    )

table = evaluate(
    models, train, test, metrics=["ndcg@10", "recall@20", "coverage@10"]
)
table["fit seconds"] = pd.Series(seconds)
table["chosen"] = pd.Series(settings)
print(table.round(3).to_string(na_rep=""))

# %%
# Accuracy against seconds
# ------------------------
# On a few thousand items the closed forms are hard to beat. What decides on larger catalogs is
# memory: EASE and SLIM need an items × items matrix, 4 · n_items² bytes; ItemKNN, RP3beta and
# GraphFilter stay sparse, and ELSA keeps one vector for each item.

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name in seconds:
    ax.scatter(seconds[name], table.loc[name, "ndcg@10"], s=40)
    ax.annotate(
        name,
        (seconds[name], table.loc[name, "ndcg@10"]),
        xytext=(
            6,
            -12 if name == "EASE" else 4,
        ),  # two of the points are close
        textcoords="offset points",
    )
ax.set(
    xscale="log",
    title="Accuracy",
    xlabel="seconds of the fit",
    ylabel="NDCG@10 on test",
)
ax.xaxis.set_minor_formatter("")
ax.margins(0.2)

# %%
# How much to normalize
# ---------------------
# Dividing by degrees makes heavy users and popular items count less. How much of it helps depends
# on the data, so it belongs into the search; the scale of ``l2`` goes with it.

exponents = [0, 0.125, 0.25, 0.375, 0.5]
curve = []
for exponent in exponents:
    model = EASE(user_normalization=exponent, item_normalization=exponent)
    grid = {"l2": [1, 3, 10, 30, 100, 300, 1000, 3000]}
    search = GridSearchCV(model, grid, cv=HoldoutSplit(), refit=False).fit(
        fitted, valid
    )
    curve.append(search.best_score_)
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(exponents, curve, marker="o")
ax.set(
    title="EASE on a normalized matrix",
    xlabel="exponent of users and items",
    ylabel="NDCG@10 on validation, best l2",
)

# %%
# What a weight says
# ------------------
# A score is a sum over the history, so every linear model explains its recommendations.

titles = data.items["title"].loc[encoder.item_ids_].to_numpy()
why = models["SLIM"].explain([0], models["SLIM"].recommend([0], n=1))
print(f"user 0 may like {titles[why['item'].iloc[0]]}, because of")
shown = why.assign(title=titles[why["history_item"]])[
    ["title", "contribution"]
]
print(shown.head(5).round(3).to_string(index=False))
