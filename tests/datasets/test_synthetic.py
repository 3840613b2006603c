"""make_interactions, make_ratings and make_movies: form, seeds, and real structure."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_recsys.datasets import (
    _sampling,
    fetch_movielens,
    make_interactions,
    make_movies,
    make_ratings,
)
from sklearn_recsys.preprocessing import InteractionEncoder


def hit_rates(X, k=10):
    """Hold out one random item per row; return HR@k of popularity and of cosine item-kNN."""
    rng = np.random.default_rng(0)
    known = (X.toarray() > 0).astype(float)
    rows = np.arange(len(known))
    held = np.array([rng.choice(np.flatnonzero(row)) for row in known])
    known[rows, held] = 0
    overlap = known.T @ known
    norms = np.sqrt(np.maximum(overlap.diagonal(), 1))
    cosine = overlap / np.outer(norms, norms)
    np.fill_diagonal(cosine, 0)
    rates = []
    for scores in (np.tile(known.sum(axis=0), (len(known), 1)), known @ cosine):
        scores = np.where(known > 0, -np.inf, scores)
        rank = (scores > scores[rows, held][:, None]).sum(axis=1)
        rates.append(np.mean(rank < k))
    return rates


def movies_matrix(seed):
    return InteractionEncoder().fit_transform(make_movies(random_state=seed).interactions)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda seed: make_interactions(random_state=seed),
        lambda seed: make_ratings(random_state=seed),
        movies_matrix,
    ],
    ids=["interactions", "ratings", "movies"],
)
def test_personal_model_beats_popularity(make, seed):
    popularity, knn = hit_rates(make(seed))
    assert knn > 1.3 * popularity
    assert popularity > 0.05  # which itself is far above chance, 0.02


def test_one_factor_holds_no_tastes():
    popularity, knn = hit_rates(make_interactions(n_factors=1, random_state=0))
    assert knn < 1.1 * popularity


@pytest.mark.parametrize(
    ("n_users", "n_items", "options", "nnz"),
    [
        (1000, 500, {}, 25_000),
        (50, 20, {}, 100),  # density alone would leave users without two items
        (300, 40, {"n_interactions": 5000}, 5000),
        (70, 30, {"density": 1.0}, 2100),
        (40, 60, {"density": 0.9, "exponent": 3.0}, 2160),
        (10, 2, {"n_interactions": 20, "n_factors": 1}, 20),
    ],
)
def test_form(n_users, n_items, options, nnz):
    X = make_interactions(n_users, n_items, **options, random_state=0)
    assert isinstance(X, sp.csr_array)
    assert X.shape == (n_users, n_items)
    assert X.nnz == nnz
    assert X.has_canonical_format  # no item twice
    assert X.indices.dtype == X.indptr.dtype == np.int32
    assert X.dtype == np.float32
    assert np.all(X.data == 1)
    assert np.diff(X.indptr).min() >= 2


def test_seed_and_dtype():
    for make in (make_interactions, make_ratings):
        first, second, other = (make(60, 40, random_state=seed) for seed in (0, 0, 1))
        assert (first != second).nnz == 0
        assert (first != other).nnz > 0
        assert make(60, 40, random_state=np.random.RandomState(0)).nnz == first.nnz
        assert make(60, 40, dtype=np.int64).dtype == np.int64
    state = np.random.get_state()[1].copy()
    make_interactions(60, 40, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # the global state is left


def test_popularity_and_activity_are_skewed():
    X = make_interactions(2000, 400, random_state=0)
    flat = make_interactions(2000, 400, exponent=0, random_state=0)
    users, items = np.diff(X.indptr), np.bincount(X.indices, minlength=400)
    assert users.max() > 5 * np.median(users)
    assert items.max() > 5 * np.median(items)
    assert items.max() > 2 * np.bincount(flat.indices).max()
    # Which item is popular has nothing to do with its index.
    assert abs(np.corrcoef(items, np.arange(400))[0, 1]) < 0.2


@pytest.mark.parametrize("rest", [False, True], ids=["by rounds", "by Gumbel top-n"])
def test_draws_without_replacement_have_the_stated_probabilities(rest, monkeypatch):
    if rest:
        monkeypatch.setattr(_sampling, "_add_samples", lambda rng, keys, *others: keys)
    n_users, n_items = 40_000, 5
    rng = np.random.RandomState(0)
    item_factors = rng.normal(size=(n_items, 3))
    user_factors = np.tile(rng.normal(size=3), (n_users, 1))
    popularity = (np.arange(1, n_items + 1) + np.sqrt(n_items) / 2) ** -1.0

    class Fixed(np.random.RandomState):
        def permutation(self, x):
            return x  # item 0 is the most popular one

    X = _sampling.sample_cells(Fixed(1), user_factors, item_factors, 2 * n_users, 1.0)

    def softmax(x):
        exponentials = np.exp(3 * x)
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    p = popularity * (softmax(item_factors) @ softmax(user_factors[0]))
    p /= p.sum()
    chosen = [
        p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(n_items) if j != i)
        for i in range(n_items)
    ]
    np.testing.assert_allclose(X.mean(axis=0), chosen, atol=4 * np.sqrt(0.25 / n_users))


def test_memory_does_not_hold_users_by_items():
    n_users, n_items = 20_000, 5_000
    tracemalloc.start()
    X = make_interactions(n_users, n_items, n_interactions=200_000, random_state=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert X.nnz == 200_000
    assert peak < n_users * n_items  # bytes: less than one per cell


def test_ratings_follow_their_factors():
    R, users, items = make_ratings(
        300, 200, noise=0, step=None, return_factors=True, random_state=0
    )
    rows = np.repeat(np.arange(300), np.diff(R.indptr))
    expected = np.sum(users[rows] * items[R.indices], axis=1)
    np.testing.assert_allclose(R.data, np.clip(expected, 1, 5), rtol=1e-6)
    assert users.shape == (300, 10)
    assert items.shape == (200, 10)
    everything = users @ items.T
    assert 3.2 < everything.mean() < 3.8
    assert 0.7 < everything.std() < 1.1
    assert expected.mean() > everything.mean()  # users rate what they like
    noisy = make_ratings(300, 200, noise=0.5, step=None, random_state=0)
    inside = (noisy.data > 1) & (noisy.data < 5)
    assert np.std((noisy.data - expected)[inside]) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    ("rating_range", "step", "scale"),
    [
        ((1, 5), 1, [1, 2, 3, 4, 5]),
        ((0.5, 5), 0.5, np.arange(1, 11) / 2),
        ((1, 10), 4, [1, 5, 9]),
        ((2, 3), 1, [2, 3]),
    ],
)
def test_rating_scale(rating_range, step, scale):
    R = make_ratings(400, 100, density=0.2, rating_range=rating_range, step=step, random_state=0)
    np.testing.assert_allclose(np.unique(R.data), scale)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_interactions": 199}, r"200 … 5000; got 199"),
        ({"n_interactions": 5001}, r"200 … 5000; got 5001"),
        ({"density": 0}, "'density' parameter"),
        ({"n_factors": 0}, "'n_factors' parameter"),
        ({"exponent": -1}, "'exponent' parameter"),
        ({"n_users": 0}, "'n_users' parameter"),
        ({"n_items": 1}, "'n_items' parameter"),
    ],
)
def test_errors(options, message):
    for make in (make_interactions, make_ratings):
        with pytest.raises(ValueError, match=message):
            make(**{"n_users": 100, "n_items": 50, **options})


@pytest.mark.parametrize("rating_range", [(0, 5), (-1, 1), (5, 1), (3, 3), (1, np.inf)])
def test_rating_range_errors(rating_range):
    with pytest.raises(ValueError, match="0 < lowest < highest"):
        make_ratings(rating_range=rating_range)
    with pytest.raises(ValueError, match="must be a pair"):
        make_ratings(rating_range=(1, 2, 3))


def test_movies_form():
    data = make_movies(random_state=3)
    events = data.interactions
    assert events.columns.tolist() == ["user", "item", "rating", "timestamp"]
    assert not events.duplicated(["user", "item"]).any()
    assert events.timestamp.dtype == np.int64
    assert events.timestamp.is_monotonic_increasing
    assert events.timestamp.min() > 2**24
    assert events.duplicated(["user", "timestamp"]).mean() > 0.05  # equal times, as in real data
    assert set(events.rating) == {1, 2, 3, 4, 5}
    assert events.groupby("user").size().min() >= 5
    assert set(events.user) == set(data.users.index)
    assert set(events.item) <= set(data.items.index)
    assert data.items.columns.tolist() == ["title", "year", "genres"]
    assert data.users.columns.tolist() == ["age", "gender", "occupation", "zip"]
    assert data.items.title.is_unique
    years = data.items.title.str.extract(r"\((\d{4})\)$", expand=False).astype("Int64")
    pd.testing.assert_series_equal(years, data.items.year, check_names=False)
    again = make_movies(random_state=3)
    pd.testing.assert_frame_equal(again.interactions, events)
    pd.testing.assert_frame_equal(again.items, data.items)


def test_more_movies_than_names():
    items = make_movies(20, 3500, density=0.01).items
    assert items.title.str.replace(r" \(\d{4}\)$", "", regex=True).is_unique


def test_users_prefer_a_genre():
    data = make_movies(n_users=500, random_state=0)
    events = data.interactions.join(data.items, on="item").join(data.users, on="user")
    artists = events[events.occupation == "artist"]
    others = events[events.occupation != "artist"]
    favorite, usual = (frame.genres.str.contains("Adventure").mean() for frame in (artists, others))
    assert favorite > 1.5 * usual
    own = artists.genres.str.contains("Adventure")
    assert artists[own].rating.mean() > artists[~own].rating.mean() + 0.2


@pytest.mark.skipif(
    not os.environ.get("SKLEARN_RECSYS_DATA"),
    reason="real data: set SKLEARN_RECSYS_DATA to the folder of the MovieLens archives",
)
def test_no_title_is_real():
    made_up = make_movies(20, 1600, density=0.05).items.title
    made_up = set(made_up.str.replace(r" \(\d{4}\)$", "", regex=True).str.lower())
    for name in ("100k", "1m", "latest-small"):
        real = fetch_movielens(name, download_if_missing=False).items.title
        real = set(real.str.replace(r"\s*\(.*", "", regex=True).str.lower())
        assert len(real) > 1000
        assert not made_up & real


def test_counts_are_heavy_tailed_and_tell_of_tastes():
    ones = make_interactions(400, 200, random_state=0)
    X = make_interactions(400, 200, counts=True, random_state=0)
    np.testing.assert_array_equal(X.indices, ones.indices)
    np.testing.assert_array_equal(X.indptr, ones.indptr)
    assert X.dtype == np.float32
    assert X.data.min() >= 1
    np.testing.assert_array_equal(X.data, np.floor(X.data))
    assert 150 < np.median(X.data) < 400
    assert X.data.max() > 100 * np.median(X.data)
    assert 1.3 < np.log(X.data).std() < 1.7
    again = make_interactions(400, 200, counts=True, random_state=0)
    np.testing.assert_array_equal(X.data, again.data)
