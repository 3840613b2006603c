"""
Quickstart: from raw ratings to recommendations
===============================================

Load ratings, turn them into a sparse user × item matrix, hold out the latest item of each user,
compare models, recommend to a training user and to a new user, tune a hyperparameter on validation
data, explain a recommendation, and predict ratings.

``make demo`` runs this script on synthetic movies, ``make demo DATA=ml-1m`` on MovieLens-1M.
"""

# %%
# Load
# ----
# A tidy frame of events, and a frame of titles. Any frame with a user column and an item column
# will do; the column names are parameters of the encoder.

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
parser.add_argument("--save", type=Path, help="where to save the plot")
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
# stored value is the position of the interaction in time, so the matrix itself tells which one is
# the latest. Hyperparameters are tuned on ``X_valid``, held out of the training data; the test set
# is used once.

encoder = InteractionEncoder(values="position")
X = encoder.fit_transform(events)
X_train, X_test = leave_last_out(X)
X_fit, X_valid = leave_last_out(X_train)
print(f"{X.shape[0]} users x {X.shape[1]} items, {X.nnz} interactions, {X_test.nnz} held out")

# %%
# Fit and compare
# ---------------
# Every model is a scikit-learn estimator. These models read the values as weights, so a
# :class:`~sklearn.preprocessing.Binarizer` turns the positions into ones first. The encoder is not
# a step of the pipeline: it only translates ids.

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
# To a training user, by raw id. Seen items are excluded.

pipe = models["EASE"]
user = encoder.user_ids_[0]
answer = pipe.recommend([user], n=5)
print(answer.assign(title=answer["item"].map(titles)).to_string(index=False))

# %%
# And to a new user: a history is enough. Nothing is trained.

genre = "Sci-Fi"
popular = events["item"].value_counts().index
liked = [item for item in popular if genre in data.items.loc[item, "genres"]][:4]
history = pd.DataFrame({"user": "you", "item": liked, "timestamp": range(len(liked))})
print(f"a new user likes: {', '.join(titles[liked])}")
answer = pipe.recommend(history, n=5)
print(answer.assign(title=answer["item"].map(titles)).to_string(index=False))

# %%
# Tune
# ----
# A grid search over EASE's penalty. :class:`~sklearn_recsys.model_selection.HoldoutSplit` scores
# the users of ``X_fit`` on their interactions in ``X_valid``; to evaluate on new users (strong
# generalization), a plain ``cv=5`` makes folds over users.

grid = {"model__l2": [30, 100, 300, 1000, 3000]}
search = GridSearchCV(pipe, grid, cv=HoldoutSplit(), refit=False).fit(X_fit, X_valid)
best = clone(pipe).set_params(**search.best_params_).fit(X_train)
print(f"best on validation: {search.best_params_}")
print(f"NDCG@10 on test: {best.score(X_train, X_test):.4f}")

# %%
# Explain
# -------
# A score of EASE is a sum over the items of the history.

first = best.recommend(history, n=1)["item"].iloc[0]
why = best.explain(history, first)[["history_item", "contribution"]]
print(f"{titles[first]}, because of")
print(why.assign(title=why["history_item"].map(titles)).round(3).to_string(index=False))

# %%
# Ratings
# -------
# How would a user rate a movie? :class:`~sklearn_recsys.neural.AutoRec` reads the ratings
# themselves; its defaults are for more data than the synthetic movies. For users without a history
# (cold start) it predicts the mean ratings of the items: the baseline.

R_train, R_test = random_holdout(InteractionEncoder().fit_transform(events), 0.1, random_state=0)
autorec = AutoRec(n_factors=50, lr=0.01, l2=20, random_state=0).fit(R_train)
print(f"RMSE of AutoRec on test: {-autorec.score(R_train, R_test):.4f}")
print(f"RMSE of item means: {-autorec.score(csr_array(R_train.shape), R_test):.4f}")

# %%
# Plot
# ----

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
leaderboard[["hr@10", "ndcg@10"]].plot.barh(ax=left)
left.set(title="Leave-one-out, all items are candidates", xlabel="score on test")
results = pd.DataFrame(search.cv_results_)
right.semilogx(results["param_model__l2"], results["mean_test_score"], "o-")
right.set(title="EASE, tuned on validation data", xlabel="l2", ylabel="NDCG@10")
if args.save:
    args.save.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.save, dpi=120)
    print(f"saved {args.save}")
