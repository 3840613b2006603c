"""Layers and functions that several modules share."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import nn
from torch.nn.functional import elu, leaky_relu, relu6, selu, silu, softplus

from sklearn_recsys.neural._data.random import dropout

ACTIVATIONS = {
    "identity": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "swish": silu,
    "softplus": softplus,
}


def check_layer_sizes(sizes):
    """Return the widths of hidden layers as a list of int; raise ValueError for other values."""
    sizes = list(sizes)
    if not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(
            f"hidden_layer_sizes must be positive integers, a width for each layer; got {sizes}."
        )
    return [int(size) for size in sizes]


class Annealed:
    """A module whose β, the weight of a divergence, grows from zero.

    It sets `anneal_cap`, the largest β; `anneal_epochs`, the number of epochs until then; and
    `beta`.
    """

    def begin_epoch(self, epoch):
        """Set β."""
        self.beta = self.anneal_cap * min(1.0, epoch / self.anneal_epochs)


class RowEncoder(nn.Module):
    """Layers from a sparse row to a code; the first one is a product with the sparse row.

    Parameters
    ----------
    n_items : int
        Length of a row.
    sizes : sequence of int
        Widths of the layers, the last one the code's.
    activation : str
        Activation between the layers; the last one has none.
    dropout : float
        Share of the interactions dropped while training; the rest is scaled up.
    """

    def __init__(self, n_items, sizes, activation, dropout):
        super().__init__()
        self.activation = activation
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(n_items, sizes[0]))
        self.bias = nn.Parameter(torch.zeros(sizes[0]))
        self.layers = dense_layers(sizes)
        nn.init.xavier_normal_(self.weight)

    def forward(self, rows):
        """Return the codes of rows, of shape (n_rows, sizes[-1]).

        The rows are scaled to a norm of one, then corrupted by dropout.
        """
        rows = corrupted(rows.normalized(), self.dropout, self.training)
        code = rows.matmul(self.weight) + self.bias
        for layer in self.layers:
            code = layer(ACTIVATIONS[self.activation](code))
        return code


def corrupted(rows, share, training=True):
    """Return the rows with dropout of a share of the interactions."""
    if not training or not share:
        return rows
    return rows.with_values(dropout(rows.values, share))


def dense_layers(sizes):
    """Return linear layers from each width to the next, with Xavier initialization."""
    layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False))
    for layer in layers:
        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layers


def unrounded(x):
    """Return a Tensor in at least float32, for losses of what autocast computed in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def split_biases(vectors):
    """Split vectors that end in a bias into factors and biases, as float32 arrays."""
    vectors = vectors.astype(np.float32)
    return np.ascontiguousarray(vectors[:, :-1]), vectors[:, -1].copy()
