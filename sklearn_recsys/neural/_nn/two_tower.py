"""The module of the two-tower model: dense layers over histories, ids and features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import batch_norm, softplus

from sklearn_recsys.neural._data.random import dropout, generator
from sklearn_recsys.neural._nn.features import FeatureEmbedding, common_codes
from sklearn_recsys.neural._nn.layers import ACTIVATIONS, corrupted, dense_layers, unrounded
from sklearn_recsys.neural._nn.ranking import RankingModule

_MIN_ITEMS = 10  # a word in fewer items identifies them rather than describes them


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization that uses the running statistics for a single row (no variance)."""

    def forward(self, inputs):
        """Return the rows, normalized."""
        if self.training and len(inputs) < 2:
            fixed = self.running_mean, self.running_var, self.weight, self.bias
            return batch_norm(inputs, *fixed, eps=self.eps)
        return super().forward(inputs)


class Tower(nn.Module):
    """Dense layers over the inputs of users, or of items.

    Parameters
    ----------
    sizes : sequence of int
        Widths from the input to the output.
    activation : str
        Activation of the hidden layers.
    dropout : float
        Share of a hidden layer's units dropped while training.
    batch_norm : bool
        Whether hidden layers are normalized over the batch.
    """

    def __init__(self, sizes, activation, dropout, batch_norm):
        super().__init__()
        self.activation = activation
        self.dropout = dropout
        self.layers = dense_layers(sizes)
        self.norms = nn.ModuleList(
            BatchNorm(size) if batch_norm else nn.Identity() for size in sizes[1:-1]
        )

    def forward(self, inputs):
        """Return the last layer, of shape (n_rows, sizes[-1])."""
        *hidden, last = self.layers
        for layer, norm in zip(hidden, self.norms, strict=True):
            inputs = ACTIVATIONS[self.activation](norm(layer(inputs)))
            inputs = dropout(inputs, self.dropout, self.training)
        return last(inputs)


class TwoTowerModule(RankingModule):
    """A tower for users and one for items; a score is the product of their vectors.

    A vector holds the factors, and the bias at its end.

    Parameters
    ----------
    counts : ndarray of int of shape (n_items,)
        Number of training users of each item.
    n_users : int
        Number of training users.
    item_features : ndarray of float32 of shape (n_items, n_item_slots) or None
        Encoded features of the items.
    item_slots, user_slots : list of tuple
        Descriptions of the encoded columns; empty without features.
    sizes : sequence of int
        Widths of the towers' hidden layers, and the number of factors.
    embedding_dim : int
        Width of the vectors of ids and histories.
    feature_embedding_dim : int
        Width of the vectors of categories, tags and words.
    n_filters : int
        Filters of each window of the text-CNN.
    history : bool
        Whether the user tower reads histories.
    user_ids : bool
        Whether training users have embeddings of their ids.
    objective : {"mse", "logistic", "softmax"}
        The loss.
    n_negatives : int
        With ``"logistic"``: the total weight of a user's items without an interaction, relative to
        the interactions.
    history_dropout, id_dropout, text_dropout, dropout : float
        Shares dropped while training: of the items of a history; of user and item ids if there are
        features; of the maxima of a text-CNN; of the units of hidden layers.
    activation : str
        Activation of the towers' hidden layers.
    batch_norm : bool
        Whether these are normalized over the batch.
    """

    def __init__(
        self,
        counts,
        n_users,
        item_features,
        item_slots,
        user_slots,
        sizes,
        embedding_dim,
        feature_embedding_dim,
        n_filters,
        history,
        user_ids,
        objective,
        n_negatives,
        history_dropout,
        id_dropout,
        text_dropout,
        dropout,
        activation,
        batch_norm,
    ):
        super().__init__()
        n_items = len(counts)
        self.objective = objective
        self.n_negatives = n_negatives
        self.history_dropout = history_dropout
        self.id_dropout = id_dropout
        embedding = feature_embedding_dim, n_filters, text_dropout
        tower = activation, dropout, batch_norm

        # ids that are never trained stay zero, like dropped ones
        self.item_ids = nn.Parameter(torch.zeros(n_items, embedding_dim))
        self.item_embedding = FeatureEmbedding(item_slots, *embedding)
        width = embedding_dim + self.item_embedding.width
        self.item_tower = Tower([width, *sizes], *tower)
        if item_features is None:
            item_features = np.empty((n_items, 0), dtype=np.float32)
        seen = torch.from_numpy(counts > 0)
        item_features = torch.from_numpy(item_features.copy())
        common = common_codes(item_features, item_slots, min(_MIN_ITEMS, n_items // 100))
        fixed = {"item_features": item_features, "common_features": common, "counts": None}
        for name, values in fixed.items():  # not weights, so they are not saved with them
            self.register_buffer(name, values, persistent=False)
        self.set_counts(counts, n_users)
        self.item_embedding.zero_unseen(self.item_features[seen])

        device = self.item_ids.device  # "meta" if only shapes are needed
        n_bags = history * (2 if objective == "mse" else 1)
        self.bags = nn.ParameterList(
            torch.randn(n_items, embedding_dim) * embedding_dim**-0.5 * seen[:, None].to(device)
            for _ in range(n_bags)
        )
        self.user_ids = nn.Parameter(torch.zeros(n_users, embedding_dim)) if user_ids else None
        self.user_embedding = FeatureEmbedding(user_slots, *embedding)
        width = embedding_dim * (n_bags + user_ids) + self.user_embedding.width
        self.user_tower = Tower([width, *sizes], *tower)

    def set_counts(self, counts, n_users):
        """Set the number of users of each item, and the number of all users."""
        counts = torch.from_numpy(np.maximum(counts, 1).astype(np.float32))
        if not self.item_ids.is_meta:  # without storage only the shapes matter
            counts = counts.to(self.item_ids.device)
        self.counts, self.n_users = counts, n_users

    def items(self, items):
        """Return the vectors of items, of shape (n_queries, n_factors + 1)."""
        ids = self.item_ids.index_select(0, items)
        if not self.item_embedding.width:
            return self.item_tower(ids)
        has_id = self._id_mask(ids) if self.training else ids.any(dim=1, keepdim=True)
        codes = (
            self.item_features.index_select(0, items),
            self.common_features.index_select(0, items),
        )
        features = self.item_embedding(torch.where(has_id.bool(), *codes))
        return self.item_tower(torch.cat([ids * has_id, features], dim=1))

    def users(self, rows):
        """Return the vectors of users, of shape (n_rows, n_factors + 1)."""
        inputs = self._histories(rows)
        if self.user_ids is not None:
            ids = self.user_ids.new_zeros(len(rows), self.user_ids.shape[1])
            if rows.training_rows is not None:
                ids = self.user_ids.index_select(0, rows.training_rows)
            inputs.append(ids)
        if self.user_embedding.width:
            if inputs:
                mask = self._id_mask(inputs[0])
                inputs = [vectors * mask for vectors in inputs]
            inputs.append(self.user_embedding(rows.features))
        return self.user_tower(torch.cat(inputs, dim=1))

    def _histories(self, rows):
        """Return the sums of the vectors of the rows' items, for ratings also weighted by them."""
        if not len(self.bags):
            return []
        ones = rows.with_values(torch.ones_like(rows.values))
        present = corrupted(ones, self.history_dropout, self.training)
        norms = rows.indptr.diff().clamp(min=1).to(rows.values.dtype).rsqrt()[:, None]
        weights = [present, rows.with_values(present.values * rows.values)]
        return [w.matmul(bag) * norms for w, bag in zip(weights, self.bags, strict=False)]

    def _id_mask(self, vectors):
        """Row-wise dropout mask: 0 drops the id of a row."""
        if not self.training:
            return 1.0
        options = {"device": vectors.device, "generator": generator(vectors.device)}
        return (torch.rand(len(vectors), 1, **options) >= self.id_dropout).float()

    def forward(self, rows):
        """Return the scores of all items, of shape (n_rows, n_items)."""
        items = torch.arange(rows.shape[1], device=self.item_ids.device)
        return _products(self.users(rows), self.items(items))

    def validate(self, inputs, held_out):
        """Return NDCG@100 of held-out users, who have no id embedding."""
        return super().validate(replace(inputs, training_rows=None), held_out)

    def loss(self, inputs, targets):
        """Return the loss per row; the item tower runs once per item of the batch."""
        in_batch = targets.column_indptr.diff() > 0
        items = in_batch.nonzero().squeeze(1)  # (n_in_batch,)
        columns = (in_batch.cumsum(0) - 1)[targets.indices]
        u, v = self.users(inputs), self.items(items)
        if self.objective == "mse":
            return self._squared_error(targets, u, v, items) / len(targets)
        scores, rows = unrounded(_products(u, v)), targets.rows  # (n_rows, n_in_batch)
        positives = scores[rows, columns]
        log_shares = self._log_shares(items, len(targets))
        if self.objective == "softmax":
            norms = (scores - log_shares).logsumexp(dim=1)
            return (norms[rows] - positives).sum() / len(targets)
        lengths = targets.indptr.diff()
        free = (targets.shape[1] - lengths).clamp(min=1)
        negatives = softplus(scores) * torch.exp(-log_shares)
        negatives = negatives.sum(dim=1).index_add(0, rows, -negatives[rows, columns])
        negatives = negatives * (self.n_negatives * lengths / free)
        return (softplus(-positives).sum() + negatives.sum()) / len(targets)

    def _log_shares(self, items, n_rows):
        """Return the logarithms of the probabilities that a batch contains each of the items.

        Inverse probability weights make the items of a batch representative of all items.
        """
        # the log-probability that a user is not in the batch
        skipped = np.log1p(-min(n_rows / self.n_users, 1 - 1e-6))
        return torch.log(-torch.expm1(self.counts[items] * skipped))

    def _squared_error(self, targets, u, v, items):
        v = v.new_zeros(targets.shape[1], v.shape[1]).index_copy(0, items, v)
        outputs = targets.sample(u[:, :-1].contiguous(), v[:, :-1].contiguous())
        biases = u[:, -1].index_select(0, targets.rows) + v[:, -1].index_select(0, targets.indices)
        return (targets.values - outputs - biases).square().sum()


def _products(u, v):
    """Return the scores of all pairs of users' and items' vectors."""
    return torch.addmm(v[:, -1], u[:, :-1], v[:, :-1].T) + u[:, -1:]
