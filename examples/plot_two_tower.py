"""
Two-tower model: cold start for new items and new users
=======================================================

The item tower reads the title, genres and year of a movie; the user tower reads the ratings,
gender, age and occupation of a user. This page shows how much these features improve predicted
ratings, how the model handles cold start, that is, users and movies without any ratings, and how
to use the embeddings.

The data is synthetic; with ``MOVIELENS=100k`` or ``1m`` in the environment, this page runs on
MovieLens, which takes minutes.
"""

# %%
# Features
# --------
# Two frames: user features with a row for each row of the matrix, and item features with a row for
# each column. The titles end with the year, which already is a separate column.

import os
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
    TwoTower,
)
from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.model_selection import evaluate, random_holdout
from sklearn_recsys.preprocessing import FeatureEncoder, InteractionEncoder

edition = os.environ.get("MOVIELENS")
if edition:
    data = fetch_movielens(edition)
else:
    data = make_movies(
        n_users=1000, n_items=400, density=0.08, random_state=0
    )

encoder = InteractionEncoder()
R = encoder.fit_transform(data.interactions)
titles = data.items.loc[encoder.item_ids_, "title"].to_numpy()
items = data.items.loc[encoder.item_ids_, ["title", "genres", "year"]]
items["title"] = items["title"].str.replace(
    r"\s*\(\d{4}\)$", "", regex=True
)
users = data.users.loc[encoder.user_ids_, ["gender", "age", "occupation"]]
print(f"{R.shape[0]} users, {R.shape[1]} movies, {R.nnz} ratings")
print(items.head(3).to_string())
print(users.head(3).to_string())

# %%
# :class:`~sklearn_recsys.preprocessing.FeatureEncoder` turns a frame into codes; the model fits one
# to each frame itself. It infers the kinds of the columns. A tower standardizes numbers, sums the
# embeddings of categories and tags, and reads the words of a text with a text CNN. Name the kind of
# a column to override the inferred one:
# ``TwoTower(items, user_encoder=FeatureEncoder({"age": "category"}))``.

for frame in (items, users):
    for name, kind, start, stop, n_codes in (
        FeatureEncoder().fit(frame).slots_
    ):
        print(f"{name}: {kind}, {stop - start} column(s), {n_codes} codes")

# %%
# Hold out new users and new movies
# ---------------------------------
# Every sixth user is new: held out of every ``fit``. Every eighth movie is new, too: ``fit`` sees
# none of its ratings. A tenth of all other ratings is for validation.

new = np.arange(R.shape[0]) % 6 == 5
withheld = np.arange(R.shape[1]) % 8 == 5


def only(X, keep):
    """Return the cells of a matrix that are marked in keep."""
    return csr_array(X.multiply(keep))


X, X_withheld = only(R[~new], ~withheld), only(R[~new], withheld)
X_new, F, F_new = only(R[new], ~withheld), users[~new], users[new]
X_fit, X_valid = random_holdout(X, 0.1, random_state=0)
print(f"{X_fit.nnz} ratings to fit to, {X_valid.nnz} for validation")
print(f"{withheld.sum()} new movies, {new.sum()} new users")

# %%
# Ratings with and without features
# ---------------------------------
# Item features are the parameter ``item_features``, user features an argument of ``fit``. The
# synthetic data is small, and its titles have at most three words: it needs smaller embeddings,
# fewer words and a larger learning rate; MovieLens gets the default hyperparameters. The model does
# early stopping itself: each ``fit`` holds out a tenth of its ratings.
#
# For a new movie, a model without features has no information; a model with features has its title,
# genres and year.

small = {
    "n_factors": 16,
    "embedding_dim": 16,
    "hidden_layer_sizes": (64,),
    "n_filters": 8,
    "item_encoder": FeatureEncoder(max_length=3),
    "lr": 5e-3,
}
params: dict = {"random_state": 0, **({} if edition else small)}
ratings = {
    "ratings alone": TwoTower(**params).fit(X_fit),
    "with item features": TwoTower(items, **params).fit(X_fit),
    "with user features, too": TwoTower(items, **params).fit(
        X_fit, user_features=F
    ),
}
table = pd.DataFrame(
    {
        name: evaluate(ratings, X_fit, y, ["neg_rmse"], user_features=F)[
            "neg_rmse"
        ]
        for name, y in {
            "validation": X_valid,
            "new movies": X_withheld,
        }.items()
    }
)
table = -table
table["epochs"] = pd.Series(
    {name: len(model.history_) for name, model in ratings.items()}
)
print("RMSE")
print(table.round(4).to_string())

# %%
# New users
# ---------
# New users need no refit: the user tower reads any history and any features. Half of the ratings of
# each new user are to be predicted; the history has none, five, or all of the others. With an empty
# history, a model without user features predicts the shrunk mean rating of each movie.

given, held_out = random_holdout(X_new, 0.5, per_user=True, random_state=0)
no_history = csr_array(given.shape)
five, _ = random_holdout(
    given, 0.9999, per_user=True, min_train=5, random_state=0
)
table = pd.DataFrame(
    {
        name: evaluate(
            ratings, X, held_out, ["neg_rmse"], user_features=F_new
        )["neg_rmse"]
        for name, X in {
            "none": no_history,
            "five": five,
            "all": given,
        }.items()
    }
)
print("RMSE")
print((-table).round(4).to_string())

# %%
# Item cold start: new movies
# ---------------------------
# To rank, fit on likes, ratings of 4 and 5, with ``loss="softmax"``. How many of the new movies
# that a user likes are among the top 20 of all movies, and among the top 20 of the new movies? The
# embedding of an id that is never trained is zero, so for these movies the model uses features
# alone; ``id_dropout`` is the fraction of movie ids, and of user histories, that are masked during
# training. Among all movies, new ones compete with popular ones (popularity bias).
# :class:`~sklearn_recsys.content.ContentRecommender` compares features and is not trained; which of
# the two finds more depends on the data.

likes, liked_withheld = only(X, X > 3.5), only(X_withheld, X_withheld > 3.5)
ranker = TwoTower(items, loss="softmax", id_dropout=0.5, **params)
rankers = {
    "random": RandomRecommender(random_state=0),
    "popularity": PopularityRecommender(),
    "content": ContentRecommender(items),
    "two towers": TwoTower(items, loss="softmax", **params),
    "two towers, id_dropout=0.5": ranker,
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
        for name, candidates in {
            "all": None,
            "new": np.flatnonzero(withheld),
        }.items()
    }
)
print("recall@20 of new movies, among")
print(table.round(3).to_string())

# %%
# User cold start: users without a history
# ----------------------------------------
# Recommend to new users from gender, age and occupation alone, and compare with popularity, which
# recommends the same items to all. Then recommend to two users.

pair = {
    name: rankers[name]
    for name in ("popularity", "two towers, id_dropout=0.5")
}
liked = only(X_new, X_new > 3.5)
table = evaluate(
    pair, no_history, liked, ["ndcg@10", "recall@20"], user_features=F_new
)
print(table.round(3).to_string())

engineer = "technician/engineer" if edition == "1m" else "engineer"
people = pd.DataFrame(
    {
        "gender": ["F", "M"],
        "age": [25, 50],
        "occupation": ["artist", engineer],
    }
)
for (_, person), ids in zip(
    people.iterrows(),
    ranker.recommend(csr_array((2, R.shape[1])), n=5, user_features=people),
    strict=True,
):
    print(", ".join(map(str, person)), "may like", "; ".join(titles[ids]))

# %%
# Similar movies
# --------------
# Movies with the highest cosine similarity of their embeddings: for three well-known movies on
# MovieLens, or the three most popular synthetic ones; then for the new movie with the most ratings,
# whose embedding comes from its features alone.

famous_titles = [
    "Toy Story (1995)",
    "Star Wars (1977)",
    "Godfather, The (1972)",
]
if edition == "1m":
    famous_titles[1] = (
        "Star Wars: Episode V - The Empire Strikes Back (1980)"
    )
counts = R.sign().sum(axis=0)
asked = np.flatnonzero(np.isin(titles, famous_titles))
if not edition:
    asked = np.argsort(counts * ~withheld)[:-4:-1]
asked = np.append(asked, np.argmax(counts * withheld))
ids, cosines = ranker.similar_items(asked, n=5)
for item, near, cosine in zip(asked, ids, cosines, strict=True):
    mark = ", new" if withheld[item] else ""
    print(f"{titles[item]}, {items['genres'].iloc[item]}{mark}")
    for other, value in zip(near, cosine, strict=True):
        print(
            f"    {value:.2f}  {titles[other]}, {items['genres'].iloc[other]}"
        )

# %%
# A user's favorites
# ------------------
# With ``exclude_seen=False`` all movies are ranked, including those of the user's own history: here
# by predicted ratings, next to the user's actual ratings. Predictions for movies with few ratings
# are uncertain, so the candidates are movies with at least 20 ratings.

model = ratings["with user features, too"]
user = int(np.argmax(np.diff(X_fit.indptr) >= 40))
often = np.flatnonzero(X_fit.sign().sum(axis=0) >= 20)
ids, scores = model.recommend(
    [user], n=10, exclude_seen=False, candidates=often, return_scores=True
)
low, high = model.rating_range_  # scores are not clipped, predictions are
favorites = pd.DataFrame(
    {
        "movie": titles[ids[0]],
        "genres": items["genres"].to_numpy()[ids[0]],
        "predicted": np.clip(scores[0], low, high),
        "rated": X_fit[[user]].toarray()[0, ids[0]],
    }
)
print(favorites.round(2).replace({"rated": {0: ""}}).to_string(index=False))

# %%
# Embeddings for other models
# ---------------------------
# ``transform`` returns the embeddings of training or new users, for any other estimator. Here a
# logistic regression predicts a user's gender on MovieLens, or occupation in the synthetic data,
# from the embedding of the ratings; new users are the test set.

target = "gender" if edition else "occupation"
model = ratings["with item features"]  # has not read the target
classifier = make_pipeline(
    StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)
)
classifier.fit(model.transform(X_fit), F[target])
accuracy = classifier.score(model.transform(X_new), F_new[target])
most = (F_new[target] == F[target].mode()[0]).mean()
print(
    f"{target} of new users: accuracy {accuracy:.3f}, the most frequent one {most:.3f}"
)

# %%
# Export embeddings
# -----------------
# ``item_factors_`` is an array with a row for each movie, in the order of the encoder's
# ``item_ids_``. `TensorBoard's embedding projector <https://projector.tensorflow.org>`_ loads two
# files of tab-separated values, the embeddings and their metadata.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name)
vectors = pd.DataFrame(ranker.item_factors_)
vectors.to_csv(
    path / "vectors.tsv",
    sep="\t",
    header=False,
    index=False,
    float_format="%.5f",
)
labels = items.assign(new=withheld).rename_axis("item").reset_index()
labels.to_csv(path / "metadata.tsv", sep="\t", index=False)
for file in ("vectors.tsv", "metadata.tsv"):
    lines = (path / file).read_text(encoding="utf-8").splitlines()
    print(f"{file}: {len(lines)} lines, the first ones:")
    print("   ", "\n    ".join(line[:70] for line in lines[:3]))

# %%
# Plot
# ----
# On the left, the validation curves of the rating models, on the ratings that each holds out for
# early stopping. On the right, the first two principal components of the movie embeddings, for
# movies with at least 20 ratings, colored by the first genre of a movie if it is one of the six
# most frequent; crosses are new movies.

shown = counts >= 20
plane = PCA(2).fit(ranker.item_factors_[shown])
points = plane.transform(ranker.item_factors_)
first = items["genres"].str.split("|").str[0].to_numpy()
frequent = pd.Series(first).value_counts().index[:6]

fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4), layout="constrained"
)
for name, model in ratings.items():
    left.plot(model.history_["valid_loss"], label=name)
left.set(
    title="Training",
    xlabel="epoch",
    ylabel="held-out squared error per user",
)
left.legend()
right.scatter(*points[shown].T, s=4, color="lightgray")
for number, genre in enumerate(frequent):
    for marker, group in (("o", ~withheld), ("x", withheld)):
        selected = shown & (first == genre) & group
        label = genre if marker == "o" else None
        right.scatter(
            *points[selected].T,
            s=10,
            marker=marker,
            color=f"C{number}",
            label=label,
        )
share = plane.explained_variance_ratio_
right.set(
    title="Movies",
    xlabel=f"first component, {share[0]:.0%} of the variance",
    ylabel=f"second, {share[1]:.0%}",
)
fig.legend(*right.get_legend_handles_labels(), loc="outside right upper")

# %%
# Training curves in TensorBoard
# ------------------------------
# ``history_`` is a frame and needs no other package. To watch training live in a browser and
# compare it with other runs, pass skorch's callback in ``callbacks``. It takes a ``SummaryWriter``
# of torch, which needs the package ``tensorboard``, not a requirement of this package. A writer
# holds an open file: call ``set_params(callbacks=None)`` before you save, clone or tune the model.

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:
    print("Not installed here: pip install tensorboard")
else:
    watched = clone(ratings["with user features, too"])
    watched.set_params(
        callbacks=[TensorBoard(SummaryWriter(path / "runs"))], max_epochs=3
    )
    watched.fit(X_fit, user_features=F)
    watched.set_params(callbacks=None)
    print(
        "Written:",
        ", ".join(file.name for file in (path / "runs").iterdir()),
    )
    print("To look at it: tensorboard --logdir runs")
folder.cleanup()
