"""DeepAutoencoder: an autoencoder of any depth on the observed ratings of a user or an item.

Kuchaiev and Ginsburg, "Training Deep AutoEncoders for Collaborative Filtering", 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from numbers import Integral, Real

import torch
from torch import nn

from sklearn_recsys.base import UserFeaturesMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.rating_autoencoder import RatingAutoencoder
from sklearn_recsys.neural._data.random import dropout
from sklearn_recsys.neural._nn.layers import ACTIVATIONS
from sklearn_recsys.neural._nn.rating import RatingModule
from sklearn_recsys.utils._sklearn import Interval, StrOptions

# ranges of ratings that the last layer can reach; for other activations ratings are centered
_REACH = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
_REACH |= dict.fromkeys(("relu", "relu6", "elu", "selu", "swish", "softplus"), (1.0, 5.0))


class DeepAutoencoderModule(RatingModule):
    """An encoder, dropout on its code, and the mirrored decoder.

    A layer's weight has the shape (wide, narrow) in both: the encoder multiplies with it, the
    decoder with its transpose.

    Parameters
    ----------
    n_inputs : int
        Length of an input vector.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's layers, the last one the code's.
    activation : str
        Activation of all layers except the last one.
    output_activation : str
        Activation of the last one.
    dropout : float
        Share of the code dropped while training.
    tied_weights : bool
        Whether the decoder's weights are the encoder's.
    n_refeeds : int
        Number of times that the dense output is fed in again while training.
    n_features : int, default=0
        Number of user features that are appended to an input vector.
    """

    def __init__(
        self,
        n_inputs,
        hidden_layer_sizes,
        activation,
        output_activation,
        dropout,
        tied_weights,
        n_refeeds,
        n_features=0,
    ):
        super().__init__(output_activation)
        self.activation = activation
        self.dropout = dropout
        self.tied_weights = tied_weights
        self.n_refeeds = n_refeeds
        sizes = [n_inputs, *hidden_layer_sizes]
        self.encoder_weights = _weights(sizes)
        self.encoder_biases = _biases(sizes[1:])
        if n_features:
            self.feature_weight = nn.Parameter(torch.empty(n_features, sizes[1]))
            nn.init.xavier_uniform_(self.feature_weight)
        if not tied_weights:
            self.decoder_weights = _weights(sizes)
        self.decoder_biases = _biases(sizes[:-1])

    def encode(self, rows, features=None):
        """Return the codes, of shape (n_rows, hidden_layer_sizes[-1]).

        If the rows are dense, `features` are passed separately.
        """
        code, features = rows, getattr(rows, "features", features)
        for weight, bias in zip(self.encoder_weights, self.encoder_biases, strict=True):
            code = code.matmul(weight) + bias
            if features is not None:
                code, features = code + features @ self.feature_weight, None
            code = ACTIVATIONS[self.activation](code)
        return dropout(code, self.dropout, self.training)

    def hidden(self, rows):
        """Return the last hidden layer, of shape (n_rows, hidden_layer_sizes[0])."""
        return self._decoded(self.encode(rows))

    def _decoded(self, hidden):
        """Return the last hidden layer of codes."""
        for weight, bias in reversed(self._decoder()[1:]):
            hidden = ACTIVATIONS[self.activation](hidden @ weight.T + bias)
        return hidden

    def output_layer(self):
        """Return the last layer's weight, of shape (n_inputs, hidden_layer_sizes[0]), and bias."""
        return self._decoder()[0]

    def _decoder(self):
        """Return the decoder's weights and biases, the last layer first."""
        weights = self.encoder_weights if self.tied_weights else self.decoder_weights
        return list(zip(weights, self.decoder_biases, strict=True))

    def loss(self, inputs, targets):
        """Return the masked mean squared error (eq. 1), and that of the dense output fed in again.

        f(f(x)) is compared with f(x), input and target, through which no gradient flows. These
        means are multiplied by the ratings per row, so that the sum is a loss per row.
        """
        hidden = self.hidden(inputs)
        loss = self.squared_error(hidden, targets) / len(targets)
        if self.training and self.n_refeeds:
            ratings = len(targets.indices) / len(targets)
            outputs = self.outputs(hidden)
            for _ in range(self.n_refeeds):
                dense = outputs.detach()
                outputs = self.outputs(self._decoded(self.encode(dense, inputs.features)))
                loss = loss + ratings * (outputs - dense).square().mean()
        return loss


def _weights(sizes):
    weights = nn.ParameterList(torch.empty(*pair) for pair in zip(sizes, sizes[1:], strict=False))
    for weight in weights:
        nn.init.xavier_uniform_(weight)
    return weights


def _biases(sizes):
    return nn.ParameterList(torch.zeros(size) for size in sizes)


@parameters
class DeepAutoencoder(UserFeaturesMixin, RatingAutoencoder):
    """DeepAutoencoder, an autoencoder of any depth on observed ratings.

    A user's vector of ratings of items (user-based), or an item's vector of ratings by the training
    users (item-based), is encoded and reconstructed. Only observed ratings count in the loss; the
    dense output may be fed in again, as a further example that has to reconstruct itself [1]_.
    User-based, numbers that describe the users can be joined to their ratings: `fit`, `predict`,
    `recommend` and `score` take them as ``user_features``.

    Parameters
    ----------
    kind : {"user", "item"}, default="user"
        Whether a vector holds the ratings by a user, as in the paper, or of an item.
    hidden_layer_sizes : sequence of int, default=(64, 64)
        Widths of the encoder's layers, the last one the code's; the decoder mirrors them.
    tied_weights : bool, default=False
        Whether the decoder's weights are the transposed weights of the encoder.
    activation : str, default="selu"
        Activation of all layers except the last one: ``"identity"``, ``"sigmoid"``, ``"tanh"``,
        ``"relu"``, ``"relu6"``, ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"swish"`` or
        ``"softplus"``.
    output_activation : str, default="identity"
        Activation of the last layer, from the same names. Ratings are centered for ``"identity"``
        and ``"leaky_relu"``, scaled to [0, 1] for ``"sigmoid"``, to [-1, 1] for ``"tanh"`` and to
        [1, 5] for the others, which the layer can reach.
    dropout : float, default=0.5
        Share of the code dropped while training.
    n_refeeds : int, default=1
        Number of times that the dense output f(x) is fed in again in an update. Each pass adds the
        mean squared error of f(f(x)) against f(x), over all outputs, to that of eq. 1.
    cold_value : {"midpoint", "mean"} or float, default="midpoint"
        The prediction for items without a training rating: the middle of the rating range, the
        mean rating, or a rating.
    user_l2 : float, default=None
        Item-based: the penalty λ_f of the users' ridge regressions. None: chosen on the ratings
        held out for early stopping, or 1000 if there are none.
    lr : float, default=1e-3
        Learning rate.
    max_epochs : int, default=200
        Maximum number of passes over the data.
    batch_size : int, default=128
        Users (items) per update.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=500.0
        Penalty on the weights: l2/2 · Σ‖W‖², added to the sum of squared errors over all observed
        ratings.
    early_stopping : bool, default=True
        Whether to stop when the loss on held-out ratings stops falling, and keep the best weights.
    validation_fraction : float, default=0.1
        The share of the ratings held out for that.
    n_iter_no_change : int, default=10
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
        Seed of the held-out ratings, the weights, the dropout and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; item-based with the output rows of the training users.
    history_ : DataFrame
        The training curve; losses of ratings are on the scale of training, 1 to 5.
    rating_range_ : tuple of float
        The lowest and the highest training rating.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    user_features_ : ndarray of float32 of shape (n_users, n_user_features) or None
        The features of the training users, if any were passed.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    AutoRec : One hidden layer.

    Notes
    -----
    Item-based, users are predicted by the ridge regressions of the Notes of `AutoRec`, on the
    items' vectors in the last hidden layer. `fit` then sets `item_factors_`, these vectors, of
    shape (n_items, hidden_layer_sizes[0]), and `user_l2_`, the penalty.

    The paper takes an optimizer step for each pass of dense re-feeding. Here an update has one
    step, on the sum of the losses, so that any optimizer will do and the penalty counts once.

    References
    ----------
    .. [1] Oleksii Kuchaiev, Boris Ginsburg. "Training Deep AutoEncoders for Collaborative
       Filtering". 2017. https://arxiv.org/abs/1708.01715

    Examples
    --------
    Each group of users gives five stars to one group of items, and one star to the other:

    >>> import numpy as np
    >>> from sklearn_recsys import DeepAutoencoder
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = np.where(tastes, 5, 1) * (rng.random((80, 20)) < 0.6)
    >>> params = dict(hidden_layer_sizes=[20, 10], lr=0.01, max_epochs=40, random_state=0)
    >>> model = DeepAutoencoder(**params).fit(R)
    >>> new_user = [[5, 5, 5] + [0] * 14 + [1, 1, 1]]
    >>> np.flatnonzero(model.predict(new_user) > 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

    With numbers that describe the users:

    >>> ages = np.repeat([[-1], [1]], 40, axis=0)  # standardized
    >>> model = model.fit(R, user_features=ages)
    >>> sorted(model.recommend(new_user, n=7, user_features=[[-1]])[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    kind: str = "user"
    hidden_layer_sizes: Sequence[int] = (64, 64)
    _: KW_ONLY
    tied_weights: bool = False
    activation: str = "selu"
    output_activation: str = "identity"
    dropout: float = 0.5
    n_refeeds: int = 1
    batch_size: int = 128
    l2: float = 500.0

    _parameter_constraints = {
        **RatingAutoencoder._parameter_constraints,
        "hidden_layer_sizes": ["array-like"],
        "tied_weights": ["boolean"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "n_refeeds": [Interval(Integral, 0, None, closed="left")],
    }

    @property
    def _can_distribute(self):
        return not self.n_refeeds  # their error is multiplied by the ratings per row of a batch

    def _make_module(self, X):
        sizes = list(self.hidden_layer_sizes)
        if not sizes or not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                "hidden_layer_sizes must hold one or more integers above zero, such as (64, 64); "
                f"got {self.hidden_layer_sizes!r}."
            )
        return DeepAutoencoderModule(
            self._n_inputs(X),
            hidden_layer_sizes=sizes,
            activation=self.activation,
            output_activation=self.output_activation,
            dropout=self.dropout,
            tied_weights=self.tied_weights,
            n_refeeds=self.n_refeeds,
            n_features=0 if self.user_features_ is None else self.user_features_.shape[1],
        )

    def _prepare(self, X, resume):
        if self._item_based and self.user_features_ is not None:
            raise ValueError(
                "Item-based DeepAutoencoder reads the ratings of items: it takes no user_features. "
                "Use kind='user'."
            )
        super()._prepare(X, resume)

    def _make_datasets(self, train, valid):
        datasets = super()._make_datasets(train, valid)
        for dataset in datasets:
            if dataset is not None:
                dataset.features = self.user_features_
        return datasets

    @property
    def _output_activation(self):
        return self._fitted_param("output_activation")

    def _make_scale(self, X):
        reach = _REACH.get(self.output_activation)
        if reach is None:
            return super()._make_scale(X)
        return self._scale_to(*reach)
