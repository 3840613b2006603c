"""A synthetic data set of movies in the format of MovieLens."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from sklearn_recsys.datasets._movielens import _Dataset
from sklearn_recsys.datasets._sampling import (
    number_of_interactions,
    rate_cells,
    sample_cells,
    with_biases,
)
from sklearn_recsys.utils._sklearn import Interval, validate_params

_FIRST = (
    "Amber Borrowed Brass Cobalt Comet Copper Crooked Drowsy Ember Feathered Gilded Glacier Hollow "
    "Indigo Ivory Juniper Lantern Linen Lopsided Marble Mossy Nimbus Nutmeg Opal Paper Pepper "
    "Quartz Quiet Rusted Saffron Sleepless Sunken Tangerine Thistle Tidal Umber Velvet Wandering "
    "Willow Zephyr"
).split()
_SECOND = (
    "Almanac Archipelago Aviary Ballroom Bakery Cartographer Causeway Chandelier Compass Conductor "
    "Depot Engine Envelope Estuary Ferry Foundry Gazette Glassblower Gramophone Harbor Horizon "
    "Hourglass Inventor Juggler Kettle Labyrinth Lighthouse Locksmith Meridian Observatory Orchard "
    "Parachute Pendulum Quarry Satellite Semaphore Typist Umbrella Viaduct Windmill"
).split()
_GENRES = ["Adventure", "Animation", "Comedy", "Crime", "Drama", "Horror", "Romance", "Sci-Fi"]
_OCCUPATIONS = ["artist", "cook", "engineer", "gardener", "nurse", "pilot", "student", "teacher"]


@validate_params(
    {
        "n_users": [Interval(Integral, 1, None, closed="left")],
        "n_items": [Interval(Integral, 10, None, closed="left")],
        "density": [Interval(Real, 0, 1, closed="right")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_movies(n_users=300, n_items=200, *, density=0.15, random_state=0) -> _Dataset:
    """Make a data set in the format of MovieLens with fictional movies, users and ratings.

    Parameters
    ----------
    n_users, n_items : int, default=300 and 200
        The numbers of users and movies; at least 10 movies.
    density : float in (0, 1], default=0.15
        The share of all pairs that are rated; every user has at least five ratings.
    random_state : int, RandomState instance or None, default=0
        Seed of the generator.

    Returns
    -------
    data : Bunch
        Like that of :func:`fetch_movielens`: ``interactions`` (user, item, rating from 1 to 5,
        timestamp; in chronological order, with some equal times), ``items`` (title, year, genres;
        indexed by raw item id), ``users`` (age, gender, occupation, zip; indexed by raw user id),
        ``name`` and ``DESCR``.

    See Also
    --------
    make_interactions, make_ratings : Matrices of any size instead of frames.
    fetch_movielens : Real data.

    Notes
    -----
    There is a latent factor for each of the eight genres. It is high for movies of that genre;
    users with the same occupation tend to like the same genre, and users rate what they like.

    Examples
    --------
    >>> from sklearn_recsys.datasets import make_movies
    >>> data = make_movies(random_state=0)
    >>> data.interactions.columns.tolist()
    ['user', 'item', 'rating', 'timestamp']
    >>> data.items["title"].head(3).tolist()
    ['Quartz Quarry (1974)', 'Ember Causeway (1967)', 'Willow Umbrella (1971)']
    >>> len(data.interactions), len(data.items), len(data.users)
    (9000, 200, 300)
    """
    rng = check_random_state(random_state)
    items, item_factors = _make_items(rng, n_items)
    occupation = rng.randint(len(_OCCUPATIONS), size=n_users)
    user_factors = rng.normal(scale=0.8, size=(n_users, len(_GENRES)))
    user_factors[np.arange(n_users), occupation] += 1.0
    users = pd.DataFrame(
        {
            "age": np.clip(rng.normal(36, 14, size=n_users), 15, 80).astype(np.int64),
            "gender": rng.choice(["F", "M"], size=n_users),
            "occupation": np.array(_OCCUPATIONS, dtype=object)[occupation],
            "zip": [f"{code:05d}" for code in rng.randint(100_000, size=n_users)],
        },
        index=pd.Index(np.arange(1, n_users + 1), name="user"),
    )

    n_events = number_of_interactions(n_users, n_items, None, density, minimum=5)
    R = sample_cells(rng, user_factors, item_factors, n_events, 0.7, minimum=5)
    factors = with_biases(rng, user_factors, item_factors, 1, 5)
    ratings = rate_cells(rng, R, *factors, 0.5, 1, 5, 1)
    rows = np.repeat(np.arange(n_users), np.diff(R.indptr))
    # Each user is active for some weeks, starting on a day in 1998; a third of the events share
    # their time with another one, like ratings that are entered on one page.
    start = 883_612_800 + rng.randint(365 * 86_400, size=n_users)
    timestamps = start[rows] + rng.exponential(20 * 86_400, size=n_events).astype(np.int64)
    same = np.flatnonzero((rows[1:] == rows[:-1]) & (rng.random_sample(n_events - 1) < 1 / 6)) + 1
    timestamps[same] = timestamps[same - 1]
    interactions = pd.DataFrame(
        {
            "user": users.index.to_numpy()[rows],
            "item": items.index.to_numpy()[R.indices],
            "rating": ratings,
            "timestamp": timestamps,
        }
    )
    interactions = interactions.iloc[rng.permutation(n_events)]
    interactions = interactions.sort_values("timestamp", kind="stable", ignore_index=True)
    return _Dataset(
        interactions=interactions,
        items=items,
        users=users,
        name="made-up movies",
        DESCR=(
            f"Made-up movies: {n_events} ratings (1 to 5) of {n_items} movies by {n_users} users, "
            "sampled from latent factors that follow the genres and the users' occupations. No "
            "movie and no person is real."
        ),
    )


def _make_items(rng, n_items):
    """Return a frame of movies and their factors, one per genre."""
    order = rng.permutation(len(_FIRST) * len(_SECOND))
    sequel, combination = np.divmod(np.arange(n_items), len(order))
    first, second = np.divmod(order[combination], len(_SECOND))
    years = rng.randint(1950, 1999, size=n_items)
    titles = [
        f"{_FIRST[a]} {_SECOND[b]}{f' {number + 1}' if number else ''} ({year})"
        for a, b, number, year in zip(first, second, sequel, years, strict=True)
    ]
    has_genre = np.zeros((n_items, len(_GENRES)), dtype=bool)
    has_genre[np.arange(n_items), rng.randint(len(_GENRES), size=n_items)] = True
    second_genre = rng.random_sample(n_items) < 0.4
    has_genre[second_genre, rng.randint(len(_GENRES), size=second_genre.sum())] = True
    items = pd.DataFrame(
        {
            "title": titles,
            "year": pd.array(years, dtype="Int64"),
            "genres": ["|".join(np.array(_GENRES)[row]) for row in has_genre],
        },
        index=pd.Index(np.sort(rng.choice(10 * n_items, n_items, replace=False)) + 1, name="item"),
    )
    return items, 2.5 * has_genre - 0.5 + rng.normal(scale=0.5, size=has_genre.shape)
