"""InteractionEncoder: values, duplicates, raw ids, there and back."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_recsys.exceptions import RecommenderWarning
from sklearn_recsys.preprocessing import InteractionEncoder

VALUES = ["rating", "count", "one", "timestamp", "position"]
RULES = ["last", "sum", "mean", "max"]


def random_events(seed, n_events=300, n_users=12, n_items=9, ids="int"):
    """Events with repeated pairs and equal times, in no order of time."""
    rng = np.random.default_rng(seed)
    user = rng.integers(n_users, size=n_events) * 10 + 3
    item = rng.integers(n_items, size=n_events) * 7 + 100
    if ids == "str":
        user, item = [f"u{i}" for i in user], [f"i{i}" for i in item]
    elif ids == "mixed":
        user = [u if u % 4 == 3 else f"u{u}" for u in user.tolist()]
        item = [i if i % 2 else f"i{i}" for i in item.tolist()]
    return pd.DataFrame(
        {
            "user": user,
            "item": item,
            "rating": rng.integers(1, 11, size=n_events) / 2,
            "timestamp": 1_000_000_000 + rng.integers(20, size=n_events),
        }
    )


def brute_force(events, values, rule, time=True):
    """Return the value of each pair by pandas groupby, in a loop."""
    events = events.assign(row=np.arange(len(events)))
    by = ["timestamp", "row"] if time else ["row"]
    cells = {}
    for pair, group in events.sort_values(by).groupby(["user", "item"], sort=False):
        column = "timestamp" if values == "timestamp" else "rating"
        if values in ("rating", "timestamp"):
            cells[pair] = group[column].iloc[-1] if rule == "last" else group[column].agg(rule)
        else:
            cells[pair] = {"count": len(group), "one": 1}.get(values, 0)
    if values == "position":
        last = events.sort_values(by).drop_duplicates(["user", "item"], keep="last")
        for _, group in last.groupby("user"):
            for place, (user, item) in enumerate(zip(group.user, group.item, strict=True), 1):
                cells[user, item] = place
    return cells


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ids", ["int", "str", "mixed"])
def test_values_and_duplicates_equal_brute_force(values, rule, ids):
    events = random_events(seed=len(values) + len(rule), ids=ids)
    encoder = InteractionEncoder(values=values, duplicates=rule)
    X = encoder.fit_transform(events)
    expected = brute_force(events, values, rule)
    assert X.nnz == len(expected) < len(events)  # there were duplicates
    for (user, item), value in expected.items():
        cell = X[encoder.encode_users([user])[0], encoder.encode_items([item])[0]]
        assert cell == pytest.approx(value, rel=1e-6)


def test_stated_example_of_every_rule():
    events = pd.DataFrame(
        {
            "user": [1, 1, 1, 1],
            "item": [5, 5, 5, 6],
            "rating": [4.0, 1.0, 2.5, 3.0],
            "timestamp": [20, 30, 10, 15],
        }
    )
    for rule, value in {"last": 1.0, "sum": 7.5, "mean": 2.5, "max": 4.0}.items():
        X = InteractionEncoder(duplicates=rule).fit_transform(events)
        np.testing.assert_array_equal(X.toarray(), [[value, 3.0]])


def test_equal_times_and_missing_times_follow_the_input_order():
    events = pd.DataFrame(
        {"user": 1, "item": [5, 6, 5, 7], "rating": [1.0, 2.0, 3.0, 4.0], "timestamp": 9}
    )
    encoder = InteractionEncoder().fit(events)
    assert encoder.transform(events)[0, 0] == 3  # the later row
    assert encoder.transform(events[::-1])[0, 0] == 1
    assert encoder.transform(events.drop(columns="timestamp"))[0, 0] == 3
    position = InteractionEncoder(values="position")
    np.testing.assert_array_equal(position.fit_transform(events).toarray(), [[2, 1, 3]])
    np.testing.assert_array_equal(position.transform(events[::-1]).toarray(), [[3, 2, 1]])
    rows = InteractionEncoder(values="position", timestamp=None)
    back_in_time = events.assign(timestamp=[9, 8, 7, 6])
    np.testing.assert_array_equal(rows.fit_transform(back_in_time).toarray(), [[2, 1, 3]])


def test_positions_are_dense_per_user():
    events = random_events(seed=5)
    X = InteractionEncoder(values="position").fit_transform(events)
    assert X.dtype == np.int64
    for row in range(X.shape[0]):
        stored = np.sort(X.data[X.indptr[row] : X.indptr[row + 1]])
        np.testing.assert_array_equal(stored, np.arange(1, len(stored) + 1))


def test_timestamps_are_exact():
    times = np.array([2**24 + 1, 2**24 + 2, 2**53 + 1], dtype=np.int64)  # float32, float64 merge
    events = pd.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "timestamp": times})
    X = InteractionEncoder(values="timestamp").fit_transform(events)
    assert X.dtype == np.int64
    np.testing.assert_array_equal(X.data, times)
    halves = events.assign(timestamp=[1.5, 1e9 + 0.25, 2.0])
    X = InteractionEncoder(values="timestamp").fit_transform(halves)
    assert X.dtype == np.float64
    np.testing.assert_array_equal(X.data, [1.5, 1e9 + 0.25, 2.0])


@pytest.mark.parametrize("zone", [None, "UTC", "America/Chicago"])
def test_datetimes_become_seconds(zone):
    seconds = np.array([978_300_760, 978_302_109], dtype=np.int64)
    times = pd.Series(pd.to_datetime(seconds, unit="s", utc=True))
    times = times.dt.tz_localize(None) if zone is None else times.dt.tz_convert(zone)
    events = pd.DataFrame({"user": [1, 1], "item": [1, 2], "timestamp": times})
    X = InteractionEncoder(values="timestamp").fit_transform(events)
    assert X.dtype == np.int64
    np.testing.assert_array_equal(X.data, seconds)
    later = events.assign(timestamp=times + pd.Timedelta("250ms"))
    X = InteractionEncoder(values="timestamp").fit_transform(later)
    np.testing.assert_array_equal(X.data, seconds + 0.25)


@pytest.mark.parametrize("ids", ["int", "str", "mixed"])
@pytest.mark.parametrize("values", ["rating", "timestamp", "count"])
def test_round_trip(ids, values):
    events = random_events(seed=1, ids=ids).drop_duplicates(["user", "item"], ignore_index=True)
    encoder = InteractionEncoder(values=values)
    back = encoder.inverse_transform(encoder.fit_transform(events))
    expected = events.assign(count=1.0)[["user", "item", values]]
    key = {"key": lambda column: column.astype(str)}  # mixed ids have no order
    expected = expected.sort_values(["user", "item"], ignore_index=True, **key)
    back = back.sort_values(["user", "item"], ignore_index=True, **key)
    pd.testing.assert_frame_equal(back, expected, check_dtype=False)
    assert (encoder.transform(back) != encoder.transform(events)).nnz == 0


def test_result_is_canonical_and_events_are_left_alone():
    events = random_events(seed=2)
    before = events.copy()
    X = InteractionEncoder().fit_transform(events)
    assert isinstance(X, sp.csr_array)
    assert X.has_canonical_format
    assert X.dtype == np.float32
    assert X.indices.dtype == X.indptr.dtype == np.int32
    pd.testing.assert_frame_equal(events, before)


def test_order_of_ids():
    events = pd.DataFrame({"user": [9, 2, 11], "item": ["b", "a", "b"], "rating": 1})
    encoder = InteractionEncoder().fit(events)
    np.testing.assert_array_equal(encoder.user_ids_, [2, 9, 11])
    np.testing.assert_array_equal(encoder.item_ids_, ["a", "b"])
    assert (encoder.n_users_, encoder.n_items_) == (3, 2)
    mixed = events.assign(user=["z", 2, "a"])
    assert InteractionEncoder().fit(mixed).user_ids_.tolist() == ["z", 2, "a"]
    pairs = events.assign(item=[("x", 2), ("x", 1), ("x", 2)])
    encoder = InteractionEncoder().fit(pairs)
    assert encoder.item_ids_.tolist() == [("x", 1), ("x", 2)]
    assert encoder.transform(pairs).toarray().tolist() == [[1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize("dtype", ["category", "Int64", "int16", "float64"])
def test_dtypes_of_the_id_columns(dtype):
    events = random_events(seed=3)
    expected = InteractionEncoder().fit_transform(events)
    converted = events.astype({"user": dtype, "item": dtype})
    encoder = InteractionEncoder().fit(converted)
    assert (encoder.transform(converted) != expected).nnz == 0
    assert (encoder.transform(events) != expected).nnz == 0


def test_rows_of_different_events_line_up():
    events = random_events(seed=4)
    encoder = InteractionEncoder().fit(events)
    part = events[events.user == events.user.max()]
    X = encoder.transform(part)
    assert X.shape == (encoder.n_users_, encoder.n_items_)
    assert X.indptr[-2] == 0  # only the last row holds anything
    assert encoder.transform(events.iloc[:0]).shape == X.shape
    assert encoder.transform(events.iloc[:0]).nnz == 0


def test_other_column_names():
    events = random_events(seed=6)
    names = {"user": "who", "item": 0, "rating": "stars", "timestamp": "at"}
    renamed = events.rename(columns=names)
    for values in VALUES:
        encoder = InteractionEncoder("who", 0, values, rating="stars", timestamp="at")
        expected = InteractionEncoder(values=values).fit_transform(events)
        X = encoder.fit_transform(renamed)
        assert (X != expected).nnz == 0
        value = {"rating": "stars", "timestamp": "at"}.get(values, values)
        assert encoder.inverse_transform(X).columns.tolist() == ["who", 0, value]
    frame = encoder.decode([[0]], scores=[[1.0]], users=[5])
    assert frame.columns.tolist() == ["who", "rank", 0, "score"]


def test_unknown_ids_are_named_or_ignored():
    events = random_events(seed=7)
    encoder = InteractionEncoder().fit(events)
    strange = pd.concat([events, events.head(7).assign(item=range(-7, 0))], ignore_index=True)
    with pytest.raises(
        ValueError, match=r"7 unknown item id.*: -7, -6, -5, -4, -3, … The valid ids"
    ):
        encoder.transform(strange)
    with pytest.raises(ValueError, match=r"1 unknown user id.*: 1\. .* pass their events\.$"):
        encoder.transform(events.assign(user=1))
    encoder = InteractionEncoder(unknown="ignore").fit(events)
    X = encoder.transform(strange)
    assert (X != encoder.transform(events)).nnz == 0
    assert encoder.transform(events.assign(user=1)).nnz == 0
    # Positions are counted after the unknown items are gone.
    order = InteractionEncoder(values="position", unknown="ignore")
    order.fit(events[events.item != 100])
    assert order.transform(events).max(axis=1).toarray().max() <= order.n_items_


def test_ids_of_another_type_are_never_ignored_silently():
    events = random_events(seed=7)
    strings = events.astype({"user": str, "item": str})
    for fitted, passed, types in (
        (events, strings, "numbers, such as 3, and these are strings"),
        (strings, events, r"strings, such as '\d+', and these are numbers"),
    ):
        message = rf"The user ids of fit are {types}: convert one of them\.$"
        with pytest.raises(ValueError, match=rf"unknown user id.*{message}"):
            InteractionEncoder().fit(fitted).transform(passed)
        encoder = InteractionEncoder(unknown="ignore").fit(fitted)
        with pytest.warns(RecommenderWarning, match=f"All user ids are unknown.*{message}"):
            assert encoder.transform(passed.assign(item=fitted["item"])).nnz == 0
        mixed = pd.concat([fitted, passed])  # some are known
        assert (encoder.transform(mixed) != encoder.transform(fitted)).nnz == 0


def test_transform_histories():
    events = random_events(seed=8)
    encoder = InteractionEncoder().fit(events)
    mine = events[events.user == 13].assign(user="zoe")
    both = pd.concat([mine, events[events.user == 3].assign(user="abe")])
    X, users = encoder.transform_histories(both)
    assert users.tolist() == ["abe", "zoe"]
    rows = encoder.encode_users([3, 13])
    assert (X != encoder.transform(events)[rows]).nnz == 0
    with pytest.raises(ValueError, match="unknown item id"):
        encoder.transform_histories(both.assign(item=-1))
    X, users = (
        clone(encoder)
        .set_params(unknown="ignore")
        .fit(events)
        .transform_histories(both.assign(item=np.where(both.user == "abe", -1, both.item)))
    )
    assert users.tolist() == ["abe", "zoe"]
    assert np.diff(X.indptr).tolist()[0] == 0 < X.nnz


def test_encode_ids():
    encoder = InteractionEncoder(unknown="ignore").fit(random_events(seed=9, ids="mixed"))
    for ids, encode in (
        (encoder.user_ids_, encoder.encode_users),
        (encoder.item_ids_, encoder.encode_items),
    ):
        codes = encode(list(ids[::-1]))
        assert codes.dtype == np.int64
        np.testing.assert_array_equal(codes, np.arange(len(ids))[::-1])
        assert encode([]).shape == (0,)
        with pytest.raises(ValueError, match="'nobody', 99.5"):  # whatever `unknown` says
            encode([ids[0], "nobody", 99.5])
        with pytest.raises(ValueError, match="unknown .* id"):
            encode([ids[0], None])
        with pytest.raises(ValueError, match="1-D sequence"):
            encode("u3")
    with pytest.raises(ValueError, match="'3'"):  # the string is not the number
        InteractionEncoder().fit(random_events(seed=9)).encode_users(["3"])


def test_decode():
    events = pd.DataFrame({"user": ["b", "a"], "item": [30, 10], "rating": 1})
    encoder = InteractionEncoder().fit(events)
    frame = encoder.decode([[1, 0, -1], [0, -1, -1]], scores=[[3.0, 2.0, -np.inf]] * 2)
    expected = pd.DataFrame(
        {
            "user": ["a", "a", "b"],
            "rank": [1, 2, 1],
            "item": [30, 10, 10],
            "score": [3.0, 2.0, 3.0],
        }
    )
    pd.testing.assert_frame_equal(frame, expected)
    frame = encoder.decode(np.array([[0]]), users=["new"])
    assert frame.to_dict("list") == {"user": ["new"], "rank": [1], "item": [10]}
    assert len(encoder.decode([[-1], [-1]])) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"items": [0, 1]}, "2-D"),
        ({"items": [[0]]}, r"users=\[raw ids\]"),
        ({"items": [[0]], "users": ["a", "b"]}, "got 2 labels"),
        ({"items": [[2]], "users": ["a"]}, "item indices in 0 … 1"),
        ({"items": [[-2]], "users": ["a"]}, "item indices in 0 … 1"),
        ({"items": [[0, 1]], "scores": [[1.0]], "users": ["a"]}, "shape of items"),
    ],
)
def test_decode_errors(arguments, message):
    events = pd.DataFrame({"user": ["b", "a"], "item": [30, 10], "rating": 1})
    with pytest.raises(ValueError, match=message):
        InteractionEncoder().fit(events).decode(**arguments)


@pytest.mark.parametrize("column", ["user", "item", "rating", "timestamp"])
@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform", "transform_histories"])
def test_nan_names_the_column(column, method):
    events = random_events(seed=10)
    encoder = InteractionEncoder().fit(events)
    events[column] = events[column].astype(float)
    events.loc[7, column] = np.nan
    with pytest.raises(ValueError, match=f"Column '{column}' holds NaN in 1 of 300 events"):
        getattr(encoder, method)(events)


def test_columns_not_in_use_may_hold_anything():
    events = random_events(seed=10).assign(rating=0.0, timestamp=np.nan)
    X = InteractionEncoder(values="one").fit_transform(events)
    assert np.all(X.data == 1)
    events = events.assign(rating=2.0)
    assert InteractionEncoder(duplicates="mean").fit_transform(events).nnz == X.nnz
    count = InteractionEncoder(values="count").fit_transform(events)
    assert count.sum() == len(events)


@pytest.mark.parametrize(
    ("parameters", "change", "message"),
    [
        ({}, {"rating": 0}, "means 'not observed'. Shift the scale"),
        ({}, {"rating": 1e-60}, "means 'not observed'. Shift the scale"),
        ({"duplicates": "sum"}, {"rating": [1, -1] * 150, "item": 1}, "come out as 0"),
        ({"values": "timestamp"}, {"timestamp": 0}, "'timestamp' come out as 0"),
        ({}, {"rating": "good"}, r"Column 'rating' must hold numbers; its dtype .*to_numeric"),
        ({}, {"rating": np.inf}, "Column 'rating' holds infinite"),
        ({}, {"rating": 1e300}, "too large for float32"),
        ({}, {"rating": 1j}, "must hold numbers"),
        ({}, {"timestamp": "2020-01-01"}, "pandas.to_datetime"),
        ({}, {"timestamp": -np.inf}, "Column 'timestamp' holds infinite"),
        ({"user": "who"}, {}, r"no column 'who'; its columns are \['user', 'item'"),
        ({"rating": "stars"}, {}, "no column 'stars'.*without ratings .* values=\"one\""),
        ({"values": "position", "timestamp": "when"}, {}, "no column 'when'"),
        ({"values": "timestamp", "timestamp": None}, {}, "needs timestamp, the column of times"),
        ({"values": "stars"}, {}, "'values' parameter"),
        ({"duplicates": "first"}, {}, "'duplicates' parameter"),
        ({"unknown": "drop"}, {}, "'unknown' parameter"),
        ({"user": ["a"]}, {}, "'user' parameter"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_errors_leave_no_half_fitted_encoder(parameters, change, message, method):
    encoder = InteractionEncoder(**parameters)  # __init__ never validates
    user_count = len(random_events(seed=10))
    events = random_events(seed=10).assign(**change)
    if "item" in change:
        events["user"] = np.repeat(np.arange(user_count // 2), 2)
    with pytest.raises(ValueError, match=message):
        getattr(encoder, method)(events)
    with pytest.raises(NotFittedError):
        encoder.transform(events)


def test_other_wrong_inputs():
    events = random_events(seed=11)
    encoder = InteractionEncoder()
    with pytest.raises(TypeError, match="pandas DataFrame .* got ndarray"):
        encoder.fit(events.to_numpy())
    with pytest.raises(ValueError, match="empty frame"):
        encoder.fit(events.iloc[:0])
    with pytest.raises(ValueError, match="several columns named 'user'"):
        encoder.fit(pd.concat([events, events[["user"]]], axis=1))
    for method in ("transform", "encode_users", "encode_items", "decode", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(encoder, method)(events)
    with pytest.raises(ValueError, match=r"got shape \(1, 2\)"):
        encoder.fit(events).inverse_transform(np.ones((1, 2)))


def test_scikit_learn_conventions():
    encoder = InteractionEncoder("who", duplicates="max", values="count")
    params = encoder.get_params()
    assert params["user"] == "who"
    assert params["timestamp"] == "timestamp"
    assert clone(encoder).get_params() == params
    assert not hasattr(encoder, "set_output")  # sparse output goes into no frame
    assert not hasattr(encoder, "set_fit_request")  # events are data, not metadata
    events = random_events(seed=12)
    encoder = InteractionEncoder().fit(events)
    names = encoder.get_feature_names_out()
    assert names.dtype == object
    assert names.tolist() == [str(item) for item in encoder.item_ids_]
    loaded = pickle.loads(pickle.dumps(encoder))
    assert (loaded.transform(events) != encoder.transform(events)).nnz == 0
    smaller = events[events.user < 50]
    assert encoder.fit(smaller).n_users_ == smaller.user.nunique()  # a second fit forgets the first


def test_a_catalog_decides_on_rows_and_columns_and_their_order():
    events = pd.DataFrame({"user": ["b", "a", "b"], "item": [3, 9, 9], "rating": [1.0, 2, 3]})
    encoder = InteractionEncoder(users=["b", "c", "a"], items=[9, 5, 3, 4])
    X = encoder.fit_transform(events)
    assert_array_equal(X.toarray(), [[3, 0, 1, 0], [0, 0, 0, 0], [2, 0, 0, 0]])
    assert encoder.user_ids_.tolist() == ["b", "c", "a"]
    assert encoder.item_ids_.tolist() == [9, 5, 3, 4]
    assert (encoder.n_users_, encoder.n_items_) == (3, 4)
    assert_array_equal(encoder.transform(events).toarray(), X.toarray())
    assert_array_equal(encoder.encode_items([4, 9]), [3, 0])
    again = clone(encoder).fit(events.iloc[:1])
    assert_array_equal(again.item_ids_, encoder.item_ids_)
    assert_array_equal(
        InteractionEncoder(items=pd.Index([9, 5, 3, 4])).fit_transform(events).toarray(),
        X.toarray()[[2, 0]],
    )


def test_what_a_catalog_lacks_is_unknown():
    events = pd.DataFrame({"user": ["a", "b"], "item": [1, 2], "rating": [4.0, 5]})
    with pytest.raises(ValueError, match=r"1 unknown item id.*: 2\."):
        InteractionEncoder(items=[1, 7]).fit(events)
    ignoring = InteractionEncoder(items=[1, 7], unknown="ignore")
    assert_array_equal(ignoring.fit_transform(events).toarray(), [[4, 0], [0, 0]])
    for name in ("users", "items"):
        with pytest.raises(ValueError, match=f"{name} must hold each .* id once; got several of"):
            InteractionEncoder(**{name: [1, 2, 1]}).fit(events)
        with pytest.raises(ValueError, match=f"{name} must hold each .* id once; got several of"):
            InteractionEncoder(**{name: [1.0, np.nan]}).fit(events)
        with pytest.raises(ValueError, match="no order"):
            InteractionEncoder(**{name: {1, 2}}).fit(events)


def test_histories_in_the_order_asked_for():
    events = pd.DataFrame({"user": ["b", "a", "b"], "item": [3, 9, 9], "rating": [1.0, 2, 3]})
    encoder = InteractionEncoder().fit(events)
    X, users = encoder.transform_histories(events, users=["b", "nobody", "a"])
    assert users.tolist() == ["b", "nobody", "a"]
    assert_array_equal(X.toarray(), [[1, 3], [0, 0], [0, 2]])
    X, users = encoder.transform_histories(events, users=["a"])
    assert_array_equal(X.toarray(), [[0, 2]])
    with pytest.raises(ValueError, match="each user id once"):
        encoder.transform_histories(events, users=["a", "a"])
