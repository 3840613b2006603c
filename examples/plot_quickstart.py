"""
Quickstart: from raw ratings to recommendations
===============================================

Load ratings, turn them into a sparse user × item matrix, hold out the latest item of each user,
compare models, recommend to a user and say why, recommend to someone new, tune a hyperparameter on
validation data, and predict ratings.

The movies are synthetic. ``make demo`` runs this page as a script, ``make demo DATA=ml-1m`` on
MovieLens-1M.
"""

# %%
# Load
# ----
# A tidy frame of events, and a frame of titles. Any frame with a user column and an item column
# will do; the column names are parameters of the encoder.

import os

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
from sklearn_recsys.inspection import compare
from sklearn_recsys.model_selection import (
    HoldoutSplit,
    leave_last_out,
    random_holdout,
)
from sklearn_recsys.preprocessing import InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=1000, n_items=400, density=0.08, random_state=0
    )
events, titles = data.interactions, data.items["title"]
print(events.head())

# %%
# Encode and split
# ----------------
# Rows are users, columns are items, and a zero means *not observed*. With ``values="position"`` a
# stored value is the position of the interaction in time, so the matrix itself tells which one is
# the latest. The test set serves to evaluate what has been chosen, never to choose.

encoder = InteractionEncoder(values="position")
X = encoder.fit_transform(events)
X_train, X_test = leave_last_out(X)
print(f"{X.shape[0]} users × {X.shape[1]} items, {X.nnz} interactions")
print(f"{X_test.nnz} of them are held out: the latest of each user")

# %%
# Compare models
# --------------
# Every model is a scikit-learn estimator. These models read the values as weights, so a
# :class:`~sklearn.preprocessing.Binarizer` turns the positions into ones first. The encoder is not
# a step of the pipeline: it only translates ids. :func:`~sklearn_recsys.inspection.compare` fits
# all models, and ranks for each user all items that are not in the training data.

models = {
    "popularity": PopularityRecommender(),
    "ItemKNN": ItemKNN(),
    "UserKNN": UserKNN(),
    "EASE": EASE(),
}
pipes = {}
for name, model in models.items():
    steps = [("ones", Binarizer()), ("model", model)]
    pipes[name] = RecommenderPipeline(steps, encoder=encoder)
metrics = ["ndcg@10", "hr@10", "coverage@10"]
leaderboard = compare(pipes, X_train, X_test, metrics=metrics)
print(leaderboard)

# %%
# Recommend, and say why
# ----------------------
# To a user, by raw id. What the user has watched is not recommended again.

pipe = pipes["EASE"].fit(X_train)
user = encoder.user_ids_[0]
watched = events[events["user"] == user].sort_values("timestamp")["item"]
print(f"user {user} has watched {len(watched)} movies, the latest ones:")
print(titles[watched].tail(5).to_string(index=False))

answer = pipe.recommend([user], n=5)
answer["title"] = answer["item"].map(titles)
print(f"\nrecommended to user {user}:")
print(answer.to_string(index=False))

# %%
# A score of EASE is a sum over the items of the history. These contributed most to the first movie
# of the list:

first = answer["item"].iloc[0]
why = pipe.explain([user], first)
why["title"] = why["history_item"].map(titles)
print(f"{titles[first]}, because user {user} has watched")
print(
    why[["title", "contribution"]].head(5).round(3).to_string(index=False)
)

# %%
# Recommend to someone new
# ------------------------
# A history is enough, and nothing is trained: four movies of one genre, and the list for them.

genre = "Sci-Fi"
popular = events["item"].value_counts().index
liked = popular[data.items.loc[popular, "genres"].str.contains(genre)][:4]
history = pd.DataFrame(
    {"user": "you", "item": liked, "timestamp": range(4)}
)
print(f"a new user likes: {', '.join(titles[liked])}")

answer = pipe.recommend(history, n=5)
print(answer.join(data.items, on="item").to_string(index=False))

# %%
# Tune
# ----
# A grid search over EASE's penalty, on validation data that is held out of the training data in the
# same way: the latest interactions, but three of each user, because with one the choice is left to
# chance. :class:`~sklearn_recsys.model_selection.HoldoutSplit` scores the users of ``X_fit`` on
# their interactions in ``X_valid``; to tune for new users (strong generalization), a plain ``cv=5``
# makes folds over users.

X_fit, X_valid = leave_last_out(X_train, n=3)
grid = {"model__l2": [30, 100, 200, 300, 500, 1000, 3000]}
search = GridSearchCV(pipe, grid, cv=HoldoutSplit(), refit=False)
search.fit(X_fit, X_valid)
print(f"best on validation: {search.best_params_}")

# %%
# Is the tuned model better than the default on the test set? Users vary, so the difference has a
# standard error: the standard deviation of the users' differences, divided by the square root of
# the number of users.

tuned = clone(pipe).set_params(**search.best_params_).fit(X_train)
versions = {"default": pipe, "tuned": tuned}
scores = compare(versions, X_train, X_test, metrics=["ndcg@10"])
ndcg = scores.per_user["ndcg@10"]
change = (ndcg["tuned"] - ndcg["default"]).mean()
error = (ndcg["tuned"] - ndcg["default"]).sem()
print(f"NDCG@10 of the default: {ndcg['default'].mean():.4f}")
print(f"tuned: {ndcg['tuned'].mean():.4f}, {change:+.4f} ± {error:.4f}")
if abs(change) > 2 * error:
    print("more than chance explains")
else:
    print("no more than chance explains: the default is a good choice here")

# %%
# Predict ratings
# ---------------
# How would a user rate a movie? :class:`~sklearn_recsys.neural.AutoRec` reads the ratings
# themselves; its defaults are for more data than the synthetic movies. For users without a history
# (cold start) it predicts the mean ratings of the items: the baseline.

R = InteractionEncoder().fit_transform(events)
R_train, R_test = random_holdout(R, 0.1, random_state=0)
autorec = AutoRec(n_factors=50, lr=0.01, l2=20, random_state=0)
autorec.fit(R_train)
nothing = csr_array(R_train.shape)  # no history
print(f"RMSE of AutoRec on test: {-autorec.score(R_train, R_test):.4f}")
print(f"RMSE of item means: {-autorec.score(nothing, R_test):.4f}")

# %%
# Plot
# ----
# The leaderboard with its 95 % intervals, and the search on validation data.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.5), layout="constrained"
)
leaderboard.plot(ax=left)
left.set_title("All items are candidates")
results = pd.DataFrame(search.cv_results_)
right.semilogx(results["param_model__l2"], results["mean_test_score"], "o-")
right.set(
    title="EASE, tuned on validation data",
    xlabel="l2",
    ylabel="NDCG@10",
)

# %%
# Where to go next
# ----------------
# :ref:`sphx_glr_auto_examples_plot_raw_ids.py` has every method of a pipeline that speaks your own
# ids, :ref:`sphx_glr_auto_examples_plot_linear_models.py` and
# :ref:`sphx_glr_auto_examples_plot_new_users.py` compare more models, and
# :doc:`/user_guide/persistence` saves a fitted model for a service.

print(
    "Open next: examples/plot_raw_ids.py, or the documentation's user guide"
)
