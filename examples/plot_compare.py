"""
Comparing models
================

Is a model better than another one, by how much, and for whom? Compare four models on the same
held-out interactions, with intervals and paired tests, then look at what their lists are like.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens.
"""

# %%
# Scores with intervals
# ---------------------
# A fifth of each user's likes is held out. The intervals say how much the scores would change with
# other users; the p-values, corrected for three tests, compare each model with the first one.

import os

import matplotlib.pyplot as plt

from sklearn_recsys import ALS, EASE, ItemKNN, PopularityRecommender
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.inspection import (
    HistoryLengthDisplay,
    ItemMapDisplay,
    LongTailDisplay,
    MetricAtKDisplay,
    TradeOffDisplay,
    compare,
)
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

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
models = {
    "popular": PopularityRecommender().fit(train),
    "ItemKNN": ItemKNN().fit(train),
    "ALS": ALS(n_factors=16, random_state=0).fit(train),
    "EASE": EASE(l2=1000 if edition else 100).fit(train),
}
comparison = compare(models, train, test, metrics=["ndcg", "coverage"])
comparison.to_frame("ndcg@10").round(4)

# %%
comparison.plot()

# %%
# How long is the list?
# ---------------------
# The order of the models may depend on the length of the list. Bands are standard errors.

MetricAtKDisplay.from_estimator(models, train, test, metric="recall")

# %%
# For whom?
# ---------
# Users with short histories are the hard ones, and the ones that a new service has most of.

HistoryLengthDisplay.from_estimator(models, train, test)

# %%
# Accuracy is not all
# -------------------
# How many of the movies are recommended to anyone? And how much of the lists do the most popular
# movies have, compared with what users chose themselves, the dashed line?

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.5), layout="constrained"
)
TradeOffDisplay.from_estimator(models, train, test, ax=left)
LongTailDisplay.from_estimator(models, train, test, ax=right)

# %%
# A map of the movies
# -------------------
# Movies that the same users like have similar vectors. Two directions of the vectors of ALS, by
# genre: t-SNE instead of them, ``reducer=TSNE()``, would show the neighborhoods better.

movies = data.items.loc[encoder.item_ids_]
genres = movies["genres"].str.split("|").str[0]
ItemMapDisplay.from_estimator(
    models["ALS"],
    names=movies["title"].to_numpy(),
    groups=genres.to_numpy(),
)
plt.show()

# %%
# Next: the chapter on :doc:`/user_guide/evaluation` says what the splits, metrics and tests mean,
# and :ref:`sphx_glr_auto_examples_plot_reranking.py` how to change lists that are too much alike.
