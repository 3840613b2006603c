"""Synthetic data with the structure of real data: user tastes, popular items, active users."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from sklearn_recsys.datasets._movielens import _Dataset
from sklearn_recsys.datasets._sampling import BLOCK, sample_cells
from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._sklearn import Interval, validate_params

_COMMON_CONSTRAINTS = {
    "n_users": [Interval(Integral, 1, None, closed="left")],
    "n_items": [Interval(Integral, 2, None, closed="left")],
    "n_interactions": [Interval(Integral, 1, None, closed="left"), None],
    "density": [Interval(Real, 0, 1, closed="right")],
    "n_factors": [Interval(Integral, 1, None, closed="left")],
    "exponent": [Interval(Real, 0, None, closed="left")],
    "random_state": ["random_state"],
}


@validate_params({**_COMMON_CONSTRAINTS, "counts": ["boolean"]}, prefer_skip_nested_validation=True)
def make_interactions(
    n_users=1000,
    n_items=500,
    *,
    n_interactions=None,
    density=0.05,
    n_factors=8,
    exponent=1.0,
    counts=False,
    random_state=None,
    dtype=np.float32,
):
    """Make a user × item matrix of implicit feedback, with personal tastes and popular items.

    Parameters
    ----------
    n_users, n_items : int, default=1000 and 500
        The shape of the matrix.
    n_interactions : int, default=None
        The exact number of interactions, at least two per user. None: set by `density`.
    density : float in (0, 1], default=0.05
        The share of the cells that hold an interaction; every user has at least two.
    n_factors : int, default=8
        The number of latent factors behind the tastes; 1: no tastes, only popularity.
    exponent : float, default=1.0
        The popularity of the item at rank r is proportional to
        ``(r + sqrt(n_items) / 2) ** -exponent``: Zipf's law with the flat head of real catalogs.
        0: all items are equally popular. The ranks of the items are random.
    counts : bool, default=False
        Whether the values are interaction counts, with a heavy-tailed distribution like the play
        counts of a music service, instead of ones. The nonzero cells are the same.
    random_state : int, RandomState instance or None, default=None
        Seed of the generator.
    dtype : dtype, default=np.float32
        The dtype of the values.

    Returns
    -------
    X : csr_array of shape (n_users, n_items)
        Ones, or counts. Every user has at least two items; items may have no users, as in real
        data.

    See Also
    --------
    make_ratings : Ratings in cells that are sampled in the same way.
    make_movies : A tidy frame of ratings, with titles.

    Notes
    -----
    Users and items have normally distributed factors p and q. The items of user u are sampled one
    by one, without replacement, with probabilities proportional to
    ``popularity[i] * softmax(3 p[u]) @ softmax(3 q[i])``; the numbers of items per user are
    log-normal. The probabilities are a mixture with one component per factor, so no array of size
    n_users × n_items is ever built.

    Counts are log-normal. Their logarithms have a mean of 5.5 (the count 245) and a standard
    deviation of 1.5; the user's activity and the product p[u] · q[i] contribute equally to it, and
    noise contributes the most: a higher count is only weak evidence of a stronger preference.

    Examples
    --------
    >>> from sklearn_recsys.datasets import make_interactions
    >>> X = make_interactions(100, 50, n_interactions=600, random_state=0)
    >>> X.shape, X.nnz, int(X.sum(axis=1).min()) >= 2
    ((100, 50), 600, True)
    """
    rng = check_random_state(random_state)
    n_interactions = _n_interactions(n_users, n_items, n_interactions, density)
    user_factors = rng.normal(size=(n_users, n_factors))
    item_factors = rng.normal(size=(n_items, n_factors))
    X = sample_cells(rng, user_factors, item_factors, n_interactions, exponent)
    if counts:
        X.data = _play_counts(rng, X, user_factors, item_factors)
    X.data = X.data.astype(dtype)
    return X


@validate_params(
    {
        **_COMMON_CONSTRAINTS,
        "noise": [Interval(Real, 0, None, closed="left")],
        "step": [Interval(Real, 0, None, closed="neither"), None],
        "return_factors": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_ratings(
    n_users=1000,
    n_items=500,
    *,
    n_interactions=None,
    density=0.05,
    n_factors=8,
    exponent=1.0,
    noise=0.5,
    rating_range=(1, 5),
    step=1,
    random_state=None,
    return_factors=False,
    dtype=np.float32,
):
    """Make a user × item matrix of ratings from biases and latent factors.

    Parameters
    ----------
    n_users, n_items : int, default=1000 and 500
        The shape of the matrix.
    n_interactions : int, default=None
        The exact number of ratings, at least two per user. None: set by `density`.
    density : float in (0, 1], default=0.05
        The share of the cells that hold a rating; every user has at least two.
    n_factors : int, default=8
        The number of latent factors.
    exponent : float, default=1.0
        Zipf exponent of the items' popularity, as in :func:`make_interactions`.
    noise : float, default=0.5
        Standard deviation of the noise, in rating units, before rounding.
    rating_range : (float, float), default=(1, 5)
        The lowest and the highest rating; the lowest must be positive, since 0 means *not
        observed*.
    step : float or None, default=1
        Step size of the rating scale, which starts at the lowest rating. None: ratings are not
        rounded.
    random_state : int, RandomState instance or None, default=None
        Seed of the generator.
    return_factors : bool, default=False
        Whether to return the factors that the ratings were generated from.
    dtype : dtype, default=np.float32
        The dtype of the values.

    Returns
    -------
    R : csr_array of shape (n_users, n_items)
        The ratings. Every user has at least two.
    user_factors : ndarray of shape (n_users, n_factors + 2)
        Only with `return_factors`, together with
    item_factors : ndarray of shape (n_items, n_factors + 2)
        such that ``user_factors @ item_factors.T`` are the expected ratings before noise, rounding
        and clipping; the last two columns carry the biases.

    See Also
    --------
    make_interactions : Implicit feedback instead of ratings.

    Notes
    -----
    On a scale from 1 to 5 the expected rating is 3.5 + b_u + b_i + p_u · q_i, with standard
    deviations of 0.4 for the biases and 0.7 for the product; other scales are proportional. Users
    rate what they like: the cells are sampled by the same factors p and q as in
    :func:`make_interactions`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.datasets import make_ratings
    >>> R = make_ratings(100, 50, density=0.2, rating_range=(0.5, 5), step=0.5, random_state=0)
    >>> R.nnz, float(R.data.min()) >= 0.5, bool(np.all(R.data % 0.5 == 0))
    (1000, True, True)
    """
    low, high = _check_range(rating_range)
    rng = check_random_state(random_state)
    n_interactions = _n_interactions(n_users, n_items, n_interactions, density)
    user_factors = rng.normal(size=(n_users, n_factors))
    item_factors = rng.normal(size=(n_items, n_factors))
    R = sample_cells(rng, user_factors, item_factors, n_interactions, exponent)
    user_factors, item_factors = _with_biases(rng, user_factors, item_factors, low, high)
    ratings = _rate(rng, R, user_factors, item_factors, noise, low, high, step)
    R.data = ratings.astype(dtype)
    return (R, user_factors, item_factors) if return_factors else R


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
def make_movies(n_users=300, n_items=200, *, density=0.15, random_state=0):
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
    >>> data.interactions.shape, data.items.shape, data.users.shape
    ((9000, 4), (200, 3), (300, 4))
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

    n_events = _n_interactions(n_users, n_items, None, density, minimum=5)
    R = sample_cells(rng, user_factors, item_factors, n_events, 0.7, minimum=5)
    factors = _with_biases(rng, user_factors, item_factors, 1, 5)
    ratings = _rate(rng, R, *factors, 0.5, 1, 5, 1)
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


def _n_interactions(n_users, n_items, n_interactions, density, minimum=2):
    """Return the number of interactions to generate."""
    if n_interactions is None:
        return max(round(density * n_users * n_items), minimum * n_users)
    if not minimum * n_users <= n_interactions <= n_users * n_items:
        raise ValueError(
            f"n_interactions must be at least {minimum} per user and at most one per cell, "
            f"{minimum * n_users} … {n_users * n_items}; got {n_interactions}."
        )
    return n_interactions


def _check_range(rating_range):
    """Return the lowest and highest rating."""
    if np.shape(rating_range) != (2,):
        raise ValueError(f"rating_range must be a pair (lowest, highest); got {rating_range!r}.")
    low, high = rating_range
    if not 0 < low < high < np.inf:
        raise ValueError(
            f"rating_range must satisfy 0 < lowest < highest, since a 0 in a user × item matrix "
            f"means 'not observed'; got {tuple(rating_range)!r}."
        )
    return float(low), float(high)


def _with_biases(rng, user_factors, item_factors, low, high):
    """Return factors in rating units, with two more columns for biases and mean."""
    unit = (high - low) / 4
    n_users, n_items = len(user_factors), len(item_factors)
    scale = 0.7 * unit / np.sqrt(np.mean(user_factors**2) * np.sum(np.mean(item_factors**2, 0)))
    user_bias = rng.normal(scale=0.4 * unit, size=n_users)
    item_bias = rng.normal((low + high) / 2 + 0.5 * unit, 0.4 * unit, size=n_items)
    return (
        np.column_stack([scale * user_factors, user_bias, np.ones(n_users)]),
        np.column_stack([item_factors, np.ones(n_items), item_bias]),
    )


def _play_counts(rng, cells, user_factors, item_factors):
    """Return an integer of at least 1 for each stored cell; see `make_interactions`."""
    preference = _products(cells, user_factors, item_factors)
    preference = (preference - preference.mean()) / (preference.std() or 1.0)
    activity = rng.normal(size=cells.shape[0])[cell_rows(cells)]
    noise = rng.normal(size=cells.nnz)
    return np.ceil(np.exp(5.5 + 0.8 * activity + 0.8 * preference + noise))


def _products(cells, user_factors, item_factors):
    """Return the product of the user's and the item's factors for each stored cell."""
    rows = cell_rows(cells)
    products = np.empty(cells.nnz)
    for begin in range(0, cells.nnz, BLOCK):
        block = slice(begin, begin + BLOCK)
        products[block] = np.einsum(
            "ij,ij->i", user_factors[rows[block]], item_factors[cells.indices[block]]
        )
    return products


def _rate(rng, cells, user_factors, item_factors, noise, low, high, step):
    """Return a rating for each stored cell."""
    ratings = rng.normal(scale=noise, size=cells.nnz)
    ratings += _products(cells, user_factors, item_factors)
    if step is None:
        return np.clip(ratings, low, high)
    n_steps = np.floor((high - low) / step + 1e-9)
    return low + step * np.clip(np.rint((ratings - low) / step), 0, n_steps)
