"""
What comes next: histories in their order
=========================================

Split users, and of the test users hold out what came last. SVAE, which reads a history in its
order, beside models for which a history is a set. Then the same history in two orders.

The script runs on made-up walks through movies; with the argument ``ml-100k`` or ``ml-1m`` it runs
on MovieLens, where it takes minutes.
"""

# %%
# Walks
# -----
# The made-up data are made for an order to matter. After each movie people watch one of three of
# its genre, always the same three; at every fifth step, in the mean, they begin anew with any
# movie. On MovieLens the histories are the ratings of 4 and 5, in the order of their times.

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.preprocessing import Binarizer

from sklearn_recsys import EASE, SVAE, MultVAE, PopularityRecommender, RecommenderPipeline
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import evaluate, user_split
from sklearn_recsys.preprocessing import InteractionEncoder

parser = argparse.ArgumentParser()
parser.add_argument("data", nargs="?", help="an edition of MovieLens, as in ml-1m")
parser.add_argument("--save", type=Path, help="where to save the picture")
args = parser.parse_args()
if args.data:
    data = fetch_movielens(args.data.removeprefix("ml-"))
    events = data.interactions[data.interactions["rating"] > 3.5]
else:
    n_users, n_steps = 1250, 25
    data = make_movies(n_users=n_users, n_items=200, random_state=0)
    rng = np.random.default_rng(0)
    genres = data.items["genres"].str.split("|").str[0].to_numpy()
    members = [np.flatnonzero(genres == genre) for genre in genres]
    following = np.array([rng.choice(movies, 3, replace=False) for movies in members])
    walks = rng.integers(len(genres), size=(n_users, n_steps))
    for step in range(1, n_steps):
        next_ones = following[walks[:, step - 1], rng.integers(3, size=n_users)]
        walks[:, step] = np.where(rng.random(n_users) < 0.8, next_ones, walks[:, step])
    events = pd.DataFrame(
        {
            "user": np.repeat(data.users.index, n_steps),
            "item": data.items.index[walks.ravel()],
            "timestamp": np.tile(np.arange(n_steps), n_users),
        }
    )

# %%
# Positions, and the latest of each
# ---------------------------------
# With ``values="position"`` a stored value is the place of the movie in its user's history: 1 for
# the oldest. A fifth of the users is kept for the test. The latest five movies of each are held
# out, the others are known when the user comes; nobody of them is in ``fit``.

encoder = InteractionEncoder(values="position")
X = encoder.fit_transform(events)
split = user_split(
    X, test_size=0.2, valid_size=None, holdout=5, order=X, min_interactions=10, random_state=0
)
print(f"{split.X_train.shape[0]} users to train on, {split.X_test.shape[0]} new ones")

# %%
# Fit
# ---
# All get the same matrix. :class:`~sklearn_recsys.neural.SVAE` reads the order from its values;
# MultVAE and popularity read only which movies are in a row. EASE would take a position for a
# strength: a :class:`~sklearn.preprocessing.Binarizer` makes ones of them first.
#
# The neural models' default parameters are for MovieLens-1M; less data is content with smaller
# nets. Each holds out a tenth of its own training users and stops when the NDCG of these stops
# rising. SVAE watches their latest movies, MultVAE drawn ones.

large = args.data == "ml-1m"
multvae_params = {} if large else {"n_factors": 50, "lr": 5e-3}
svae_params = {} if large else {"n_recurrent": 100, "lr": 2e-3}
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
# Each of the five held-out movies alone: how often is the next one among the first ten, how often
# the one after it, and so on? Not all data have as much in their order: try ``ml-100k``.

ahead = split.y_test.copy()
ahead.data -= np.repeat(np.diff(split.X_test.indptr), np.diff(ahead.indptr))  # 1 is the next one
by_step = pd.DataFrame(
    {
        step: evaluate(models, split.X_test, ahead * (ahead == step), ["hr@10"])["hr@10"]
        for step in range(1, 6)
    }
)
print(by_step.round(3).to_string())

# %%
# The picture
# -----------
# To the left the training curve, from ``history_``, a frame with a row for each epoch.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
models["SVAE"].history_["valid_ndcg"].plot(ax=left, marker="o")
left.set(title="Training of SVAE", xlabel="epoch", ylabel="NDCG@100 of held-out users")
by_step.T.plot(ax=right, marker="o", xticks=by_step.columns)
right.set(title="New users", xlabel="movies ahead", ylabel="HR@10 on test")
if args.save:
    args.save.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.save, dpi=120)
    print(f"saved {args.save}")

# %%
# The same movies in two orders
# -----------------------------
# The latest five known movies of a new user, as they came and the other way round. For MultVAE it
# is one history.

titles = data.items["title"]
row = split.X_test[[0]]
watched = encoder.item_ids_[row.indices[np.argsort(row.data)][-5:]]
print("history:", ", ".join(titles[watched]))
orders = {"as it was": watched, "backwards": watched[::-1]}
histories = pd.concat(
    pd.DataFrame({"user": order, "item": items, "timestamp": range(5)})
    for order, items in orders.items()
)
two_rows, names = encoder.transform_histories(histories)
for model in ("MultVAE", "SVAE"):
    for name, ids in zip(names, models[model].recommend(two_rows, n=3), strict=True):
        print(f"{model}, {name}:", ", ".join(titles[encoder.item_ids_[ids]]))

# %%
# Of the made-up movies we know which three follow. One that is in the history already is not
# recommended again.

if not args.data:
    for name, items in orders.items():
        three = following[data.items.index.get_loc(items[-1])]
        print(f"after {titles[items[-1]]}, {name}:", ", ".join(titles.iloc[three]))
