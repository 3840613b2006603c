"""
What diversity, calibration and caps cost
=========================================

Rerankers change the lists of a recommender: for diversity, for the proportions of genres in a
user's history, or for a cap on a provider. Plot what each gains against the accuracy that it costs.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens.
"""

# %%
# Data and a model
# ----------------
# A fifth of each user's likes is the test part. The data has no providers of movies: the years of
# release stand in for them.

import os

import matplotlib.pyplot as plt
import pandas as pd

from sklearn_recsys import EASE, RerankedRecommender
from sklearn_recsys.compose import (
    Calibration,
    CategoryQuota,
    MaximalMarginalRelevance,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.inspection import TradeOffDisplay
from sklearn_recsys.metrics import (
    calibration_error_at_k,
    intra_list_diversity_at_k,
    ndcg_at_k,
    provider_share_at_k,
)
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.preprocessing import FeatureEncoder, InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=500, n_items=300, density=0.1, random_state=0
    )

likes = data.interactions[data.interactions["rating"] >= 4]
encoder = InteractionEncoder(values="one")
train, test = random_holdout(encoder.fit_transform(likes), random_state=0)
movies = data.items.loc[encoder.item_ids_]
genres = FeatureEncoder().fit_transform(movies[["genres"]])
years = movies["year"].to_numpy(dtype=object)
model = EASE(l2=1000 if edition else 100)

# %%
# Curves
# ------
# Each reranker has one parameter that moves along its curve: the trade-off, or the most movies of a
# year that a list may have. The star is the model without a reranker.

curves = {
    "diversity": (
        [
            MaximalMarginalRelevance(genres, trade_off=t)
            for t in (0.1, 0.2, 0.3, 0.5, 0.7)
        ],
        lambda lists: intra_list_diversity_at_k(lists, genres),
    ),
    "calibration error": (
        [
            Calibration(genres, trade_off=t)
            for t in (0.1, 0.2, 0.3, 0.5, 0.7)
        ],
        lambda lists: calibration_error_at_k(lists, train, genres),
    ),
    "largest share of a year": (
        [CategoryQuota(years, maximum=maximum) for maximum in (4, 3, 2, 1)],
        lambda lists: provider_share_at_k(lists, years),
    ),
}

alone = model.fit(train).recommend()
figure, axes = plt.subplots(
    1, 3, figsize=(12, 4), sharey=True, layout="constrained"
)
for axis, (gain, (rerankers, measure)) in zip(
    axes, curves.items(), strict=True
):
    points = {}
    for reranker in rerankers:
        lists = (
            RerankedRecommender(model, [("reranker", reranker)])
            .fit(train)
            .recommend()
        )
        changed = getattr(reranker, "trade_off", None) or reranker.maximum
        points[changed] = measure(lists), ndcg_at_k(test, lists)
    columns = [gain, "NDCG@10"]
    table = pd.DataFrame.from_dict(points, "index", columns=columns)
    TradeOffDisplay(table=table, x=gain, y="NDCG@10").plot(
        axis, connect=True, label=type(rerankers[0]).__name__
    )
    axis.plot(
        measure(alone),
        ndcg_at_k(test, alone),
        "*",
        markersize=14,
        label="EASE alone",
    )
    axis.legend()
plt.show()
