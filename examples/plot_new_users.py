"""
Recommend to new users with variational autoencoders
====================================================

Split users, not ratings (strong generalization): fit on some users, and recommend to others from
part of their history. Compare autoencoders with a multinomial likelihood with EASE, plot their
training curves, and recommend to one of the new users.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Split users
# -----------
# A rating of 4 or 5 is a like. A fifth of the users are test users, none of whom is in ``fit``:
# 80 % of their likes are the history, the rest is held out.

import os
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    EASE,
    MultDAE,
    MultVAE,
    PopularityRecommender,
    RecVAE,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import evaluate, user_split
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
split = user_split(
    likes,
    test_size=0.2,
    valid_size=None,
    min_interactions=5,
    random_state=0,
)
print(
    f"{split.X_train.shape[0]} users to train on, {split.X_test.shape[0]} new ones"
)

# %%
# Fit
# ---
# The default hyperparameters of the neural models are for MovieLens-1M; smaller data needs smaller
# networks and a larger learning rate. Early stopping: each model holds out a tenth of its own
# training users and stops when the NDCG of these stops rising. So the number of epochs is not
# chosen by hand, nor on the test users.

small: dict = {} if edition == "1m" else {"n_factors": 50, "lr": 5e-3}
models = {
    "popularity": PopularityRecommender(),
    "EASE": EASE(),
    "MultDAE": MultDAE(**small, random_state=0),
    "MultVAE": MultVAE(**small, hidden_layer_sizes=[150], random_state=0),
    "RecVAE": RecVAE(**small, n_hidden=150, random_state=0),
}
seconds = {}
for name, model in models.items():
    start = time.perf_counter()
    model.fit(split.X_train)
    seconds[name] = time.perf_counter() - start

metrics = ["ndcg@100", "ndcg@10", "recall@20", "coverage@10"]
table = evaluate(models, split.X_test, split.y_test, metrics=metrics)
table["fit seconds"] = pd.Series(seconds)
print(table.round(3).to_string())

# %%
# Plot
# ----
# On the left, the NDCG of each model's own held-out users by epoch; RecVAE trains its encoder and
# decoder in alternation.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.5), layout="constrained"
)
for name in ("MultDAE", "MultVAE", "RecVAE"):
    left.plot(models[name].history_["valid_ndcg"], label=name)
left.set(
    title="Training", xlabel="epoch", ylabel="NDCG@100 of held-out users"
)
left.legend()
table["ndcg@100"].plot.barh(ax=right)
right.set(title="New users", xlabel="NDCG@100 on test")

# %%
# Recommend to a new user
# -----------------------
# One forward pass of the history, without any training.

titles = data.items["title"]
user = int(np.argmax(np.diff(split.X_test.indptr) >= 8))
history = split.X_test[[user]]
ids, scores = models["RecVAE"].recommend(history, n=5, return_scores=True)
print("likes", ", ".join(titles[encoder.item_ids_[history.indices[:8]]]))
print("and may like", ", ".join(titles[encoder.item_ids_[ids[0]]]))
