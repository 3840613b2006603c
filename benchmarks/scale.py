"""Seconds and peak memory of fits to catalogs of 100,000 and 1,000,000 items, on two threads."""

import os
import time
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from benchmarks._measure import in_child, seconds
from sklearn_recsys import EASE, ELSA, SLIM, ItemKNN, RP3beta

SHAPES = {"100k": (300_000, 100_000, 20_000_000), "1m": (500_000, 1_000_000, 30_000_000)}
_ELSA = {"early_stopping": False, "random_state": 0, "verbose": 1}
MODELS = {
    "ease-100k": EASE(density=0.005),
    "elsa-100k": ELSA(64, batch_size=4096, max_epochs=5, **_ELSA),
    "elsa-1m": ELSA(64, batch_size=8192, max_epochs=3, **_ELSA),
    "item-knn-100k": ItemKNN(),
    "item-knn-1m": ItemKNN(),
    "rp3beta-100k": RP3beta(),
    "rp3beta-1m": RP3beta(),
    "slim-100k": SLIM(max_neighbors=100),
}


def interactions(n_users, n_items, n_cells):
    """Return a matrix of ones: popularity falls by a power of the rank, lengths are lognormal."""
    rng = np.random.default_rng(0)
    popularity = np.arange(1, n_items + 1) ** -0.8
    cumulative = np.cumsum(rng.permutation(popularity / popularity.sum()))
    activity = rng.lognormal(0, 1, n_users)
    n_draws = int(1.3 * n_cells)  # some are sampled twice
    lengths = rng.poisson(activity * (n_draws / activity.sum()))
    items = np.searchsorted(cumulative, rng.random(lengths.sum()), side="right")
    cells = np.repeat(np.arange(n_users) * n_items, lengths) + np.minimum(items, n_items - 1)
    cells.sort()
    cells = cells[np.diff(cells, prepend=-1) > 0]
    cells = cells[np.sort(rng.permutation(len(cells))[:n_cells])]
    rows, columns = np.divmod(cells, n_items)
    indptr = np.searchsorted(rows, np.arange(n_users + 1))
    data = np.ones(len(cells), dtype=np.float32)
    return sp.csr_array((data, columns.astype(np.int32), indptr.astype(np.int32)))


def large_catalog(name):
    """Fit one of `MODELS` to the catalog that its name ends with, in a process of its own."""
    model, shape = MODELS[name], SHAPES[name.rpartition("-")[2]]
    run = partial(_fit_and_ask, model=model)
    row, before, above, _ = in_child(partial(interactions, *shape), run)
    row["interactions, GiB"] = before
    row["peak, GiB"] = before + above
    row["load of the machine"] = os.getloadavg()[1]
    return pd.DataFrame({name: row}).T.round(2)


def _fit_and_ask(X, model):
    with threadpool_limits(2):
        used = time.process_time()
        elapsed = seconds(lambda: model.fit(X))
        used = time.process_time() - used
    weights = getattr(model, "coef_", getattr(model, "similarity_", None))
    with threadpool_limits(1):
        row = {f"one new user, {unit}": value for unit, value in latency(model, X).items()}
    n_weights = model.item_factors_.size if weights is None else weights.nnz
    return {"seconds of fit": elapsed, "CPU seconds of fit": used, "weights": n_weights, **row}


def latency(model, X, n_users=50):
    """Return the milliseconds of a top-10 for histories that the model was not fitted to.

    On a busy machine the median of the wall clock is longer than the mean of the CPU time.
    """
    histories = []
    for row in np.random.default_rng(0).choice(X.shape[0], n_users, replace=False):
        history = X[[row]]
        history.data[:1] = 2  # of no training user
        histories.append(history)
    model.recommend(histories[0], n=10)
    used = time.process_time()
    times = [seconds(partial(model.recommend, history, n=10)) for history in histories]
    used = time.process_time() - used
    return {"ms": 1e3 * np.median(times), "CPU ms": 1e3 * used / n_users}
