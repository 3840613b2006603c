"""AutoRec: accuracy, ablations, new users, an epoch against a bare dense loop, memory."""

from functools import partial
from itertools import product
from time import process_time

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from scipy.linalg.lapack import sposv
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from benchmarks._measure import peak, ratio, seconds
from benchmarks.accuracy import ratings
from sklearn_recsys import AutoRec
from sklearn_recsys.datasets import make_ratings
from sklearn_recsys.metrics import rmse
from sklearn_recsys.model_selection import HoldoutSplit, cell_kfold, random_holdout
from sklearn_recsys.neural import RowDataset, SparseRows
from sklearn_recsys.neural._autorec import AutoRecModule
from sklearn_recsys.utils._cells import cell_rows


def _decoder_rmse(model, train, test):
    """Return the RMSE of the trained decoder rows, which `predict` does not use."""
    with torch.no_grad():
        outputs = model.net_.module_(SparseRows.from_csr(model._rows(train))).numpy()
    predicted = model._in_units(outputs[test.indices, cell_rows(test)], test.indices)
    return rmse(test.data, np.clip(predicted, *model.rating_range_))


def _refitted(model, train):
    """Refit on all of `train`, with the epochs and the penalty chosen on its held-out tenth."""
    epochs = int(model.history_["valid_loss"].idxmin())
    chosen = {"max_epochs": epochs, "early_stopping": False, "user_l2": None}
    if model.kind == "item":
        chosen["user_l2"] = model.user_l2_
    return clone(model).set_params(**chosen).fit(train)


def _readings(model, train, test):
    """Return the RMSE of `predict`, of the trained decoder rows (item-based), and the epochs."""
    trained = _decoder_rmse(model, train, test) if model.kind == "item" else np.nan
    return -model.score(train, test), trained, len(model.history_)


def _protocols(seeds):
    """Yield a name, a model, its training matrix and its test matrix."""
    R = ratings("1m")
    for seed in range(seeds):
        train, test = random_holdout(R, 0.1, random_state=seed)
        for kind in ("item", "user"):
            yield f"ml-1m 90/10, {kind}-based", AutoRec(kind, random_state=seed), train, test
        # best on validation ratings; an l2 of 50, for ratings scaled to [0, 1]
        recipe = AutoRec(decoder_activation="sigmoid", l2=50 / 16, random_state=seed)
        yield "ml-1m 90/10, item-based, sigmoid decoder", recipe, train, test
    X, y, cv = cell_kfold(ratings("100k"), 5, random_state=0)
    for fold, _ in cv:
        yield "ml-100k 5-fold, item-based", AutoRec(random_state=0), X[fold], y[fold]


def accuracy(seeds=3):
    """Random splits of the ratings, default parameters; everything is tuned on training data."""
    scores = {}
    for name, model, train, test in _protocols(seeds):
        model.fit(train)
        models = {"default": model, "refitted on all of train": _refitted(model, train)}
        for version, fitted in models.items():
            scores.setdefault(f"{name}, {version}", []).append(_readings(fitted, train, test))
    rows = {}
    for name, values in scores.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
        rows[name] = {
            "RMSE": mean[0],
            "s.d.": spread[0],
            "RMSE, trained decoder": mean[1],
            "s.d., trained decoder": spread[1],
            "epochs": mean[2],
        }
    return pd.DataFrame(rows).T.round(4)


def tuned_on_ml_100k():
    """5-fold over ratings; hidden units and l2 are tuned on a tenth of each training fold."""
    X, y, cv = cell_kfold(ratings("100k"), 5, random_state=0)
    grid = {"n_factors": [50, 100, 200], "l2": [10, 20, 30, 50]}
    scores, chosen = [], []
    for fold, _ in cv:
        train, test = X[fold], y[fold]
        split = random_holdout(train, 0.1, random_state=0)
        model = AutoRec(lr=2e-3, random_state=0)
        search = GridSearchCV(model, grid, cv=HoldoutSplit(), refit=False).fit(*split)
        model = model.set_params(**search.best_params_).fit(train)
        scores.append([*_readings(model, train, test)[:2]])
        scores[-1] += _readings(_refitted(model, train), train, test)[:2]
        chosen.append(search.best_params_)
    mean, spread = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1)
    rows = {
        "tuned": [mean[0], spread[0], mean[1], chosen],
        "tuned, refitted on all of train": [mean[2], spread[2], mean[3], ""],
    }
    columns = ["RMSE", "s.d.", "RMSE, trained decoder", "chosen"]
    return pd.DataFrame(rows, index=columns).T


def _tuned(models, seeds=3):
    """Return RMSE on random 90/10 splits of ml-100k, of models with grids of penalties.

    The penalty is tuned for each reading, on the training matrix of the first split. Only early
    stopping ends training: small networks need more epochs than the default allows.
    """
    R = ratings("100k")
    splits = [random_holdout(R, 0.1, random_state=seed) for seed in range(seeds)]
    validation = random_holdout(splits[0][0], 0.1, random_state=0)

    def readings(model, l2, seed, train, test):
        params = {"l2": l2, "max_epochs": 2000, "random_state": seed}
        return _readings(clone(model).set_params(**params).fit(train), train, test)[:2]

    rows = {}
    for name, (model, grid) in models.items():
        errors = [readings(model, l2, 0, *validation) for l2 in grid]
        chosen = np.array(grid)[np.argmin(errors, axis=0)]
        scores = {
            l2: np.array([readings(model, l2, seed, *split) for seed, split in enumerate(splits)])
            for l2 in set(chosen)
        }
        rows[name] = {}
        for reading, (l2, suffix) in enumerate(zip(chosen, ("", ", trained decoder"), strict=True)):
            values = scores[l2][:, reading]
            rows[name][f"RMSE{suffix}"] = values.mean()
            rows[name][f"s.e.{suffix}"] = values.std(ddof=1) / np.sqrt(seeds)
            rows[name][f"l2{suffix}"] = l2
    return pd.DataFrame(rows).T.round(4)


def activations():
    """Compare the activations that the paper compares on ml-1m."""
    models = {}
    for encoder, decoder in product(("identity", "sigmoid"), repeat=2):
        grid = np.array([2, 5, 10, 20, 50, 100, 200, 500, 1000])
        if decoder == "sigmoid":
            grid = grid / 16  # ratings from 1 to 5 become targets from 0 to 1
        model = AutoRec(encoder_activation=encoder, decoder_activation=decoder)
        models[f"encoder {encoder}, decoder {decoder}"] = model, grid
    return _tuned(models)


def hidden_units():
    """Vary the number of hidden units, as the paper does on ml-1m."""
    grid = [5, 10, 20, 50, 100, 200]
    return _tuned({n: (AutoRec(n_factors=n), grid) for n in (10, 20, 50, 100, 200, 500)})


def new_users(n_users=500):
    """Fold in users held out of ml-1m from 80 % of their ratings; compare with training on them."""
    R = ratings("1m")
    new = np.random.RandomState(0).permutation(R.shape[0])[:n_users]
    rest = np.setdiff1d(np.arange(R.shape[0]), new)
    given, held_out = random_holdout(R[new], 0.2, per_user=True, random_state=0)
    model = AutoRec(random_state=0).fit(R[rest])
    everything = sp.vstack([R[rest], given], format="csr")
    means = model._fallback_[held_out.indices]
    rows = {
        "held out, folded in": -model.score(given, held_out),
        "trained in": -AutoRec(random_state=0).fit(everything).score(given, held_out),
        "item means": rmse(held_out.data, means),
    }
    return pd.DataFrame({"RMSE": rows}).round(4)


def _epochs(R, batch_size, n_factors=500):
    """Return one epoch of ours, and of a bare dense loop with the same updates."""
    X = R.T.tocsr()
    X.data = X.data - X.data.mean()
    n_items, n_users = X.shape
    model = AutoRec(n_factors=n_factors, batch_size=batch_size, max_epochs=1)
    ours = AutoRecModule(n_users, n_factors, "sigmoid", "identity")
    net = model._make_net(ours, torch.device("cpu"), n_items, None).initialize()
    data = RowDataset(X)
    bare = AutoRecModule(n_users, n_factors, "sigmoid", "identity")
    weights, biases = [bare.V, bare.W], [bare.mu, bare.b]
    optimizer = torch.optim.Adam(
        [{"params": weights, "weight_decay": model.l2 / n_items}, {"params": biases}], lr=1e-3
    )

    def dense():
        order = torch.randperm(n_items).numpy()
        for start in range(0, n_items, batch_size):
            rows = X[order[start : start + batch_size]]
            x = torch.from_numpy(rows.toarray())
            mask = torch.zeros_like(x)
            mask[cell_rows(rows), rows.indices] = 1
            optimizer.zero_grad()
            outputs = torch.sigmoid(x @ bare.V + bare.mu) @ bare.W.T + bare.b
            (((outputs - x) * mask).square().sum() / len(x)).backward()
            optimizer.step()

    return lambda: net.partial_fit(data), dense


def speed():
    rows = {}
    R = ratings("1m")
    for batch_size in (100, 1000):
        ours, dense = _epochs(R, batch_size)
        ours()
        rows[f"ml-1m, batch {batch_size}"] = ratio(ours, [dense], 5)
    R = make_ratings(50_000, 20_000, n_interactions=5_000_000, random_state=0)
    ours, dense = _epochs(R, 1000)
    rows["50,000 x 20,000, 5 M ratings, batch 1000"] = ratio(ours, [dense], 1)
    return pd.DataFrame(rows).T


def recommend(repeats=3):
    """Recommend to all of ml-1m, against a bare loop over the ridge regressions in float32.

    The loop has the smaller of the normal equations, of a user's items or of the hidden units, and
    a Cholesky decomposition by LAPACK. Each figure is the least of some runs.
    """
    X = ratings("1m")
    model = AutoRec(max_epochs=2, early_stopping=False, random_state=0).fit(X)
    features = model._features_.astype(np.float32)

    def bare():
        for row in range(X.shape[0]):
            cells = slice(X.indptr[row], X.indptr[row + 1])
            A, y = features.take(X.indices[cells], axis=0), X.data[cells]
            primal = len(A) >= A.shape[1]
            K = A.T @ A if primal else A @ A.T
            K[np.diag_indices_from(K)] += 1
            _, solution, _ = sposv(K.T, A.T @ y if primal else y, overwrite_a=True)
            solution if primal else solution @ A

    row = {}
    for name, run in (("ours", lambda: model.recommend(n=10)), ("bare", bare)):
        for n in (1, 2):
            with threadpool_limits(n):
                cpu = process_time()
                times = [seconds(run) for _ in range(repeats)]
                row[f"{name}, {n} threads, s"] = min(times)
                row[f"{name}, {n} threads, mean CPU s"] = (process_time() - cpu) / repeats
    return pd.DataFrame({"ml-1m, 500 hidden units": row}).round(2)


def _fit_once(R):
    AutoRec(n_factors=50, max_epochs=1, random_state=0).fit(R)


def memory():
    """Fit one epoch, 50 hidden units: the peak grows with ratings and weights only."""
    rows = {}
    n_items = 20_000
    for n_users, n_ratings in [(50_000, 5_000_000), (50_000, 2_500_000), (100_000, 5_000_000)]:
        prepare = partial(make_ratings, n_users, n_items, n_interactions=n_ratings, random_state=0)
        before, above, elapsed = peak(prepare, _fit_once)
        rows[f"{n_users:,} x {n_items:,}, {n_ratings:,} ratings"] = {
            "before, GiB": before,
            "peak above, GiB": above,
            "both weights, their gradients, Adam's state, GiB": 2 * 4 * 4 * 50 * n_users / 2**30,
            "users x items in float32, GiB": 4 * n_users * n_items / 2**30,
            "seconds": elapsed,
        }
    return pd.DataFrame(rows).T.round(2)
