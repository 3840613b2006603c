"""RecVAE: a variational autoencoder with a composite prior and alternating training.

Shenbin, Alekseev, Tutubalina, Malykh and Nikolenko, "RecVAE: A New Variational Autoencoder for
Top-N Recommendations with Implicit Feedback", WSDM 2020.
"""

from __future__ import annotations

import copy
import math
from dataclasses import KW_ONLY
from numbers import Integral, Real

import torch
from torch import nn
from torch.nn.functional import silu

from sklearn_recsys.neural._base.inductive import InductiveRanker
from sklearn_recsys.neural._base.onnx import NetOnnxMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._nn.layers import corrupted
from sklearn_recsys.neural._nn.losses import multinomial_loss, sample_codes
from sklearn_recsys.neural._nn.ranking import RankingModule
from sklearn_recsys.utils._sklearn import Interval

_MIXTURE = (3 / 20, 3 / 4, 1 / 10)  # standard normal, previous posterior, wide normal
_WIDE_LOG_VARIANCE = 10.0
_DEPTH = 5


class RecVAEEncoder(nn.Module):
    """Five densely connected layers: each reads the outputs of all layers before it.

    Parameters
    ----------
    n_items : int
        Length of a row.
    n_hidden : int
        Width of the layers.
    n_factors : int
        Width of the code.
    dropout : float
        Share of the interactions dropped while training.
    """

    def __init__(self, n_items, n_hidden, n_factors, dropout):
        super().__init__()
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(n_items, n_hidden))
        self.bias = nn.Parameter(torch.zeros(n_hidden))
        bound = 1 / math.sqrt(n_items)
        nn.init.uniform_(self.weight, -bound, bound)
        self.layers = nn.ModuleList(nn.Linear(n_hidden, n_hidden) for _ in range(_DEPTH - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(n_hidden, eps=0.1) for _ in range(_DEPTH))
        self.out = nn.Linear(n_hidden, 2 * n_factors)

    def forward(self, rows):
        """Return the means and log-variances of the codes, each (n_rows, n_factors)."""
        rows = corrupted(rows.normalized(), self.dropout, self.training)
        hidden = self.norms[0](silu(rows.matmul(self.weight) + self.bias))
        total = hidden
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            hidden = norm(silu(layer(hidden) + total))
            total = total + hidden
        return self.out(hidden).chunk(2, dim=1)


class RowCodes:
    """Codes of rows of the training matrix, while their encoder does not change."""

    def __init__(self):
        self.clear()

    def clear(self):
        """Forget all codes."""
        self._numbers, self._codes = [], []

    def add(self, numbers, codes):
        """Keep the codes of rows that were not added before.

        Parameters
        ----------
        numbers : Tensor of int64 of shape (n_rows,)
            The rows of the training matrix.
        codes : Tensor of shape (n_rows, width)
            Their codes.
        """
        self._numbers.append(numbers)
        self._codes.append(codes)

    def get(self, numbers):
        """Return the codes of rows, or None if one of them is missing."""
        if not self._numbers:
            return None
        if len(self._numbers) > 1:  # sorted once, when the first codes are asked for
            sorted_numbers, order = torch.cat(self._numbers).sort()
            self._numbers, self._codes = [sorted_numbers], [torch.cat(self._codes)[order]]
        known = self._numbers[0]
        places = torch.searchsorted(known, numbers).clamp_(max=len(known) - 1)
        if not torch.equal(known[places], numbers):
            return None
        return self._codes[0][places]


class RecVAEModule(RankingModule):
    """Encoder, linear decoder, and the previous encoder, which is part of the prior.

    Parameters
    ----------
    n_items, n_hidden, n_factors, dropout
        See `RecVAEEncoder`.
    gamma : float
        Weight of the divergence for each interaction of a user.
    encoder_epochs : int
        Epochs of the encoder before each epoch of the decoder.
    """

    def __init__(self, n_items, n_hidden, n_factors, dropout, gamma, encoder_epochs):
        super().__init__()
        self.gamma = gamma
        self.encoder_epochs = encoder_epochs
        self.encoder = RecVAEEncoder(n_items, n_hidden, n_factors, dropout)
        self.former = copy.deepcopy(self.encoder).requires_grad_(False)
        self.decoder = nn.Linear(n_factors, n_items)
        self.former_codes = RowCodes()

    def begin_epoch(self, epoch):
        """Choose to train the encoder or the decoder; before the decoder, update the prior."""
        phase = (epoch - 1) % (self.encoder_epochs + 1)
        self.encoder.requires_grad_(phase < self.encoder_epochs)
        self.decoder.requires_grad_(phase == self.encoder_epochs)
        if phase == self.encoder_epochs:
            self.former.load_state_dict(self.encoder.state_dict())
            self.former_codes.clear()

    def training_state(self):
        """Return what the next epochs depend on in addition to the weights: codes of the prior."""
        return vars(self.former_codes)

    def set_training_state(self, state):
        """Set what `training_state` returned."""
        vars(self.former_codes).update(state)

    def train(self, mode=True):
        """Set the training mode; the encoder has dropout only while it is trained."""
        super().train(mode)
        self.former.eval()
        is_trained = self.encoder.weight.requires_grad
        self.encoder.train(mode and is_trained)
        return self

    def forward(self, rows):
        """Return the logits, of shape (n_rows, n_items), from the means of the codes."""
        return self.decoder(self.encoder(rows)[0])

    def loss(self, inputs, targets):
        """Return the negative evidence lower bound per row, with β = γ · interactions.

        The codes that the decoder is trained on are those of the next prior.
        """
        means, log_variances = self.encoder(inputs)
        codes = sample_codes(means, log_variances)
        loss = multinomial_loss(targets, self.decoder(codes))
        if not means.requires_grad:
            if self.training and inputs.training_rows is not None:
                self.former_codes.add(
                    inputs.training_rows, torch.cat([means, log_variances], dim=1)
                )
            return loss
        divergence = _log_normal(codes, means, log_variances) - self._log_prior(inputs, codes)
        lengths = inputs.indptr.diff()
        return loss + self.gamma * (lengths * divergence.sum(dim=1)).mean()

    def _log_prior(self, rows, codes):
        """Return the log-density of the composite prior in each dimension."""
        previous = None if rows.training_rows is None else self.former_codes.get(rows.training_rows)
        if previous is None:
            with torch.no_grad():
                previous = torch.cat(self.former(rows), dim=1)
        previous = previous.chunk(2, dim=1)
        zero = torch.zeros((), device=codes.device)
        components = [(zero, zero), previous, (zero, zero + _WIDE_LOG_VARIANCE)]
        densities = [
            _log_normal(codes, *component) + math.log(weight)
            for component, weight in zip(components, _MIXTURE, strict=True)
        ]
        return torch.stack(densities).logsumexp(dim=0)


def _log_normal(x, mean, log_variance):
    squares = (x - mean).square() * (-log_variance).exp()
    return -(math.log(2 * math.pi) + log_variance + squares) / 2


@parameters
class RecVAE(NetOnnxMixin, InductiveRanker):
    """RecVAE, a variational autoencoder with a composite prior and alternating training.

    A user's row, scaled to a norm of one, is encoded by five densely connected layers to a Gaussian
    code; a linear decoder turns a sample of the code into a distribution over the items. It differs
    from `MultVAE` in three points [1]_: the prior is a mixture of a standard normal, the posterior
    of the previous encoder, and a wide normal; the weight β of the divergence grows with the length
    of a user's history; and training alternates between the encoder, with dropout, and the decoder,
    without. Predictions come from the mean.

    Parameters
    ----------
    n_factors : int, default=200
        Width of the code.
    n_hidden : int, default=600
        Width of the encoder's layers.
    dropout : float, default=0.5
        Share of the interactions dropped while the encoder is trained.
    gamma : float, default=0.005
        Weight of the Kullback-Leibler divergence for each interaction of a user: β is γ times their
        number.
    encoder_epochs : int, default=3
        Epochs of the encoder before each epoch of the decoder.
    lr : float, default=1e-3
        Learning rate.
    max_epochs : int, default=200
        Maximum number of passes over the data, of the encoder and the decoder together.
    batch_size : int, default=200
        Users per update.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.0
        Penalty on the weights: l2/2 · Σ‖W‖², added to the sum of the losses over all users.
    early_stopping : bool, default=True
        Whether to stop when NDCG@100 of held-out users stops rising, and keep the best weights.
    validation_fraction : float, default=0.1
        The share of the users held out for that, at most 10,000 of them. If they are fewer than 20,
        all users are trained on, for `max_epochs`.
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
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    MultVAE : With a standard normal prior, and without alternating training.

    References
    ----------
    .. [1] Ilya Shenbin, Anton Alekseev, Elena Tutubalina, Valentin Malykh, Sergey I. Nikolenko.
       "RecVAE: A New Variational Autoencoder for Top-N Recommendations with Implicit Feedback".
       WSDM 2020.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import RecVAE
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = tastes * (rng.random((80, 20)) < 0.6)
    >>> model = RecVAE(n_factors=10, n_hidden=40, lr=0.02, max_epochs=40, random_state=0).fit(R)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 200
    n_hidden: int = 600
    _: KW_ONLY
    dropout: float = 0.5
    gamma: float = 0.005
    encoder_epochs: int = 3
    lr: float = 1e-3
    batch_size: int = 200

    _can_distribute = True

    _parameter_constraints = {
        **InductiveRanker._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "encoder_epochs": [Interval(Integral, 1, None, closed="left")],
    }

    def _make_module(self, X):
        return RecVAEModule(
            X.shape[1],
            n_hidden=self.n_hidden,
            n_factors=self.n_factors,
            dropout=self.dropout,
            gamma=self.gamma,
            encoder_epochs=self.encoder_epochs,
        )

    def _finish(self, X, split):
        super()._finish(X, split)
        self.net_.module_.former_codes.clear()  # another matrix has other rows
