"""
Sequential recommendation with SVAE
===================================

Split users, and hold out the last interactions of the test users. Compare SVAE, which reads the
order of a history, with models that read a history as a set. Then recommend for the same history
in two orders.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Sequences
# ---------
# In the synthetic data the order matters. After each movie, users watch one of three successors of
# the same genre, always the same three; on average, every fifth step jumps to a random movie. On
# MovieLens, the histories are the ratings of 4 and 5, ordered by time.

import os
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    EASE,
    SVAE,
    MultVAE,
    PopularityRecommender,
    RecommenderPipeline,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import evaluate, user_split
from sklearn_recsys.preprocessing import InteractionEncoder

edition = os.environ.get("MOVIELENS")
following = None  # of the synthetic movies: those that come next
if edition:
    data = fetch_movielens(edition)
    events = data.interactions[data.interactions["rating"] > 3.5]
else:
    n_users, n_steps = 1250, 25
    data = make_movies(n_users=n_users, n_items=200, random_state=0)
    rng = np.random.default_rng(0)
    genres = data.items["genres"].str.split("|").str[0].to_numpy()
    members = [np.flatnonzero(genres == genre) for genre in genres]
    following = np.array(
        [rng.choice(movies, 3, replace=False) for movies in members]
    )
    walks = rng.integers(len(genres), size=(n_users, n_steps))
    for step in range(1, n_steps):
        next_ones = following[
            walks[:, step - 1], rng.integers(3, size=n_users)
        ]
        walks[:, step] = np.where(
            rng.random(n_users) < 0.8, next_ones, walks[:, step]
        )
    events = pd.DataFrame(
        {
            "user": np.repeat(data.users.index, n_steps),
            "item": data.items.index[walks.ravel()],
            "timestamp": np.tile(np.arange(n_steps), n_users),
        }
    )

# %%
# Hold out the latest interactions
# --------------------------------
# With ``values="position"`` a stored value is the position of the movie in the user's history: 1
# for the oldest. A fifth of the users are test users, none of whom is in ``fit``. The latest five
# movies of each are held out, the others are the history.

encoder = InteractionEncoder(values="position")
X = encoder.fit_transform(events)
split = user_split(
    X,
    test_size=0.2,
    valid_size=None,
    holdout=5,
    order=X,
    min_interactions=10,
    random_state=0,
)
print(
    f"{split.X_train.shape[0]} users to train on, {split.X_test.shape[0]} new ones"
)

# %%
# Fit
# ---
# All models get the same matrix. :class:`~sklearn_recsys.neural.SVAE` reads the order from its
# values; MultVAE and popularity read only which movies are in a row. EASE would read a position as
# a weight, so a :class:`~sklearn.preprocessing.Binarizer` turns the positions into ones first.
#
# The default hyperparameters of the neural models are for MovieLens-1M; smaller data needs smaller
# networks. Early stopping: each model holds out a tenth of its own training users and stops when
# the NDCG of these stops rising. SVAE ranks their latest movies, MultVAE randomly sampled ones.

large = edition == "1m"
multvae_params: dict = {} if large else {"n_factors": 50, "lr": 5e-3}
svae_params: dict = {} if large else {"n_recurrent": 100, "lr": 2e-3}
models = {
    "popularity": PopularityRecommender(),
    "EASE": RecommenderPipeline([("ones", Binarizer()), ("model", EASE())]),
    "MultVAE": MultVAE(**multvae_params, random_state=0),
    "SVAE": SVAE(**svae_params, random_state=0),
}
seconds = {}
for name, model in models.items():
    start = time.perf_counter()
    model.fit(split.X_train)
    seconds[name] = time.perf_counter() - start

metrics = ["ndcg@100", "ndcg@10", "recall@10"]
table = evaluate(models, split.X_test, split.y_test, metrics=metrics)
table["fit seconds"] = pd.Series(seconds)
print(table.round(3).to_string())

# %%
# How far ahead?
# --------------
# Evaluate each of the five held-out movies separately: how often is the next one among the top ten,
# how often the one after it, and so on? In other data the order may matter less: try ``ml-100k``.

ahead = split.y_test.copy()
ahead.data -= np.repeat(
    np.diff(split.X_test.indptr), np.diff(ahead.indptr)
)  # 1 is the next one
steps = range(1, 6)
by_step = pd.DataFrame(
    {
        step: evaluate(
            models, split.X_test, ahead * (ahead == step), ["hr@10"]
        )["hr@10"]
        for step in steps
    }
)
print(by_step.round(3).to_string())

# %%
# Plot
# ----
# On the left, the training curve, from ``history_``, a frame with a row for each epoch.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.5), layout="constrained"
)
models["SVAE"].history_["valid_ndcg"].plot(ax=left, marker="o")
left.set(
    title="Training of SVAE",
    xlabel="epoch",
    ylabel="NDCG@100 of held-out users",
)
by_step.T.plot(ax=right, marker="o", xticks=steps)
right.set(title="New users", xlabel="movies ahead", ylabel="HR@10 on test")

# %%
# The same movies in two orders
# -----------------------------
# The last five movies of a new user's history, in the original and in reverse order. For MultVAE
# both are the same history.

titles = data.items["title"]
row = split.X_test[[0]]
watched = encoder.item_ids_[row.indices[np.argsort(row.data)][-5:]]
print("history:", ", ".join(titles[watched]))
orders = {"original": watched, "reversed": watched[::-1]}
histories = pd.concat(
    pd.DataFrame({"user": order, "item": items, "timestamp": range(5)})
    for order, items in orders.items()
)
two_rows, names = encoder.transform_histories(histories)
for name in ("MultVAE", "SVAE"):
    lists = models[name].recommend(two_rows, n=3)
    for order, ids in zip(names, lists, strict=True):
        print(
            f"{name}, {order}:", ", ".join(titles[encoder.item_ids_[ids]])
        )

# %%
# In the synthetic data, each movie has three successors. A movie that is already in the history is
# not recommended again.

if following is not None:
    for name, items in orders.items():
        three = following[data.items.index.get_loc(items[-1])]
        print(
            f"after {titles[items[-1]]}, {name}:",
            ", ".join(titles.iloc[three]),
        )
