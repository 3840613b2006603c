"""Recommendations of a saved model for frames of histories."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sklearn_recsys import EASE, InteractionEncoder, ItemKNN, batch, make_recommender_pipeline
from sklearn_recsys.batch import BatchRecommender
from sklearn_recsys.datasets import make_movies


@pytest.fixture(scope="module")
def events():
    events = make_movies(n_users=40, n_items=30, random_state=0).interactions
    _, numbers = np.unique(events["item"], return_inverse=True)
    return events.assign(item=[f"movie {number}" for number in numbers])


@pytest.fixture(scope="module")
def path(events, tmp_path_factory):
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events)
    folder = tmp_path_factory.mktemp("models")
    make_recommender_pipeline(EASE(l2=10), encoder=encoder).fit(R).save(folder / "pipeline")
    EASE(l2=10).fit(R).save(folder / "model")
    encoder.save(folder / "encoder")
    return folder


def as_lists(events):
    """Return a row for each user, with lists of items and ratings."""
    return events.groupby("user", as_index=False)[["item", "rating", "timestamp"]].agg(list)


def test_events_and_lists_are_the_same_histories(events, path):
    recommend = BatchRecommender(path / "pipeline", n=4)
    expected = batch._load(str(path / "pipeline")).recommend(events, n=4, return_scores=True)
    assert_frame_equal(recommend(events), expected)
    lists = as_lists(events)
    assert_frame_equal(recommend(lists), expected)
    parts = [lists[:11], lists[11:12], lists[12:]]
    assert_frame_equal(pd.concat(recommend.map(parts), ignore_index=True), expected)
    arrays = lists.assign(item=lists["item"].map(np.array), rating=lists["rating"].map(tuple))
    assert_frame_equal(recommend(arrays), expected)


@pytest.mark.parametrize(
    "options", [{}, {"exclude_seen": False}, {"candidates": ["movie 3", "movie 5", "movie 8"]}]
)
def test_a_model_and_its_encoder_are_as_good_as_a_pipeline(events, path, options):
    of_pipeline = BatchRecommender(path / "pipeline", n=3, **options)
    of_both = BatchRecommender(path / "model", n=3, encoder=path / "encoder", **options)
    found = of_both(events)
    assert_frame_equal(found, of_pipeline(events))
    if "candidates" in options:
        assert set(found["item"]) <= set(options["candidates"])


def test_new_users_and_empty_histories(events, path):
    recommend = BatchRecommender(path / "pipeline", n=3, exclude=["movie 1"])
    histories = pd.DataFrame(
        {"user": ["new", "empty"], "item": [["movie 2", "movie 4"], []], "rating": [[5, 4], []]}
    )
    found = recommend(histories)
    assert list(found["user"]) == ["new"] * 3 + ["empty"] * 3
    assert "movie 1" not in set(found["item"])
    nobody = recommend(as_lists(events)[:0])
    assert_frame_equal(nobody, recommend(events)[:0])


def test_a_worker_loads_a_file_once(events, path, tmp_path, monkeypatch):
    calls, load = [], batch.load
    monkeypatch.setattr(batch, "load", lambda path: calls.append(path) or load(path))
    copy = tmp_path / "model"
    copy.write_bytes((path / "pipeline").read_bytes())
    recommend = pickle.loads(pickle.dumps(BatchRecommender(copy, n=2)))
    assert not calls
    parts = [events[events["user"] == user] for user in events["user"].unique()[:6]]
    with ThreadPoolExecutor(4) as pool:
        first = pd.concat(pool.map(recommend, parts))
    assert calls == [str(copy)]
    encoder = InteractionEncoder()
    other = make_recommender_pipeline(ItemKNN(), encoder=encoder)
    other.fit(encoder.fit_transform(events)).save(copy)
    assert not first.equals(pd.concat(map(recommend, parts)))
    assert len(calls) == 2


def test_what_is_refused(path):
    with pytest.raises(ValueError, match="EASE without an InteractionEncoder"):
        BatchRecommender(path / "model")(pd.DataFrame({"user": [1], "item": [[1]]}))
    with pytest.raises(ValueError, match="n must be"):
        BatchRecommender(path / "model", n=0)
    with pytest.raises(FileNotFoundError):
        BatchRecommender(path / "nothing")(pd.DataFrame({"user": [1], "item": [[1]]}))
