"""EASE on catalogs whose matrix is too large for one call of threaded BLAS.

Each fit runs in a separate process, on two threads, and ends with a check of its weights. The load
of the machine varies; so a matrix product is timed every few blocks, inside the fit, and the time
of the fit is also given in units of it.
"""

from functools import partial
from unittest import mock

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks._measure import in_child, seconds
from sklearn_recsys import EASE
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.linear_model import _gram
from sklearn_recsys.utils._threads import row_blocks

_SIDE = 2048  # of the matrices of the product


def _interactions(n_users, n_items, n_interactions):
    return make_interactions(n_users, n_items, n_interactions=n_interactions, random_state=0)


def _times(model, vector):
    """Return ``(I - B) @ vector`` in float64."""
    image = vector.copy()
    for rows in row_blocks(len(vector), 8 * len(vector)):
        image[rows] -= model.coef_[rows].astype(np.float64) @ vector
    return image


def _error(model, X):
    """Return the relative deviation of (XᵀX + λI)(I − B) from a diagonal matrix (eq. 8).

    A diagonal matrix times a vector of random signs is the diagonal, whatever the signs.
    """
    diagonals = []
    for seed in range(2):
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=X.shape[1])
        image = _times(model, signs)
        diagonals.append(signs * (X.T @ (X @ image) + model.l2 * image))
    first, second = diagonals
    return float(np.abs(first / second - 1).max())


def _fit(X, l2, n_products):
    """Fit; return the seconds of the fit and of a product, the error, and the precisions tried."""
    a, b = np.random.default_rng(0).random((2, _SIDE, _SIDE), dtype=np.float32)
    products, dtypes, pivots = [], [], 0
    cholesky, invert = _gram._cholesky, _gram.invert_in_place

    def timed_cholesky(*args, **options):  # called once per block
        nonlocal pivots
        pivots += 1
        if pivots % max(1, X.shape[1] // 512 // n_products) == 0:
            products.append(seconds(lambda: a @ b))
        return cholesky(*args, **options)

    def noted_invert(A, **options):
        dtypes.append(A.dtype.name)
        return invert(A, **options)

    model = EASE(l2=l2)
    with (
        threadpool_limits(2),
        mock.patch.object(_gram, "_cholesky", timed_cholesky),
        mock.patch.object(_gram, "invert_in_place", noted_invert),
    ):
        elapsed = seconds(lambda: model.fit(X)) - sum(products)
    return {
        "seconds": elapsed,
        "seconds of a product": np.mean(products),
        "error": _error(model, X),
        "precisions": ", ".join(dtypes),
    }


def fit(n_products=20):
    rows = {}
    cases = {  # fewer users than items and a small l2: needs float64
        "20,000 items": ((30_000, 20_000, 3_000_000), 300.0),
        "41,000 items": ((30_000, 41_000, 3_000_000), 300.0),
        "21,000 items, float64": ((10_000, 21_000, 1_000_000), 0.01),
    }
    for name, (shape, l2) in cases.items():
        prepare = partial(_interactions, *shape)
        row, _, above, _ = in_child(prepare, partial(_fit, l2=l2, n_products=n_products))
        n_items = shape[1]
        row["peak above input, matrices"] = above * 2**30 / (4 * n_items**2)
        row["per n³"] = row["seconds"] / n_items**3
        row["per n³, in products"] = row["per n³"] / row["seconds of a product"]
        rows[name] = row
    table = pd.DataFrame(rows).T
    for unit in ("per n³", "per n³, in products"):
        table[unit] = (table[unit] / table[unit].iloc[0]).astype(float).round(3)
    return table
