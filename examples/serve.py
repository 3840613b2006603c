"""
Recommendations over HTTP
=========================

A service in front of a saved :class:`~sklearn_recsys.RecommenderPipeline` with an encoder::

    pip install sklearn-recsys fastapi uvicorn
    MODEL=model.skr uvicorn serve:app

It answers for known users by their ids, and for anyone else by the items that they send. ``POST
/reload`` swaps in the file's new model while requests go on: each request uses the model that it
started with.
"""

import os

import pandas as pd
from fastapi import FastAPI

from sklearn_recsys import load

app = FastAPI()
app.state.model = load(os.environ["MODEL"])


def top(users, n):
    return app.state.model.recommend(users, n=n).iloc[:, -1].tolist()


@app.get("/users/{user}")
async def known_user(user: str, n: int = 10) -> list[str]:
    return top([user], n)  # of an unknown user: an empty list


@app.post("/histories")
async def anyone(items: list[str], n: int = 10) -> list[str]:
    return top(pd.DataFrame({"user": "anyone", "item": items}), n)


@app.post("/reload")
def reload() -> (
    str
):  # not async: it runs in a thread of its own, and requests go on
    app.state.model = load(os.environ["MODEL"])
    return "reloaded"
