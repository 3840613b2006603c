"""
Raw ids in, raw ids out
=======================

A shop identifies its customers and products by their own ids, not by rows and columns. A
:class:`~sklearn_recsys.RecommenderPipeline` with an encoder takes and returns raw ids in every
method: this page shows them all.
"""

# %%
# Events and a catalog
# --------------------
# Synthetic events of users and movies, with names as ids. The catalog has all movies, including
# those that have not been watched yet.

import numpy as np
import pandas as pd
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    ALS,
    EASE,
    ContentRecommender,
    DeepAutoencoder,
    RecommenderPipeline,
)
from sklearn_recsys.datasets import make_movies
from sklearn_recsys.inspection import ExplanationDisplay
from sklearn_recsys.model_selection import evaluate, temporal_split
from sklearn_recsys.preprocessing import InteractionEncoder

data = make_movies(n_users=200, n_items=100, density=0.1, random_state=0)
movies = data.items.set_index("title", drop=False)
events = data.interactions.assign(
    user="user-" + data.interactions["user"].astype(str),
    item=data.items["title"].loc[data.interactions["item"]].to_numpy(),
    timestamp=pd.to_datetime(data.interactions["timestamp"], unit="s"),
)
print(events.head())

# %%
# Past and future
# ---------------
# Events are split at a date, before they are encoded. Users who first appear after it are unknown
# to the encoder, which is set to ignore them and their events.

cutoff = events["timestamp"].quantile(0.8).strftime("%Y-%m-%d")
past, future = temporal_split(events, cutoff=cutoff)
encoder = InteractionEncoder(
    items=movies.index.to_numpy(), unknown="ignore"
)
X = encoder.fit_transform(past)
print(
    f"{X.shape[0]} users x {X.shape[1]} movies before {cutoff}, {len(future)} events after it"
)

# %%
# Fit
# ---
# The encoder is not a step of the pipeline: it only translates ids.

steps = [("like", Binarizer(threshold=2)), ("model", EASE(l2=30))]
pipe = RecommenderPipeline(steps, encoder=encoder).fit(X)

# %%
# Recommend
# ---------
# For one user, several users, or all users. An unknown user is skipped.

alice, bob, carol = encoder.user_ids_[:3].tolist()
print(pipe.recommend(alice, n=3, return_scores=True))
print(pipe.recommend([bob, "user-of-tomorrow", alice], n=2))
print(len(pipe.recommend(n=5)), "rows for all users")

# %%
# For a new user: their events are enough.

watched = past.loc[past["user"] == carol, "item"].tolist()
new = pd.DataFrame(
    {"user": "you", "item": watched[:4], "rating": 5, "timestamp": cutoff}
)
new["timestamp"] = pd.to_datetime(new["timestamp"])
print(pipe.recommend(new, n=3))

# %%
# Filters
# -------
# For all users, a collection of raw ids. Per user, a dict or a frame, matched by user id in any
# order.

top = pipe.recommend(alice, n=4)["item"].tolist()
print(pipe.recommend(alice, n=2, exclude=set(top[:2])))
print(
    pipe.recommend(
        [bob, alice],
        n=2,
        candidates={alice: top[:3], bob: movies.index[:40]},
    )
)
stock = pd.DataFrame(
    {"user": [alice, alice, bob], "item": [top[0], top[1], movies.index[0]]}
)
print(pipe.recommend([bob, alice], n=1, exclude=stock))

# %%
# Scores
# ------
# As a frame, or for pairs.

print(pipe.predict([alice, bob]).iloc[:, :3])
print(pipe.predict_pairs([alice, bob], [top[0], top[0]]))

# %%
# Explanations and similar items
# ------------------------------

print(pipe.explain(alice, top[0]).head(3))
ExplanationDisplay.from_estimator(pipe, alice, top[0])

factors = RecommenderPipeline(
    [("als", ALS(8, random_state=0))], encoder=encoder
).fit(X)
print(factors.similar_items(top[0], n=3))
print(factors.similar_users(alice, n=3))

# %%
# Evaluate
# --------
# Held-out events are a frame, too.

held_out = future[future["user"].isin(encoder.user_ids_)]
print(f"NDCG@10: {pipe.score(None, held_out):.3f}")
print(
    evaluate(
        {"EASE": pipe, "ALS": factors},
        past,
        held_out,
        metrics=["hr", "ndcg"],
    ).round(3)
)

# %%
# Features
# --------
# Frames of features are aligned by their index, in any order.

features = movies[["genres", "year"]].sample(frac=1, random_state=0)
content = RecommenderPipeline(
    [("model", ContentRecommender(features))], encoder=encoder
).fit(X)
print(content.recommend(alice, n=3))

ages = data.users[["age"]].set_axis("user-" + data.users.index.astype(str))
ages = (ages - ages.mean()) / ages.std()
deep = DeepAutoencoder(hidden_layer_sizes=[8], max_epochs=3, random_state=0)
deep = RecommenderPipeline([("model", deep)], encoder=encoder).fit(
    X, user_features=ages
)
print(deep.recommend([bob, alice], n=1))
print(deep.predict_pairs([bob, alice], [top[0], top[0]]).round(1))

# %%
# Add new users
# -------------
# ``partial_fit`` of a closed-form model adds users to its training data. The pipeline then knows
# their ids.

pipe.partial_fit(new)
print(pipe.recommend("you", n=3))
assert np.array_equal(pipe.predict("you"), pipe.predict(new))
