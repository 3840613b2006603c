"""
Predict ratings with AutoRec
============================

Hold out a tenth of the ratings, tune the number of hidden units on validation ratings, compare
item-based and user-based AutoRec with mean ratings, recommend, and predict for a new user.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Load, encode, split
# -------------------
# A stored value of the matrix is a rating, a zero means *not observed*. The test set is a random
# tenth of the ratings, and is used once; hyperparameters are tuned on ``X_valid``, held out of the
# training data.

import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_recsys import AutoRec
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.metrics import rmse
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=600, n_items=300, density=0.15, random_state=0
    )
events, titles = data.interactions, data.items["title"]

encoder = InteractionEncoder()
X = encoder.fit_transform(events)
X_train, X_test = random_holdout(X, 0.1, random_state=0)
X_fit, X_valid = random_holdout(X_train, 0.1, random_state=1)
print(
    f"{X.shape[0]} users x {X.shape[1]} items, {X.nnz} ratings, {X_test.nnz} held out"
)

# %%
# Tune the number of hidden units
# -------------------------------
# The defaults of :class:`~sklearn_recsys.neural.AutoRec` are for data of the size of MovieLens-1M.
# With only 27,000 ratings, a greater learning rate makes up for the fewer updates per epoch, and
# the penalty ``l2`` is smaller because the loss is a *sum* over the ratings.
#
# The model does early stopping itself: each ``fit`` holds out a tenth of its ratings and keeps the
# weights of the epoch that predicts them best. ``X_valid`` is not part of that tenth.

if edition:
    model, n_factors = AutoRec(random_state=0), [20, 100, 500]
else:
    model = AutoRec(lr=0.01, l2=20, random_state=0)
    n_factors = [5, 10, 20, 50, 100]
grid = {"kind": ["item", "user"], "n_factors": n_factors}
search = GridSearchCV(model, grid, cv=HoldoutSplit(), refit=False).fit(
    X_fit, X_valid
)
curves = pd.DataFrame(search.cv_results_).pivot(
    index="param_n_factors", columns="param_kind", values="mean_test_score"
)
curves = -curves.astype(
    float
)  # rating models score by RMSE, negative: greater is better
print(curves.round(4).to_string())

# %%
# Compare
# -------
# Refit on all training data, with the numbers of units that are best on validation. The baselines
# are the mean of all ratings and the mean of each item.

models = {
    kind: clone(model).set_params(kind=kind, n_factors=int(n)).fit(X_train)
    for kind, n in curves.idxmin().items()
}
rated, held_out = (
    encoder.inverse_transform(X_train),
    encoder.inverse_transform(X_test),
)
mean = rated["rating"].mean()
item_means = rated.groupby("item")["rating"].mean()
predictions = {
    "mean of all ratings": np.full(len(held_out), mean),
    "item means": held_out["item"].map(item_means).fillna(mean),
}
table = {
    name: rmse(held_out["rating"], values)
    for name, values in predictions.items()
}
for kind, fitted in models.items():
    table[
        f"AutoRec, {kind}-based, {fitted.n_factors} units"
    ] = -fitted.score(X_train, X_test)
print(pd.DataFrame({"RMSE on test": table}).round(4).to_string())

# %%
# Plot
# ----
# On the right, the training curve: ``history_`` is a frame with a row for each epoch. The losses
# are squared errors per item over the training ratings and over those held out for early stopping;
# here both are shown as RMSE.

best = models["item"]
fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.5), layout="constrained"
)
for kind, curve in curves.items():
    left.semilogx(curve.index, curve, "o-", label=f"{kind}-based")
left.set(title="RMSE on validation", xlabel="hidden units", ylabel="RMSE")
left.legend()
history, held_out_share = best.history_, best.validation_fraction
for loss, share in {
    "train_loss": 1 - held_out_share,
    "valid_loss": held_out_share,
}.items():
    ratings_per_item = share * X_train.nnz / X_train.shape[1]
    right.plot(
        np.sqrt(history[loss] / ratings_per_item),
        label=loss.removesuffix("_loss"),
    )
right.set(title="Training, item-based", xlabel="epoch", ylabel="RMSE")
right.legend()

# %%
# Recommend
# ---------
# For the first three users: the movies that they rated highest, and the movies with the highest
# predictions among those they have not rated. Rankings use predictions that are not clipped to the
# rating range, so a score can be above 5.

users = encoder.user_ids_[:3]
top, scores = best.recommend(
    encoder.encode_users(users), n=5, return_scores=True
)
answer = encoder.decode(top, scores, users)
for user in users:
    highest = rated[rated["user"] == user].nlargest(5, "rating")
    recommended = answer[answer["user"] == user]
    print(f"\nuser {user}")
    columns = {
        "rated highest": highest["item"].map(titles).to_numpy(),
        "rating": highest["rating"].to_numpy(),
        "recommended": recommended["item"].map(titles).to_numpy(),
        "score": recommended["score"].round(2).to_numpy(),
    }
    print(pd.DataFrame(columns).to_string(index=False))

# %%
# Predict for a new user
# ----------------------
# The input of item-based AutoRec is a vector over the training users, without an entry for a new
# user. Yet nothing is trained: ``predict`` solves a ridge regression of the new ratings on the
# latent codes of the items, as it does for training users. A user who loves science fiction and
# dislikes romances rates six movies. The table has the mean prediction by genre for this user, and
# the mean of the item means:

genres = data.items["genres"].str.get_dummies("|")
popular = events["item"].value_counts().index
taste = (genres["Sci-Fi"] - genres["Romance"]).loc[popular]
loved, hated = taste.index[taste == 1][:3], taste.index[taste == -1][:3]
history = pd.DataFrame(
    {"user": "you", "item": [*loved, *hated], "rating": 3 * [5] + 3 * [1]}
)
print(
    history.assign(title=history["item"].map(titles)).to_string(index=False)
)

X_new, _ = encoder.transform_histories(history)
predicted = pd.Series(best.predict(X_new)[0], index=encoder.item_ids_)
ratings = pd.DataFrame({"you": predicted, "item means": item_means}).fillna(
    mean
)
genres = genres.loc[ratings.index]
by_genre = (genres.T @ ratings).div(genres.sum(), axis=0)
print(by_genre.sort_values("you", ascending=False).round(2).to_string())
