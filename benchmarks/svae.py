"""SVAE: its authors' protocol, compared with MultVAE, and an epoch against one user at a time."""

from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from scipy.stats import ttest_rel
from torch.nn.functional import log_softmax

from benchmarks._measure import ratio, seconds
from sklearn_recsys import SVAE, MultVAE
from sklearn_recsys.datasets import fetch_movielens
from sklearn_recsys.metrics import ndcg_at_k, precision_at_k, recall_at_k
from sklearn_recsys.neural import RowDataset
from sklearn_recsys.neural._data.row_batches import HistoryBatches
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._cells import take_cells

_HELD_OUT_USERS = 750

_REPORTED = [(ndcg_at_k, 10), (recall_at_k, 10), (recall_at_k, 100), (precision_at_k, 10)]
_COLUMNS = ["ndcg@100", "ndcg@10", "recall@10", "recall@100", "precision@10", "epochs"]


def split():
    """Return the training matrix, and (history, held-out) pairs of validation and test users.

    ml-1m's ratings above 3.5, of users with at least 5 of them; 750 users each for validation and
    test, whose first 80 % are the history. Values are positions in time. These are the 4,534 users,
    3,483 items and numbers of interactions that the authors' notebook prints; its code also drops
    users with more than 1,000 items, which would leave 4,531 and 3,474.
    """
    events = fetch_movielens("1m").interactions.sort_values(["user", "timestamp"], kind="stable")
    events = events[events["rating"] > 3.5]
    events = events[events.groupby("user")["item"].transform("size").ge(5)]
    users = np.unique(events["user"])
    users = users[np.random.RandomState(98765).permutation(len(users))]
    n_train = len(users) - 2 * _HELD_OUT_USERS
    train = events[events["user"].isin(users[:n_train])]
    encoder = InteractionEncoder(values="position", unknown="ignore").fit(train)
    groups = {"train": encoder.transform(train)}
    for name, start in (("valid", n_train), ("test", n_train + _HELD_OUT_USERS)):
        rows = events[events["user"].isin(users[start : start + _HELD_OUT_USERS])]
        X, _ = encoder.transform_histories(rows)
        lengths = np.diff(X.indptr)
        given = X.data <= np.repeat((0.8 * lengths).astype(int), lengths)
        groups[name] = take_cells(X, given), take_cells(X, ~given)
    return groups


def accuracy(seeds=3):
    """Fit with default parameters; the latest fifth of the test users' items is held out.

    The paired test compares NDCG@100 user by user, averaged over the seeds.
    """
    groups = split()
    given, held_out = groups["test"]
    rows, by_user = {}, {}
    for model in (SVAE, MultVAE):
        values, per_user = [], []
        for seed in range(seeds):
            fitted = model(random_state=seed).fit(groups["train"])
            ids = fitted.recommend(given, n=100)
            per_user.append(ndcg_at_k(held_out, ids, k=100, average=None))
            values.append([per_user[-1].mean()])
            values[-1] += [metric(held_out, ids, k=k) for metric, k in _REPORTED]
            values[-1] += [len(fitted.history_)]
        by_user[model] = np.mean(per_user, axis=0)
        rows[model.__name__] = dict(zip(_COLUMNS, np.mean(values, axis=0), strict=True))
        rows[model.__name__]["ndcg@100 s.d."] = np.std([row[0] for row in values], ddof=1)
    test = ttest_rel(by_user[SVAE], by_user[MultVAE])
    rows["SVAE"] |= {"t": test.statistic, "p": test.pvalue}
    return pd.DataFrame(rows).T


def _with_stride(make_module, stride, X):
    module = make_module(X)
    module.stride = stride
    return module


def steps(epochs=5):
    """Compare a loss at every step with one at every `next_k`-th, on the validation users."""
    groups = split()
    rows = {}
    for name, stride in (("every next_k-th step", SVAE().next_k), ("every step", 1)):
        model = SVAE(early_stopping=False, max_epochs=epochs, random_state=0)
        model._make_module = partial(_with_stride, model._make_module, stride)
        elapsed = seconds(lambda model=model: model.fit(groups["train"]))
        score = model.score(*groups["valid"], metric="ndcg@100")
        rows[name] = {"ndcg@100": score, "seconds per epoch": elapsed / epochs}
    return pd.DataFrame(rows).T.round(4)


def _updates(module, batches):
    """Return a function that runs one epoch of updates on batches."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def epoch():
        for batch in batches:
            optimizer.zero_grad()
            module.loss(*batch).backward()
            optimizer.step()

    return epoch


def _authors_updates(module, X):
    """Return an epoch as the authors do it: user by user, dense targets, a softmax by autograd."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    ends = zip(X.indptr, X.indptr[1:], strict=False)
    histories = [X.indices[start:end][np.argsort(X.data[start:end])] for start, end in ends]
    histories = [torch.from_numpy(items.astype(np.int64)) for items in histories if len(items) > 1]

    def epoch():
        for items in histories:
            n_steps = len(items) - 1
            targets = torch.zeros(n_steps, X.shape[1])
            for step in range(n_steps):
                targets[step].scatter_(0, items[step + 1 : step + 1 + module.next_k], 1)
            optimizer.zero_grad()
            means, log_variances = module.encode(module.gru(module.embedding(items[:-1]))[0])
            codes = means + torch.randn_like(means) * (log_variances / 2).exp()
            first, last = module.decoder
            outputs = log_softmax(last(torch.tanh(first(codes))), dim=1)
            divergence = (means.square() + log_variances.exp() - log_variances - 1).sum() / 2
            loss = -(targets * outputs).sum() / module.next_k + module.beta * divergence
            loss.backward()
            optimizer.step()

    return epoch


def speed(n_users=1024, share=8, repeats=3):
    """Time an epoch over some of ml-1m's users, and over a fraction of them one at a time.

    The ratio is of the times per interaction.
    """
    X = split()["train"]
    X = sp.csr_array((X.data.astype(np.float32), X.indices, X.indptr), shape=X.shape)
    X = X[np.random.RandomState(0).permutation(X.shape[0])[:n_users]]
    few = X[::share]
    model = SVAE(max_length=int(X.data.max()))

    def batches(rows, size, stride):
        module = _with_stride(model._make_module, stride, X)
        return _updates(module, HistoryBatches(RowDataset(rows), size, shuffle=True))

    size, stride = model.batch_size, model.next_k
    pairs = {
        "default, against one user at a time": (
            batches(X, size, stride),
            batches(few, 1, stride),
        ),
        "a loss at every step, against one user at a time": (
            batches(X, size, 1),
            batches(few, 1, 1),
        ),
        "default, against the authors' updates": (
            batches(X, size, stride),
            _authors_updates(model._make_module(X), few),
        ),
    }
    rows = {}
    for name, (ours, reference) in pairs.items():
        rows[name] = ratio(ours, [reference], repeats)
        rows[name]["times as fast"] = X.nnz / few.nnz / rows[name]["ratio"]
    return pd.DataFrame(rows).T.round(2)
