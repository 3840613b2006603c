"""Speed relative to references that run in the same process."""

import warnings

import numpy as np
import pandas as pd
import torch
from scipy.linalg import blas, lapack

from benchmarks._measure import peak, ratio
from benchmarks.accuracy import ncf_split
from sklearn_recsys import EASE
from sklearn_recsys.datasets import make_interactions


def _gram_scipy(X):
    return (X.T @ X).toarray()


def _gram_syrk(X, block=1024):
    n_items = X.shape[1]
    G = np.zeros((n_items, n_items), dtype=np.float32, order="F")
    for start in range(0, X.shape[0], block):
        rows = X[start : start + block].toarray()
        G = blas.ssyrk(1.0, rows.T, beta=1.0, c=G, overwrite_c=1)
    return G


def _lapack_inverse(G, l2):
    G[np.diag_indices_from(G)] += l2
    c, info = lapack.spotrf(G.T if G.flags.c_contiguous else G, overwrite_a=1, clean=0)
    assert info == 0
    return lapack.spotri(c, overwrite_c=1)[0]


def ease_fit(repeats=7):
    """On ml-1m. The reference computes only the inverse: it copies no X and makes no weights."""
    X, _, _ = ncf_split()
    EASE().fit(X)
    references = [
        lambda: _lapack_inverse(_gram_scipy(X), 500),
        lambda: _lapack_inverse(_gram_syrk(X), 500),
    ]
    table = {"EASE, ml-1m": ratio(lambda: EASE().fit(X), references, repeats)}
    return pd.DataFrame(table).T


def _items_20k():
    return make_interactions(50_000, 20_000, n_interactions=5_000_000, random_state=0)


def _ml20m():
    return make_interactions(138_493, 26_744, n_interactions=20_000_263, random_state=0)


def _fit(X):
    return EASE().fit(X)


def ease_fit_20k(repeats=3):
    X = _items_20k()
    row = ratio(lambda: EASE().fit(X), [lambda: _lapack_inverse(_gram_scipy(X), 500)], repeats)
    before, above, _ = peak(_items_20k, _fit)
    row["peak above input, matrices"] = round(above * 2**30 / (4 * 20_000**2), 3)
    return pd.DataFrame({"EASE, 20,000 items": row}).T


def _scipy_and_torch(X):
    G = torch.from_numpy(_gram_scipy(X))
    G.diagonal().add_(500)
    return torch.cholesky_inverse(torch.linalg.cholesky(G))


def ease_fit_ml20m():
    rows = {}
    for name, fit in [("EASE", _fit), ("scipy Gram, torch Cholesky inverse", _scipy_and_torch)]:
        before, above, elapsed = peak(_ml20m, fit)
        rows[name] = {"seconds": elapsed, "peak above input, GiB": above}
    table = pd.DataFrame(rows).T
    table["ratio"] = table["seconds"].iloc[0] / table["seconds"]
    return table.round(3)


def top_items(repeats=7, block=1024):
    X, _, _ = ncf_split()
    model = EASE(l2=1320).fit(X)
    B, weights = model.coef_, torch.from_numpy(model.coef_)
    ids = []

    def masked(scores, rows):
        scores[np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), rows.indices] = -np.inf
        ids.append(torch.topk(scores, 10).indices)

    def with_scipy():
        ids.clear()
        for start in range(0, X.shape[0], block):
            rows = X[start : start + block]
            masked(torch.from_numpy(rows @ B), rows)

    def with_torch():
        for start in range(0, X.shape[0], block):
            rows = X[start : start + block]
            arrays = [torch.from_numpy(a) for a in (rows.indptr, rows.indices, rows.data)]
            masked(torch.sparse_csr_tensor(*arrays, size=rows.shape) @ weights, rows)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns that sparse tensors are in beta
        row = ratio(lambda: model.recommend(n=10), [with_scipy, with_torch], repeats)
        with_scipy()
    agree = np.mean(model.recommend(n=10) == torch.cat(ids).numpy())
    row["same items"] = round(float(agree), 5)
    return pd.DataFrame({"EASE, top-10 of 6,040 users": row}).T
