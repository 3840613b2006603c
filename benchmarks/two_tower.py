"""TwoTower: ablation of features, cold start of users and items, speed."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from benchmarks._measure import ratio
from sklearn_recsys import (
    EASE,
    ContentRecommender,
    MatrixFactorization,
    PopularityRecommender,
    RandomRecommender,
    TwoTower,
)
from sklearn_recsys.datasets import fetch_movielens
from sklearn_recsys.metrics import rmse
from sklearn_recsys.model_selection import random_holdout, user_split
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._cells import cell_rows, take_cells
from sklearn_recsys.utils._history_index import HistoryIndex

ATTRIBUTES = ["gender", "age", "occupation"]
RANKER = {"loss": "softmax"}


def _data():
    """Return ml-1m's ratings, and the frames of its movies and users."""
    data = fetch_movielens("1m")
    encoder = InteractionEncoder()
    R = encoder.fit_transform(data.interactions)
    items = data.items.loc[encoder.item_ids_, ["title", "year", "genres"]]
    return R, items, data.users.loc[encoder.user_ids_, ATTRIBUTES]


def _likes(R):
    """Return ones where ratings are 4 or 5, of users with at least five, and these users."""
    R = take_cells(R, R.data > 3)
    R.data = np.ones_like(R.data)
    users = np.flatnonzero(np.diff(R.indptr) >= 5)
    return R[users], users


def ablation(seeds=3):
    """Add inputs one at a time, on random 90/10 splits of ratings; default parameters."""
    R, items, users = _data()
    ids = {"history": False, "user_ids": True}
    variants = {
        "ids": (ids, [], False),
        "+ history": ({"user_ids": True}, [], False),
        "+ attributes": ({"user_ids": True}, [], True),
        "+ genres, year": ({"user_ids": True}, ["genres", "year"], True),
        "+ title": ({"user_ids": True}, ["genres", "year", "title"], True),
        "default: all but users' ids": ({}, ["genres", "year", "title"], True),
    }
    results = {name: [] for name in variants}
    for seed in range(seeds):
        train, test = random_holdout(R, 0.1, random_state=seed)
        for name, (params, columns, attributes) in variants.items():
            features = users if attributes else None
            model = TwoTower(items[columns] if columns else None, random_state=seed)
            model.set_params(**params).fit(train, user_features=features)
            results[name].append(-model.score(train, test, user_features=features))
            print(seed, name, round(results[name][-1], 4), len(model.history_), flush=True)
    rows = {}
    for name, errors in results.items():
        differences = np.array(errors) - results["ids"]
        rows[name] = {
            "RMSE": np.mean(errors),
            "difference from ids": differences.mean(),
            "s.e. of it": differences.std(ddof=1) / seeds**0.5,
        }
    return pd.DataFrame(rows).T.round(4)


def cold_users(seeds=3):
    """Hold out 10 % of the users entirely; predict from their attributes alone."""
    R, items, users = _data()
    rows = []
    for seed in range(seeds):
        cold = np.random.RandomState(seed).permutation(R.shape[0]) < R.shape[0] // 10
        train, test, no_history = R[~cold], R[cold], sp.csr_array((cold.sum(), R.shape[1]))
        features = {"user_features": users[cold]}
        model = TwoTower(items, random_state=seed).fit(train, user_features=users[~cold])
        row = {"RMSE": -model.score(no_history, test, **features)}
        row["RMSE of item means"] = rmse(test.data, _item_means(train)[test.indices])
        likes, eligible = _likes(R)
        train, test = likes[~cold[eligible]], likes[cold[eligible]]
        ranker = TwoTower(items, random_state=seed, **RANKER)
        ranker.fit(train, user_features=users.iloc[eligible[~cold[eligible]]])
        no_history, features = no_history[: test.shape[0]], users.iloc[eligible[cold[eligible]]]
        row["NDCG@10"] = ranker.score(no_history, test, user_features=features)
        row["of popularity"] = PopularityRecommender().fit(train).score(no_history, test)
        rows.append(row)
        print(seed, row, flush=True)
    return pd.DataFrame(rows).agg(["mean", "sem"]).round(4)


def _item_means(X):
    counts = np.bincount(X.indices, minlength=X.shape[1])
    sums = np.bincount(X.indices, weights=X.data, minlength=X.shape[1])
    return np.where(counts, sums / np.maximum(counts, 1), X.data.mean())


def cold_items(seeds=3):
    """Hold out 10 % of the items entirely.

    recall@50 of the held-out items among all items, and among the held-out ("cold") ones, compared
    with a random order.
    """
    R, items, users = _data()
    rows = []
    for seed in range(seeds):
        cold = np.random.RandomState(seed).permutation(R.shape[1]) < R.shape[1] // 10
        train, test = take_cells(R, ~cold[R.indices]), take_cells(R, cold[R.indices])
        seen = np.diff(train.indptr) > 0
        train, test, attributes = train[seen], test[seen], {"user_features": users[seen]}
        model = TwoTower(items, random_state=seed).fit(train, **attributes)
        row = {"RMSE": -model.score(train, test, **attributes)}
        sums, counts = train.sum(axis=1), np.diff(train.indptr)
        row["RMSE of user means"] = rmse(test.data, (sums / counts)[cell_rows(test)])
        likes, eligible = _likes(R)
        train, test = (
            take_cells(likes, ~cold[likes.indices]),
            take_cells(likes, cold[likes.indices]),
        )
        attributes = {"user_features": users.iloc[eligible]}
        rankers = {
            "two towers": TwoTower(items, random_state=seed, **RANKER),
            "content": ContentRecommender(items),
            "random": RandomRecommender(random_state=seed),
        }
        for name, ranker in rankers.items():
            features = attributes if name == "two towers" else {}
            ranker.fit(train, **features)
            for label, candidates in (("all", None), ("cold", np.flatnonzero(cold))):
                value = ranker.score(
                    train, test, metric="recall@50", candidates=candidates, **features
                )
                row[f"recall@50 of {label}, {name}"] = value
        rows.append(row)
        print(seed, row, flush=True)
    return pd.DataFrame(rows).agg(["mean", "sem"]).round(4).T


def new_users(seeds=3):
    """Rank for users held out of training, from their histories; compare with EASE."""
    R, items, users = _data()
    likes, eligible = _likes(R)
    rows = []
    for seed in range(seeds):
        split = user_split(likes, test_size=750, valid_size=750, random_state=seed)
        scores = {
            l2: EASE(l2=l2).fit(split.X_train).score(split.X_valid, split.y_valid)
            for l2 in (100, 200, 300, 500, 700, 1000, 1500)
        }
        l2 = max(scores, key=scores.get)
        ease = EASE(l2=l2).fit(split.X_train).score(split.X_test, split.y_test)
        row = {"EASE": ease, "its l2": l2}
        index = HistoryIndex(likes)
        groups = split.X_train, split.X_valid + split.y_valid, split.X_test + split.y_test
        attributes = [users.iloc[eligible[index.lookup(sp.csr_array(X))]] for X in groups]
        for name, item_features in (("histories alone", None), ("with features", items)):
            features = [None] * 3 if item_features is None else attributes
            stopped = _stopped_by(split.X_valid, split.y_valid, features[1])
            model = stopped(item_features, random_state=seed, **RANKER)
            model.fit(split.X_train, user_features=features[0])
            value = model.score(split.X_test, split.y_test, user_features=features[2])
            row |= {name: value, f"{name} / EASE": value / ease}
        rows.append(row)
        print(seed, row, flush=True)
    return pd.DataFrame(rows).agg(["mean", "sem"]).round(4).T


def _stopped_by(histories, held_out, features):
    """Return a subclass of TwoTower that trains on all of X and stops early by these users."""

    class Stopped(TwoTower):
        def _split(self, X, rng):
            return RowDataset(X), RowDataset(histories, held_out)

        def _make_datasets(self, train, valid):
            if features is not None:
                train.features = self.user_features_
                valid.features = self.user_encoder_.encode(features)
            return train, valid

    return Stopped


def neighbors(n=10, n_films=500, seed=0):
    """Share of neighbors with a genre in common, compared with pairs of similar popularity.

    For each neighbor, these are the ten films nearest to it in popularity.
    """
    R, items, _ = _data()
    genres = items["genres"].str.get_dummies("|").to_numpy()
    common = (genres @ genres.T > 0).astype(float)
    counts = np.bincount(R.indices, minlength=R.shape[1])
    by_count = np.argsort(counts, kind="stable")
    place = np.argsort(by_count)
    films = by_count[::-1][:n_films]
    models = {
        "ids": TwoTower(history=False, user_ids=True, random_state=seed),
        "ids, histories": TwoTower(random_state=seed),
        "ids, histories, softmax": TwoTower(random_state=seed, **RANKER),
        "MatrixFactorization": MatrixFactorization(random_state=seed),
    }
    likes, _ = _likes(R)
    rows = {}
    for name, model in models.items():
        ids, _ = model.fit(likes if "softmax" in name else R).similar_items(films, n=n)
        offsets = np.r_[-5:0, 1:6]
        matched = by_count[np.clip(place[ids][..., None] + offsets, 0, len(counts) - 1)]
        share = common[films[:, None], ids].mean()
        chance = common[films[:, None, None], matched].mean()
        rows[name] = {"share": share, "of matched pairs": chance, "lift": share / chance}
        print(name, rows[name], flush=True)
    titles = items["title"].to_numpy()
    for title in ("Toy Story (1995)", "Star Wars: Episode IV - A New Hope (1977)", "Alien (1979)"):
        ids, _ = models["ids, histories, softmax"].similar_items(np.flatnonzero(titles == title), 5)
        print(f"{title}: {'; '.join(titles[ids[0]])}")
    return pd.DataFrame(rows).T.round(3)


def speed(repeats=3, block=1024):
    """Time an epoch against a bare loop over precomputed tensors, and top-10 for all users."""
    R, items, users = _data()
    model = TwoTower(items, max_epochs=1, early_stopping=False, random_state=0)
    model.fit(R, user_features=users)
    data = RowDataset(model._centered(R))
    data.features = model.user_features_
    rows = {
        "an epoch, ratings": ratio(
            lambda: model.net_.partial_fit(data), [_bare(model, data)], repeats
        )
    }

    factors, biases = model.item_factors_, model.item_biases_
    vectors = [
        torch.from_numpy(np.column_stack(pair))
        for pair in (
            (model.user_factors_, np.ones(R.shape[0], dtype=np.float32)),
            (factors, biases),
        )
    ]
    owners = cell_rows(R)

    def product():
        for start in range(0, R.shape[0], block):
            cells = slice(R.indptr[start], R.indptr[min(start + block, R.shape[0])])
            scores = vectors[0][start : start + block] @ vectors[1].T
            scores[owners[cells] - start, R.indices[cells]] = -np.inf
            torch.topk(scores, 10)

    rows["top-10 of 6,040 users"] = ratio(lambda: model.recommend(n=10), [product], repeats)
    return pd.DataFrame(rows).T


class _BareTowers(torch.nn.Module):
    """The towers of the default model, in plain torch."""

    def __init__(self, model, n_items):
        super().__init__()
        nn = torch.nn
        width, described = model.embedding_dim, model.feature_embedding_dim
        n_factors, (hidden,) = model.n_factors, model.hidden_layer_sizes
        self.dropout, self.history_dropout = nn.Dropout(model.text_dropout), model.history_dropout
        self.id_dropout = model.id_dropout
        slots = {name: slot for name, *slot in model.item_encoder_.slots_}
        self.ids = nn.Embedding(n_items, width)
        self.genres = nn.EmbeddingBag(slots["genres"][3], described, mode="sum", padding_idx=0)
        self.words = nn.Embedding(slots["title"][3], described, padding_idx=0)
        self.windows = nn.ModuleList(nn.Conv1d(described, model.n_filters, w) for w in (2, 3, 4, 5))
        self.item_layers = nn.Sequential(
            nn.Linear(width + described + 1 + 4 * model.n_filters, hidden),
            nn.Tanh(),
            nn.Linear(hidden, n_factors + 1),
        )
        self.histories = nn.ModuleList(nn.EmbeddingBag(n_items, width, mode="sum") for _ in "ab")
        codes = [slot[4] for slot in model.user_encoder_.slots_ if slot[1] == "category"]
        self.attributes = nn.ModuleList(nn.Embedding(n, described) for n in codes)
        self.user_layers = nn.Sequential(
            nn.Linear(2 * width + described * len(codes) + 1, hidden),
            nn.Tanh(),
            nn.Linear(hidden, n_factors + 1),
        )

    def id_mask(self, n):
        return (torch.rand(n, 1) >= self.id_dropout).float()

    def items(self, items, year, words, genres):
        x = self.words(words).transpose(1, 2)
        maxima = [c(torch.nn.functional.pad(x, (0, 4))).relu().amax(2) for c in self.windows]
        text = self.dropout(torch.cat(maxima, 1))
        ids = self.ids(items) * self.id_mask(len(items))
        return self.item_layers(torch.cat([ids, year, text, self.genres(genres)], 1))

    def users(self, items, starts, values, lengths, age, attributes):
        mask = torch.nn.functional.dropout(torch.ones_like(values), self.history_dropout)
        norms = lengths.float().rsqrt()[:, None] * self.id_mask(len(starts))
        inputs = [
            bag(items, starts, per_sample_weights=weights) * norms
            for bag, weights in zip(self.histories, (mask, mask * values), strict=True)
        ]
        inputs += [table(codes) for table, codes in zip(self.attributes, attributes.T, strict=True)]
        return self.user_layers(torch.cat([*inputs, age], 1))


def _bare(model, data):
    """Return an epoch of a loop over precomputed tensors: the same towers, batches and updates."""
    X = data.X
    items = torch.from_numpy(X.indices.astype(np.int64)).split(np.diff(X.indptr).tolist())
    values = torch.from_numpy(X.data).split(np.diff(X.indptr).tolist())
    slots = {name: slice(start, stop) for name, _, start, stop, _ in model.item_encoder_.slots_}
    codes = torch.from_numpy(model._item_codes_)
    year, words, genres = (codes[:, slots[name]] for name in ("year", "title", "genres"))
    words, genres = words.long(), genres.long()
    numbers = [slot[1] == "number" for slot in model.user_encoder_.slots_]
    described = torch.from_numpy(model.user_features_)
    age, attributes = described[:, numbers], described[:, ~np.array(numbers)].long()
    towers = _BareTowers(model, X.shape[1])
    parameters = list(towers.parameters())
    decay = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": model._decay(len(data))}
    ]
    decay.append({"params": [p for p in parameters if p.ndim <= 1]})
    optimizer = torch.optim.Adam(decay, lr=model.lr)
    size = model.net_.batch_size

    def epoch():
        for users in torch.randperm(len(data)).split(size):
            picked = users.tolist()
            lengths = torch.tensor([len(items[user]) for user in picked])
            all_items = torch.cat([items[user] for user in picked])
            ratings = torch.cat([values[user] for user in picked])
            in_batch, columns = all_items.unique(return_inverse=True)
            u = towers.users(
                all_items,
                lengths.cumsum(0) - lengths,
                ratings,
                lengths,
                age[users],
                attributes[users],
            )
            v = towers.items(in_batch, year[in_batch], words[in_batch], genres[in_batch])
            owners = torch.arange(len(users)).repeat_interleave(lengths)
            u, v = u.index_select(0, owners), v.index_select(0, columns)
            outputs = (u[:, :-1] * v[:, :-1]).sum(1) + u[:, -1] + v[:, -1]
            optimizer.zero_grad()
            ((ratings - outputs).square().sum() / len(users)).backward()
            optimizer.step()

    return epoch
