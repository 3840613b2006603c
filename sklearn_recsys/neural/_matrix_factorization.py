"""MatrixFactorization: ratings as dot products of vectors of users and items, with biases.

Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 2009.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch

from sklearn_recsys.neural._base.biased_factors import BiasedFactorsMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.ridge_users import RidgeUsersMixin
from sklearn_recsys.neural._base.transductive_rating import TransductiveRatingRecommender
from sklearn_recsys.neural._nn.layers import ACTIVATIONS, split_biases
from sklearn_recsys.neural._nn.pair import DotProductModule
from sklearn_recsys.utils._sklearn import Interval

_USER_L2 = 50.0  # if no ratings are held out to choose it; for errors on a scale from 1 to 5


class MatrixFactorizationModule(DotProductModule):
    """The rating μ + b_u + b_i + q_i · p_u of eq. 4, or a sigmoid of it; the loss is that of eq. 5.

    Parameters
    ----------
    n_users, n_items : int
        Rows and columns of the training matrix.
    n_factors : int
        Length of p and q.
    l2 : float
        The penalty.
    dropout : float
        Share of a user's factors dropped while training.
    activation : str, default="identity"
        Applied to the score.
    unit : float, default=1.0
        The size of one unit, in ratings.
    intercept : float, default=0.0
        The constant added to the score.
    """

    def __init__(
        self,
        n_users,
        n_items,
        n_factors,
        l2,
        dropout,
        activation="identity",
        unit=1.0,
        intercept=0.0,
    ):
        super().__init__(n_users, n_items, n_factors, "mse", l2, dropout, unit)
        self.activation = activation
        self.intercept = intercept

    def score(self, u, v):
        """Return the scaled ratings of pairs of vectors, of shape (n_pairs,)."""
        return self._activated(super().score(u, v))

    def score_all(self, u):
        """Return the scaled ratings of all items, of shape (n_rows, n_items)."""
        return self._activated(super().score_all(u))

    def _activated(self, scores):
        return ACTIVATIONS[self.activation](scores + self.intercept)


@parameters
class MatrixFactorization(BiasedFactorsMixin, RidgeUsersMixin, TransductiveRatingRecommender):
    r"""Matrix factorization for ratings: dot products of users' and items' vectors, with biases.

    A rating is predicted by :math:`\mu + b_u + b_i + q_i \cdot p_u`, where :math:`\mu` is the mean
    of the ratings, and the squared error is minimized [1]_. To rank on implicit feedback, use
    `ImplicitMatrixFactorization`.

    Parameters
    ----------
    n_factors : int, default=128
        Length of the vectors p and q.
    rating_range : tuple of (float, float), default=None
        The lowest and the highest rating, in the unit of the data. Predictions then go through a
        sigmoid, scaled to this range and an eighth of it more on either side. None: no sigmoid.
    dropout : float, default=0.0
        Share of a user's factors that are dropped from an example while training.
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs.
    lr : float, default=0.003
        Learning rate.
    max_epochs : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Ratings per update. "auto": a hundredth of them, from 32 to 4096.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.22
        Penalty on the vectors that a rating touches: l2/2 · (‖u‖² + ‖v‖²), added to its squared
        error, so that frequent and rare users and items are shrunk equally.
    early_stopping : bool, default=True
        Whether to stop when the loss on held-out ratings stops falling, and keep the best weights.
    validation_fraction : float, default=0.05
        The share of the ratings held out for that.
    n_iter_no_change : int, default=5
        Epochs without an improvement before training stops.
    callbacks : list, default=None
        Callbacks of skorch.
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
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors p of the training users.
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors q.
    user_biases_, item_biases_ : ndarray of float32 of shape (n_users,), (n_items,)
        The biases, on the scale of training, 1 to 5.
    user_l2_ : float
        The penalty of the users' ridge regressions, chosen on the ratings held out for early
        stopping.
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve; losses of ratings are on the scale of training, 1 to 5.
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
    ImplicitMatrixFactorization : The same scores, trained to rank on implicit feedback.
    EmbeddingNet : A multilayer perceptron in place of the dot product.
    AutoRec : An autoencoder on ratings.

    Notes
    -----
    A user's p and b_u have an exact solution, given the items' vectors: a ridge regression on their
    ratings, shrunk to the mean of the trained users by their covariance, as in the Notes of
    `AutoRec`. `fit` ends with it, and all predictions use it, for training users and new users
    alike.

    References
    ----------
    .. [1] Yehuda Koren, Robert Bell, Chris Volinsky. "Matrix Factorization Techniques for
       Recommender Systems". Computer 42 (8), 2009, eq. 4 and 5.

    Examples
    --------
    >>> from sklearn_recsys import MatrixFactorization
    >>> from sklearn_recsys.datasets import make_ratings
    >>> R = make_ratings(60, 40, density=0.3, random_state=0)
    >>> model = MatrixFactorization(n_factors=8, max_epochs=20, random_state=0).fit(R[:50])
    >>> model.predict(R[50:]).shape  # new users
    (10, 40)
    """

    n_factors: int = 128
    _: KW_ONLY
    rating_range: tuple[float, float] | None = None
    dropout: float = 0.0
    lr: float = 0.003
    l2: float = 0.22
    validation_fraction: float = 0.05

    _parameter_constraints = {
        **TransductiveRatingRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "rating_range": [tuple, list, None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    @property
    def _output_activation(self):
        return "identity" if self._fitted_param("rating_range") is None else "sigmoid"

    # ---------------------------------------------------------------- training

    def _fitted_state(self):
        return {**super()._fitted_state(), **self._ridge_state()}

    def _make_module(self, X):
        return MatrixFactorizationModule(
            *X.shape,
            n_factors=self.n_factors,
            l2=self.l2,
            dropout=self.dropout,
            activation=self._output_activation,
            unit=self._scale_[1],
            intercept=self._intercept_,
        )

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        self._set_scale(X, self._fitted_param("rating_range"), resume)

    def _finish(self, X, split):
        super()._finish(X, split)
        module = self.net_.module_
        trained = module.user_vectors.detach().cpu().numpy().astype(np.float64)
        self._set_ridge(trained, module.intercept, split)
        self.user_factors_, self.user_biases_ = split_biases(self._solved(X))

    def _set_ridge(self, trained_users, intercept, split):
        """Set up the users' ridge regressions, with the best penalty on held-out ratings."""
        self._set_prior(trained_users)
        codes = self.item_factors_.astype(np.float64)
        offsets = self.item_biases_ + np.float64(intercept)
        self.user_l2_ = _USER_L2 / self._scale_[1] ** 2
        train, valid = split
        if valid is not None:
            self.user_l2_ = self._best_penalty(train, valid, codes, offsets)
        self._set_item_side(codes, self.user_l2_, offsets)

    # ---------------------------------------------------------------- users

    @property
    def _penalties(self):
        return np.geomspace(0.5, 2000, 13) / self._scale_[1] ** 2  # for errors in scaled units

    def _solved(self, X):
        """Return the solutions of the users' ridge regressions, in float64."""
        deviations = self._user_rows(X) @ self._root_.T * np.sqrt(2 / self.user_l2_)
        return self._mean_row_ + deviations

    def _vectors(self, X):
        return torch.from_numpy(self._solved(X).astype(np.float32)).to(self.net_.device)

    # ---------------------------------------------------------------- scores

    def _score_items(self, X):
        return self._ridge_items(X)

    def _score_pairs(self, X, rows, items):
        return self._ridge_pairs(X, rows, items)
