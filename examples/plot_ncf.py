"""
Neural collaborative filtering with negative sampling
=====================================================

The protocol of many tutorials: every rating is an interaction (implicit feedback), the latest one
of each user is held out, training samples four negatives for each interaction, and the held-out
item is ranked among 99 sampled negatives. Then the same protocol for simple dot-product models.

The data is synthetic; with ``MOVIELENS=1m`` or ``20m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Leave-one-out split
# -------------------
# The values are ones; the encoder's ``position`` tells which interaction was the last.

import os
import time

import matplotlib.pyplot as plt
import pandas as pd

from sklearn_recsys import (
    ALS,
    NCF,
    ImplicitMatrixFactorization,
    PopularityRecommender,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import (
    evaluate,
    leave_last_out,
    sample_negatives,
)
from sklearn_recsys.preprocessing import InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=1000, n_items=300, density=0.1, random_state=0
    )

encoder = InteractionEncoder(values="one")
R = encoder.fit_transform(data.interactions)
order = InteractionEncoder(values="position").fit_transform(
    data.interactions
)
train, test = leave_last_out(R, order)
negatives = sample_negatives(train, n=99, exclude=test, random_state=0)
print(
    f"{train.shape[0]} users, {train.shape[1]} items, {train.nnz} interactions to train on"
)

# %%
# The tutorial's network
# ----------------------
# Embeddings of length 8, hidden layers of 64 and 32, five epochs. Each epoch samples new negatives,
# never an item of the user's history.

models = {
    "popularity": PopularityRecommender(),
    "MLP of the tutorial": NCF(
        "mlp",
        n_factors=8,
        hidden_layer_sizes=[64, 32],
        n_negatives=4,
        max_epochs=5,
        early_stopping=False,
        random_state=0,
    ),
    "dot product": ImplicitMatrixFactorization(
        n_factors=32, random_state=0
    ),
    "ALS": ALS(n_factors=32, random_state=0),
}
seconds = {}
for name, model in models.items():
    start = time.perf_counter()
    model.fit(train)
    seconds[name] = time.perf_counter() - start

table = evaluate(
    models, train, test, ["hr@10", "ndcg@10"], candidates=negatives
)
table["fit seconds"] = pd.Series(seconds)
print(table.round(3).to_string())

# %%
# Plot
# ----
# Sampled metrics are too optimistic for all models: compare models only within one protocol.

fig, axis = plt.subplots(figsize=(7, 3), layout="constrained")
table[["hr@10", "ndcg@10"]].plot.barh(ax=axis)
axis.set(title="The latest item among 99 sampled negatives")

# %%
# Recommend to a new user
# -----------------------
# A user who was not in ``fit`` has no embedding yet. It is folded in: fitted to the user's history
# with everything else frozen; the same history always gets the same answer. ALS solves for it
# exactly.

titles = data.items["title"]
history = R[[0]].copy()
history[0, history.indices[-1]] = 0
history.eliminate_zeros()  # no longer a training row
for name in ("MLP of the tutorial", "dot product", "ALS"):
    ids = models[name].recommend(history, n=3)
    print(f"{name}:", ", ".join(titles[encoder.item_ids_[ids[0]]]))

# %%
# Similar items
# -------------
# Items with similar embeddings have similar users.

ids, cosines = models["dot product"].similar_items([0, 1], n=3)
for item, near in enumerate(ids):
    print(
        titles[encoder.item_ids_[item]],
        "is near",
        ", ".join(titles[encoder.item_ids_[near]]),
    )
