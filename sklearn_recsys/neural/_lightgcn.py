"""LightGCN: embeddings that are averaged over the neighbors in the graph of users and items."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from sklearn_recsys.base import FactorsMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._base.validation import hold_out_one_each
from sklearn_recsys.neural._data.negatives import NegativeSampler
from sklearn_recsys.neural._data.pair_batches import CandidateBatches, PairBatches, PairDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Array
from sklearn_recsys.utils.validation import check_device


class Graph:
    """The normalized adjacency matrix of users and items, as sparse products on a device."""

    def __init__(self, X, device="cpu"):
        lengths, counts = np.diff(X.indptr), np.bincount(X.indices, minlength=X.shape[1])
        adjacency = X.copy()
        adjacency.data = np.repeat(_root_inverse(lengths), lengths) * _root_inverse(counts)[X.indices]
        self.users = SparseRows.from_csr(adjacency, device)
        self.items = SparseRows.from_csr(adjacency.T.tocsr(), device)

    def propagate(self, users, items):
        return self.users.matmul(items), self.items.matmul(users)


def _root_inverse(counts):
    return 1 / np.sqrt(np.maximum(counts, 1), dtype=np.float32)


class LightGCNModule(nn.Module):
    def __init__(self, n_users, n_items, n_factors, n_layers, l2):
        super().__init__()
        self.user_embeddings = nn.Parameter(0.1 * torch.randn(n_users, n_factors))
        self.item_embeddings = nn.Parameter(0.1 * torch.randn(n_items, n_factors))
        self.n_layers = n_layers
        self.l2 = l2

    def layers(self, graph):
        layers = [(self.user_embeddings, self.item_embeddings)]
        for _ in range(self.n_layers):
            layers.append(graph.propagate(*layers[-1]))
        return layers

    def forward(self, graph):
        users, items = zip(*self.layers(graph), strict=True)
        n = len(users)
        return sum(users) / n, sum(items) / n

    def loss(self, users, items, negatives, graph):
        all_users, all_items = self(graph)
        u, v, w = all_users.index_select(0, users), all_items.index_select(0, items), all_items.index_select(0, negatives)
        loss = softplus((u * (w - v)).sum(dim=1)).mean()
        squares = self.user_embeddings.square().sum(1)[users] + self.item_embeddings.square().sum(1)[items] + self.item_embeddings.square().sum(1)[negatives]
        return loss + self.l2 / 2 * squares.mean()

    def validate(self, users, candidates, graph):
        all_users, all_items = self(graph)
        ndcg = 0.0
        for block, lists in zip(users.split(500), candidates.split(500), strict=True):
            scores = torch.einsum("uf,ucf->uc", all_users[block], all_items[lists.clamp(min=0)])
            before = ~(scores[:, 1:] < scores[:, :1])
            ranks = (before & (lists[:, 1:] >= 0)).sum(dim=1)
            ndcg += torch.where(ranks < 10, 1 / (ranks + 2.0).log2(), 0.0).sum()
        return ndcg / len(users)


class _Pairs(PairDataset):
    graph = None


class _GraphBatches(PairBatches):
    def __iter__(self):
        for batch in super().__iter__():
            yield *batch, self.dataset.graph


class _GraphCandidates(CandidateBatches):
    def _n_users(self):
        return len(self.dataset)

    def __iter__(self):
        for batch in super().__iter__():
            yield *batch, self.dataset.graph


@parameters
class LightGCN(FactorsMixin, NeuralRecommender):
    n_factors: int = 64
    n_layers: int = 3
    n_negatives: int = 1
    lr: float = 0.01
    l2: float = 1e-4
    batch_size: int = 50_000

    _parameter_constraints = {
        **NeuralRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "binary"
        return tags

    def _fitted_state(self):
        return {**super()._fitted_state(), "history_factors_": Array("n_items", "n_factors")}

    @property
    def _metric(self):
        return "valid_ndcg"

    @property
    def _batches(self):
        return _GraphBatches

    @property
    def _valid_batches(self):
        return _GraphCandidates

    def _decay(self, n_examples):
        return 0.0

    def _prepare(self, X, resume):
        if not resume:
            return
        weights = self.net_.module_.user_embeddings.detach()
        known = self._training_rows(X)
        rows = torch.from_numpy(known).to(weights.device)
        own = weights.new_zeros(X.shape[0], weights.shape[1])
        own[rows >= 0] = weights[rows[rows >= 0]]
        self.net_.module_.user_embeddings = nn.Parameter(own)
        self.net_.initialize_optimizer()

    def _split(self, X, rng):
        if not self.early_stopping:
            return X, None
        return hold_out_one_each(X, self.validation_fraction, rng)

    def _make_datasets(self, train, valid):
        device = self._device()
        graph = Graph(train, device)
        data = PairDataset(train, NegativeSampler.from_csr(train, device=device), self.n_negatives, True)
        data.graph = graph
        if valid is not None:
            valid.graph = graph
        return data, valid

    def _device(self):
        return self.net_.device if "net_" in vars(self) else check_device(self.device)

    def _make_module(self, X):
        return LightGCNModule(*X.shape, self.n_factors, self.n_layers, self.l2)

    def _finish(self, X, split):
        graph = Graph(X, self._device())
        with torch.no_grad():
            layers = self.net_.module_.layers(graph)
            users, items = zip(*layers, strict=True)
            n = len(layers)
            self.user_factors_ = (sum(users) / n).cpu().numpy()
            self.item_factors_ = (sum(items) / n).cpu().numpy()
            counts = np.bincount(X.indices, minlength=X.shape[1])
            self.history_factors_ = (sum(items[:-1]) / n).cpu().numpy() * _root_inverse(counts)[:, None]

    def _fold_in(self, X):
        return X @ self.history_factors_ * _root_inverse(np.diff(X.indptr))[:, None]

    def _user_factors(self, X):
        known = self._training_rows(X)
        vectors = self._fold_in(X)
        vectors[known >= 0] = self.user_factors_[known[known >= 0]]
        return vectors

    def _score_items(self, X):
        return self._user_factors(X) @ self.item_factors_.T
