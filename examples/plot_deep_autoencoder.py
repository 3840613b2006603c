"""
Deep autoencoders: depth, activation, dropout, re-feeding
=========================================================

Predict ratings, change one part of the model at a time on validation cells, and test once. Then
predict for users who were never seen, whose age, gender and occupation are known.

The script runs on made-up movies; with the argument ``ml-100k`` or ``ml-1m`` it runs on MovieLens,
where it takes minutes.
"""

# %%
# Load, encode, split
# -------------------
# A stored value of the matrix is a rating, a zero means *not observed*. Every sixth user is kept
# for the end. Of the others' ratings a tenth is the test, touched once; choices will be made on
# ``X_valid``, taken out of train.

import argparse
from pathlib import Path

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

parser = argparse.ArgumentParser()
parser.add_argument("data", nargs="?", help="an edition of MovieLens, as in ml-100k")
parser.add_argument("--save", type=Path, help="where to save the picture")
args = parser.parse_args()
if args.data:
    data = fetch_movielens(args.data.removeprefix("ml-"))
else:
    data = make_movies(n_users=900, n_items=200, density=0.15, random_state=0)

encoder = InteractionEncoder()
R = encoder.fit_transform(data.interactions)
new = np.arange(R.shape[0]) % 6 == 0
X, X_new = R[~new], R[new]
X_train, X_test = random_holdout(X, 0.1, random_state=0)
X_fit, X_valid = random_holdout(X_train, 0.1, random_state=1)
print(f"{X.shape[0]} users x {X.shape[1]} items, {X.nnz} ratings, {X_test.nnz} held out")

# %%
# One change at a time
# --------------------
# The default parameters of :class:`~sklearn_recsys.neural.DeepAutoencoder` are for MovieLens. The
# made-up ratings are fewer: they get narrower layers, a smaller penalty ``l2``, which stands beside
# a *sum* over the ratings, and larger steps. Early stopping is the model's own affair: each ``fit``
# holds out a tenth of what it gets, and ``X_valid`` is not part of that.
#
# ``hidden_layer_sizes`` are those of the encoder; the decoder mirrors them. All else is equal,
# though another activation may ask for another penalty or step. Each is fitted with one seed: small
# differences may be chance.

small = {"hidden_layer_sizes": (32, 32), "l2": 50.0, "lr": 5e-3}
base = DeepAutoencoder(random_state=0).set_params(**{} if args.data else small)
width = base.hidden_layer_sizes[0]
changes = {
    "as it is": {},
    "1 layer to the code": {"hidden_layer_sizes": (width,)},
    "3 layers to the code": {"hidden_layer_sizes": (width,) * 3},
    "sigmoid, not SELU": {"activation": "sigmoid"},
    "ReLU, not SELU": {"activation": "relu"},
    "no dropout": {"dropout": 0.0},
    "dropout 0.8": {"dropout": 0.8},
    "no re-feeding": {"n_refeeds": 0},
    "re-fed twice": {"n_refeeds": 2},
}
fitted = {name: clone(base).set_params(**params).fit(X_fit) for name, params in changes.items()}
ablation = pd.DataFrame(
    {
        "RMSE on validation": {name: -m.score(X_fit, X_valid) for name, m in fitted.items()},
        "epochs": {name: len(m.history_) for name, m in fitted.items()},
    }
)
print(ablation.round(4).to_string())

# %%
# Features of users
# -----------------
# Numbers that describe the users go into the net beside their ratings. Categories become columns of
# ones and zeros, ages are scaled; a row for each row of the matrix.

best = ablation["RMSE on validation"].idxmin()
model = clone(fitted[best])
users = data.users.loc[encoder.user_ids_]
to_numbers = make_column_transformer(
    (OneHotEncoder(sparse_output=False), ["gender", "occupation"]), (StandardScaler(), ["age"])
)
features = to_numbers.fit(users[~new]).transform(users)
F, F_new = features[~new], features[new]

with_features = clone(model).fit(X_fit, user_features=F)
print(f"best on validation: {best}")
print(f"RMSE on validation: {-fitted[best].score(X_fit, X_valid):.4f}")
print(f"with features: {-with_features.score(X_fit, X_valid, user_features=F):.4f}")

# %%
# Test
# ----
# Fitted again on all of train, beside user-based :class:`~sklearn_recsys.neural.AutoRec`, which has
# one layer and no features, and the mean of each item's ratings.

alone = clone(model).fit(X_train)
with_features = clone(model).fit(X_train, user_features=F)
autorec = AutoRec("user", random_state=0)
if not args.data:
    autorec.set_params(n_factors=32, l2=20, lr=5e-3)
autorec.fit(X_train)
counts = np.bincount(X_train.indices, minlength=X.shape[1])
item_means = np.where(counts, X_train.sum(axis=0) / np.maximum(counts, 1), X_train.data.mean())
table = {
    "item means": rmse(X_test.data, item_means[X_test.indices]),
    "AutoRec, user-based": -autorec.score(X_train, X_test),
    "DeepAutoencoder": -alone.score(X_train, X_test),
    "DeepAutoencoder, with features": -with_features.score(X_train, X_test, user_features=F),
}
print(pd.DataFrame({"RMSE on test": table}).round(4).to_string())

# %%
# New users
# ---------
# Those who were kept for the end are in no ``fit``: their ratings, and features, go through the net
# once. Half of each one's ratings is to be predicted; of the others more and more are known.
# Without any, a model that reads features goes by them, and the other one predicts the same for
# all.

known, hidden = random_holdout(X_new, 0.5, per_user=True, random_state=0)
curves = {}
for n in (0, 1, 2, 5, 10, 20):
    few = csr_array(known.shape)
    if n:  # of each user at most n ratings
        few, _ = random_holdout(known, 0.9999, per_user=True, min_train=n, random_state=0)
    curves[n] = {
        "ratings alone": -alone.score(few, hidden),
        "with features": -with_features.score(few, hidden, user_features=F_new),
    }
curves = pd.DataFrame(curves).T.rename_axis("known ratings")
print(curves.round(4).to_string())

# %%
# The picture
# -----------

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
errors = ablation["RMSE on validation"][::-1]
left.plot(errors, errors.index, "o")
left.axvline(errors["as it is"], color="gray", linewidth=1)
left.set(title="One change at a time", xlabel="RMSE on validation")
for name, curve in curves.items():
    right.plot(range(len(curve)), curve, "o-", label=name)
right.set_xticks(range(len(curves)), curves.index)
right.set(title="New users", xlabel="known ratings", ylabel="RMSE")
right.legend()
if args.save:
    args.save.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.save, dpi=120)
    print(f"saved {args.save}")

# %%
# Somebody new
# ------------
# Two people of 30 have no history yet; what they do for a living is all that differs. By genre, the
# means of all predictions for them:

engineer = "technician/engineer" if args.data == "ml-1m" else "engineer"
people = pd.DataFrame({"gender": "F", "occupation": ["artist", engineer], "age": 30})
nothing = csr_array((len(people), X.shape[1]))
predicted = with_features.predict(nothing, user_features=to_numbers.transform(people))
predicted = pd.DataFrame(predicted.T, encoder.item_ids_, people["occupation"])
genres = data.items.loc[encoder.item_ids_, "genres"].str.get_dummies("|")
by_genre = (genres.T @ predicted).div(genres.sum(), axis=0)
by_genre["difference"] = by_genre["artist"] - by_genre[engineer]
print(by_genre.sort_values("difference").round(2).to_string())
