"""
What a default fit costs
========================

Every model has defaults, and the first question is what they cost. Fit each model without naming a
parameter, and plot its accuracy against the seconds of the fit.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Data
# ----
# A tenth of each user's ratings is the test part. Rating models read the ratings and are compared
# by RMSE; the others read which movies a user has rated, and rank all movies that are left.

import os
import time

import matplotlib.pyplot as plt
import pandas as pd

import sklearn_recsys
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=300, n_items=150, density=0.1, random_state=0
    )

ratings = InteractionEncoder().fit_transform(data.interactions)
train, test = random_holdout(ratings, 0.1, per_user=True, random_state=0)
print(
    f"{train.shape[0]} users, {train.shape[1]} items, {train.nnz} ratings to train on"
)

# %%
# Fits
# ----
# :class:`~sklearn_recsys.neural.SVAE` and other sequential models are omitted: they read the order
# of a history, and predict what comes next.

rankers = [
    "PopularityRecommender",
    "ItemKNN",
    "RP3beta",
    "GraphFilter",
    "EASE",
    "ELSA",
    "ALS",
]
rankers += [
    "ImplicitMatrixFactorization",
    "NCF",
    "MultDAE",
    "MultVAE",
    "RecVAE",
    "CDAE",
]
raters = [
    "BiasRecommender",
    "MatrixFactorization",
    "EmbeddingNet",
    "AutoRec",
    "DeepAutoencoder",
]
rows = {}
for name in rankers + raters:
    model = getattr(sklearn_recsys, name)()
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    metric = "neg_rmse" if name in raters else "ndcg@10"
    start = time.perf_counter()
    model.fit(train)
    rows[name] = {"fit seconds": time.perf_counter() - start}
    if hasattr(model, "history_"):
        rows[name]["epochs"] = len(model.history_)
    rows[name]["RMSE" if name in raters else "NDCG@10"] = abs(
        model.score(train, test, metric=metric)
    )
table = pd.DataFrame(rows).T
print(table.round(3).to_string(na_rep=""))

# %%
# Accuracy against seconds
# ------------------------
# Closed forms take a second where neural models take minutes, and are often as accurate: begin with
# them. The defaults of the neural models stop by themselves, when held-out data says so or after a
# few epochs of a learning rate that falls to zero.

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, metric in zip(axes, ("NDCG@10", "RMSE"), strict=True):
    for label, row in table[table[metric].notna()].iterrows():
        ax.scatter(row["fit seconds"], row[metric], s=40)
        ax.annotate(
            label,
            (row["fit seconds"], row[metric]),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=8,
        )
    ax.set(xscale="log", xlabel="seconds of the default fit", ylabel=metric)
    ax.margins(0.25, 0.1)
axes[0].set(title="Ranking: higher is better")
axes[1].set(title="Ratings: lower is better")
