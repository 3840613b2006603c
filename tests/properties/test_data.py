"""Metrics, splits and encoders on random data, against plain Python."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import corrupted, corruptions, holds, matrices, seeds
from hypothesis import assume, strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import sklearn_recsys.metrics as metrics
from sklearn_recsys import EASE, RecommenderPipeline
from sklearn_recsys.model_selection import (
    cell_kfold,
    leave_last_out,
    random_holdout,
    sample_negatives,
    temporal_split,
    user_split,
)
from sklearn_recsys.preprocessing import BM25Transformer, InteractionEncoder


def plain(metric, wanted, ranked, k):
    """Return a metric of one row, as its formula reads."""
    hits = [item in wanted for item in ranked[:k]]
    if metric == "hr":
        return float(any(hits))
    if metric == "recall":
        return sum(hits) / len(wanted)
    if metric == "precision":
        return sum(hits) / k
    if metric == "mrr":
        return next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)
    if metric == "map":
        terms = [sum(hits[:rank]) / rank for rank, hit in enumerate(hits, 1) if hit]
        return sum(terms) / min(k, len(wanted))
    gain = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits, 1) if hit)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))
    return gain / ideal


@holds(
    weight=2,
    held_out=matrices("binary"),
    metric=st.sampled_from(["ndcg", "hr", "recall", "precision", "map", "mrr"]),
    k=st.integers(1, 15),
    width=st.integers(1, 15),
    seed=seeds,
)
def test_metrics_are_their_formulas(held_out, metric, k, width, seed):
    rng = np.random.default_rng(seed)
    n_rows, n_items = held_out.shape
    lists = np.full((n_rows, width), -1)
    for row in lists:
        length = rng.integers(0, min(width, n_items) + 1)
        row[rng.permutation(width)[:length]] = rng.permutation(n_items)[:length]
    function = getattr(metrics, f"{metric}_at_k")
    values = function(held_out, lists, k, average=None)
    for row in range(n_rows):
        wanted = set(held_out[[row]].indices)
        if wanted:
            assert_allclose(values[row], plain(metric, wanted, lists[row].tolist(), k))
        else:
            assert np.isnan(values[row])
    assert_allclose(function(held_out, lists, k), np.nanmean(values))


@holds(
    held_out=matrices("weight"),
    gains=st.sampled_from(["linear", "exponential"]),
    k=st.integers(1, 15),
    seed=seeds,
)
def test_graded_ndcg_is_its_formula(held_out, gains, k, seed):
    rng = np.random.default_rng(seed)
    held_out.data = held_out.data.clip(max=20)
    n_rows, n_items = held_out.shape
    lists = np.array([rng.permutation(n_items) for _ in range(n_rows)])
    values = metrics.ndcg_at_k(held_out, lists, k, average=None, gains=gains)
    for row, dense in enumerate(held_out.toarray()):
        gained = dense if gains == "linear" else 2**dense - 1
        discounts = 1 / np.log2(np.arange(2, n_items + 2))
        discounts[k:] = 0
        ideal = (np.sort(gained)[::-1] * discounts).sum()
        if ideal > 0:
            assert_allclose(values[row], (gained[lists[row]] * discounts).sum() / ideal)
        else:
            assert np.isnan(values[row])


def assert_split(X, train, test):
    """Assert that two matrices share nothing, lose nothing, and keep values and dtype."""
    assert train.shape == test.shape == X.shape
    assert train.dtype == test.dtype == X.dtype
    assert not (train.toarray() * test.toarray()).any()
    assert_array_equal(train.toarray() + test.toarray(), X.toarray())


@holds(
    X=matrices("order", min_users=2, min_items=2),
    split=st.sampled_from(["random", "per user", "last", "temporal", "cutoff"]),
    size=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**31),
)
def test_splits_lose_nothing(X, split, size, seed):
    X = X.astype(np.int64)
    try:
        if split == "random":
            train, test = random_holdout(X, size, random_state=seed)
        elif split == "per user":
            train, test = random_holdout(X, size, per_user=True, random_state=seed)
        elif split == "last":
            train, test = leave_last_out(X, X)
        elif split == "temporal":
            train, test = temporal_split(X, X, test_size=size)
        else:
            train, test = temporal_split(X, X, cutoff=int(np.median(X.data)))
    except ValueError as error:  # nothing is left to train or to test on
        assert len(str(error)) > 20
        return
    assert_split(X, train, test)
    if split == "last":
        for row in range(X.shape[0]):
            if test[[row]].nnz:
                assert test[[row]].data.min() >= train[[row]].data.max()
    if split in ("temporal", "cutoff") and train.nnz and test.nnz:
        assert train.data.max() <= test.data.min()


@holds(X=matrices("rating", min_users=2, min_items=2), n_splits=st.integers(2, 4), seed=seeds)
def test_folds_of_cells_hold_each_cell_out_once(X, n_splits, seed):
    assume(X.nnz >= n_splits)
    try:
        stacked, held_out, folds = cell_kfold(X, n_splits, random_state=seed % 2**31)
    except ValueError as error:
        assert len(str(error)) > 20
        return
    total = np.zeros(X.shape)
    for _, rows in folds:
        assert_split(X, stacked[rows].astype(X.dtype), held_out[rows].astype(X.dtype))
        total += held_out[rows].toarray()
    assert_array_equal(total, X.toarray())


@holds(X=matrices("weight", min_users=8, min_items=3), seed=st.integers(0, 2**31))
def test_users_are_split_apart(X, seed):
    try:
        split = user_split(X, test_size=0.25, valid_size=0.25, random_state=seed)
    except ValueError as error:
        assert len(str(error)) > 20
        return
    rows = np.concatenate([split.train, split.valid, split.test])
    assert_array_equal(np.sort(rows), np.arange(X.shape[0]))
    assert_array_equal(split.X_train.toarray(), X[split.train].toarray())
    for name in ("valid", "test"):
        assert_split(X[split[name]], split[f"X_{name}"], split[f"y_{name}"])


@holds(X=matrices("binary", min_items=3), n=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_negatives_are_unseen_and_distinct(X, n, seed):
    unseen = X.shape[1] - np.diff(X.indptr)
    try:
        negatives = sample_negatives(X, n, random_state=seed)
    except ValueError:
        assert unseen.min() < n
        return
    for row, items in enumerate(negatives):
        items = items[items >= 0]
        assert len(set(items)) == len(items) == min(n, unseen[row])
        assert not set(items) & set(X[[row]].indices)


RAW = {
    "integers": st.integers(-(2**40), 2**40),
    "strings": st.text(min_size=1, max_size=6),
    "dates": st.dates(datetime.date(1970, 1, 2), datetime.date(2200, 1, 1)),
    "tuples": st.tuples(st.integers(0, 3), st.integers(0, 3)),
    "bytes": st.binary(min_size=1, max_size=4),
}


@st.composite
def events(draw, max_size=30):
    """Draw a tidy frame whose raw ids are of any hashable kind."""
    pools = [
        draw(
            st.lists(draw(st.sampled_from(list(RAW.values()))), min_size=2, max_size=6, unique=True)
        )
        for _ in range(2)
    ]
    pairs = draw(
        st.lists(
            st.tuples(st.sampled_from(pools[0]), st.sampled_from(pools[1]), st.integers(1, 5)),
            min_size=1,
            max_size=max_size,
        )
    )
    users, items, ratings = zip(*pairs, strict=True)
    frame = pd.DataFrame({"rating": ratings})
    frame["user"] = pd.Series(list(users), dtype=object).infer_objects()
    frame["item"] = pd.Series(list(items), dtype=object).infer_objects()
    return frame


@holds(frame=events(), values=st.sampled_from(["rating", "count", "one"]))
def test_encoders_go_there_and_back(frame, values):
    encoder = InteractionEncoder(values=values)
    X = encoder.fit_transform(frame)
    expected = {}
    for user, item, rating in zip(frame.user, frame.item, frame.rating, strict=True):
        count = expected.get((user, item), 0) + 1
        expected[user, item] = {"rating": rating, "count": count, "one": 1}[values]
    X = X.tocoo()
    found = {
        (encoder.user_ids_[u], encoder.item_ids_[i]): value
        for u, i, value in zip(*X.coords, X.data, strict=True)
    }
    assert found == expected
    assert_array_equal(encoder.transform(frame).toarray(), X.toarray())
    assert_array_equal(encoder.encode_users(list(frame.user)), X_rows(encoder, frame))


def X_rows(encoder, frame):
    rows = {user: row for row, user in enumerate(encoder.user_ids_)}
    return [rows[user] for user in frame.user]


@holds(
    frame=events(),
    name=st.sampled_from(["candidates", "exclude"]),
    form=st.sampled_from(["list", "set", "tuple", "series", "dict", "frame", "mask"]),
    seed=seeds,
)
def test_sets_of_raw_ids_are_masks(frame, name, form, seed):
    encoder = InteractionEncoder(values="one")
    X = encoder.fit_transform(frame)
    pipeline = RecommenderPipeline([("model", EASE(l2=1.0))], encoder=encoder).fit(X)
    rng = np.random.default_rng(seed)
    chosen = rng.random(X.shape) < 0.5
    if form in ("list", "set", "tuple", "series"):
        chosen[:] = chosen[0]
    rows, items = chosen.nonzero()
    pairs = [(encoder.user_ids_[u], encoder.item_ids_[i]) for u, i in zip(rows, items, strict=True)]
    order = rng.permutation(len(pairs))  # the order of a dict or frame says nothing
    everyone = [encoder.item_ids_[i] for i in np.flatnonzero(chosen[0])]

    def as_frame():
        listed = pd.DataFrame(index=range(len(pairs)))
        listed["user"] = pd.Series([pairs[i][0] for i in order], dtype=object)
        listed["item"] = pd.Series([pairs[i][1] for i in order], dtype=object)
        return listed

    def as_dict():
        listed = {}
        for i in order:
            listed.setdefault(pairs[i][0], []).append(pairs[i][1])
        return listed

    sets = {
        "list": lambda: everyone,
        "set": lambda: set(everyone),
        "tuple": lambda: tuple(everyone),
        "series": lambda: pd.Series(everyone, dtype=object),
        "dict": as_dict,
        "frame": as_frame,
        "mask": lambda: chosen,
    }[form]()
    got = pipeline.recommend(n=3, **{name: sets})
    ids = pipeline.steps[-1][1].recommend(n=3, **{name: chosen})
    expected = [
        (encoder.user_ids_[row], encoder.item_ids_[item])
        for row, items in enumerate(ids)
        for item in items
        if item >= 0
    ]
    assert list(zip(got["user"], got["item"], strict=True)) == expected


@holds(frame=events(), metric=st.sampled_from(["ndcg", "hr", "recall", "map"]), n=st.integers(1, 4))
def test_metrics_of_frames_are_metrics_of_matrices(frame, metric, n):
    encoder = InteractionEncoder(values="one")
    X = encoder.fit_transform(frame)
    pipeline = RecommenderPipeline([("model", EASE(l2=1.0))], encoder=encoder).fit(X)
    options = {"n": n, "exclude_seen": False}
    function = getattr(metrics, f"{metric}_at_k")
    ids = pipeline.steps[-1][1].recommend(X, **options)
    expected = function(X, ids, n)
    answer = pipeline.recommend(frame, **options)
    assert_allclose(function(frame[["user", "item"]], answer, n), expected)
    shuffled = answer.sample(frac=1, random_state=0)  # the column rank says the order
    assert_allclose(function(frame[["user", "item"]], shuffled, n), expected)


@holds(frame=events(), n=st.integers(1, 4))
def test_pipelines_with_an_encoder_speak_raw_ids(frame, n):
    encoder = InteractionEncoder()
    X = encoder.fit_transform(frame)
    model = EASE(l2=1.0).fit(X)
    pipeline = RecommenderPipeline([("model", EASE(l2=1.0))], encoder=encoder).fit(X)
    answer = pipeline.recommend(n=n)
    expected = [
        (encoder.user_ids_[row], rank, encoder.item_ids_[item])
        for row, items in enumerate(model.recommend(n=n))
        for rank, item in enumerate(items, 1)
        if item >= 0
    ]
    got = list(zip(answer["user"], answer["rank"], answer["item"], strict=True))
    assert got == expected
    user = frame.user.iloc[0]
    alone = pipeline.recommend([user], n=n)
    own = [entry for entry in expected if entry[0] == user]
    assert list(zip(alone["user"], alone["rank"], alone["item"], strict=True)) == own


DOORS = {
    "ndcg_at_k": lambda X, lists, bad: metrics.ndcg_at_k(bad, lists),
    "novelty_at_k": lambda X, lists, bad: metrics.novelty_at_k(lists, bad),
    "popularity_bias_at_k": lambda X, lists, bad: metrics.popularity_bias_at_k(lists, bad),
    "random_holdout": lambda X, lists, bad: random_holdout(bad, 0.5),
    "leave_last_out, X": lambda X, lists, bad: leave_last_out(bad),
    "leave_last_out, order": lambda X, lists, bad: leave_last_out(X, bad),
    "temporal_split": lambda X, lists, bad: temporal_split(X, bad, test_size=0.5),
    "user_split": lambda X, lists, bad: user_split(bad),
    "cell_kfold": lambda X, lists, bad: cell_kfold(bad, 2),
    "sample_negatives": lambda X, lists, bad: sample_negatives(bad, 1),
    "sample_negatives, exclude": lambda X, lists, bad: sample_negatives(X, 1, exclude=bad),
    "BM25Transformer": lambda X, lists, bad: BM25Transformer().fit_transform(bad),
}


@holds(
    X=matrices("weight", min_users=2, min_items=2),
    door=st.sampled_from(sorted(DOORS)),
    corruption=corruptions,
)
def test_data_functions_refuse_corrupt_matrices(X, door, corruption):
    lists = np.zeros((X.shape[0], 1), dtype=int)
    with pytest.raises(ValueError):
        DOORS[door](X, lists, corrupted(X.shape, corruption))


@holds(X=matrices("weight", min_users=1), dtype=st.sampled_from(["int8", "uint8", "int16"]))
def test_duplicates_are_summed_wide(X, dtype):
    """300 ones in a cell are 300, whatever holds them."""
    X = sp.csr_array(X.astype(bool).astype(np.float64))
    cells = tuple(np.repeat(part, 300) for part in X.tocoo().coords)
    narrow = sp.coo_array((np.ones(300 * X.nnz, dtype=dtype), cells), shape=X.shape)
    model = EASE(l2=1.0).fit(narrow)
    assert_array_equal(model.interactions_.toarray(), 300 * X.toarray())
