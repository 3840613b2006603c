"""
Recommend to users who were never seen: the autoencoders
========================================================

Split users, not ratings: fit on some, and recommend to others, of whom a part of the history is
known. Autoencoders with a multinomial likelihood beside EASE, their training curves, and a list for
one of the new users.

The script runs on made-up movies; with the argument ``ml-100k`` or ``ml-1m`` it runs on MovieLens,
where it takes minutes.
"""

# %%
# Users, split
# ------------
# A rating of 4 or 5 is a like. A fifth of the users is kept for the test: 80 % of their likes are
# known when they come, the rest is to be found. Nobody of them is in ``fit``.

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.preprocessing import Binarizer

from sklearn_recsys import EASE, MultDAE, MultVAE, PopularityRecommender, RecVAE
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import evaluate, user_split
from sklearn_recsys.preprocessing import InteractionEncoder

parser = argparse.ArgumentParser()
parser.add_argument("data", nargs="?", help="an edition of MovieLens, as in ml-100k")
parser.add_argument("--save", type=Path, help="where to save the picture")
args = parser.parse_args()
if args.data:
    data = fetch_movielens(args.data.removeprefix("ml-"))
else:
    data = make_movies(n_users=1500, n_items=400, density=0.08, random_state=0)

encoder = InteractionEncoder()
likes = Binarizer(threshold=3.5).transform(encoder.fit_transform(data.interactions))
split = user_split(likes, test_size=0.2, valid_size=None, min_interactions=5, random_state=0)
print(f"{split.X_train.shape[0]} users to train on, {split.X_test.shape[0]} new ones")

# %%
# Fit
# ---
# The neural models' default parameters are for MovieLens-1M; less data is content with smaller
# nets and larger steps. Each holds out a tenth of its own training users and stops when the NDCG of
# these stops rising: no epoch is chosen by hand, and none on the test users.

small = {} if args.data == "ml-1m" else {"n_factors": 50, "lr": 5e-3}
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
# The picture
# -----------
# To the left the NDCG of each model's own held-out users, epoch by epoch; RecVAE's encoder and
# decoder take turns.

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for name in ("MultDAE", "MultVAE", "RecVAE"):
    left.plot(models[name].history_["valid_ndcg"], label=name)
left.set(title="Training", xlabel="epoch", ylabel="NDCG@100 of held-out users")
left.legend()
table["ndcg@100"].plot.barh(ax=right)
right.set(title="New users", xlabel="NDCG@100 on test")
if args.save:
    args.save.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.save, dpi=120)
    print(f"saved {args.save}")

# %%
# Somebody new
# ------------
# The user's history goes through the net once; that is all.

titles = data.items["title"]
someone = int(np.argmax(np.diff(split.X_test.indptr) >= 8))
history = split.X_test[[someone]]
ids, scores = models["RecVAE"].recommend(history, n=5, return_scores=True)
print("likes", ", ".join(titles[encoder.item_ids_[history.indices[:8]]]))
print("and may like", ", ".join(titles[encoder.item_ids_[ids[0]]]))
