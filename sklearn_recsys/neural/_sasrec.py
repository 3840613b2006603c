"""SASRec: a causal transformer over a user's history, trained with sampled items.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. The losses over many
sampled items are those of its replications: Klenitskiy and Vasilev, "Turning Dross Into Gold Loss",
RecSys 2023, and Petrov and Macdonald, "gSASRec", RecSys 2023.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn
from torch.nn.functional import embedding, gelu, scaled_dot_product_attention

from sklearn_recsys.base import FactorsMixin
from sklearn_recsys.neural._base.inductive import InductiveRanker
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.validation import hold_out_latest
from sklearn_recsys.neural._data.random import dropout, generator
from sklearn_recsys.neural._data.row_batches import HistoryBatches, RowDataset
from sklearn_recsys.neural._data.sparse_rows import newest_items
from sklearn_recsys.neural._nn.losses import sampled_items_loss
from sklearn_recsys.neural._nn.ranking import RankingModule
from sklearn_recsys.utils._sklearn import Interval, StrOptions

_SCORED_USERS = 256  # users whose states are computed together
_INIT_STD = 0.02  # of the vectors of items and positions
_INIT_GAIN = 0.1  # of the layers that add to a state: training starts from the newest item alone


class _Block(nn.Module):
    """Causal self-attention and two layers on each step, each normalized before and added."""

    def __init__(self, n_factors, n_heads, dropout):
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(n_factors)
        self.attention_input = nn.Linear(n_factors, 3 * n_factors)
        self.attention_output = nn.Linear(n_factors, n_factors)
        self.norm = nn.LayerNorm(n_factors)
        self.hidden = nn.Linear(n_factors, n_factors)
        self.output = nn.Linear(n_factors, n_factors)
        for layer in (self.attention_input, self.attention_output, self.hidden, self.output):
            added = layer in (self.attention_output, self.output)
            nn.init.xavier_normal_(layer.weight, gain=_INIT_GAIN if added else 1.0)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        """Return the next states, of the same shape (n_rows, n_steps, n_factors)."""
        heads = self.attention_input(self.attention_norm(x)).unflatten(2, (3, self.n_heads, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # (n_rows, n_heads, n_steps, width)
        # rows are padded at the end, where no earlier step can read
        attended = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        attended = self.attention_output(attended.transpose(1, 2).flatten(2))
        x = x + dropout(attended, self.dropout, self.training)
        hidden = dropout(gelu(self.hidden(self.norm(x))), self.dropout, self.training)
        return x + dropout(self.output(hidden), self.dropout, self.training)


class SASRecModule(RankingModule):
    """Vectors of items and positions, blocks of self-attention, and dot products with the items.

    Parameters
    ----------
    n_items, n_factors : int
        Shape of the vectors of the items, which are input and output alike.
    n_blocks : int
        Number of blocks.
    n_heads : int
        Number of attention heads; it divides `n_factors`.
    max_length : int
        Number of newest items of a history that are read.
    dropout : float
        Share of the elements dropped while training, of the inputs and in each block.
    loss : {"softmax", "gbce"}
        As in `sampled_items_loss`.
    n_negatives : int
        Number of sampled items for each batch.
    calibration : float
        As in `sampled_items_loss`.
    """

    def __init__(
        self,
        n_items,
        n_factors,
        n_blocks,
        n_heads,
        max_length,
        dropout,
        loss,
        n_negatives,
        calibration,
    ):
        super().__init__()
        self.max_length = max_length
        self.dropout = dropout
        self.loss_name = loss
        self.n_negatives = n_negatives
        self.calibration = calibration
        self.items = nn.Parameter(_INIT_STD * torch.randn(n_items, n_factors))
        self.positions = nn.Parameter(_INIT_STD * torch.randn(max_length, n_factors))
        blocks = (_Block(n_factors, n_heads, dropout) for _ in range(n_blocks))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(n_factors)

    def states(self, items, lengths):
        """Return the states after every step.

        Parameters
        ----------
        items : Tensor of int64 of shape (n_rows, n_steps)
            The items of each row in their order, then −1.
        lengths : Tensor of int64 of shape (n_rows,)
            Number of items of each row.

        Returns
        -------
        states : Tensor of shape (n_rows, n_steps, n_factors)
            Undefined after the end of a row.
        """
        steps = torch.arange(items.shape[1], device=items.device)
        from_end = (lengths[:, None] - 1 - steps).clamp(min=0)  # the newest item is at 0
        x = embedding(items.clamp(min=0), self.items) * self.items.shape[1] ** 0.5
        x = dropout(x + embedding(from_end, self.positions), self.dropout, self.training)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def newest_states(self, rows):
        """Return the states after the newest items, of shape (n_rows, n_factors)."""
        items, lengths = newest_items(rows, self.max_length)
        if not len(items):
            return self.items.new_zeros(len(rows), self.items.shape[1])
        states = self.states(items.T, lengths)
        newest = states[torch.arange(len(rows), device=items.device), (lengths - 1).clamp(min=0)]
        return newest * (lengths > 0)[:, None]

    def forward(self, rows):
        """Return the scores, of shape (n_rows, n_items)."""
        return self.newest_states(rows) @ self.items.T

    def loss(self, inputs, targets):
        """Return the mean loss of the items that follow each step.

        The rows of a batch have similar lengths, so that every user counts alike, not every step:
        otherwise the updates by long histories would be the largest.
        """
        items, lengths = newest_items(targets, self.max_length + 1)
        if len(items) < 2:  # no item has a next one
            return 0 * self.items.sum()
        items = items.T
        following = items[:, 1:]
        steps = following >= 0
        states = self.states(items[:, :-1], lengths - 1)[steps]
        n_items = len(self.items)
        order = torch.randperm(n_items, generator=generator(items.device), device=items.device)
        loss = sampled_items_loss(
            states,
            following[steps],
            self.items,
            order[: min(self.n_negatives, n_items)],
            self.loss_name,
            self.calibration,
        )
        return loss / len(states)


@parameters
class SASRec(FactorsMixin, InductiveRanker):
    r"""SASRec, a transformer that reads a user's history in its order.

    Blocks of causal self-attention read the vectors of a user's items, the oldest first. The state
    after each item is trained to predict the next one, and an item's score is the dot product of
    the newest state and the item's vector, the same one that is read [1]_. New users need no
    refit: any history is scored by one forward pass, and that of a user with a new event is the
    row with one more interaction.

    The paper tells each next item from a single sampled one. What its replications found decisive
    is the loss [2]_ [3]_: a softmax over the next item and hundreds of sampled items.

    The values of `X` are times, or positions, of the interactions.

    Parameters
    ----------
    n_factors : int, default=64
        Width of the states and of the items' vectors, a multiple of `n_heads`.
    n_blocks : int, default=1
        Number of blocks, each a layer of self-attention and two layers on every state. Long
        histories may need two, as in the paper.
    n_heads : int, default=1
        Number of attention heads.
    max_length : int, default=200
        Maximum number of items of a history that are read, the newest ones.
    dropout : float, default=0.4
        Share of the elements dropped while training, of the inputs and of the outputs of layers.
        Sparse data needs more of it: about 0.2 suffices for MovieLens-1M.
    loss : {"softmax", "gbce"}, default="softmax"
        What training minimizes: the cross-entropy of a softmax over the next item and the sampled
        ones, or the generalized binary cross-entropy of gSASRec; see the Notes.
    n_negatives : int, default=512
        Number of items sampled for each update, which all its steps share. With as many as there
        are items, the loss is exact.
    calibration : float, default=0.75
        How much the loss ``"gbce"`` corrects the overestimation of probabilities by sampling, t in
        [3]_: 0 is the binary cross-entropy of the paper, 1 a full correction.
    lr : float, default=4e-3
        Learning rate.
    max_epochs : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Users per update; they have histories of similar lengths. "auto": a fiftieth of the users,
        from 16 to 256.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.0
        Penalty on the weights: l2/2 · Σ‖W‖², added to the sum of the losses over all users; that of
        a user is a mean over their items.
    early_stopping : bool, default=True
        Whether to stop when NDCG@100 of held-out latest items stops rising, and keep the best
        weights.
    validation_fraction : float, default=0.1
        The share of the users whose latest item is held out for that, at most 10,000 of them; their
        other items are trained on. If they are fewer than 20, no items are held out, and training
        runs for `max_epochs`.
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
        Seed of the held-out items, the weights, the dropout, the negatives and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The items' vectors.
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The newest states of the training users.
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
    SVAE : A recurrent net on the same input, with a Gaussian code at each step.
    sklearn_recsys.preprocessing.InteractionEncoder : With ``values="position"`` it makes the
        matrix from events with times.
    sklearn_recsys.model_selection.leave_last_out : Holds out each user's last item.

    Notes
    -----
    As in the paper, histories are padded on the left: positions are counted from the newest item,
    so that its position is the same for short and long histories. A new event therefore shifts the
    positions of all earlier ones, and states are computed from the whole row; nothing is cached.
    Unlike in the paper, normalization precedes each layer also for keys and values.

    The model is an average of the weights over about the latest tenth of all updates (polynomial
    decay, [4]_), with which it is validated, too: more accurate than the latest weights, and
    without a schedule of the learning rate.

    With a state h, the next item i, its vector :math:`e_i` and the sampled items S without i, the
    losses of a step are

    .. math::

        -\log \frac{\exp(h \cdot e_i)}{\sum_{j \in S \cup \{i\}} \exp(h \cdot e_j)}
        \quad \text{and} \quad
        -\beta \log \sigma(h \cdot e_i + c) - \sum_{j \in S} \log(1 - \sigma(h \cdot e_j + c)),

    where :math:`\beta = \alpha t - t + 1` with the share α of the items that is sampled and the
    calibration t (eq. 20 of [3]_ after multiplying out). The constant :math:`c = \log(\beta / |S|)`
    is not in the paper: training starts with the odds of a random item, which the items' vectors
    then need not learn. Items are sampled uniformly for each update. The memory of an update is
    linear in the steps of its users, whatever the number of items and of negatives.

    References
    ----------
    .. [1] Wang-Cheng Kang, Julian McAuley. "Self-Attentive Sequential Recommendation". ICDM 2018.
    .. [2] Anton Klenitskiy, Alexey Vasilev. "Turning Dross Into Gold Loss: is BERT4Rec really
       better than SASRec?". RecSys 2023.
    .. [3] Aleksandr Petrov, Craig Macdonald. "gSASRec: Reducing Overconfidence in Sequential
       Recommendation Trained with Negative Sampling". RecSys 2023.
    .. [4] Ohad Shamir, Tong Zhang. "Stochastic Gradient Descent for Non-smooth Optimization:
       Convergence Results and Optimal Averaging Schemes". ICML 2013.

    Examples
    --------
    All users go through the items in the order of their indices:

    >>> import numpy as np
    >>> from sklearn_recsys import SASRec
    >>> times = np.zeros((40, 20))
    >>> for user in range(40):
    ...     times[user, (user + np.arange(6)) % 20] = np.arange(1, 7)
    >>> model = SASRec(n_factors=16, lr=0.01, max_epochs=20, random_state=0).fit(times)
    >>> new = np.zeros((1, 20))
    >>> new[0, [7, 8, 9]] = [1, 2, 3]
    >>> model.recommend(new, n=1)
    array([[10]])

    One event later, the row with the new event is scored:

    >>> new[0, 10] = 4
    >>> model.recommend(new, n=1)
    array([[11]])
    """

    n_factors: int = 64
    _: KW_ONLY
    n_blocks: int = 1
    n_heads: int = 1
    max_length: int = 200
    dropout: float = 0.4
    loss: str = "softmax"
    n_negatives: int = 512
    calibration: float = 0.75
    lr: float = 4e-3
    max_epochs: int = 100
    batch_size: int | str = "auto"

    _averages_weights = True
    _parameter_constraints = {
        **InductiveRanker._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_blocks": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "loss": [StrOptions({"softmax", "gbce"})],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "calibration": [Interval(Real, 0, 1, closed="both")],
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
        if self.batch_size == "auto":  # few users need many updates
            return min(max(n_examples // 50, 16), 256)
        return self.batch_size

    def _split(self, X, rng):
        """Return data sets of all users, and of the latest items held out for early stopping."""
        if not self.early_stopping:
            return RowDataset(X), None
        return hold_out_latest(X, self.validation_fraction, rng)

    def _make_module(self, X):
        if self.n_factors % self.n_heads:
            raise ValueError(
                f"n_factors={self.n_factors} is not a multiple of n_heads={self.n_heads}: each "
                "head attends with an equal part of the factors."
            )
        return SASRecModule(
            X.shape[1],
            self.n_factors,
            n_blocks=self.n_blocks,
            n_heads=self.n_heads,
            max_length=self.max_length,
            dropout=self.dropout,
            loss=self.loss,
            n_negatives=self.n_negatives,
            calibration=self.calibration,
        )

    def _finish(self, X, split):
        super()._finish(X, split)
        self.item_factors_ = self.net_.module_.items.detach().cpu().numpy().copy()
        self.user_factors_ = self._user_factors(X)

    def _user_factors(self, X):
        vectors = np.empty((X.shape[0], self.item_factors_.shape[1]), dtype=np.float32)
        for rows, _ in HistoryBatches(RowDataset(X), _SCORED_USERS, self.net_.device):
            states = self._evaluated(self.net_.module_.newest_states, rows)
            vectors[rows.training_rows.cpu().numpy()] = states
        return vectors

    def _score_items(self, X):
        return self._user_factors(X) @ self.item_factors_.T
