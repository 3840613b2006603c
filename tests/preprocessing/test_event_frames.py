"""Events in frames and Parquet files: the ids and the matrix are those of one frame in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sklearn_recsys import InteractionEncoder, load_csr
from sklearn_recsys.preprocessing import _event_frames
from sklearn_recsys.utils._sparse import is_read_only_map


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Sort 64 events at a time, and merge lists of more than 16 ids."""
    monkeypatch.setattr(_event_frames, "_EVENTS", 64)
    monkeypatch.setattr(_event_frames, "_IDS", 16)


def events(n_events=400, seed=0):
    """Return events with duplicates and equal times; the users are in all frames."""
    rng = np.random.default_rng(seed)
    users = np.array([f"user {i}" for i in rng.permutation(50)])
    return pd.DataFrame(
        {
            "user": users[(50 * rng.random(n_events) ** 2).astype(int)],
            "item": rng.integers(0, 30, n_events) * 7 % 31,
            "rating": rng.integers(1, 11, n_events) / 2,
            "timestamp": rng.integers(0, 20, n_events),
            "device": "phone",
        }
    )


def cut(frame, n=7):
    size = -(-len(frame) // n)
    return [frame[start : start + size] for start in range(0, len(frame), size)]


def assert_same(X, expected):
    assert X.shape == expected.shape
    for name in ("data", "indices", "indptr"):
        array, expected_array = getattr(X, name), getattr(expected, name)
        assert array.dtype == expected_array.dtype
        assert_array_equal(array, expected_array)


def assert_same_ids(encoder, expected):
    for name in ("user_ids_", "item_ids_"):
        ids, expected_ids = getattr(encoder, name), getattr(expected, name)
        assert ids.dtype == expected_ids.dtype
        assert_array_equal(ids, expected_ids)
    assert (encoder.n_users_, encoder.n_items_) == (expected.n_users_, expected.n_items_)


DATES = pd.Timestamp("2026-01-01") + pd.to_timedelta(events()["timestamp"], unit="h")
CASES = {
    "ratings": ({}, events()),
    "without times": ({}, events().drop(columns="timestamp")),
    "mean": ({"duplicates": "mean"}, events()),
    "max": ({"duplicates": "max"}, events()),
    "sum": ({"duplicates": "sum", "timestamp": None}, events()),
    "counts": ({"values": "count"}, events().drop(columns=["rating", "timestamp"])),
    "ones": ({"values": "one"}, events()),
    "times": ({"values": "timestamp"}, events().assign(timestamp=lambda e: e["timestamp"] + 1)),
    "dates": ({"values": "timestamp"}, events().assign(timestamp=DATES)),
    "some dates with fractions": (
        {"values": "timestamp", "duplicates": "max"},
        events().assign(timestamp=DATES.where(DATES.index < 399, DATES + pd.Timedelta("1ms"))),
    ),
    "positions": ({"values": "position"}, events().assign(timestamp=DATES)),
    "positions in the order of the rows": ({"values": "position", "timestamp": None}, events()),
    "catalog": (
        {"users": [f"user {i}" for i in range(60)], "items": np.arange(40)[::-1]},
        events(),
    ),
    "part of a catalog": (
        {"users": ["user 7", "user 8"], "items": np.arange(9), "unknown": "ignore"},
        events(),
    ),
    "other names": (
        {"user": "u", "item": "i"},
        events().rename(columns={"user": "u", "item": "i"}),
    ),
    "categories": ({}, events().astype({"user": "category", "item": "category"})),
    "one user": ({}, events().assign(user=3)),
    "ids that cannot be sorted": (
        {},
        events().assign(
            user=lambda e: [int(u[5:]) if u > "user 3" else u for u in e["user"]], item=(1, 2) * 200
        ),
    ),
}


@pytest.mark.parametrize("params, frame", CASES.values(), ids=CASES)
def test_frames_are_encoded_as_one(params, frame, tmp_path):
    expected = InteractionEncoder(**params)
    X = expected.fit_transform(frame)
    encoder = InteractionEncoder(**params)
    assert_same(encoder.fit_transform(cut(frame)), X)
    assert_same_ids(encoder, expected)
    mapped = encoder.transform(cut(frame, 3), folder=tmp_path)
    assert_same(mapped, X)
    assert all(map(is_read_only_map, (mapped.data, mapped.indices, mapped.indptr)))
    assert_same(load_csr(tmp_path), X)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.npy" for name in ("data", "indices", "indptr", "shape")
    }
    assert_same_ids(InteractionEncoder(**params).fit(iter(cut(frame))), expected)


@pytest.mark.parametrize("params, frame", CASES.values(), ids=CASES)
def test_parquet_files_are_encoded_as_one_frame(params, frame, tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow: make test-dask")
    if frame["item" if "item" in frame else "i"].dtype == "category" or (
        frame.iloc[:, 0].map(type).nunique() > 1  # Parquet has no columns of mixed types
    ):
        frame = frame.assign(user=frame["user"].astype(str), item=frame["item"].astype(int))
    for number, part in enumerate(cut(frame)):
        part.to_parquet(tmp_path / f"{number}.parquet", row_group_size=20)
    expected = InteractionEncoder(**params)
    X = expected.fit_transform(pd.read_parquet(tmp_path))
    assert_same(X, InteractionEncoder(**params).fit_transform(frame))
    encoder = InteractionEncoder(**params)
    assert_same(encoder.fit_transform(tmp_path), X)
    assert_same_ids(encoder, expected)
    assert_same(encoder.transform(str(tmp_path)), X)
    first = tmp_path / "0.parquet"
    assert_same(encoder.transform(first), encoder.transform(cut(frame)[0]))


def test_folders_of_a_partitioned_table(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow: make test-dask")
    events().to_parquet(tmp_path, partition_cols=["device", "item"])
    expected = InteractionEncoder()
    X = expected.fit_transform(pd.read_parquet(tmp_path))
    encoder = InteractionEncoder()
    assert_same(encoder.fit_transform(tmp_path), X)
    assert_same_ids(encoder, expected)


def test_only_the_columns_that_count_are_read(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow: make test-dask")
    events().to_parquet(tmp_path / "events.parquet")
    frames = InteractionEncoder(values="one")._frames(tmp_path, twice=True)
    assert [list(frame.columns) for frame in frames] == [["user", "item"]] * 25
    with pytest.raises(ValueError, match=r"no column 'stars'; its columns are .*'device'\]"):
        InteractionEncoder(rating="stars").fit(tmp_path)
    with pytest.raises(FileNotFoundError, match="no Parquet files at .*nowhere"):
        InteractionEncoder().fit(tmp_path / "nowhere")


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.dataset", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"sklearn_recsys\[parquet\]"):
        InteractionEncoder().fit("events.parquet")


def test_other_events_of_the_same_users(tmp_path):
    frame, new = events(), events(150, seed=1)
    new.loc[3, "item"] = 1000
    new.loc[4, "user"] = "nobody"
    encoder = InteractionEncoder(unknown="ignore").fit(cut(frame))
    expected = InteractionEncoder(unknown="ignore").fit(frame).transform(new)
    assert_same(encoder.transform(cut(new)), expected)
    assert_same(encoder.transform(new, folder=tmp_path), expected)
    assert_same(encoder.transform([]), encoder.transform(new[:0]))
    assert_same(encoder.transform([new[4:5]], folder=tmp_path), encoder.transform(new[4:5]))
    with pytest.raises(ValueError, match="1 unknown user id"):
        encoder.set_params(unknown="error").transform(cut(new), folder=tmp_path)
    assert load_csr(tmp_path).nnz == 0  # the former matrix is left


class MadeUp:
    """Frames that are made when they are read."""

    def __init__(self, n_frames, n_events, n_users):
        self.n_frames, self.n_events, self.n_users = n_frames, n_events, n_users
        self.n_reads = 0

    def __iter__(self):
        self.n_reads += 1
        for seed in range(self.n_frames):
            rng = np.random.default_rng(seed)
            users = rng.integers(0, self.n_users, self.n_events)
            yield pd.DataFrame({"user": users, "item": rng.integers(0, 300, self.n_events)})


def test_memory_is_bounded_by_blocks_not_by_events(monkeypatch, tmp_path):
    monkeypatch.setattr(_event_frames, "_EVENTS", 2**12)
    frames = MadeUp(100, 4_000, 2_000)
    encoder = InteractionEncoder(values="one")
    tracemalloc.start()
    X = encoder.fit_transform(frames, folder=tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frames.n_reads == 2
    assert X.nnz > 250_000
    assert peak < 2**21 < X.data.nbytes + X.indices.nbytes < 400_000 * 16


@pytest.mark.parametrize("interrupt", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_encoder_and_the_folder_as_they_were(tmp_path, interrupt):
    class Failing:
        n_reads = 0

        def __iter__(self):
            self.n_reads += 1
            yield from cut(events())
            if self.n_reads == 2:
                raise interrupt("the disk is gone")

    with pytest.raises(interrupt, match="the disk is gone"):
        InteractionEncoder().fit_transform(Failing(), folder=tmp_path)
    assert not list(tmp_path.iterdir())
    encoder = InteractionEncoder().fit(events()[:50])
    ids = encoder.user_ids_
    with pytest.raises(interrupt):
        encoder.fit_transform(Failing())
    assert encoder.user_ids_ is ids


def test_what_is_refused():
    frames = cut(events())
    with pytest.raises(ValueError, match="is a list_iterator, which can be read once"):
        InteractionEncoder().fit_transform(iter(frames))
    with pytest.raises(ValueError, match="is a generator, which can be read once"):
        InteractionEncoder().fit(frames).transform(frame for frame in frames)
    message = r"must be a pandas DataFrame with one row .* got list\. .*DataFrame\(events, columns="
    with pytest.raises(TypeError, match=message):
        InteractionEncoder().fit([[1, 2, 3]])
    with pytest.raises(TypeError, match=r"got dict\. Make one by pandas\.DataFrame\(events\)\."):
        InteractionEncoder().fit({"user": [1], "item": [1]})
    counts = events().groupby(["user", "item"]).size()
    with pytest.raises(TypeError, match=r"got Series\. Make one by events\.reset_index\(\)\."):
        InteractionEncoder().fit(counts)
    with pytest.raises(ValueError, match=r"no column 'user'.*in the index: .*reset_index\(\)\."):
        InteractionEncoder().fit(events().set_index("user"))
    with pytest.raises(ValueError, match="events holds no event"):
        InteractionEncoder().fit([events()[:0]])
    with pytest.raises(ValueError, match="no column 'usr'"):
        InteractionEncoder("usr").fit(frames)
    with pytest.raises(ValueError, match="rating.* of 0"):
        InteractionEncoder().fit([*frames, events().assign(rating=0)])
    with pytest.raises(ValueError, match="come out as 0"):
        negated = [events(), events().assign(rating=lambda e: -e["rating"])]
        InteractionEncoder(duplicates="sum").fit_transform(negated)


@pytest.mark.parametrize(
    "later", [events().drop(columns="timestamp"), events().assign(timestamp=DATES)]
)
def test_frames_of_different_kinds_are_refused(later):
    with pytest.raises(ValueError, match="must have the same columns, with values of one kind"):
        InteractionEncoder().fit([events(), later])
