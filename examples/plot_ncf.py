"""
Neural collaborative filtering, the tutorial's way
==================================================

The protocol of many tutorials, with this package's parts: every rating is an interaction, the
latest one of each user is held out, training draws four negatives for each interaction, and the
held-out item is to be found among 99 drawn ones. Then what a plain product of vectors does in the
same protocol.

The script runs on made-up movies; with the argument ``ml-1m`` (or ``ml-20m``, where there is a
network) it runs on MovieLens.
"""

# %%
# Interactions, and the latest of each
# ------------------------------------
# Values are ones; the encoder's ``position`` says which interaction was the last.

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from sklearn_recsys import ALS, NCF, MatrixFactorization, PopularityRecommender
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import evaluate, leave_last_out, sample_negatives
from sklearn_recsys.preprocessing import InteractionEncoder

parser = argparse.ArgumentParser()
parser.add_argument("data", nargs="?", help="an edition of MovieLens, as in ml-1m")
parser.add_argument("--save", type=Path, help="where to save the picture")
args = parser.parse_args()
if args.data:
    data = fetch_movielens(args.data.removeprefix("ml-"))
else:
    data = make_movies(n_users=1000, n_items=300, density=0.1, random_state=0)

encoder = InteractionEncoder(values="one")
R = encoder.fit_transform(data.interactions)
order = InteractionEncoder(values="position").fit_transform(data.interactions)
train, test = leave_last_out(R, order)
negatives = sample_negatives(train, n=99, exclude=test, random_state=0)
print(f"{train.shape[0]} users, {train.shape[1]} items, {train.nnz} interactions to train on")

# %%
# The tutorial's net
# ------------------
# Vectors of length 8, hidden layers of 64 and 32, five epochs. The negatives are drawn anew in each
# of them; none is ever an item that the user has.

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
    "dot product": MatrixFactorization(n_factors=32, loss="logistic", random_state=0),
    "ALS": ALS(n_factors=32, random_state=0),
}
seconds = {}
for name, model in models.items():
    start = time.perf_counter()
    model.fit(train)
    seconds[name] = time.perf_counter() - start

table = evaluate(models, train, test, ["hr@10", "ndcg@10"], candidates=negatives)
table["fit seconds"] = pd.Series(seconds)
print(table.round(3).to_string())

# %%
# The picture
# -----------
# Sampled negatives flatter everybody alike: compare models in one protocol, never across two.

fig, axis = plt.subplots(figsize=(7, 3), layout="constrained")
table[["hr@10", "ndcg@10"]].plot.barh(ax=axis)
axis.set(title="The latest item among 99 drawn ones")
if args.save:
    args.save.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.save, dpi=120)
    print(f"saved {args.save}")

# %%
# Somebody new
# ------------
# Nobody has a vector for a user who was not in ``fit``. One is found for the history that comes in,
# everything else frozen; the same history always gets the same answer. ALS solves for it exactly.

titles = data.items["title"]
history = R[[0]].copy()
history[0, history.indices[-1]] = 0
history.eliminate_zeros()  # no training row
for name in ("MLP of the tutorial", "dot product", "ALS"):
    ids = models[name].recommend(history, n=3)
    print(f"{name}:", ", ".join(titles[encoder.item_ids_[ids[0]]]))

# %%
# Neighbours
# ----------
# In the space of the vectors, nearness means that the same users come.

ids, cosines = models["dot product"].similar_items([0, 1], n=3)
for item, near in enumerate(ids):
    print(titles[encoder.item_ids_[item]], "is near", ", ".join(titles[encoder.item_ids_[near]]))
