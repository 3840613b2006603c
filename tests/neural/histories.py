"""Histories in an order, and modules to read them, for the tests of models of sequences."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from sklearn_recsys.neural import SparseRows

N_ITEMS = 12


def matrix(histories, n_items=N_ITEMS):
    """Return the rows of these lists of items: 1, 2, … in their order."""
    X = np.zeros((len(histories), n_items), dtype=np.float32)
    for row, items in zip(X, histories, strict=True):
        row[list(items)] = np.arange(1, len(items) + 1)
    return sp.csr_array(X)


def rows(histories):
    return SparseRows.from_csr(matrix(histories))


def random_histories(n_users=80, n_items=N_ITEMS, seed=0):
    rng = np.random.RandomState(seed)
    return [rng.permutation(n_items)[: rng.randint(1, n_items)] for _ in range(n_users)]


def cycles(n_users, n_items=N_ITEMS, longest=8, seed=0):
    """Return histories that go through the items in their order, round and round."""
    rng = np.random.RandomState(seed)
    starts, lengths = rng.randint(n_items, size=n_users), rng.randint(4, longest + 1, size=n_users)
    return [
        (start + np.arange(length)) % n_items for start, length in zip(starts, lengths, strict=True)
    ]


def module_of(model):
    """Return a module whose weights are large enough to tell histories apart."""
    torch.manual_seed(0)
    made = model._make_module(matrix(random_histories()))
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn_like(weight) / 2)
    return made.eval()


def affine(layer, x):
    """Return what a linear layer makes of an array."""
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
