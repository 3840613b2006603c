"""DeepAutoencoder: accuracy compared with AutoRec on the same splits, and an ablation study."""

import time

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.preprocessing import OneHotEncoder

from benchmarks.accuracy import ratings
from sklearn_recsys import AutoRec, DeepAutoencoder
from sklearn_recsys.datasets import fetch_movielens
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._cells import cell_rows


def _splits(seeds):
    """Return random 90/10 splits of the ratings of ml-1m."""
    R = ratings("1m")
    return [random_holdout(R, 0.1, random_state=seed) for seed in range(seeds)]


def _readings(model, seed, train, test):
    """Fit a model with a seed; return RMSE, epochs and seconds."""
    model = clone(model).set_params(random_state=seed)
    start = time.perf_counter()
    model.fit(train)
    elapsed = time.perf_counter() - start
    return -model.score(train, test), len(model.history_), elapsed


# tuned on a tenth of the training matrix of the first split
ITEM = DeepAutoencoder(
    "item",
    hidden_layer_sizes=(500,),
    activation="sigmoid",
    dropout=0.2,
    n_refeeds=0,
    l2=50.0,
    batch_size=512,
)


def accuracy(seeds=3):
    """Compare with AutoRec, seed by seed; everything is tuned on training data."""
    pairs = {
        "user-based, default": (DeepAutoencoder(), AutoRec("user")),
        "item-based, default": (DeepAutoencoder("item"), AutoRec("item")),
        "item-based, (500,), sigmoid": (ITEM, AutoRec("item")),
    }
    splits = _splits(seeds)
    theirs = {
        other.kind: np.array([_readings(other, seed, *split) for seed, split in enumerate(splits)])
        for other in (AutoRec("user"), AutoRec("item"))
    }
    rows = {}
    for name, (model, other) in pairs.items():
        ours = np.array([_readings(model, seed, *split) for seed, split in enumerate(splits)])
        difference = ours[:, 0] - theirs[other.kind][:, 0]
        rows[name] = {
            "RMSE": ours[:, 0].mean(),
            "s.d.": ours[:, 0].std(ddof=1),
            "AutoRec": theirs[other.kind][:, 0].mean(),
            "difference": difference.mean(),
            "s.e. of it": difference.std(ddof=1) / np.sqrt(seeds),
            "epochs": ours[:, 1].mean(),
            "seconds": ours[:, 2].mean(),
            "seconds, AutoRec": theirs[other.kind][:, 2].mean(),
        }
    return pd.DataFrame(rows).T.round(4)


def user_features(seeds=3):
    """Add gender, age and occupation as user features, also with a history of only 3 ratings."""
    data = fetch_movielens("1m")
    users = InteractionEncoder().fit(data.interactions).user_ids_
    users = data.users.loc[users, ["gender", "age", "occupation"]]
    features = OneHotEncoder(sparse_output=False).fit_transform(users)
    rows = {}
    for seed, (train, test) in enumerate(_splits(seeds)):
        few = train.copy()
        order = np.random.RandomState(seed).permutation(few.nnz)
        position = np.empty(few.nnz)  # random position of a rating in its row
        by_row = order[np.argsort(cell_rows(few)[order], kind="stable")]
        position[by_row] = np.arange(few.nnz) - few.indptr[cell_rows(few)]
        few.data[position >= 3] = 0
        few.eliminate_zeros()
        for name, used in {"ratings alone": None, "with features": features}.items():
            model = DeepAutoencoder(random_state=seed).fit(train, user_features=used)
            rows.setdefault(name, []).append(
                {
                    "RMSE": -model.score(train, test, user_features=used),
                    "RMSE, 3 ratings given": -model.score(few, test, user_features=used),
                }
            )
    table = {name: pd.DataFrame(values).mean() for name, values in rows.items()}
    return pd.DataFrame(table).T.round(4)


def ablation(seeds=1):
    """Change one thing at a time in the user-based default."""
    changes = {
        "default": {},
        "one hidden layer": {"hidden_layer_sizes": (64,)},
        "three layers to the code": {"hidden_layer_sizes": (64, 64, 64)},
        "sigmoid": {"activation": "sigmoid"},
        "tanh": {"activation": "tanh"},
        "relu": {"activation": "relu"},
        "elu": {"activation": "elu"},
        "no dropout": {"dropout": 0.0},
        "dropout 0.8": {"dropout": 0.8},
        "no re-feeding": {"n_refeeds": 0},
        "re-fed twice": {"n_refeeds": 2},
        "tied weights": {"tied_weights": True},
        "no penalty": {"l2": 0.0},
    }
    splits = _splits(seeds)
    rows = {}
    for name, params in changes.items():
        model = DeepAutoencoder(**params)
        values = np.array([_readings(model, seed, *split) for seed, split in enumerate(splits)])
        rows[name] = dict(zip(("RMSE", "epochs", "seconds"), values.mean(axis=0), strict=True))
    return pd.DataFrame(rows).T.round(4)
