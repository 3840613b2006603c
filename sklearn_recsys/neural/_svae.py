"""SVAE: a recurrent network over a user's history, with a Gaussian code at each step.

Sachdeva, Manco, Ritacco and Pudi, "Sequential Variational Autoencoders for Collaborative
Filtering", WSDM 2019.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn
from torch.nn.functional import pad

from sklearn_recsys.neural._base.inductive import InductiveRanker
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._data.random import dropout, generator
from sklearn_recsys.neural._data.row_batches import HistoryBatches, RowDataset
from sklearn_recsys.neural._data.sparse_rows import newest_items
from sklearn_recsys.neural._nn.layers import Annealed, dense_layers
from sklearn_recsys.neural._nn.losses import divergence_from_normal, next_items_loss, sample_codes
from sklearn_recsys.neural._nn.ranking import RankingModule
from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils._sklearn import Interval, StrOptions

_SCORED_USERS = 64  # users whose states are computed together
_N_CHUNKS = 8  # time chunks per batch; finished sequences are dropped between chunks

# initialization, which matters because an epoch has few updates
_INIT_STD = 0.1  # of the items' vectors; those of rare items stay small
_INIT_LOG_VARIANCE = -2.0  # of the codes; more noise would hide their means


class SVAEModule(Annealed, RankingModule):
    """Embedding, GRU, Gaussian code, softmax over the items.

    Parameters
    ----------
    counts : ndarray of shape (n_items,)
        Number of interactions of each item; the output biases start at popularity.
    embedding_dim : int
        Width of the items' vectors.
    n_recurrent : int
        Width of the GRU's state.
    n_hidden : int
        Width of the layers before and after the code.
    n_factors : int
        Width of the code.
    next_k : int
        Number of next items to predict at each step.
    max_length : int
        Number of newest items of a history that are read.
    dropout : float
        Share of the items whose vectors are dropped while training.
    anneal_cap : float
        The largest weight of the Kullback-Leibler divergence.
    anneal_epochs : int
        Epochs in which the weight grows to `anneal_cap`.
    """

    def __init__(
        self,
        counts,
        embedding_dim,
        n_recurrent,
        n_hidden,
        n_factors,
        next_k,
        max_length,
        dropout,
        anneal_cap,
        anneal_epochs,
    ):
        super().__init__()
        n_items = len(counts)
        self.next_k = next_k
        self.stride = next_k
        self.max_length = max_length
        self.dropout = dropout
        self.anneal_cap = anneal_cap
        self.anneal_epochs = anneal_epochs
        self.beta = anneal_cap
        self.embedding = nn.Embedding(n_items, embedding_dim)
        self.gru = nn.GRU(embedding_dim, n_recurrent)
        self.encoder = dense_layers([n_recurrent, n_hidden, 2 * n_factors])
        self.decoder = dense_layers([n_factors, n_hidden, n_items])
        nn.init.normal_(self.embedding.weight, std=_INIT_STD)
        with torch.no_grad():
            self.encoder[-1].bias[n_factors:] = _INIT_LOG_VARIANCE
            self.decoder[-1].bias.copy_(torch.from_numpy(np.log1p(counts)))

    def read(self, items):
        """Return the GRU's states at every step, of shape (n_steps, n_rows, n_recurrent).

        States after the end of a row are undefined.
        """
        lengths, order = (items >= 0).sum(dim=0).sort(descending=True)
        vectors = self.embedding(items[:, order].clamp(min=0))  # (n_steps, n_rows, embedding_dim)
        if self.training and self.dropout:
            vectors = vectors * dropout(vectors.new_ones(*items.shape, 1), self.dropout)
        lengths = lengths.tolist()
        n_rows, start, state, states = len(lengths), 0, None, []
        for end in sorted({length for length in lengths[:: -(-n_rows // _N_CHUNKS)] if length}):
            n_active = sum(length > start for length in lengths)
            state = None if state is None else state[:, :n_active]
            chunk, state = self.gru(vectors[start:end, :n_active], state)
            states.append(pad(chunk, (0, 0, 0, n_rows - n_active)))
            start = end
        return torch.cat(states)[:, order.argsort()]

    def encode(self, states):
        """Return the means and log-variances of the codes, each (n_states, n_factors)."""
        first, second = self.encoder
        return second(torch.tanh(first(states))).chunk(2, dim=1)

    def forward(self, rows):
        """Return the logits of the newest states, of shape (n_rows, n_items)."""
        items, lengths = newest_items(rows, self.max_length)
        if not len(items):
            items = items.new_zeros(1, len(rows))
        states = self.read(items)
        # an empty row has no state; its logits are not used
        newest = states[(lengths - 1).clamp(min=0), torch.arange(len(rows), device=items.device)]
        first, last = self.decoder
        return last(torch.tanh(first(self.encode(newest)[0])))

    def loss(self, inputs, targets):
        """Return the negative evidence lower bound, with β, summed over the steps, per row.

        Step t has read the items 1, …, t and predicts the next k, each with the weight 1 / k. In
        training, the sum is estimated from every `stride`-th step, from a random offset.
        """
        items, _ = newest_items(targets, self.max_length)
        if len(items) < 2:  # no item has a next one
            return 0 * self.decoder[-1].bias.sum()
        n_next = min(self.next_k, len(items) - 1)  # no step has more next items
        following = pad(items, (0, 0, 0, n_next), value=-1)[1:].unfold(0, n_next, 1)
        has_next = following[..., 0] >= 0  # (n_steps, n_rows)
        stride = self.stride if self.training else 1
        if stride > 1:
            device = has_next.device
            options = {"device": device, "generator": generator(device)}
            offsets = torch.randint(stride, has_next.shape[1:], **options)
            steps = torch.arange(len(has_next), device=device)[:, None]
            has_next &= (steps + offsets) % stride == 0
        means, log_variances = self.encode(self.read(items[:-1])[has_next[:-1]])
        codes = sample_codes(means, log_variances) if self.training else means
        first, last = self.decoder
        loss = next_items_loss(following[has_next], torch.tanh(first(codes)), last)
        divergence = divergence_from_normal(means, log_variances)
        return stride * (loss / self.next_k + self.beta * divergence) / len(targets)


@parameters
class SVAE(InductiveRanker):
    """SVAE, a variational autoencoder that reads a user's history in its order.

    A GRU reads the vectors of a user's items, the oldest first. Its state is encoded, at every
    step, to the mean and the variance of a Gaussian code, and a sample of the code is decoded to a
    distribution over the items, which predicts those of the next `next_k` steps [1]_.
    Recommendations come from the mean at the newest state.

    The loss of a user is a sum over the steps. Each epoch estimates it as `next_k` times the sum
    over every `next_k`-th step, from a random offset: the expectation is the same, no interaction
    is a target more than once, and the softmax over all items is computed for one step in `next_k`.

    The values of `X` are times, or positions, of the interactions.

    Parameters
    ----------
    n_factors : int, default=64
        Width of the code.
    embedding_dim : int, default=64
        Width of the items' vectors.
    n_recurrent : int, default=200
        Width of the GRU's state.
    n_hidden : int, default=150
        Width of the tanh layers before and after the code.
    next_k : int, default=4
        Number of next items that each step predicts.
    max_length : int, default=200
        Maximum number of items of a history that are read, the newest ones.
    dropout : float, default=0.0
        Share of the items whose vectors are dropped while training.
    anneal_cap : float, default=0.002
        The largest β, the weight of the Kullback-Leibler divergence of each step.
    anneal_epochs : int, default=5
        Epochs in which β grows from zero to `anneal_cap`.
    lr : float, default=0.01
        Learning rate.
    max_epochs : int, default=6
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Users per update; they have histories of similar lengths. "auto": a hundredth of the users,
        from 4 to 64.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.0
        Penalty on the weights: l2/2 · Σ‖W‖², added to the sum of the losses over all users.
    early_stopping : bool, default=True
        Whether to stop when NDCG@100 of held-out users' latest items stops rising, and keep the
        best weights.
    validation_fraction : float, default=0.1
        The share of the users held out for that, at most 10,000 of them. If they are fewer than 20,
        all users are trained on, for `max_epochs`.
    n_iter_no_change : int, default=2
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
        Seed of the held-out users, the weights, the dropout, the codes and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix; its values are 1, 2, … in the order of each row.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    MultVAE : A variational autoencoder that ignores the order of a history.
    sklearn_recsys.preprocessing.InteractionEncoder : With ``values="position"`` it makes the
        matrix from events with times.

    Notes
    -----
    The model is an average of the weights over about the latest tenth of all updates, as in
    :class:`SASRec`, with which it is validated, too: more accurate after fewer epochs than the
    latest weights.

    References
    ----------
    .. [1] Noveen Sachdeva, Giuseppe Manco, Ettore Ritacco, Vikram Pudi. "Sequential Variational
       Autoencoders for Collaborative Filtering". WSDM 2019.

    Examples
    --------
    All users go through the items in the order of their indices:

    >>> import numpy as np
    >>> from sklearn_recsys import SVAE
    >>> times = np.zeros((40, 20))
    >>> for user in range(40):
    ...     times[user, (user + np.arange(6)) % 20] = np.arange(1, 7)
    >>> model = SVAE(next_k=1, lr=0.01, max_epochs=40, random_state=0).fit(times)
    >>> new = np.zeros((1, 20))
    >>> new[0, [7, 8, 9]] = [1, 2, 3]
    >>> model.recommend(new, n=1)
    array([[10]])
    """

    n_factors: int = 64
    _: KW_ONLY
    embedding_dim: int = 64
    n_recurrent: int = 200
    n_hidden: int = 150
    next_k: int = 4
    max_length: int = 200
    dropout: float = 0.0
    anneal_cap: float = 0.002
    anneal_epochs: int = 5
    lr: float = 0.01
    max_epochs: int = 6
    batch_size: int | str = "auto"
    n_iter_no_change: int = 2

    _averages_weights = True
    _parameter_constraints = {
        **InductiveRanker._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "n_recurrent": [Interval(Integral, 1, None, closed="left")],
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "next_k": [Interval(Integral, 1, None, closed="left")],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "anneal_cap": [Interval(Real, 0, None, closed="left")],
        "anneal_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "order"
        return tags

    @property
    def _batches(self):
        return HistoryBatches

    def _update_size(self, n_examples):
        if self.batch_size == "auto":
            return min(max(n_examples // 100, 4), 64)
        return self.batch_size

    def _make_module(self, X):
        return SVAEModule(
            item_counts(X),
            embedding_dim=self.embedding_dim,
            n_recurrent=self.n_recurrent,
            n_hidden=self.n_hidden,
            n_factors=self.n_factors,
            next_k=self.next_k,
            max_length=self.max_length,
            dropout=self.dropout,
            anneal_cap=self.anneal_cap,
            anneal_epochs=self.anneal_epochs,
        )

    def _score_items(self, X):
        scores = np.empty(X.shape, dtype=np.float32)
        for rows, _ in HistoryBatches(RowDataset(X), _SCORED_USERS, self.net_.device):
            scores[rows.training_rows.cpu().numpy()] = self._evaluated(self.net_.module_, rows)
        return scores
