"""
Recommendations over HTTP
=========================

A service in front of a saved :class:`~sklearn_recsys.RecommenderPipeline` with an encoder, such as
this one. In a URL ids are strings, so they are strings in training, too::

    events = pd.read_csv("events.csv", dtype=str)  # columns: user, item
    encoder = InteractionEncoder(values="one", unknown="ignore")
    X = encoder.fit_transform(events)
    model = make_recommender_pipeline(EASE(), encoder=encoder).fit(X)
    model.save("model.skr")

This starts the service::

    pip install fastapi uvicorn
    MODEL=model.skr uvicorn serve:app

It answers for known users by their ids, and for anyone else by the items that they send. ``POST
/reload`` swaps in the file's new model while requests go on: each request uses the model that it
started with.
"""

import os

import pandas as pd
from fastapi import FastAPI
from pydantic import PositiveInt

from sklearn_recsys import load

app = FastAPI()
app.state.model = load(os.environ["MODEL"])


def top(model, users, n):
    return model.recommend(users, n=n).iloc[:, -1].tolist()


@app.get("/users/{user}")
async def known_user(user: str, n: PositiveInt = 10) -> list[str]:
    return top(app.state.model, [user], n)  # of an unknown user: none


@app.post("/histories")
async def anyone(items: list[str], n: PositiveInt = 10) -> list[str]:
    model = app.state.model
    events = pd.DataFrame({"user": "anyone", "item": items})
    history, _ = model.encoder.transform_histories(events, users=["anyone"])
    return top(model, history, n)  # without items: the most popular ones


@app.post("/reload")
def reload() -> str:  # in a thread of its own: requests go on
    app.state.model = load(os.environ["MODEL"])
    return "reloaded"
