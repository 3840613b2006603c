"""AutoRec: accuracy, ablations, new users, an epoch against a bare dense loop, memory."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from sklearn.base import clone

from benchmarks._measure import ratio
from sklearn_recsys import AutoRec
from sklearn_recsys.datasets import fetch_movielens, make_ratings
from sklearn_recsys.metrics import rmse
from sklearn_recsys.model_selection import cell_kfold, cross_validate, random_holdout
from sklearn_recsys.neural import RowDataset, SparseRows
from sklearn_recsys.neural._autorec import AutoRecModule
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._cells import cell_rows


def _ratings(name):
    return InteractionEncoder().fit_transform(fetch_movielens(name).interactions)


def _decoder_rmse(model, train, test):
    """Return the RMSE of the trained decoder rows, which `predict` does not use."""
    with torch.no_grad():
        outputs = model.net_.module_(SparseRows.from_csr(model._rows(train))).numpy()
    predicted = model._in_units(outputs[test.indices, cell_rows(test)], test.indices)
    return rmse(test.data, np.clip(predicted, *model.rating_range_))


def _refitted(model, train):
    """Fit again on all of `train`, with the epochs and the penalty chosen on its held-out tenth."""
    epochs = int(model.history_["valid_loss"].idxmin())
    chosen = {"max_epochs": epochs, "early_stopping": False, "fold_in_l2": None}
    if model.kind == "item":
        chosen["fold_in_l2"] = model.fold_in_l2_
    return clone(model).set_params(**chosen).fit(train)


def accuracy(seeds=3):
    """Random 90/10 splits of ml-1m, default parameters; everything is chosen inside train."""
    R = _ratings("1m")
    scores = {}
    for seed in range(seeds):
        train, test = random_holdout(R, 0.1, random_state=seed)
        for kind in ("item", "user"):
            model = AutoRec(kind, random_state=seed).fit(train)
            models = {"default": model, "refitted on all of train": _refitted(model, train)}
            for name, fitted in models.items():
                trained = _decoder_rmse(fitted, train, test) if kind == "item" else np.nan
                row = (-fitted.score(train, test), trained, len(fitted.history_))
                scores.setdefault(f"ml-1m 90/10, {kind}-based, {name}", []).append(row)
    X, y, cv = cell_kfold(_ratings("100k"), 5, random_state=0)
    for fold, _ in cv:
        train, test = X[fold], y[fold]
        model = AutoRec(random_state=0).fit(train)
        models = {"default": model, "refitted on all of train": _refitted(model, train)}
        for name, fitted in models.items():
            row = (-fitted.score(train, test), _decoder_rmse(fitted, train, test))
            row = (*row, len(fitted.history_))
            scores.setdefault(f"ml-100k 5-fold, item-based, {name}", []).append(row)
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


def new_users(n_users=500):
    """Users left out of ml-1m, folded in from 80 % of their ratings, and the same trained in."""
    R = _ratings("1m")
    out = np.random.RandomState(0).permutation(R.shape[0])[:n_users]
    kept = np.setdiff1d(np.arange(R.shape[0]), out)
    known, held_out = random_holdout(R[out], 0.2, per_user=True, random_state=0)
    model = AutoRec(random_state=0).fit(R[kept])
    everyone = sp.vstack([R[kept], known], format="csr")
    means = model._fallback_[held_out.indices]
    rows = {
        "left out, folded in": -model.score(known, held_out),
        "trained in": -AutoRec(random_state=0).fit(everyone).score(known, held_out),
        "item means": rmse(held_out.data, means),
    }
    return pd.DataFrame({"RMSE": rows}).round(4)


def _epochs(R, batch_size, n_factors=500):
    """Return one epoch of ours, and of a bare dense loop that does the same updates."""
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
    R = _ratings("1m")
    for batch_size in (100, 1000):
        ours, dense = _epochs(R, batch_size)
        ours()
        rows[f"ml-1m, batch {batch_size}"] = ratio(ours, [dense], 5)
    R = make_ratings(50_000, 20_000, n_interactions=5_000_000, random_state=0)
    ours, dense = _epochs(R, 1000)
    rows["50,000 x 20,000, 5 M ratings, batch 1000"] = ratio(ours, [dense], 1)
    return pd.DataFrame(rows).T
