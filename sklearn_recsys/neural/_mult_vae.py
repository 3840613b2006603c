"""MultVAE and MultDAE: autoencoders with a multinomial likelihood.

Liang, Krishnan, Hoffman and Jebara, "Variational Autoencoders for Collaborative Filtering",
WWW 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from numbers import Integral, Real

from sklearn_recsys.neural._base.inductive import InductiveRanker
from sklearn_recsys.neural._base.onnx import NetOnnxMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._nn.layers import (
    ACTIVATIONS,
    Annealed,
    RowEncoder,
    check_layer_sizes,
    dense_layers,
)
from sklearn_recsys.neural._nn.losses import (
    divergence_from_normal,
    multinomial_loss,
    sample_codes,
)
from sklearn_recsys.neural._nn.ranking import RankingModule
from sklearn_recsys.utils._sklearn import Interval, StrOptions


class MultDAEModule(RankingModule):
    """A denoising autoencoder: code and decoder f(g(x)), a softmax over the items.

    Parameters
    ----------
    n_items : int
        Length of a row.
    hidden_layer_sizes : sequence of int
        Widths between the row and the code; the decoder mirrors them.
    n_factors : int
        Width of the code.
    activation : str
        Activation of all layers except the last one.
    dropout : float
        Share of the interactions dropped while training.
    n_codes : int, default=1
        Number of vectors of length `n_factors` that the encoder returns for a row.
    """

    def __init__(self, n_items, hidden_layer_sizes, n_factors, activation, dropout, n_codes=1):
        super().__init__()
        sizes = [*hidden_layer_sizes, n_factors]
        self.activation = activation
        self.encoder = RowEncoder(
            n_items, [*hidden_layer_sizes, n_codes * n_factors], activation, dropout
        )
        self.decoder = dense_layers([*sizes[::-1], n_items])

    def encode(self, rows):
        """Return the codes, of shape (n_rows, n_factors)."""
        return ACTIVATIONS[self.activation](self.encoder(rows))

    def decode(self, codes):
        """Return the logits, of shape (n_rows, n_items)."""
        *hidden, last = self.decoder
        for layer in hidden:
            codes = ACTIVATIONS[self.activation](layer(codes))
        return last(codes)

    def forward(self, rows):
        """Return the logits, of shape (n_rows, n_items)."""
        return self.decode(self.encode(rows))

    def loss(self, inputs, targets):
        """Return the negative log-likelihood per row."""
        return multinomial_loss(targets, self(inputs))


class MultVAEModule(Annealed, MultDAEModule):
    """A variational autoencoder: the code is Gaussian, and predictions use its mean.

    Parameters
    ----------
    n_items, hidden_layer_sizes, n_factors, activation, dropout
        See `MultDAEModule`.
    anneal_cap : float
        The largest weight of the Kullback-Leibler divergence.
    anneal_epochs : int
        Epochs in which the weight grows to `anneal_cap`.
    """

    def __init__(
        self,
        n_items,
        hidden_layer_sizes,
        n_factors,
        activation,
        dropout,
        anneal_cap,
        anneal_epochs,
    ):
        super().__init__(n_items, hidden_layer_sizes, n_factors, activation, dropout, n_codes=2)
        self.anneal_cap = anneal_cap
        self.anneal_epochs = anneal_epochs
        self.beta = anneal_cap

    def encode(self, rows):
        """Return the means of the codes, of shape (n_rows, n_factors)."""
        return self.encoder(rows).chunk(2, dim=1)[0]

    def loss(self, inputs, targets):
        """Return the negative evidence lower bound per row, with β."""
        means, log_variances = self.encoder(inputs).chunk(2, dim=1)
        codes = sample_codes(means, log_variances)
        divergence = divergence_from_normal(means, log_variances)
        loss = multinomial_loss(targets, self.decode(codes))
        return loss + self.beta * divergence / len(targets)


@parameters
class MultDAE(NetOnnxMixin, InductiveRanker):
    """MultDAE, a denoising autoencoder with a multinomial likelihood.

    A user's row, scaled to a norm of one and corrupted by dropout, is encoded and decoded to a
    distribution over the items [1]_.

    Parameters
    ----------
    n_factors : int, default=200
        Width of the code.
    hidden_layer_sizes : sequence of int, default=()
        Widths of the layers between the row and the code; the decoder mirrors them.
    activation : str, default="tanh"
        Activation of all layers except the last one: ``"identity"``, ``"sigmoid"``, ``"tanh"``,
        ``"relu"``, ``"relu6"``, ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"swish"`` or
        ``"softplus"``.
    dropout : float, default=0.5
        Share of the interactions dropped while training.
    lr : float, default=1e-3
        Learning rate.
    max_epochs : int, default=200
        Maximum number of passes over the data.
    batch_size : int, default=500
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
    n_iter_no_change : int, default=20
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
        Seed of the held-out users, the weights, the dropout and the batches.
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
    MultVAE : The variational form.

    References
    ----------
    .. [1] Dawen Liang, Rahul G. Krishnan, Matthew D. Hoffman, Tony Jebara. "Variational
       Autoencoders for Collaborative Filtering". WWW 2018.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import MultDAE
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = tastes * (rng.random((80, 20)) < 0.6)
    >>> model = MultDAE(n_factors=20, lr=0.01, random_state=0).fit(R)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 200
    hidden_layer_sizes: Sequence[int] = ()
    _: KW_ONLY
    activation: str = "tanh"
    dropout: float = 0.5
    n_iter_no_change: int = 20

    _can_distribute = True

    _parameter_constraints = {
        **InductiveRanker._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def _make_module(self, X):
        return MultDAEModule(
            X.shape[1],
            hidden_layer_sizes=check_layer_sizes(self.hidden_layer_sizes),
            n_factors=self.n_factors,
            activation=self.activation,
            dropout=self.dropout,
        )


@parameters
class MultVAE(NetOnnxMixin, InductiveRanker):
    """MultVAE, a variational autoencoder with a multinomial likelihood.

    A user's row, scaled to a norm of one and corrupted by dropout, is encoded to the mean and the
    variance of a Gaussian code, and a sample of the code is decoded to a distribution over the
    items. Predictions come from the mean [1]_.

    Parameters
    ----------
    n_factors : int, default=200
        Width of the code.
    hidden_layer_sizes : sequence of int, default=()
        Widths of the layers between the row and the code; the decoder mirrors them. The paper uses
        ``(600,)`` for MovieLens-20M; on MovieLens-1M no hidden layer is better.
    activation : str, default="tanh"
        Activation of all hidden layers: ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``,
        ``"relu6"``, ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"swish"`` or ``"softplus"``.
    dropout : float, default=0.5
        Share of the interactions dropped while training.
    anneal_cap : float, default=0.05
        The largest β, the weight of the Kullback-Leibler divergence. The paper uses 0.2.
    anneal_epochs : int, default=100
        Epochs in which β grows from zero to `anneal_cap`.
    lr : float, default=1e-3
        Learning rate.
    max_epochs : int, default=300
        Maximum number of passes over the data.
    batch_size : int, default=500
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
    n_iter_no_change : int, default=20
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
    MultDAE : Without the variance.
    RecVAE : With a composite prior.

    References
    ----------
    .. [1] Dawen Liang, Rahul G. Krishnan, Matthew D. Hoffman, Tony Jebara. "Variational
       Autoencoders for Collaborative Filtering". WWW 2018.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import MultVAE
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = tastes * (rng.random((80, 20)) < 0.6)
    >>> model = MultVAE(n_factors=10, lr=0.01, random_state=0).fit(R)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 200
    hidden_layer_sizes: Sequence[int] = ()
    _: KW_ONLY
    activation: str = "tanh"
    dropout: float = 0.5
    anneal_cap: float = 0.05
    anneal_epochs: int = 100
    max_epochs: int = 300
    n_iter_no_change: int = 20

    _can_distribute = True

    _parameter_constraints = {
        **MultDAE._parameter_constraints,
        "anneal_cap": [Interval(Real, 0, None, closed="left")],
        "anneal_epochs": [Interval(Integral, 1, None, closed="left")],
    }

    def _make_module(self, X):
        return MultVAEModule(
            X.shape[1],
            hidden_layer_sizes=check_layer_sizes(self.hidden_layer_sizes),
            n_factors=self.n_factors,
            activation=self.activation,
            dropout=self.dropout,
            anneal_cap=self.anneal_cap,
            anneal_epochs=self.anneal_epochs,
        )
