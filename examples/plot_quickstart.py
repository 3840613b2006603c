"""
Quickstart: from raw ratings to recommendations
===============================================

Load ratings, turn them into a sparse user × item matrix, hold out the latest item of each user,
compare models, recommend to somebody known and to somebody new, tune a parameter on validation
cells, ask why, and predict ratings.

``make demo`` runs this script on made-up movies, ``make demo DATA=ml-1m`` on MovieLens-1M.
"""

# %%
# Load
# ----
# A tidy frame of events, and a frame of titles. Any frame with a column of users and a column of
# items will do; the names of the columns are parameters of the encoder.

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    EASE,
    AutoRec,
    ItemKNN,
    PopularityRecommender,
    RecommenderPipeline,
    UserKNN,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import HoldoutSplit, evaluate, leave_last_out, random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

parser = argparse.ArgumentParser()
parser.add_argument("data", nargs="?", help="an edition of MovieLens, as in ml-1m")
parser.add_argument("--save", type=Path, help="where to save the picture")
args = parser.parse_args()
if args.data:
    data = fetch_movielens(args.data.removeprefix("ml-"))
else:
    data = make_movies(n_users=1000, n_items=400, density=0.08, random_state=0)
events, titles = data.interactions, data.items["title"]
print(events.head())

# %%
# Encode and split
# ----------------
# Rows are users, columns are items, and a zero means *not observed*. With ``values="position"`` a
# stored value says when the interaction came, so the matrix itself tells which one is the latest.
# Choices will be made on ``X_valid``, taken out of train; the test is touched once.

encoder = InteractionEncoder(values="position")
X = encoder.fit_transform(events)
X_train, X_test = leave_last_out(X)
X_fit, X_valid = leave_last_out(X_train)
print(f"{X.shape[0]} users x {X.shape[1]} items, {X.nnz} interactions, {X_test.nnz} held out")

# %%
# Fit and compare
# ---------------
# Every model is a scikit-learn estimator. These read strength in the values, so a
# :class:`~sklearn.preprocessing.Binarizer` makes ones of the positions first. The encoder is no
# step: it only translates ids.

models = {
    "popularity": PopularityRecommender(),
    "ItemKNN": ItemKNN(),
    "UserKNN": UserKNN(),
    "EASE": EASE(),
}
seconds = {}
for name, model in models.items():
    models[name] = RecommenderPipeline([("ones", Binarizer()), ("model", model)], encoder=encoder)
    start = time.perf_counter()
    models[name].fit(X_train)
    seconds[name] = time.perf_counter() - start

leaderboard = evaluate(models, X_train, X_test, metrics=["hr@10", "ndcg@10", "coverage@10"])
leaderboard["fit seconds"] = pd.Series(seconds)
print(leaderboard.round(3).to_string())

# %%
# Recommend
# ---------
# To a user of the training data, by raw id. Seen items are left out.

pipe = models["EASE"]
known = encoder.user_ids_[0]
answer = pipe.recommend([known], n=5)
print(answer.assign(title=answer["item"].map(titles)).to_string(index=False))

# %%
# And to somebody the model has never seen: a history is all it takes. Nothing is trained.

genre = "Sci-Fi"
popular = events["item"].value_counts().index
liked = [item for item in popular if genre in data.items.loc[item, "genres"]][:4]
history = pd.DataFrame({"user": "you", "item": liked, "timestamp": range(len(liked))})
print(f"somebody new likes: {', '.join(titles[liked])}")
answer = pipe.recommend(history, n=5)
print(answer.assign(title=answer["item"].map(titles)).to_string(index=False))

# %%
# Tune
# ----
# A search over EASE's penalty. :class:`~sklearn_recsys.model_selection.HoldoutSplit` scores the
# users of ``X_fit`` on their cells in ``X_valid``; for new users a plain ``cv=5`` folds over users.

grid = {"model__l2": [30, 100, 300, 1000, 3000]}
search = GridSearchCV(pipe, grid, cv=HoldoutSplit(), refit=False).fit(X_fit, X_valid)
best = clone(pipe).set_params(**search.best_params_).fit(X_train)
print(f"best on validation: {search.best_params_}")
print(f"NDCG@10 on test: {best.score(X_train, X_test):.4f}")

# %%
# Why?
# ----
# A score of EASE is a sum over the items of the history.

first = best.recommend(history, n=1)["item"].iloc[0]
why = best.explain(history, item=first)
print(f"{titles[first]}, because of")
print(why.assign(title=why["item"].map(titles)).round(3).to_string(index=False))

# %%
# Ratings
# -------
# What would somebody give a movie? :class:`~sklearn_recsys.neural.AutoRec` reads the ratings
# themselves; its defaults are for more data than the made-up movies. Users without a history get
# what is known of the items alone, here their mean ratings: the baseline.

R_train, R_test = random_holdout(InteractionEncoder().fit_transform(events), 0.1, random_state=0)
autorec = AutoRec(n_factors=50, lr=0.01, l2=20, random_state=0).fit(R_train)
print(f"RMSE of AutoRec on test: {-autorec.score(R_train, R_test):.4f}")
print(f"RMSE of item means: {-autorec.score(csr_array(R_train.shape), R_test):.4f}")

# %%
# The picture
# -----------

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
leaderboard[["hr@10", "ndcg@10"]].plot.barh(ax=left)
left.set(title="Latest item out, every item a candidate", xlabel="score on test")
results = pd.DataFrame(search.cv_results_)
right.semilogx(results["param_model__l2"], results["mean_test_score"], "o-")
right.set(title="EASE, chosen on validation", xlabel="l2", ylabel="NDCG@10")
if args.save:
    args.save.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.save, dpi=120)
    print(f"saved {args.save}")
