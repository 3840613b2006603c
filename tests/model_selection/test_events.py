"""Splits of frames of events."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from sklearn_recsys.model_selection import leave_last_out, temporal_split
from sklearn_recsys.preprocessing import InteractionEncoder

DATES = ["2024-01-05", "2024-03-01", "2024-02-03", "2024-04-01", "2024-02-29", "2024-03-02"]


def make_events():
    return pd.DataFrame(
        {
            "user": ["ann", "bob", "bob", "ann", "cy", "cy"],
            "item": ["tea", "tea", "milk", "tea", "cake", "milk"],
            "timestamp": pd.to_datetime(DATES),
        },
        index=list("uvwxyz"),
    )


CUTOFFS = [
    "2024-03-01",
    "2024-03-01 00:00:00",
    "2024-03-01T01:00+01:00",
    datetime.date(2024, 3, 1),
    datetime.datetime(2024, 3, 1),
    datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC),
    pd.Timestamp("2024-03-01"),
    pd.Timestamp("2024-02-29 19:00", tz="America/New_York"),
    np.datetime64("2024-03-01"),
    np.datetime64("2024-03-01T00:00:00.000000001") - np.timedelta64(1, "ns"),
]


@pytest.mark.parametrize("cutoff", CUTOFFS, ids=str)
@pytest.mark.parametrize("unit", ["datetime", "utc", "seconds", "objects"])
def test_events_are_split_at_a_date(cutoff, unit):
    events = make_events()
    if unit == "utc":
        events["timestamp"] = events["timestamp"].dt.tz_localize("UTC")
    elif unit == "seconds":
        events["timestamp"] = events["timestamp"].astype("datetime64[s]").astype(np.int64)
    elif unit == "objects":
        events["timestamp"] = [stamp.to_pydatetime() for stamp in events["timestamp"]]
        events["timestamp"] = events["timestamp"].astype(object)
    past, future = temporal_split(events, cutoff=cutoff)
    assert past.index.tolist() == ["u", "w", "y"]
    assert future.index.tolist() == ["v", "x", "z"]
    pd.testing.assert_frame_equal(pd.concat([past, future]).sort_index(), events)


def test_what_was_bought_before_and_after_is_on_both_sides():
    past, future = temporal_split(make_events(), cutoff="2024-03-01")
    encoder = InteractionEncoder(values="one", unknown="ignore")
    X, y = encoder.fit_transform(past), encoder.transform(future)
    ann, tea = encoder.encode_users(["ann"])[0], encoder.encode_items(["tea"])[0]
    assert X[ann, tea] == y[ann, tea] == 1


@pytest.mark.parametrize(
    ("hours", "first"), [(-1, "v"), (0, "v"), (1, "z")], ids=["before", "at", "after"]
)
def test_dates_without_a_zone_are_in_that_of_the_column(hours, first):
    events = make_events().sort_values("timestamp")
    events["timestamp"] = events["timestamp"].dt.tz_localize("Asia/Tokyo")
    cutoff = pd.Timestamp("2024-03-01") + pd.Timedelta(hours=hours)
    assert temporal_split(events, cutoff=str(cutoff))[1].index[0] == first
    assert temporal_split(events, cutoff=cutoff.tz_localize("Asia/Tokyo"))[1].index[0] == first


def test_sizes_and_names_of_columns():
    events = make_events().rename(columns={"timestamp": "when", "user": "who"})
    past, future = temporal_split(events, "when", test_size=2)
    assert future.index.tolist() == ["x", "z"]
    assert len(temporal_split(events, "when", test_size=0.5)[1]) == 3
    tied = events.assign(when=events["when"].dt.to_period("M").dt.start_time)
    assert temporal_split(tied, "when", test_size=2)[1].index.tolist() == ["v", "x", "z"]
    numbers = events.assign(when=[1, 4, 2, 6, 3, 5])
    assert temporal_split(numbers, "when", cutoff=5)[1].index.tolist() == ["x", "z"]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"order": "when"}, ValueError, "no column 'when'.*order="),
        ({"cutoff": "2024-03-01", "test_size": 2}, ValueError, "not both"),
        ({"cutoff": "2030-01-01"}, ValueError, "are before the cutoff"),
        ({"cutoff": "2000-01-01"}, ValueError, "are at or after the cutoff"),
        ({"cutoff": "some day"}, ValueError, "not a date that"),
        ({"cutoff": pd.NaT}, ValueError, "NaT"),
        ({"cutoff": np.datetime64("NaT")}, ValueError, "NaT"),
        ({"cutoff": 1709251200}, TypeError, "must be a date"),
        ({"cutoff": [1]}, TypeError, "must be a date"),
        ({"test_size": 6}, ValueError, "test_size"),
    ],
)
def test_what_is_refused(options, error, match):
    with pytest.raises(error, match=match):
        temporal_split(make_events(), **options)


def test_frames_without_times_are_refused():
    with pytest.raises(ValueError, match="Name the column of times with order="):
        temporal_split(make_events().drop(columns="timestamp"))
    with pytest.raises(ValueError, match="NaN in 1 of 6"):
        temporal_split(make_events().assign(timestamp=[1.0, 2, np.nan, 3, 4, 5]))
    with pytest.raises(ValueError, match="hold times as numbers or datetimes"):
        temporal_split(make_events().assign(timestamp=DATES))
    with pytest.raises(ValueError, match="empty"):
        temporal_split(make_events().iloc[:0])


def test_dates_cut_a_matrix_of_unix_times_but_no_positions():
    events = make_events()
    times = InteractionEncoder(values="timestamp", duplicates="max").fit_transform(events)
    with pytest.raises(TypeError, match="needs order"):
        temporal_split(times)
    before, after = temporal_split(times, times, cutoff="2024-03-01")
    cut = pd.Timestamp("2024-03-01").timestamp()
    assert before.data.max() < cut <= after.data.min()
    assert temporal_split(times, times, cutoff=cut)[1].nnz == after.nnz
    with pytest.raises(TypeError, match="not seconds since 1970"):
        temporal_split(times, times.astype(np.int64) * 1000, cutoff="2024-03-01")


def test_the_last_events_of_every_user():
    events = make_events()
    train, test = leave_last_out(events)
    assert test.index.tolist() == ["v", "x", "z"]
    assert train.index.tolist() == ["u", "w", "y"]
    events.loc["v", "timestamp"] = events.loc["w", "timestamp"]
    assert leave_last_out(events)[1].index.tolist() == ["w", "x", "z"]  # a tie: the later row
    more = pd.concat([events, events.iloc[:1].assign(timestamp=pd.Timestamp("2020-01-01"))])
    train, test = leave_last_out(more, n=2)
    assert test["user"].tolist() == ["ann", "ann"]
    assert test.index.tolist() == ["u", "x"]
    named = events.rename(columns={"timestamp": "when", "user": "who"})
    assert leave_last_out(named, "when", user="who")[1].index.tolist() == ["w", "x", "z"]
    with pytest.raises(ValueError, match="No user has"):
        leave_last_out(events, n=3)
    with pytest.raises(ValueError, match="no column 'timestamp'.*times with order="):
        leave_last_out(make_events().rename(columns={"timestamp": "when"}))
    with pytest.raises(ValueError, match="no column 'user'.*user="):
        leave_last_out(named, "when")


def test_the_last_events_are_those_of_the_matrix_of_positions():
    rng = np.random.default_rng(0)
    events = pd.DataFrame({"user": rng.integers(0, 20, 300), "item": rng.integers(0, 30, 300)})
    events = events.drop_duplicates().assign(timestamp=lambda f: rng.integers(0, 9, len(f)))
    encoder = InteractionEncoder(values="position")
    X = encoder.fit_transform(events)
    expected = encoder.inverse_transform(leave_last_out(X, n=2)[1])[["user", "item"]]
    got = leave_last_out(events, n=2)[1][["user", "item"]].sort_values(["user", "item"])
    pd.testing.assert_frame_equal(got.reset_index(drop=True), expected)
