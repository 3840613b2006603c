"""
Deep autoencoders: depth, activation, dropout, re-feeding
=========================================================

Predict ratings, compare variants of the model on validation ratings (an ablation study), and test
once. Then predict for new users from few ratings or none, with age, gender and occupation as user
features.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Load, encode, split
# -------------------
# A stored value of the matrix is a rating, a zero means *not observed*. Every sixth user is held
# out as a new user. A tenth of the ratings of the others is the test set, used once; variants are
# compared on ``X_valid``, held out of the training data.

import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_recsys import AutoRec, DeepAutoencoder
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.metrics import rmse
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=900, n_items=200, density=0.15, random_state=0
    )

encoder = InteractionEncoder()
R = encoder.fit_transform(data.interactions)
new = np.arange(R.shape[0]) % 6 == 0
X, X_new = R[~new], R[new]
X_train, X_test = random_holdout(X, 0.1, random_state=0)
X_fit, X_valid = random_holdout(X_train, 0.1, random_state=1)
print(
    f"{X.shape[0]} users x {X.shape[1]} items, {X.nnz} ratings, {X_test.nnz} held out"
)

# %%
# One change at a time
# --------------------
# The default parameters of :class:`~sklearn_recsys.neural.DeepAutoencoder` are for MovieLens. The
# synthetic data is smaller: it needs narrower layers, a smaller penalty ``l2``, because the loss is
# a *sum* over the ratings, and a larger learning rate. The model does early stopping itself: each
# ``fit`` holds out a tenth of its ratings, and ``X_valid`` is not part of that.
#
# ``hidden_layer_sizes`` are those of the encoder; the decoder mirrors them. Everything else is
# equal, although another activation may need another penalty or learning rate. Each variant is
# fitted with one seed, so small differences may be due to chance.

small = {"hidden_layer_sizes": (32, 32), "l2": 50.0, "lr": 5e-3}
base = DeepAutoencoder(random_state=0).set_params(
    **{} if edition else small
)
width = base.hidden_layer_sizes[0]
changes: dict[str, dict] = {
    "unchanged": {},
    "1 layer to the code": {"hidden_layer_sizes": (width,)},
    "3 layers to the code": {"hidden_layer_sizes": (width,) * 3},
    "sigmoid, not SELU": {"activation": "sigmoid"},
    "ReLU, not SELU": {"activation": "relu"},
    "no dropout": {"dropout": 0.0},
    "dropout 0.8": {"dropout": 0.8},
    "no re-feeding": {"n_refeeds": 0},
    "re-fed twice": {"n_refeeds": 2},
}
fitted = {
    name: clone(base).set_params(**params).fit(X_fit)
    for name, params in changes.items()
}
ablation = pd.DataFrame(
    {
        "RMSE on validation": {
            name: -m.score(X_fit, X_valid) for name, m in fitted.items()
        },
        "epochs": {name: len(m.history_) for name, m in fitted.items()},
    }
)
print(ablation.round(4).to_string())

# %%
# User features
# -------------
# The network also reads numeric user features. Categories are one-hot encoded and ages are
# standardized; the features have a row for each row of the matrix.

best = str(ablation["RMSE on validation"].idxmin())
model = clone(fitted[best])
users = data.users.loc[encoder.user_ids_]
to_numbers = make_column_transformer(
    (OneHotEncoder(sparse_output=False), ["gender", "occupation"]),
    (StandardScaler(), ["age"]),
)
features = to_numbers.fit(users[~new]).transform(users)
F, F_new = features[~new], features[new]

with_features = clone(model).fit(X_fit, user_features=F)
print(f"best on validation: {best}")
print(f"RMSE on validation: {-fitted[best].score(X_fit, X_valid):.4f}")
print(
    f"with features: {-with_features.score(X_fit, X_valid, user_features=F):.4f}"
)

# %%
# Test
# ----
# Refit on all training data, and compare with user-based :class:`~sklearn_recsys.neural.AutoRec`,
# which has one layer and no features, and with item means.

alone = clone(model).fit(X_train)
with_features = clone(model).fit(X_train, user_features=F)
autorec = AutoRec("user", random_state=0)
if not edition:
    autorec.set_params(n_factors=32, l2=20, lr=5e-3)
autorec.fit(X_train)
counts = np.bincount(X_train.indices, minlength=X.shape[1])
item_means = np.where(
    counts, X_train.sum(axis=0) / np.maximum(counts, 1), X_train.data.mean()
)
table = {
    "item means": rmse(X_test.data, item_means[X_test.indices]),
    "AutoRec, user-based": -autorec.score(X_train, X_test),
    "DeepAutoencoder": -alone.score(X_train, X_test),
    "DeepAutoencoder, with features": -with_features.score(
        X_train, X_test, user_features=F
    ),
}
print(pd.DataFrame({"RMSE on test": table}).round(4).to_string())

# %%
# New users and cold start
# ------------------------
# The held-out users are in no ``fit``: predicting for them is one forward pass of their ratings and
# features. Half of each user's ratings is to be predicted; the history has more and more of the
# other half. With no ratings, a model with features predicts from them, and a model without
# predicts the same for all users.

given, held_out = random_holdout(X_new, 0.5, per_user=True, random_state=0)
rows = {}
for n in (0, 1, 2, 5, 10, 20):
    few = csr_array(given.shape)
    if n:  # at most n ratings per user
        few, _ = random_holdout(
            given, 0.9999, per_user=True, min_train=n, random_state=0
        )
    rows[n] = {
        "ratings alone": -alone.score(few, held_out),
        "with features": -with_features.score(
            few, held_out, user_features=F_new
        ),
    }
curves = pd.DataFrame(rows).T.rename_axis("ratings in the history")
print(curves.round(4).to_string())

# %%
# Plot
# ----

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.5), layout="constrained"
)
errors = ablation["RMSE on validation"][::-1]
left.plot(errors, errors.index, "o")
left.axvline(errors["unchanged"], color="gray", linewidth=1)
left.set(title="One change at a time", xlabel="RMSE on validation")
for name, curve in curves.items():
    right.plot(range(len(curve)), curve, "o-", label=name)
right.set_xticks(range(len(curves)), curves.index)
right.set(title="New users", xlabel="ratings in the history", ylabel="RMSE")
right.legend()

# %%
# Users without ratings
# ---------------------
# Two users aged 30 have no history yet, and differ only in occupation. The mean prediction by
# genre:

engineer = "technician/engineer" if edition == "1m" else "engineer"
people = pd.DataFrame(
    {"gender": "F", "occupation": ["artist", engineer], "age": 30}
)
no_history = csr_array((len(people), X.shape[1]))
predicted = with_features.predict(
    no_history, user_features=to_numbers.transform(people)
)
predicted = pd.DataFrame(
    predicted.T, encoder.item_ids_, people["occupation"]
)
genres = data.items.loc[encoder.item_ids_, "genres"].str.get_dummies("|")
by_genre = (genres.T @ predicted).div(genres.sum(), axis=0)
by_genre["difference"] = by_genre["artist"] - by_genre[engineer]
print(by_genre.sort_values("difference").round(2).to_string())
