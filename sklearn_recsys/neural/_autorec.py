"""AutoRec: an autoencoder on the observed ratings of an item or a user.

Sedhain, Menon, Sanner and Xie, "AutoRec: Autoencoders Meet Collaborative Filtering", WWW 2015.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral

import torch
from torch import nn

from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.rating_autoencoder import RatingAutoencoder
from sklearn_recsys.neural._nn.layers import ACTIVATIONS
from sklearn_recsys.neural._nn.rating import RatingModule
from sklearn_recsys.utils._sklearn import Interval, StrOptions


class AutoRecModule(RatingModule):
    """Encoder and decoder of eq. 1, h(r) = f(W g(V r + μ) + b).

    Parameters
    ----------
    n_inputs : int
        Length of an input vector.
    n_factors : int
        Number of hidden units.
    encoder_activation, decoder_activation : str
        g and f.
    """

    def __init__(self, n_inputs, n_factors, encoder_activation, decoder_activation):
        super().__init__(decoder_activation)
        self.encoder_activation = encoder_activation
        self.V = nn.Parameter(torch.empty(n_inputs, n_factors))
        self.mu = nn.Parameter(torch.zeros(n_factors))
        self.W = nn.Parameter(torch.empty(n_inputs, n_factors))
        self.b = nn.Parameter(torch.zeros(n_inputs))
        nn.init.xavier_uniform_(self.V)
        nn.init.xavier_uniform_(self.W)

    def hidden(self, rows):
        """Return the codes g(V r + μ), of shape (n_rows, n_factors)."""
        return ACTIVATIONS[self.encoder_activation](rows.matmul(self.V) + self.mu)

    def output_layer(self):
        """Return the decoder, W and b."""
        return self.W, self.b


@parameters
class AutoRec(RatingAutoencoder):
    r"""AutoRec, an autoencoder with one hidden layer on observed ratings.

    Item-based, an item's vector of ratings by the training users is encoded and reconstructed;
    user-based, a user's vector of ratings of items. Only observed ratings count in the loss [1]_.

    Parameters
    ----------
    kind : {"item", "user"}, default="item"
        I-AutoRec, the more accurate one, or U-AutoRec.
    n_factors : int, default=500
        Number of hidden units.
    encoder_activation : str, default="sigmoid"
        The function g in eq. 1: ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"relu6"``,
        ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"swish"`` or ``"softplus"``.
    decoder_activation : str, default="identity"
        The function f in eq. 1, from the same names. With ``"sigmoid"`` ratings are scaled to
        [0, 1].
    cold_value : {"midpoint", "mean"} or float, default="midpoint"
        The prediction for items without a training rating: the middle of the rating range (the
        paper's 3), the mean rating, or a rating.
    user_l2 : float, default=None
        Item-based: the penalty λ_f of the users' ridge regressions. None: chosen on the ratings
        held out for early stopping, or 1000 if there are none.
    lr : float, default=1e-3
        Learning rate. ``optimizer="lbfgs"`` ignores it: a line search finds its steps.
    max_epochs : int, default=200
        Maximum number of passes over the data.
    batch_size : int, default=512
        Items (users) per update.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`; ``"lbfgs"`` uses all rows at once, and an epoch is
        20 of its iterations.
    l2 : float, default=50.0
        The penalty λ of eq. 2 on both weight matrices: λ/2 · (‖W‖² + ‖V‖²), added to the sum of
        squared errors over all observed ratings.
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
        Seed of the held-out ratings, the weights and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; item-based with the decoder's rows of the training users.
    history_ : DataFrame
        The training curve; losses of ratings are on the scale of training, 1 to 5.
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        Item-based: the codes z = g(V r + μ) of the items.
    user_l2_ : float
        Item-based: the penalty λ_f of the users' ridge regressions.
    rating_range_ : tuple of float
        The lowest and the highest training rating.
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
    DeepAutoencoder : Any number of hidden layers, and dense re-feeding.
    MatrixFactorization : Ratings by dot products and biases.
    sklearn_recsys.dummy.BiasRecommender : The baseline for ratings.

    Notes
    -----
    Ratings are mapped so that those of training range from 1 to 5, and predictions are mapped back:
    :math:`\lambda`, the learning rate and ``user_l2`` mean the same in every unit. All rating
    models on torch do so.

    An item's input has an entry for each training user, and none for a new user. But given the
    codes z_i, eq. 2 is a ridge regression for each user's row of the decoder,

    .. math:: v_u = \arg\min_v \sum_i (r_{ui} - v \cdot (z_i, 1))^2
              + \tfrac{\lambda_f}{2} (v - \bar v)^\top \Sigma^{-1} (v - \bar v),

    where :math:`v = (w, b)`. The mean :math:`\bar v` and the covariance :math:`\Sigma` of the
    trained decoder's rows are a prior for users; :math:`\Sigma` is scaled to a mean variance of
    one, and half of it is the identity. A decoder activation other than the identity is replaced by
    its tangent at the outputs of :math:`\bar v`. This holds for training users and new users alike:
    predictions for a user depend on the user's ratings alone.

    References
    ----------
    .. [1] Suvash Sedhain, Aditya Krishna Menon, Scott Sanner, Lexing Xie. "AutoRec: Autoencoders
       Meet Collaborative Filtering". WWW 2015.

    Examples
    --------
    Each group of users gives five stars to one group of items, and one star to the other:

    >>> import numpy as np
    >>> from sklearn_recsys import AutoRec
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = np.where(tastes, 5, 1) * (rng.random((80, 20)) < 0.6)
    >>> model = AutoRec(n_factors=20, max_epochs=50, random_state=0).fit(R)
    >>> new_user = [[5, 5, 5] + [0] * 14 + [1, 1, 1]]
    >>> np.flatnonzero(model.predict(new_user) > 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    kind: str = "item"
    n_factors: int = 500
    _: KW_ONLY
    encoder_activation: str = "sigmoid"
    decoder_activation: str = "identity"
    batch_size: int = 512
    l2: float = 50.0

    _can_distribute = True

    _parameter_constraints = {
        **RatingAutoencoder._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "encoder_activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_activation": [StrOptions(set(ACTIVATIONS))],
    }

    def _make_module(self, X):
        return AutoRecModule(
            self._n_inputs(X),
            n_factors=self.n_factors,
            encoder_activation=self.encoder_activation,
            decoder_activation=self.decoder_activation,
        )

    @property
    def _output_activation(self):
        return self._fitted_param("decoder_activation")
