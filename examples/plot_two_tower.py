"""
Two towers: movies nobody has rated, users without a history
============================================================

One tower reads what is known of a movie, its title, genres and year; the other one what is known
of a user, ratings, gender, age and occupation. What this adds to predicted ratings, what it says
of users and movies that no rating is known of, and where the movies lie in the space of vectors.

The script runs on made-up movies; with the argument ``ml-100k`` or ``ml-1m`` it runs on MovieLens,
where it takes minutes.
"""

# %%
# Attributes
# ----------
# Two frames, with a row for each row and for each column of the matrix. A title ends with the year,
# which is a column of its own.

import argparse
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import TensorBoard

from sklearn_recsys import (
    ContentRecommender,
    PopularityRecommender,
    RandomRecommender,
    TwoTowerRecommender,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import evaluate, random_holdout
from sklearn_recsys.preprocessing import FeatureEncoder, InteractionEncoder

parser = argparse.ArgumentParser()
parser.add_argument("data", nargs="?", help="an edition of MovieLens, as in ml-100k")
parser.add_argument("--save", type=Path, help="where to save the picture")
args = parser.parse_args()
if args.data:
    data = fetch_movielens(args.data.removeprefix("ml-"))
else:
    data = make_movies(n_users=1000, n_items=400, density=0.08, random_state=0)

encoder = InteractionEncoder()
R = encoder.fit_transform(data.interactions)
titles = data.items.loc[encoder.item_ids_, "title"].to_numpy()
items = data.items.loc[encoder.item_ids_, ["title", "genres", "year"]]
items["title"] = items["title"].str.replace(r"\s*\(\d{4}\)$", "", regex=True)
users = data.users.loc[encoder.user_ids_, ["gender", "age", "occupation"]]
print(f"{R.shape[0]} users, {R.shape[1]} movies, {R.nnz} ratings")
print(items.head(3).to_string())
print(users.head(3).to_string())

# %%
# :class:`~sklearn_recsys.preprocessing.FeatureEncoder` makes codes of a frame; the model fits one
# to either frame itself. It recognises what the columns are. Numbers go into a tower standardised,
# categories and tags as the sums of their vectors, and the words of a text through a text-CNN. What
# is not to be taken for what it looks like is named:
# ``TwoTowerRecommender(items, user_encoder=FeatureEncoder({"age": "category"}))``.

for frame in (items, users):
    for name, kind, start, stop, n_codes in FeatureEncoder().fit(frame).slots_:
        print(f"{name}: {kind}, {stop - start} column(s), {n_codes} codes")

# %%
# What is kept away
# -----------------
# Every sixth user is new: in no ``fit``. Every eighth movie is withheld: nobody's rating of it is
# in ``fit`` either. Of all other ratings a tenth is for validation.

new = np.arange(R.shape[0]) % 6 == 5
withheld = np.arange(R.shape[1]) % 8 == 5


def only(X, keep):
    """Return the cells of a matrix that are to be kept."""
    return csr_array(X.multiply(keep))


X, X_withheld = only(R[~new], ~withheld), only(R[~new], withheld)
X_new, F, F_new = only(R[new], ~withheld), users[~new], users[new]
X_fit, X_valid = random_holdout(X, 0.1, random_state=0)
print(f"{X_fit.nnz} ratings to fit to, {X_valid.nnz} for validation")
print(f"{withheld.sum()} movies withheld, {new.sum()} new users")

# %%
# Ratings, with attributes and without
# ------------------------------------
# Movies are the parameter ``item_features``, users go into ``fit``. Made-up movies are few, and
# their titles have three words at the most: they get short vectors, fewer words and larger steps;
# on MovieLens the default parameters are used. Early stopping is the model's own affair: each
# ``fit`` holds out a tenth of what it gets.
#
# A model without features knows nothing of a withheld movie, a model of features its title, genres
# and year.

small = {
    "n_factors": 16,
    "n_embedding": 16,
    "hidden_layer_sizes": (64,),
    "n_filters": 8,
    "item_encoder": FeatureEncoder(max_length=3),
    "lr": 5e-3,
}
params = {"random_state": 0, **({} if args.data else small)}
ratings = {
    "ratings alone": TwoTowerRecommender(**params).fit(X_fit),
    "and movies": TwoTowerRecommender(items, **params).fit(X_fit),
    "and users": TwoTowerRecommender(items, **params).fit(X_fit, user_features=F),
}
table = pd.DataFrame(
    {
        name: evaluate(ratings, X_fit, y, ["neg_rmse"], user_features=F)["neg_rmse"]
        for name, y in {"validation": X_valid, "withheld movies": X_withheld}.items()
    }
)
table = -table
table["epochs"] = pd.Series({name: len(model.history_) for name, model in ratings.items()})
print("RMSE")
print(table.round(4).to_string())

# %%
# New users
# ---------
# A user needs no number: the tower reads whatever history and attributes come in. Half of the
# ratings of each new user are to be predicted; of the others none, five, or all are known. Without
# any, a model that knows no attributes predicts the shrunk mean of each movie's ratings.

known, hidden = random_holdout(X_new, 0.5, per_user=True, random_state=0)
nothing = csr_array(known.shape)
five, _ = random_holdout(known, 0.9999, per_user=True, min_train=5, random_state=0)
table = pd.DataFrame(
    {
        name: evaluate(ratings, X, hidden, ["neg_rmse"], user_features=F_new)["neg_rmse"]
        for name, X in {"none known": nothing, "five": five, "all": known}.items()
    }
)
print("RMSE")
print((-table).round(4).to_string())

# %%
# Movies that nobody has rated
# ----------------------------
# To rank, fit on likes, ratings of 4 and 5, with ``loss="softmax"``. Then: how many of the withheld
# movies that a user likes are among the first 20 of all movies, and of the withheld ones among
# themselves? An id that is never trained is zeros, so for these movies the model has features
# alone; ``id_dropout`` is the share of movies, and of users' histories, that it has to do without
# in training. Among all movies those withheld stand beside the popular ones, whose ids say so.
# :class:`~sklearn_recsys.content.ContentRecommender` compares features and learns from
# nobody; which of the two finds more depends on the data.

likes, liked_withheld = only(X, X > 3.5), only(X_withheld, X_withheld > 3.5)
rankers = {
    "random": RandomRecommender(random_state=0),
    "popularity": PopularityRecommender(),
    "content": ContentRecommender(items),
    "two towers": TwoTowerRecommender(items, loss="softmax", **params),
    "two towers, id_dropout=0.5": TwoTowerRecommender(
        items, loss="softmax", id_dropout=0.5, **params
    ),
}
for name, model in rankers.items():
    model.fit(likes, **{"user_features": F} if "towers" in name else {})
table = pd.DataFrame(
    {
        name: evaluate(
            rankers,
            likes,
            liked_withheld,
            ["recall@20"],
            candidates=candidates,
            user_features=F,
        )["recall@20"]
        for name, candidates in {"all": None, "withheld": np.flatnonzero(withheld)}.items()
    }
)
print("recall@20 of withheld movies, among")
print(table.round(3).to_string())

# %%
# Users without a history
# -----------------------
# Gender, age and occupation are all that is known of new users, beside popularity, which
# recommends the same to all. Then lists for two people.

ranker = rankers["two towers, id_dropout=0.5"]
pair = {name: rankers[name] for name in ("popularity", "two towers, id_dropout=0.5")}
liked = only(X_new, X_new > 3.5)
table = evaluate(pair, nothing, liked, ["ndcg@10", "recall@20"], user_features=F_new)
print(table.round(3).to_string())

engineer = "technician/engineer" if args.data == "ml-1m" else "engineer"
people = pd.DataFrame({"gender": ["F", "M"], "age": [25, 50], "occupation": ["artist", engineer]})
for (_, person), ids in zip(
    people.iterrows(),
    ranker.recommend(csr_array((2, R.shape[1])), n=5, user_features=people),
    strict=True,
):
    print(", ".join(map(str, person)), "may like", "; ".join(titles[ids]))

# %%
# Neighbours
# ----------
# Movies whose vectors point the same way. Of MovieLens three that many know, of made-up movies the
# three most popular ones; at last the withheld movie that most have rated, which is placed by its
# features alone.

known_titles = ["Toy Story (1995)", "Star Wars (1977)", "Godfather, The (1972)"]
if args.data == "ml-1m":
    known_titles[1] = "Star Wars: Episode V - The Empire Strikes Back (1980)"
counts = R.sign().sum(axis=0)
asked = np.flatnonzero(np.isin(titles, known_titles))
if not args.data:
    asked = np.argsort(counts * ~withheld)[:-4:-1]
asked = np.append(asked, np.argmax(counts * withheld))
ids, cosines = ranker.similar_items(asked, n=5)
for item, near, cosine in zip(asked, ids, cosines, strict=True):
    mark = ", withheld" if withheld[item] else ""
    print(f"{titles[item]}, {items['genres'].iloc[item]}{mark}")
    for other, value in zip(near, cosine, strict=True):
        print(f"    {value:.2f}  {titles[other]}, {items['genres'].iloc[other]}")

# %%
# What somebody likes most
# ------------------------
# With ``exclude_seen=False`` everything is ranked, the movies of the user's own history, too: here
# by predicted ratings, beside those that the user gave. What few have rated is predicted with
# little certainty, so the candidates are movies with 20 ratings.

model = ratings["and users"]
someone = int(np.argmax(np.diff(X_fit.indptr) >= 40))
often = np.flatnonzero(X_fit.sign().sum(axis=0) >= 20)
ids, scores = model.recommend(
    [someone], n=10, exclude_seen=False, candidates=often, return_scores=True
)
low, high = model.rating_range_  # scores are not clipped, predictions are
favourites = pd.DataFrame(
    {
        "movie": titles[ids[0]],
        "genres": items["genres"].to_numpy()[ids[0]],
        "predicted": np.clip(scores[0], low, high),
        "rated": X_fit[[someone]].toarray()[0, ids[0]],
    }
)
print(favourites.round(2).replace({"rated": {0: ""}}).to_string(index=False))

# %%
# Vectors for other models
# ------------------------
# ``transform`` returns the vectors of users, known or new, for any other estimator. Here a logistic
# regression tells from the vector of the ratings what the user is, gender on MovieLens, occupation
# in the made-up data; new users are the test.

target = "gender" if args.data else "occupation"
model = ratings["and movies"]  # has not read what is to be told
classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
classifier.fit(model.transform(X_fit), F[target])
accuracy = classifier.score(model.transform(X_new), F_new[target])
most = (F_new[target] == F[target].mode()[0]).mean()
print(f"{target} of new users: accuracy {accuracy:.3f}, the most frequent one {most:.3f}")

# %%
# Vectors in a file
# -----------------
# ``item_factors_`` is an array with a row for each movie, in the order of the encoder's
# ``item_ids_``. Two files of tabulator-separated values, vectors and what they are of, are what
# `TensorBoard's embedding projector <https://projector.tensorflow.org>`_ loads.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name)
vectors = pd.DataFrame(ranker.item_factors_)
vectors.to_csv(path / "vectors.tsv", sep="\t", header=False, index=False, float_format="%.5f")
labels = items.assign(withheld=withheld).rename_axis("item").reset_index()
labels.to_csv(path / "metadata.tsv", sep="\t", index=False)
for file in ("vectors.tsv", "metadata.tsv"):
    lines = (path / file).read_text(encoding="utf-8").splitlines()
    print(f"{file}: {len(lines)} lines, the first ones:")
    print("   ", "\n    ".join(line[:70] for line in lines[:3]))

# %%
# The picture
# -----------
# To the left the training curves of the models of ratings, of the ratings that each has held out
# for itself. To the right the first two principal components of the movies' vectors, of those that
# 20 users have rated, coloured by the genre that a movie's list begins with, the six most frequent
# ones; crosses are withheld movies.

drawn = counts >= 20
plane = PCA(2).fit(ranker.item_factors_[drawn])
points = plane.transform(ranker.item_factors_)
first = items["genres"].str.split("|").str[0].to_numpy()
frequent = pd.Series(first).value_counts().index[:6]

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, model in ratings.items():
    left.plot(model.history_["valid_loss"], label=name)
left.set(title="Training", xlabel="epoch", ylabel="held-out squared error per user")
left.legend()
right.scatter(*points[drawn].T, s=4, color="lightgray")
for number, genre in enumerate(frequent):
    for marker, group in (("o", ~withheld), ("x", withheld)):
        there = drawn & (first == genre) & group
        label = genre if marker == "o" else None
        right.scatter(*points[there].T, s=10, marker=marker, color=f"C{number}", label=label)
share = plane.explained_variance_ratio_
right.set(
    title="Movies",
    xlabel=f"first component, {share[0]:.0%} of the variance",
    ylabel=f"second, {share[1]:.0%}",
)
fig.legend(*right.get_legend_handles_labels(), loc="outside right upper")
if args.save:
    args.save.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(args.save, dpi=120)
    print(f"saved {args.save}")

# %%
# Training curves in TensorBoard
# ------------------------------
# ``history_`` is a frame, and needs nothing more. To watch training while it goes on, in a browser
# and beside other runs, hand skorch's callback to ``callbacks``. It takes a ``SummaryWriter`` of
# torch, which needs the package ``tensorboard``; that is no requirement of this package. A writer
# is an open file: ``set_params(callbacks=None)`` before the model is saved, and clone and search
# without it.

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    print("Not installed here: pip install tensorboard")
else:
    watched = clone(ratings["and users"])
    watched.set_params(callbacks=[TensorBoard(SummaryWriter(path / "runs"))], max_epochs=3)
    watched.fit(X_fit, user_features=F)
    watched.set_params(callbacks=None)
    print("Written:", ", ".join(file.name for file in (path / "runs").iterdir()))
    print("To look at it: tensorboard --logdir runs")
folder.cleanup()
