"""Splits keep every cell and its value, and hold out what they say they do."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_recsys.model_selection import (
    leave_last_out,
    random_holdout,
    temporal_split,
    user_split,
)


def make_events(seed=0, shape=(40, 30), density=0.25, n_times=10**9):
    """Return ratings and int64 times above 2**31 in the same cells; some rows are empty."""
    rng = np.random.default_rng(seed)
    cells = rng.random(shape) < density
    cells[rng.choice(shape[0], 5, replace=False)] = False
    cells[0], cells[1, 1:] = False, False
    cells[1, 0] = True
    ratings = np.where(cells, rng.integers(1, 6, shape), 0).astype(np.float32)
    times = np.where(cells, 2**33 + rng.integers(0, n_times, shape), 0)
    return sp.csr_array(ratings), sp.csr_array(times)


def assert_partition(X, parts):
    """Check that `parts` are canonical, disjoint, of X's shape and dtype, and add up to it."""
    X = sp.csr_array(X)
    for part in parts:
        assert isinstance(part, sp.csr_array)
        assert part.shape == X.shape
        assert part.dtype == X.dtype
        assert part.indices.dtype == part.indptr.dtype == np.int32
        assert part.has_canonical_format
        assert np.all(part.data != 0)
    assert sum(part.nnz for part in parts) == X.nnz
    total = sum(part.toarray() for part in parts)
    assert total.dtype == X.dtype
    np.testing.assert_array_equal(total, X.toarray())


def brute_last(times, n, min_train):
    """Return a boolean array of each row's last `n` cells, ties to the higher index."""
    held_out = np.zeros(times.shape, dtype=bool)
    for row, values in enumerate(times):
        events = sorted((value, item) for item, value in enumerate(values) if value)
        if len(events) >= n + min_train:
            held_out[row, [item for _, item in events[-n:]]] = True
    return held_out


SPLITS = [
    lambda X, order: leave_last_out(X, order),
    lambda X, order: leave_last_out(X, order, n=3, min_train=2),
    lambda X, order: random_holdout(X, 0.3, random_state=0),
    lambda X, order: random_holdout(X, 0.3, min_train=2, random_state=0),
    lambda X, order: random_holdout(X, 7, random_state=0),
    lambda X, order: random_holdout(X, 0.3, per_user=True, random_state=0),
    lambda X, order: random_holdout(X, 2, per_user=True, random_state=0),
    lambda X, order: temporal_split(X, order),
    lambda X, order: temporal_split(X, order, cutoff=2**33 + 5 * 10**8),
]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_lost_and_disjoint(split, seed):
    ratings, times = make_events(seed)
    assert_partition(ratings, split(ratings, times))
    assert_partition(times, split(times, times))
    again = [part.toarray() for part in split(ratings, times)]
    for part, same in zip(split(ratings, times), again, strict=True):
        np.testing.assert_array_equal(part.toarray(), same)


@pytest.mark.parametrize("split", SPLITS)
def test_containers_agree(split):
    ratings, times = make_events()
    expected = [part.toarray() for part in split(ratings, times)]
    frame = pd.DataFrame(ratings.toarray(), columns=[f"i{j}" for j in range(30)])
    wide = sp.csr_array(
        (ratings.data, ratings.indices.astype(np.int64), ratings.indptr.astype(np.int64)),
        shape=ratings.shape,
    )
    for X in (ratings.toarray(), frame, sp.csc_matrix(ratings), sp.coo_array(ratings), wide):
        parts = split(X, times.tocoo())
        assert_partition(ratings, parts)
        for part, wanted in zip(parts, expected, strict=True):
            np.testing.assert_array_equal(part.toarray(), wanted)


@pytest.mark.parametrize("split", SPLITS + [lambda X, order: user_split(X, order=order)])
def test_input_is_left_alone_also_when_read_only(split, tmp_path):
    ratings, times = make_events()
    joblib.dump((ratings, times), tmp_path / "events")
    ratings_map, times_map = joblib.load(tmp_path / "events", mmap_mode="r")
    assert not ratings_map.data.flags.writeable
    parts = split(ratings_map, times_map)
    split(ratings, times)
    before = joblib.load(tmp_path / "events")
    for X, same in zip((ratings, times), before, strict=True):
        assert X.nnz == same.nnz
        np.testing.assert_array_equal(X.toarray(), same.toarray())
    parts = parts.values() if isinstance(parts, dict) else parts
    for part in parts:
        if sp.issparse(part):
            part.data[:] = -1  # the caller's own, writeable memory
    np.testing.assert_array_equal(ratings_map.toarray(), ratings.toarray())


@pytest.mark.parametrize(("n", "min_train"), [(1, 1), (1, 0), (2, 1), (3, 4)])
@pytest.mark.parametrize("n_times", [3, 10**9])
@pytest.mark.parametrize(
    "change", ["none", "float", "negative", "nanoseconds", "small", "unsigned"]
)
def test_leave_last_out_against_brute_force(n, min_train, n_times, change):
    ratings, times = make_events(3, n_times=n_times)
    if change == "float":
        times = times.astype(np.float64)
    elif change == "negative":
        times.data -= 2**33 + min(n_times // 2, 10**8) - (times.data % 2 == 0) * 3 * 10**9
        times.data[times.data == 0] = -1
    elif change == "nanoseconds":
        times.data = times.data * 10**9 + 17
    elif change == "small":
        times.data = np.where(times.data % 200 < 99, times.data % 200 - 120, times.data % 100 + 1)
        times = times.astype(np.int8)
    elif change == "unsigned":
        times.data = times.data.astype(np.uint64) + 2**63
    train, test = leave_last_out(ratings, times, n=n, min_train=min_train)
    np.testing.assert_array_equal(test.toarray() > 0, brute_last(times.toarray(), n, min_train))
    assert_partition(ratings, (train, test))


def test_leave_last_out_takes_the_values_as_order():
    _, times = make_events()
    by_order = leave_last_out(times, times)[1]
    np.testing.assert_array_equal(leave_last_out(times)[1].toarray(), by_order.toarray())


def test_times_are_never_cast_to_float32():
    # one second apart: equal in float32
    times = np.array([[1_700_000_001, 1_700_000_002, 1_700_000_000]] * 2)
    assert np.unique(times.astype(np.float32)).size == 1
    for dtype in (np.int64, np.float64):
        _, test = leave_last_out(np.ones((2, 3), np.float32), times.astype(dtype))
        np.testing.assert_array_equal(test.toarray(), [[0, 1, 0]] * 2)
    far = 2**60 + np.array([[3, 4, 2]])  # equal in float64
    assert np.unique(far.astype(np.float64)).size == 1
    train, test = leave_last_out(far)
    np.testing.assert_array_equal(test.toarray(), [[0, 2**60 + 4, 0]])
    train, test = temporal_split(far, far, cutoff=2**60 + 3)
    np.testing.assert_array_equal(train.toarray(), [[0, 0, 2**60 + 2]])


@pytest.mark.parametrize("call", [leave_last_out, lambda X: temporal_split(X, X)])
def test_float32_times_that_merged_are_refused(call):
    times = make_events()[1]
    with pytest.raises(ValueError, match="as float32, which cannot distinguish"):
        call(times.astype(np.float32))


def test_leave_last_out_notices_ratings_taken_for_times():
    ratings, times = make_events()
    ones = ratings.copy()
    ones.data[:] = 1
    with pytest.raises(ValueError, match="all of them are 1.0"):
        leave_last_out(ones)
    two_values = ones.copy()
    two_values.data[::40] = 2
    with pytest.warns(UserWarning, match="% of the rows the last training value equals"):
        leave_last_out(two_values)
    leave_last_out(two_values, times)
    single = sp.csr_array(np.eye(3))  # positions of users with one interaction each
    assert leave_last_out(single, min_train=0)[1].nnz == 3


@pytest.mark.parametrize(("test_size", "n_test"), [(0.25, 50), (1, 1), (199, 199), (0.001, 1)])
def test_random_holdout_number_of_cells(test_size, n_test):
    X = np.ones((10, 20))
    train, test = random_holdout(X, test_size, random_state=0)
    assert (train.nnz, test.nnz) == (200 - n_test, n_test)


def test_random_holdout_draws_every_cell_alike():
    X = np.zeros((4, 30))
    for row, length in enumerate((30, 10, 3, 1)):
        X[row, :length] = 1
    n_runs = 400
    held_out = sum(random_holdout(X, 0.25, random_state=seed)[1] for seed in range(n_runs))
    rate = held_out.toarray()[X > 0] / n_runs
    assert rate.mean() == pytest.approx(0.25)
    assert np.abs(rate - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / n_runs)


@pytest.mark.parametrize("test_size", [0.2, 0.29, 0.5, 0.99])
def test_random_holdout_share_of_each_row(test_size):
    lengths = np.array([0, 1, 2, 3, 4, 5, 9, 10, 35, 100])
    X = (np.arange(100) < lengths[:, None]).astype(float)
    _, test = random_holdout(X, test_size, per_user=True, random_state=0)
    percent = round(100 * test_size)
    expected = [min(max(n * percent // 100, 1), n - 1) if n > 1 else 0 for n in lengths]
    np.testing.assert_array_equal(np.diff(test.indptr), expected)


def test_random_holdout_count_in_each_row():
    lengths = np.array([0, 1, 2, 3, 4, 10])
    X = (np.arange(10) < lengths[:, None]).astype(float)
    _, test = random_holdout(X, 3, per_user=True, random_state=0)
    np.testing.assert_array_equal(np.diff(test.indptr), [0, 0, 0, 0, 3, 3])
    _, test = random_holdout(X, 3, per_user=True, min_train=0, random_state=0)
    np.testing.assert_array_equal(np.diff(test.indptr), [0, 0, 0, 3, 3, 3])


def test_random_holdout_draws_every_item_of_a_row_alike():
    X = np.ones((3000, 5))
    _, test = random_holdout(X, 2, per_user=True, random_state=0)
    np.testing.assert_array_equal(test.sum(axis=1), 2)
    rate = test.toarray().mean(axis=0)
    assert np.abs(rate - 0.4).max() < 5 * np.sqrt(0.4 * 0.6 / 3000)


@pytest.mark.parametrize("per_user", [False, True])
def test_random_holdout_keeps_min_train(per_user):
    ratings, _ = make_events(2)
    train, test = random_holdout(ratings, 0.4, per_user=per_user, min_train=4, random_state=0)
    lengths, kept = np.diff(ratings.indptr), np.diff(train.indptr)
    assert test.nnz > 0
    assert np.all(kept >= np.minimum(lengths, 4))
    without = random_holdout(ratings, 0.4, per_user=per_user, min_train=0, random_state=0)[0]
    assert np.any(np.diff(without.indptr) < np.minimum(lengths, 4))
    with pytest.raises(ValueError, match="min_train=1000"):
        random_holdout(ratings, per_user=per_user, min_train=1000)


def test_random_holdout_seeds():
    ratings, _ = make_events()
    for per_user in (False, True):
        draws = [
            random_holdout(ratings, per_user=per_user, random_state=seed)[1].toarray()
            for seed in (0, 0, np.random.RandomState(0), 1)
        ]
        np.testing.assert_array_equal(draws[0], draws[1])
        np.testing.assert_array_equal(draws[0], draws[2])
        assert np.any(draws[0] != draws[3])


@pytest.mark.parametrize("per_user", [False, True])
def test_warning_with_the_share_of_the_past_in_the_test(per_user):
    ratings, times = make_events(4, n_times=20)
    with pytest.warns(UserWarning, match="trained on the future") as warned:
        train, test = random_holdout(ratings, order=times, per_user=per_user, random_state=0)
    assert warned[0].filename == __file__
    known, asked = train.toarray() > 0, test.toarray() > 0
    t = times.toarray()
    newest = np.where(known, t, 0).max(axis=1, keepdims=True)
    share = 100 * np.sum(asked & (t < newest)) / asked.sum()
    assert f"{share:.3g} % of the test" in str(warned[0].message)
    plain = random_holdout(ratings, per_user=per_user, random_state=0)[1]
    np.testing.assert_array_equal(plain.toarray(), test.toarray())


def test_no_warning_without_leak():
    X = np.array([[1, 1], [1, 1]])  # equal times; warnings are errors in the test run
    random_holdout(X, 1, per_user=True, order=7 * X, random_state=0)


@pytest.mark.parametrize("n_times", [5, 10**9])
@pytest.mark.parametrize("test_size", [0.1, 0.5, 20])
def test_temporal_split_has_one_cut(n_times, test_size):
    ratings, times = make_events(5, n_times=n_times)
    train, test = temporal_split(ratings, times, test_size=test_size)
    t = times.toarray()
    first_test, last_train = t[test.toarray() > 0].min(), t[train.toarray() > 0].max()
    assert last_train < first_test
    n_test = test_size if test_size > 1 else round(test_size * ratings.nnz)
    assert test.nnz >= n_test  # all at the moment of the cut, and none besides
    assert test.nnz - np.sum(t == first_test) < n_test
    by_cutoff = temporal_split(ratings, times, cutoff=first_test)[1]
    np.testing.assert_array_equal(by_cutoff.toarray(), test.toarray())


def test_temporal_split_default_is_a_fifth():
    ratings, times = make_events(5, n_times=10**15)
    assert temporal_split(ratings, times)[1].nnz == round(0.2 * ratings.nnz)


def test_temporal_split_errors():
    ratings, times = make_events()
    with pytest.raises(ValueError, match="not both"):
        temporal_split(ratings, times, test_size=0.2, cutoff=3)
    with pytest.raises(ValueError, match="are at or after the cutoff at 3"):
        temporal_split(ratings, times, cutoff=3)
    with pytest.raises(ValueError, match="are before the cutoff"):
        temporal_split(ratings, times, cutoff=np.inf)
    with pytest.raises(TypeError, match="units of order"):
        temporal_split(ratings, times, cutoff="2020-01-01")
    equal = times.copy()
    equal.data[:] = 5
    with pytest.raises(ValueError, match="times range from 5 to 5"):
        temporal_split(ratings, equal)


def test_temporal_split_warns_of_positions():
    positions = np.array([[1, 2, 3, 0], [0, 0, 2, 1], [0, 0, 0, 0]])
    with pytest.warns(UserWarning, match="looks like positions"):
        temporal_split(positions, positions)
    positions[0, 2] = 4
    temporal_split(positions, positions)


@pytest.mark.parametrize("order_given", [False, True])
@pytest.mark.parametrize("holdout", [0.2, 0.5, 2])
def test_user_split_is_a_partition_of_the_users(order_given, holdout):
    X, times = make_events(6, shape=(80, 30))
    order = times if order_given else None
    s = user_split(X, test_size=0.25, valid_size=10, holdout=holdout, order=order, random_state=0)
    assert (len(s.test), len(s.valid), len(s.train)) == (20, 10, 50)
    rows = np.concatenate((s.train, s.valid, s.test))
    np.testing.assert_array_equal(np.sort(rows), np.arange(80))
    np.testing.assert_array_equal(s.X_train.toarray(), X[s.train].toarray())
    t = times.toarray()
    for name in ("valid", "test"):
        part = X[s[name]]
        assert_partition(part, (s[f"X_{name}"], s[f"y_{name}"]))
        lengths = np.diff(part.indptr)
        assert lengths.min() >= 2
        if holdout == 2:
            expected = np.where(lengths > 2, 2, 0)
        else:
            expected = np.maximum((holdout * lengths).astype(int), 1)  # Liang's int(0.2 * n)
        np.testing.assert_array_equal(np.diff(s[f"y_{name}"].indptr), expected)
        times_here = t[s[name]]
        known = np.where(s[f"X_{name}"].toarray() > 0, times_here, 0).max(axis=1)
        asked = np.where(s[f"y_{name}"].toarray() > 0, times_here, 2**62).min(axis=1)
        assert np.all(known < asked) == order_given


def test_user_split_seeds_and_order_changes_no_users():
    X, times = make_events(7)
    first, same, other = (user_split(X, random_state=seed) for seed in (0, 0, 1))
    ordered = user_split(X, order=times, random_state=0)
    np.testing.assert_array_equal(first.test, same.test)
    np.testing.assert_array_equal(first.y_test.toarray(), same.y_test.toarray())
    np.testing.assert_array_equal(first.test, ordered.test)
    assert not np.array_equal(first.test, other.test)


def test_user_split_without_validation_users():
    X, _ = make_events()
    s = user_split(X, valid_size=None, test_size=5, random_state=0)
    assert s.X_valid.shape == s.y_valid.shape == (0, X.shape[1])
    assert s.valid.shape == (0,)
    assert len(s.train) == X.shape[0] - 5


def test_user_split_min_interactions():
    X, _ = make_events(8, shape=(60, 30))
    lengths = np.diff(X.indptr)
    s = user_split(X, test_size=10, valid_size=10, min_interactions=7, random_state=0)
    assert lengths[np.concatenate((s.test, s.valid))].min() >= 7
    assert lengths[s.train].min() == 0
    short = user_split(X, test_size=25, valid_size=25, min_interactions=0, random_state=0)
    rows = np.concatenate((short.valid, short.test))
    y = sp.vstack((short.y_valid, short.y_test))
    assert lengths[rows].min() < 2  # nothing is held out of these
    np.testing.assert_array_equal(np.diff(y.indptr) > 0, lengths[rows] >= 2)


@pytest.mark.parametrize("order_given", [False, True])
def test_user_split_drops_unseen_items(order_given):
    X, times = make_events(9, shape=(30, 200), density=0.05)
    options = {"order": times if order_given else None, "random_state": 0}
    options |= {"test_size": 10, "valid_size": 10}
    kept, dropped = user_split(X, **options), user_split(X, **options, drop_unseen_items=True)
    np.testing.assert_array_equal(kept.test, dropped.test)
    trained = np.diff(kept.X_train.tocsc().indptr) > 0
    assert 0 < trained.sum() < 200
    for name in ("valid", "test"):
        part = X[kept[name]].toarray()
        assert_partition(part * trained, (dropped[f"X_{name}"], dropped[f"y_{name}"]))
        assert_partition(part, (kept[f"X_{name}"], kept[f"y_{name}"]))
        lengths = np.count_nonzero(part * trained, axis=1)
        times_here = times[kept[name]].toarray()
        known = np.where(dropped[f"X_{name}"].toarray() > 0, times_here, 0).max(axis=1)
        asked = np.where(dropped[f"y_{name}"].toarray() > 0, times_here, 2**62).min(axis=1)
        assert np.all(known < asked) == order_given
        held_out = np.where(lengths > 1, np.maximum(lengths // 5, 1), 0)
        np.testing.assert_array_equal(np.diff(dropped[f"y_{name}"].indptr), held_out)


def test_user_split_errors():
    X, times = make_events()
    with pytest.raises(ValueError, match="ask for 20 [+] 20 users"):
        user_split(X, test_size=20, valid_size=20)
    with pytest.raises(ValueError, match="have at least min_interactions=29"):
        user_split(X, min_interactions=29)
    with pytest.raises(ValueError, match="None of the 4 valid users has enough interactions"):
        user_split(X, holdout=30)
    with pytest.raises(ValueError, match="holdout must be a share"):
        user_split(X, holdout=1.0)
    with pytest.raises(ValueError, match="order must have the shape"):
        user_split(X, order=times[:5])
    alone = sp.csr_array(np.array([[1, 1], [1, 1], [0, 0]]))
    with pytest.raises(ValueError, match="No train user has an interaction"):
        user_split(alone, test_size=1, valid_size=1)


WITH_ORDER = [
    leave_last_out,
    temporal_split,
    lambda X, order: random_holdout(X, order=order),
    lambda X, order: user_split(X, order=order),
]


@pytest.mark.parametrize("split", WITH_ORDER)
def test_bad_order(split):
    ratings, times = make_events()
    with pytest.raises(ValueError, match=r"order must have the shape of X, \(40, 30\)"):
        split(ratings, times[:, :-1])
    fewer = times.copy()
    fewer.data[3] = 0  # a zero is not stored
    with pytest.raises(ValueError, match="for every cell that X stores"):
        split(ratings, fewer)
    moved = times.toarray()
    row = int(np.flatnonzero(np.diff(times.indptr) > 3)[0])
    moved[row] = np.roll(moved[row], 1)
    with pytest.raises(ValueError, match="for every cell that X stores"):
        split(ratings, moved)
    unknown = times.astype(np.float64)
    unknown.data[0] = np.nan
    with pytest.raises(ValueError, match="order contains NaN"):
        split(ratings, unknown)


@pytest.mark.parametrize("split", SPLITS + [lambda X, order: user_split(X, order=order)])
def test_bad_X(split):
    with pytest.raises(ValueError, match="X holds no interaction"):
        split(np.zeros((3, 4)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="2D array|2-D"):
        split(np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match="InteractionEncoder"):
        split(pd.DataFrame({"user": [1], "item": [2]}), None)


@pytest.mark.parametrize("size", [0, -1, 0.0, 1.0, -0.2, 1.5, np.nan, 10**6])
def test_size_out_of_range(size):
    ratings, times = make_events()
    with pytest.raises(ValueError, match="test_size must be a share"):
        random_holdout(ratings, size)
    with pytest.raises(ValueError, match="test_size must be a share"):
        temporal_split(ratings, times, test_size=size)
    with pytest.raises(ValueError, match="valid_size must be a share"):
        user_split(ratings, valid_size=size)
    with pytest.raises(ValueError, match="test_size"):
        random_holdout(ratings, size, per_user=True)


@pytest.mark.parametrize("size", ["0.2", None, True, [0.2]])
def test_size_of_another_type(size):
    ratings, _ = make_events()
    with pytest.raises(TypeError, match="test_size must be a share"):
        random_holdout(ratings, size)
    with pytest.raises(TypeError, match="holdout must be a share"):
        user_split(ratings, holdout=size)


def test_leave_last_out_errors():
    ratings, times = make_events()
    with pytest.raises(ValueError, match="n == 0, must be >= 1"):
        leave_last_out(ratings, times, n=0)
    with pytest.raises(ValueError, match="min_train == -1"):
        leave_last_out(ratings, times, min_train=-1)
    with pytest.raises(TypeError, match="n must be an instance of int"):
        leave_last_out(ratings, times, n=0.2)
    with pytest.raises(ValueError, match="No row has the n [+] min_train = 31"):
        leave_last_out(ratings, times, n=30)


def test_ncf_protocol_on_movielens():
    """He et al.'s held-out rating is the user's latest; they broke equal times in their own way."""
    folder = os.environ.get("SKLEARN_RECSYS_DATA")
    if not folder:
        pytest.skip("SKLEARN_RECSYS_DATA is not set: the folder with ncf-ml-1m.zip")
    if not (Path(folder) / "ncf-ml-1m.zip").exists():
        pytest.skip(f"no ncf-ml-1m.zip in SKLEARN_RECSYS_DATA={folder}")
    names = ["user", "item", "rating", "time"]
    with zipfile.ZipFile(Path(folder) / "ncf-ml-1m.zip") as archive:
        train, test = (
            pd.read_csv(archive.open(f"ml-1m.{part}.rating"), sep="\t", names=names)
            for part in ("train", "test")
        )
    events = pd.concat((train, test))
    times = sp.csr_array(
        (events["time"].to_numpy(), (events["user"], events["item"])), shape=(6040, 3706)
    )
    X_train, X_test = leave_last_out(times)
    assert (X_train.nnz, X_test.nnz) == (994_169, 6_040)
    published = test.sort_values("user")
    np.testing.assert_array_equal(X_test.data, published["time"])
    latest = times.max(axis=1).toarray().ravel()
    n_latest = np.bincount(events["user"], events["time"] == latest[events["user"]])
    same = X_test.indices == published["item"].to_numpy()
    assert same[n_latest == 1].all()
    assert np.mean(n_latest == 1) == pytest.approx(0.5853, abs=1e-4)
    assert same.mean() == pytest.approx(0.7434, abs=1e-4)


def test_the_whole_order_goes_with_a_part():
    ratings, times = make_events()
    train, _ = leave_last_out(ratings, times)
    times_train, _ = leave_last_out(times)
    for with_whole, with_part in zip(
        leave_last_out(train, times), leave_last_out(train, times_train), strict=True
    ):
        np.testing.assert_array_equal(with_whole.toarray(), with_part.toarray())
