"""Frames of other libraries, and of pandas' other types, are read like plain pandas frames."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sklearn_recsys import (
    EASE,
    ContentRecommender,
    DeepAutoencoder,
    PopularityRecommender,
    RecommenderPipeline,
)
from sklearn_recsys.metrics import (
    coverage_at_k,
    hr_at_k,
    intra_list_diversity_at_k,
    mae,
    ndcg_at_k,
    novelty_at_k,
    popularity_bias_at_k,
    recall_at_k,
    rmse,
)
from sklearn_recsys.model_selection import leave_last_out, temporal_split
from sklearn_recsys.preprocessing import FeatureEncoder, InteractionEncoder, filter_k_core
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame


def make_events():
    return pd.DataFrame(
        {
            "user": ["ann", "bob", "bob", "cy", "ann", "cy"],
            "item": [7, 7, 9, 11, 11, 7],
            "rating": [3.0, 4.0, 5.0, 2.0, 1.0, 4.0],
            "timestamp": pd.to_datetime([f"2024-01-0{day} 10:00" for day in (1, 2, 3, 5, 4, 6)]),
        }
    )


def polars(frame):
    return pytest.importorskip("polars").DataFrame({c: frame[c].to_list() for c in frame})


def lazy_polars(frame):
    return polars(frame).lazy()


def arrow(frame):
    return pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False)


def duckdb(frame):
    return pytest.importorskip("duckdb").from_arrow(arrow(frame))


def arrow_backed(frame):
    return arrow(frame).to_pandas(types_mapper=pd.ArrowDtype)


def nullable(frame):
    return frame.convert_dtypes()


def categorical(frame):
    return frame.astype({c: "category" for c in ("user", "item") if c in frame})


LIBRARIES = [polars, lazy_polars, arrow, duckdb, arrow_backed, nullable, categorical]
every_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda f: f.__name__)
every_other_library = pytest.mark.parametrize(
    "library", [f for f in LIBRARIES if f is not categorical], ids=lambda f: f.__name__
)


@every_library
@pytest.mark.parametrize("values", ["rating", "count", "timestamp", "position"])
def test_events(library, values):
    events = make_events()
    plain = InteractionEncoder(values=values)
    X = plain.fit_transform(events)
    encoder = InteractionEncoder(values=values)
    assert_array_equal(encoder.fit_transform(library(events)).toarray(), X.toarray())
    assert encoder.user_ids_.tolist() == ["ann", "bob", "cy"]
    assert encoder.item_ids_.tolist() == [7, 9, 11]
    assert_array_equal(plain.transform(library(events)).toarray(), X.toarray())
    assert_array_equal(plain.transform_histories(library(events))[0].toarray(), X.toarray())


@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
@every_library
def test_pipelines(library):
    events = make_events()
    encoder = InteractionEncoder()
    pipe = RecommenderPipeline([("model", EASE(l2=1))], encoder=encoder)
    pipe.fit(encoder.fit_transform(events))
    pd.testing.assert_frame_equal(pipe.recommend(library(events)), pipe.recommend(events))
    sets = events.loc[[0, 3], ["user", "item"]]
    for argument in ("candidates", "exclude"):
        for form in (sets, sets[["item"]]):
            expected = pipe.recommend(n=3, exclude_seen=False, **{argument: form})
            got = pipe.recommend(n=3, exclude_seen=False, **{argument: library(form)})
            pd.testing.assert_frame_equal(got, expected)
    options = {"exclude_seen": False}
    assert pipe.score(library(events), library(sets.assign(rating=1.0)), **options) == pipe.score(
        events, sets.assign(rating=1.0), **options
    )
    with pytest.raises(ValueError, match=r"fit the pipeline on encoder\.transform"):
        pipe.fit(library(events))


@every_library
def test_splits_and_filters_return_what_came(library):
    events = make_events()
    given = library(events)
    for split in (lambda f: temporal_split(f, cutoff="2024-01-04"), leave_last_out):
        for got, expected in zip(split(given), split(events), strict=True):
            assert is_frame(got)
            assert type(got) is type(given) or library in (lazy_polars, duckdb)
            got = as_pandas_frame(got, "got")
            assert_array_equal(got["rating"], expected["rating"])
    filtered = as_pandas_frame(filter_k_core(given, min_user=2, min_item=2), "filtered")
    assert len(filtered) == len(filter_k_core(events, min_user=2, min_item=2)) < len(events)


@every_library
def test_metrics(library):
    lists = pd.DataFrame({"user": ["ann", "ann", "bob"], "rank": [1, 2, 1], "item": [7, 9, 7]})
    held_out = pd.DataFrame({"user": ["ann", "bob", "cy"], "item": [9, 7, 7], "rating": [4, 5, 3]})
    train = pd.DataFrame({"user": ["ann", "bob", "bob"], "item": [11, 9, 7]})
    scores = held_out[["user", "item"]].assign(score=[4.5, 4.0, 3.5])
    features = pd.DataFrame({"item": [7, 9, 11], "a": [1.0, 1.0, 0.0], "b": [0.0, 1.0, 2.0]})
    expected = recall_at_k(held_out, lists, average=None)
    assert expected.to_dict() == {"ann": 1.0, "bob": 1.0, "cy": 0.0}
    values = recall_at_k(library(held_out), library(lists), average=None)
    assert values.to_dict() == expected.to_dict()
    for ours, given in ((lists, library(lists)), (library(lists), lists)):  # one of them
        other = held_out if ours is lists else library(held_out)
        assert ndcg_at_k(other, given, gains="linear") == ndcg_at_k(held_out, lists, gains="linear")
    assert coverage_at_k(library(lists), 4) == coverage_at_k(lists, 4) == 0.5
    assert novelty_at_k(library(lists), library(train)) == novelty_at_k(lists, train)
    got = popularity_bias_at_k(library(lists), library(train), X_train=library(train))
    assert got == popularity_bias_at_k(lists, train)
    expected = intra_list_diversity_at_k(lists, features.set_index("item"))
    assert expected == pytest.approx(1 - 0.5**0.5)
    assert intra_list_diversity_at_k(library(lists), library(features)) == expected
    assert rmse(library(held_out), library(scores)) == rmse(held_out, scores)
    assert mae(held_out, library(scores)) == mae(held_out, scores)
    with pytest.raises(ValueError, match="y_true must have one column 'item', like y_pred"):
        hr_at_k(library(held_out[["user", "rating"]]), library(lists))
    with pytest.raises(TypeError, match="so y_true must also be a frame"):
        hr_at_k([7, 9], library(lists))
    with pytest.raises(ValueError, match="y_pred has no score for 1 of the 3 pairs"):
        rmse(library(held_out), library(scores[1:]))


def test_ratings_that_are_missing():
    pl = pytest.importorskip("polars")
    lists = pl.DataFrame({"user": [1], "rank": [1], "item": [2]})
    held_out = pl.DataFrame({"user": [1, 1], "item": [2, 3], "rating": [4, None]})
    with pytest.raises(ValueError, match="Column 'rating' of y_true holds NaN or infinity"):
        ndcg_at_k(held_out, lists, gains="linear")
    with pytest.raises(ValueError, match="Column 'item' of y_pred holds NaN"):
        hr_at_k(held_out, lists.with_columns(item=pl.lit(None)))


@every_other_library
def test_features(library):
    events = make_events()
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events)
    items = pd.DataFrame({"item": [11, 7, 9], "genre": ["x", "y", "x"], "year": [2001, 1990, 1999]})
    expected = FeatureEncoder().fit(items).transform(items)
    features = FeatureEncoder().fit(library(items)).transform(library(items))
    assert_array_equal(features.toarray(), expected.toarray())
    if library not in (lazy_polars, duckdb):  # no parameters, for they have no length
        steps = [("model", ContentRecommender(library(items)))]
        pipe = RecommenderPipeline(steps, encoder=encoder).fit(R)
        ordered = items.set_index("item", drop=False).loc[encoder.item_ids_]
        assert_array_equal(pipe.predict(R), ContentRecommender(ordered).fit(R).predict(R))
    model = DeepAutoencoder(hidden_layer_sizes=[2], max_epochs=1, random_state=0)
    ages = pd.DataFrame({"age": [30.0, 40.0, 50.0]})
    expected = model.fit(R, user_features=ages).predict(R, user_features=ages)
    assert_array_equal(model.predict(R, user_features=library(ages)), expected)
    model.fit(R, user_features=library(ages))
    assert_array_equal(model.predict(R, user_features=ages), expected)


@every_other_library
def test_missing_values_are_missing(library):
    events = make_events()
    for column in ("user", "item", "rating", "timestamp"):
        holed = events.astype({"item": "Int64"})
        holed.loc[2, column] = pd.NA if column == "item" else None
        if library in (polars, lazy_polars):
            values = {c: [None if pd.isna(v) else v for v in holed[c]] for c in holed}
            frame = pytest.importorskip("polars").DataFrame(values)
            frame = frame.lazy() if library is lazy_polars else frame
        else:
            frame = library(holed)
        with pytest.raises(ValueError, match=f"Column '{column}' holds NaN in 1 of 6"):
            InteractionEncoder(values="position" if column == "timestamp" else "rating").fit(frame)


def test_large_integers_survive_missing_ones():
    pl = pytest.importorskip("polars")
    frame = as_pandas_frame(pl.DataFrame({"id": [2**60 + 1, None]}), "frame")
    assert frame["id"].dtype == "Int64"
    assert frame["id"][0] == 2**60 + 1


def test_times_keep_their_zone():
    pl = pytest.importorskip("polars")
    stamps = pl.Series([1704067200, 1704153600]).cast(pl.Int64) * 1000
    stamps = stamps.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    events = pl.DataFrame({"timestamp": stamps.dt.convert_time_zone("Asia/Tokyo")})
    assert as_pandas_frame(events, "events")["timestamp"][0] == pd.Timestamp(
        1704067200, unit="s", tz="UTC"
    )
    assert len(temporal_split(events, cutoff="2024-01-02 09:00")[1]) == 1  # in Tokyo
    with pytest.raises(ValueError, match="before the cut"):
        temporal_split(events, cutoff="2024-01-02 10:00")


def test_a_plain_frame_is_handed_through():
    events = make_events()
    assert as_pandas_frame(events, "events") is events
    mixed = events.astype({"item": "Int64"})
    assert as_pandas_frame(mixed, "events")["item"].dtype == np.int64
    assert mixed["item"].dtype == "Int64"


class Strange:
    """A frame that no one has heard of."""

    columns = ("user", "item")

    def to_pandas(self):
        return make_events()


@pytest.mark.parametrize("without", [False, True])
def test_what_cannot_be_read_is_told_the_way(without, monkeypatch):
    if without:
        monkeypatch.setitem(sys.modules, "narwhals.stable.v2", None)
    else:
        pytest.importorskip("narwhals")
    with pytest.raises(TypeError, match=r"Strange, which .*narwhals.* pass events\.to_pandas\(\)"):
        InteractionEncoder().fit(Strange())
    with pytest.raises(TypeError, match="got list"):
        InteractionEncoder().fit([1, 2])
    with pytest.raises(TypeError, match="got dict"):
        InteractionEncoder().fit({"user": [1]})


@pytest.mark.parametrize("kind", ["series", "array", "chunked", "backed"])
def test_collections_of_ids(kind):
    events = make_events()
    encoder = InteractionEncoder()
    pipe = RecommenderPipeline([("model", PopularityRecommender())], encoder=encoder)
    pipe.fit(encoder.fit_transform(events))
    users = ["cy", "ann"]
    if kind == "series":
        given = pytest.importorskip("polars").Series(users)
    else:
        pa = pytest.importorskip("pyarrow")
        given = {
            "array": lambda: pa.array(users),
            "chunked": lambda: pa.chunked_array([users[:1], users[1:]]),
            "backed": lambda: pd.Series(users, dtype=pd.ArrowDtype(pa.string())),
        }[kind]()
    pd.testing.assert_frame_equal(pipe.recommend(given, n=1), pipe.recommend(users, n=1))
