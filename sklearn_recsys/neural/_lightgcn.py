"""LightGCN: embeddings smoothed over the graph of users and items, ranked by dot products.

An interaction is an edge between a user and an item. The embeddings are propagated along the edges,
layer by layer, and averaged over the layers; nothing but the embeddings is trained.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from sklearn_recsys.neural._base.own_embeddings import OwnEmbeddingsMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._data.contrast_batches import ContrastBatches, ContrastDataset
from sklearn_recsys.neural._data.negatives import NegativeSampler
from sklearn_recsys.neural._data.pair_batches import CandidateBatches, PairBatches, PairDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.neural._nn.contrast import Cosines, unit_vectors
from sklearn_recsys.neural._nn.losses import candidate_ndcg
from sklearn_recsys.neural._nn.pair import normal_vectors
from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils._device import check_device
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Array


class InteractionGraph:
    """The bipartite graph of users and items, with normalized edges (eq. 3).

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The edges; values are not read. An edge weighs 1 / √(|N_u| |N_i|), of the user's and the
        item's numbers of edges.
    device : str or torch.device, default="cpu"
        Where it is kept.
    """

    def __init__(self, X, device="cpu"):
        users, items = inverse_roots(X)
        edges = X.copy()
        edges.data = users.repeat(np.diff(X.indptr)) * items[X.indices]
        self.of_users = SparseRows.from_csr(edges, device)  # (n_users, n_items)
        self.of_items = SparseRows.from_csr(edges.T.tocsr(), device)  # (n_items, n_users)

    def propagate(self, users, items):
        """Return the next layer of users' and items' embeddings (eq. 3)."""
        return self.of_users.matmul(items), self.of_items.matmul(users)


def inverse_roots(X):
    """Return 1 / √|N_u| of the rows and 1 / √|N_i| of the columns, as float32; 1 for no edge."""
    degrees = np.diff(X.indptr), item_counts(X)
    return [(1 / np.sqrt(degree.clip(min=1))).astype(np.float32) for degree in degrees]


class LightGCNModule(nn.Module):
    """The embeddings of layer 0, which are all weights that LightGCN has.

    Parameters
    ----------
    n_users, n_items, n_factors : int
        The shapes of the embeddings.
    n_layers : int
        Propagation steps K.
    loss : {"softmax", "bpr"}
        The loss. The softmax is one of cosines.
    temperature : float
        What cosines are divided by.
    l2 : float
        The penalty of an example is l2/2 · ‖e⁽⁰⁾‖², summed over its user and its items.
    """

    def __init__(self, n_users, n_items, n_factors, n_layers, loss, temperature, l2):
        super().__init__()
        self.user_embeddings = nn.Parameter(normal_vectors(n_users, n_factors))
        self.item_embeddings = nn.Parameter(normal_vectors(n_items, n_factors))
        self.n_layers = n_layers
        self.loss_name = loss
        self.temperature = temperature
        self.l2 = l2

    def layers(self, graph):
        """Return the embeddings of all layers, of users and of items: two lists of K + 1."""
        users, items = [self.user_embeddings], [self.item_embeddings]
        for _ in range(self.n_layers):
            user_layer, item_layer = graph.propagate(users[-1], items[-1])
            users.append(user_layer)
            items.append(item_layer)
        return users, items

    def forward(self, graph):
        """Return the vectors of users and of items, whose dot products are the scores.

        They are the means over the layers (eq. 4 and 8); with the softmax, those of the items have
        unit length.
        """
        users, items = self.means(graph)
        return users, self.scoring(items)

    def means(self, graph):
        """Return the means over the layers, of users and of items."""
        users, items = self.layers(graph)
        return sum(users) / len(users), sum(items) / len(items)

    def scoring(self, items):
        """Return the vectors of items from their means over the layers."""
        return unit_vectors(items) if self.loss_name == "softmax" else items

    def loss(self, *batch):
        """Return the mean loss of examples, with their penalties; see `bpr` and `softmax`."""
        loss = self.softmax if self.loss_name == "softmax" else self.bpr
        return loss(*batch)

    def bpr(self, users, items, negatives, graph):
        """Return the mean BPR loss of examples, with their penalties (eq. 15).

        Parameters
        ----------
        users, items, negatives : Tensor of int64 of shape (n_examples,)
            Each user, an item of theirs, and one that is not.
        graph : InteractionGraph
            The edges along which embeddings are propagated.

        Returns
        -------
        loss : Tensor
            A number.
        """
        u, v = self.means(graph)
        u, v, w = (  # index_select: its gradient has one order of sums
            u.index_select(0, users),
            v.index_select(0, items),
            v.index_select(0, negatives),
        )
        loss = softplus((u * (w - v)).sum(dim=1)).mean()
        return loss + self._penalty(users, torch.cat([items, negatives]))

    def softmax(self, rows, items, negatives, graph):
        """Return the mean softmax loss of the interactions of some users, with their penalties.

        Parameters
        ----------
        rows : SparseRows of shape (n_rows, n_columns)
            The interactions. A column is one of `items`.
        items : Tensor of int64 of shape (n_columns,)
            The distinct items that these users have an interaction with or are contrasted with.
        negatives : Tensor of int64 of shape (n_negatives,)
            The distinct columns of the negatives that these users share.
        graph : InteractionGraph
            The edges along which embeddings are propagated.

        Returns
        -------
        loss : Tensor
            A number.
        """
        u, v = self.means(graph)
        u = unit_vectors(u.index_select(0, rows.training_rows))
        v = unit_vectors(v.index_select(0, items))  # of the batch alone
        cosines = Cosines.of(rows, u, v, negatives)
        loss = cosines.softmax(self.temperature).mean()
        return loss + self._penalty(rows.training_rows[cosines.owners], items[rows.indices])

    def _penalty(self, users, items):
        """Return the mean penalty of examples with these users and items."""
        squares = _squares(self.user_embeddings, users) + _squares(self.item_embeddings, items)
        return self.l2 / 2 * squares / len(users)

    def validate(self, users, candidates, graph):
        """Return NDCG@10 of the first candidate among the others.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_users,)
            Rows of the users.
        candidates : Tensor of int64 of shape (n_users, n_candidates)
            Items to be ranked, the held-out one first; −1 in empty slots.
        graph : InteractionGraph
            The edges, without those to be found.

        Returns
        -------
        ndcg : Tensor
            The mean over the users; ties are misses.
        """
        u, v = self(graph)
        scores = [
            torch.einsum("uf,ucf->uc", u[block], v[items.clamp(min=0)])
            for block, items in zip(users.split(500), candidates.split(500), strict=True)
        ]
        return candidate_ndcg(torch.cat(scores), candidates)


def _squares(embeddings, rows):
    """Return the sum of the squared norms of rows, in which one may occur more than once."""
    counts = rows.bincount(minlength=len(embeddings))
    return counts.to(embeddings) @ embeddings.square().sum(dim=1)


class GraphPairs(PairBatches):
    """Batches of interactions with a negative each, and the graph of their data set."""

    def __iter__(self):
        for batch in super().__iter__():
            yield *batch, self.dataset.graph


class GraphHistories(ContrastBatches):
    """Batches of histories with negatives that they share, and the graph of their data set."""

    def __iter__(self):
        for batch in super().__iter__():
            yield *batch, self.dataset.graph


class GraphCandidates(CandidateBatches):
    """All lists of candidates at once, as every batch costs a propagation; with the graph."""

    def _n_users(self):
        return len(self.dataset)

    def __iter__(self):
        for batch in super().__iter__():
            yield *batch, self.dataset.graph


@parameters
class LightGCN(OwnEmbeddingsMixin, NeuralRecommender):
    r"""LightGCN, a graph convolution network without weights or activations.

    Users and items are the nodes of a graph, and interactions are its edges. Each layer replaces a
    node's embedding by a weighted sum of its neighbors'; a node's vector is the mean over the
    layers, and the score of an item for a user the dot product of their vectors. Only the
    embeddings of layer 0 are trained [1]_.

    The paper compares pairs of items, by BPR. Here, the default loss is a softmax over each item
    of a user and many sampled ones, which is more accurate after far fewer epochs [2]_.

    Parameters
    ----------
    n_factors : int, default=64
        Length of the embeddings.
    n_layers : int, default=2
        Propagation steps; the paper has three.
    loss : {"softmax", "bpr"}, default="softmax"
        What training minimizes, see the Notes: a softmax of cosines over an item and the sampled
        ones, or the pairwise loss of the paper.
    temperature : float, default=0.12
        Of the softmax: what cosines are divided by.
    n_negatives : int, default=1024
        Of the softmax: items sampled for each update, without replacement; all items, if there are
        fewer. BPR samples one for each interaction.
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs. The latter
        takes fewer epochs on large data, without early stopping.
    lr : float, default=0.01
        Learning rate.
    max_epochs : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Users per update, with all their interactions; for BPR, interactions. Every update
        propagates all embeddings. "auto": a twentieth of the users, from 32 to 8,192, or a
        twentieth of the interactions, from 32 to 131,072. With tens of thousands of users, batches
        of about 500 take longer and are more accurate.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=1e-4
        Penalty on the embeddings of layer 0 that an interaction touches, the user's and the item's
        (for BPR, also the negative's): l2/2 · Σ‖e‖², added to its loss.
    early_stopping : bool, default=True
        Whether to stop when the NDCG of held-out interactions stops rising, and keep the best
        weights.
    validation_fraction : float, default=0.1
        The share of the interactions held out for that, at most one of a user and 10,000, which
        NDCG@10 ranks among 99 sampled items.
    n_iter_no_change : int, default=5
        Epochs without an improvement before training stops.
    callbacks : list, default=None
        Callbacks of skorch.
    checkpoint : str or path-like, default=None
        Folder to save the progress of `fit` in: the same call goes on from there if the process was
        killed.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, which takes a GPU if there is
        one.
    random_state : int, RandomState instance or None, default=None
        Seed of the held-out data, the weights, the negatives and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors of the training users: means over the layers.
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors of the items; of unit length, if trained by the softmax.
    history_factors_ : ndarray of float32 of shape (n_items, n_factors)
        What an item adds to the vectors of its users, see the Notes.
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    ImplicitMatrixFactorization : The dot product without a graph, with biases.
    sklearn_recsys.linear_model.EASE : Linear, in closed form, and often more accurate.

    Notes
    -----
    With :math:`N_u` the items of a user and :math:`N_i` the users of an item, layer
    :math:`k \geq 1` is

    .. math::

        e_u^{(k)} = \sum_{i \in N_u} \frac{e_i^{(k-1)}}{\sqrt{|N_u| |N_i|}}, \quad
        e_i^{(k)} = \sum_{u \in N_i} \frac{e_u^{(k-1)}}{\sqrt{|N_u| |N_i|}}.

    A new user has the same layers, without an embedding of their own:
    :math:`e_u^{(0)} = 0`, and the layers of the items are those of training. So a history's vector
    is the sum of its rows of `history_factors_`, divided by the square root of its length. A row
    that is a training row takes that user's vector, which is that sum and
    :math:`e_u^{(0)} / (K + 1)`.

    The losses of an interaction of user u and item i are, with the sampled items
    :math:`\mathcal{N}` that the user has no interaction with, the temperature τ, and the vectors
    :math:`e_u, e_i`,

    .. math::

        -\ln \frac{\exp(\cos(e_u, e_i) / \tau)}
        {\exp(\cos(e_u, e_i) / \tau) + \sum_{j \in \mathcal{N}} \exp(\cos(e_u, e_j) / \tau)}
        \quad \text{and} \quad -\ln \sigma(e_u \cdot e_i - e_u \cdot e_j).

    What is held out for early stopping is not in the graph during training. `fit` ends with a
    propagation over the whole matrix.

    `partial_fit` trains on the graph of the rows handed in alone. Rows that were in the last call
    keep their embeddings, and others start from :math:`e_u^{(0)} = 0`, as new users.

    Every update propagates all embeddings, forward and backward, so updates are few and large: the
    authors take 2,048 interactions for each, a learning rate of 0.001, and up to a thousand epochs.
    With the softmax, an update takes all interactions of some users, whose cosines with the
    negatives are computed once for all of their interactions.

    References
    ----------
    .. [1] X. He, K. Deng, X. Wang, Y. Li, Y. Zhang, M. Wang, "LightGCN: simplifying and powering
       graph convolution network for recommendation", SIGIR 2020.
    .. [2] J. Wu, X. Wang, X. Gao, J. Chen, H. Fu, T. Qiu, X. He, "On the effectiveness of sampled
       softmax loss for item recommendation", ACM Transactions on Information Systems 42, 2024.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import LightGCN
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = tastes * (rng.random((80, 20)) < 0.6)
    >>> model = LightGCN(n_factors=8, random_state=0).fit(R)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 64
    _: KW_ONLY
    n_layers: int = 2
    loss: str = "softmax"
    temperature: float = 0.12
    n_negatives: int = 1024
    schedule: str = "constant"
    lr: float = 0.01
    max_epochs: int = 100
    batch_size: int | str = "auto"
    l2: float = 1e-4

    _parameter_constraints = {
        **NeuralRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"softmax", "bpr"})],
        "temperature": [Interval(Real, 0.01, None, closed="left")],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "schedule": [StrOptions({"constant", "one_cycle"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    def _fitted_state(self):
        return {**super()._fitted_state(), "history_factors_": Array("n_items", "n_factors")}

    # ---------------------------------------------------------------- training

    @property
    def _batches(self):
        return GraphHistories if self._fitted_param("loss") == "softmax" else GraphPairs

    @property
    def _valid_batches(self):
        return GraphCandidates

    def _make_datasets(self, train, valid):
        device = self._device()
        if self._fitted_param("loss") == "softmax":
            data = ContrastDataset.of_filled_rows(train)
            data.n_negatives = self._fitted_param("n_negatives")
        else:  # MPS has no float64, which negative sampling needs
            where = "cpu" if device.type == "mps" else device
            sampler = NegativeSampler.from_csr(train, device=where)
            data = PairDataset(train, sampler, n_negatives=1, pairwise=True)
        data.graph = InteractionGraph(train, device)
        if valid is not None:
            valid.graph = data.graph
        return data, valid

    def _device(self):
        return torch.device(self.net_.device if "net_" in vars(self) else check_device(self.device))

    def _make_module(self, X):
        return LightGCNModule(
            *X.shape,
            self.n_factors,
            n_layers=self.n_layers,
            loss=self.loss,
            temperature=self.temperature,
            l2=self.l2,
        )

    def _update_size(self, n_examples):
        if self.batch_size == "auto":
            largest = 2**13 if self._fitted_param("loss") == "softmax" else 2**17
            return min(max(n_examples // 20, 32), largest)
        return self.batch_size

    def _finish(self, X, split):
        module = self.net_.module_.eval()
        with torch.no_grad():
            users, items = module.layers(InteractionGraph(X, self._device()))
            n = len(items)
            user_factors, item_factors = sum(users) / n, module.scoring(sum(items) / n)
            history_factors = sum(items[:-1]) / n
        self.user_factors_ = user_factors.cpu().numpy()
        self.item_factors_ = item_factors.cpu().numpy()
        self.history_factors_ = inverse_roots(X)[1][:, None] * history_factors.cpu().numpy()

    # ---------------------------------------------------------------- new users

    def _fold_in(self, X):
        """Return the vectors of new users: layers 1 to K, averaged with zeros for layer 0."""
        return inverse_roots(X)[0][:, None] * (X @ self.history_factors_)
