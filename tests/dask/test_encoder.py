"""Events in partitions: the ids and the matrix are those of the frame as a whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import sklearn_recsys
from sklearn_recsys import InteractionEncoder
from sklearn_recsys.dask import DaskEASE, DaskInteractionEncoder

dask = pytest.importorskip("dask", reason="needs Dask: make test-dask")
pytest.importorskip("distributed", reason="needs Dask: make test-dask")


def events(n_events=400, seed=0):
    """Return events with duplicates and equal times; the users are in all partitions."""
    rng = np.random.default_rng(seed)
    users = np.array([f"user {i}" for i in rng.permutation(50)])
    return pd.DataFrame(
        {
            "user": users[rng.integers(0, 50, n_events)],
            "item": rng.integers(0, 30, n_events) * 7 % 31,
            "rating": rng.integers(1, 11, n_events) / 2,
            "timestamp": rng.integers(0, 20, n_events),
            "device": "phone",
        }
    )


def partitions(frame, n=5):
    import dask.dataframe as dd

    size = -(-len(frame) // n)
    meta = frame.iloc[:0]
    parts = [frame[start : start + size] for start in range(0, len(frame), size)]
    return dd.from_delayed([dask.delayed(part) for part in parts], meta=meta)


def assert_same(X, expected):
    blocks = dask.compute(*X.to_delayed().ravel())
    assert X.shape == expected.shape
    assert sum(X.chunks[0]) == expected.shape[0]
    assert [block.shape[0] for block in blocks] == list(X.chunks[0])
    for block in blocks:
        assert block.dtype == expected.dtype == X.dtype
        assert block.has_canonical_format
    assert_array_equal(np.vstack([block.toarray() for block in blocks]), expected.toarray())


DATES = pd.Timestamp("2026-01-01") + pd.to_timedelta(events()["timestamp"], unit="h")
CASES = [
    ({}, events()),
    ({"duplicates": "mean"}, events()),
    ({"duplicates": "sum", "timestamp": None}, events()),
    ({"values": "count"}, events().drop(columns="rating")),
    ({"values": "one"}, events()),
    ({"values": "position"}, events().assign(timestamp=DATES)),
    ({"values": "position", "timestamp": None}, events()),
    ({"users": [f"user {i}" for i in range(60)], "items": np.arange(40)[::-1]}, events()),
    ({"user": "u", "item": "i"}, events().rename(columns={"user": "u", "item": "i"})),
]


@pytest.mark.parametrize(("params", "frame"), CASES)
def test_a_frame_in_partitions_is_encoded_as_a_whole(client, params, frame):
    local = InteractionEncoder(**params)
    expected = local.fit_transform(frame)
    encoder = DaskInteractionEncoder(**params)
    X = encoder.fit_transform(partitions(frame))
    assert len(X.chunks[0]) == 5
    for name in ("user_ids_", "item_ids_"):
        ids, expected_ids = getattr(encoder, name), getattr(local, name)
        assert ids.dtype == expected_ids.dtype
        assert_array_equal(ids, expected_ids)
    assert_same(X, expected)


def test_ids_that_cannot_be_sorted_are_in_the_order_of_their_appearance(client):
    frame = events(100)
    frame["user"] = [int(user[5:]) if user > "user 3" else user for user in frame["user"]]
    with dask.config.set({"dataframe.convert-string": False}):
        encoder = DaskInteractionEncoder().fit(partitions(frame))
    assert_array_equal(encoder.user_ids_, InteractionEncoder().fit(frame).user_ids_)


def test_new_events_of_the_same_users(client):
    frame, new = events(), events(150, seed=1)
    new.loc[3, "item"] = 1000
    encoder = DaskInteractionEncoder(unknown="ignore").fit(partitions(frame))
    local = InteractionEncoder(unknown="ignore").fit(frame)
    assert_same(encoder.transform(partitions(new, n=2), n_blocks=7), local.transform(new))
    assert_array_equal(encoder.transform(new).toarray(), local.transform(new).toarray())
    few = encoder.transform(partitions(new, n=2), n_blocks=1000)
    assert few.chunks[0] == (1,) * 50
    with pytest.raises(ValueError, match="1000"):
        encoder.set_params(unknown="error").transform(partitions(new)).to_delayed()[0, 0].compute()


def test_from_events_to_a_model(client, tmp_path):
    frame = events()
    encoder = DaskInteractionEncoder()
    model = DaskEASE(l2=10.0).fit(encoder.fit_transform(partitions(frame))).to_local()
    X = InteractionEncoder().fit_transform(frame)
    assert_array_equal(model.recommend(X), sklearn_recsys.EASE(l2=10.0).fit(X).recommend(X))
    encoder.save(tmp_path / "encoder")
    loaded = sklearn_recsys.load(tmp_path / "encoder")
    assert type(loaded) is type(encoder.to_local()) is InteractionEncoder
    assert_array_equal(loaded.transform(frame).toarray(), X.toarray())


def test_what_is_refused(client):
    frame = events(20)
    with pytest.raises(TypeError, match="got DataFrame. InteractionEncoder encodes frames"):
        DaskInteractionEncoder().fit(frame)
    with pytest.raises(ValueError, match='no values="timestamp"'):
        DaskInteractionEncoder(values="timestamp").fit(partitions(frame))
    with pytest.raises(ValueError, match="no column 'usr'"):
        DaskInteractionEncoder("usr").fit(partitions(frame))
    with pytest.raises(ValueError, match="an empty frame"):
        DaskInteractionEncoder().fit(partitions(frame).query("rating < 0"))
    with pytest.raises(ValueError, match="rating"):
        DaskInteractionEncoder().fit(partitions(frame.assign(rating=0)))
