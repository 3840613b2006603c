"""What the checks share: seeds, data and assertions."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils import get_tags

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
FEW = 12  # rows in checks that fit or predict many times


def seeded(estimator):
    estimator = clone(estimator)
    params = estimator.get_params()
    seeds = [name for name in params if name.split("__")[-1] == "random_state"]
    return estimator.set_params(**dict.fromkeys(seeds, 0))


def make_matrix(estimator, n_users=40, n_items=30, seed=0):
    """Return random interactions with the values that the estimator reads and no empty row."""
    rng = np.random.RandomState(seed)
    cells = rng.uniform(size=(n_users, n_items)) < 0.25
    cells[np.arange(n_users), rng.randint(n_items, size=n_users)] = True
    cells[np.arange(n_users), np.arange(n_users) % n_items] = True
    values = get_tags(estimator).recommender_tags.values
    if values == "order":
        X = np.where(cells, rng.uniform(size=cells.shape), np.inf)
        X = cells * (1 + X.argsort(axis=1).argsort(axis=1))
    elif values == "binary":
        X = cells
    else:
        X = cells * rng.randint(1, 6, size=cells.shape)
    return sp.csr_array(X.astype(np.float32))


def assert_raises(error, match, function):
    try:
        function()
    except error as raised:
        assert match in str(raised), f"the message should contain {match!r}; got: {raised}"
    else:
        raise AssertionError(f"{error.__name__} ({match!r}) was not raised")
