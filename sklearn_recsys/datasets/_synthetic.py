"""Synthetic matrices with the structure of real data: tastes, popular items, active users."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from sklearn_recsys.datasets._sampling import (
    number_of_interactions,
    rate_cells,
    sample_cells,
    with_biases,
)
from sklearn_recsys.utils._cells import cell_rows, products_at
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


@validate_params(_COMMON_CONSTRAINTS | {"counts": ["boolean"]}, prefer_skip_nested_validation=True)
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
) -> sp.csr_array:
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
    n_interactions = number_of_interactions(n_users, n_items, n_interactions, density)
    user_factors = rng.normal(size=(n_users, n_factors))
    item_factors = rng.normal(size=(n_items, n_factors))
    X = sample_cells(rng, user_factors, item_factors, n_interactions, exponent)
    if counts:
        X.data = _play_counts(rng, X, user_factors, item_factors)
    X.data = X.data.astype(dtype)
    return X


@validate_params(
    _COMMON_CONSTRAINTS
    | {
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
        Only with `return_factors`: the vectors of the users.
    item_factors : ndarray of shape (n_items, n_factors + 2)
        Only with `return_factors`: the vectors of the items. ``user_factors @ item_factors.T`` are
        the expected ratings before noise, rounding and clipping; the last two columns carry the
        biases.

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
    n_interactions = number_of_interactions(n_users, n_items, n_interactions, density)
    user_factors = rng.normal(size=(n_users, n_factors))
    item_factors = rng.normal(size=(n_items, n_factors))
    R = sample_cells(rng, user_factors, item_factors, n_interactions, exponent)
    user_factors, item_factors = with_biases(rng, user_factors, item_factors, low, high)
    ratings = rate_cells(rng, R, user_factors, item_factors, noise, low, high, step)
    R.data = ratings.astype(dtype)
    return (R, user_factors, item_factors) if return_factors else R


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


def _play_counts(rng, cells, user_factors, item_factors):
    """Return an integer of at least 1 for each stored cell; see `make_interactions`."""
    preference = products_at(user_factors, item_factors, cell_rows(cells), cells.indices)
    preference = (preference - preference.mean()) / (preference.std() or 1.0)
    activity = rng.normal(size=cells.shape[0])[cell_rows(cells)]
    noise = rng.normal(size=cells.nnz)
    return np.ceil(np.exp(5.5 + 0.8 * activity + 0.8 * preference + noise))
