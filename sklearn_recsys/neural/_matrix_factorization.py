"""MatrixFactorization: ratings as dot products of vectors of users and items, with biases.

Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 2009;
Koren, "Factorization meets the neighborhood: a multifaceted collaborative filtering model", KDD
2008 (SVD++).
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from torch.nn.functional import pad

from sklearn_recsys.neural._base.biased_factors import BiasedFactorsMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.ridge_users import RidgeUsersMixin
from sklearn_recsys.neural._base.transductive_rating import TransductiveRatingRecommender
from sklearn_recsys.neural._data.pair_batches import HistoryPairBatches
from sklearn_recsys.neural._nn.layers import ACTIVATIONS, split_biases
from sklearn_recsys.neural._nn.pair import DotProductModule
from sklearn_recsys.utils._cells import support
from sklearn_recsys.utils._neighbors import unit_rows
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Array, Number

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
    implicit_step : float, default=None
        The size of a step of the vectors y of SVD++'s implicit term, relative to that of the other
        vectors. None: no implicit term.
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
        implicit_step=None,
    ):
        super().__init__(n_users, n_items, n_factors, "mse", l2, dropout, unit)
        self.activation = activation
        self.intercept = intercept
        self.implicit_step = implicit_step
        if implicit_step is not None:
            self.implicit_vectors = torch.nn.Parameter(torch.zeros(n_items, n_factors))

    def loss(self, users, items, targets, positions=None, histories=None):
        """Return the mean loss of examples; in evaluation mode without the penalty.

        Parameters
        ----------
        users, items, targets : Tensor of shape (n_examples,)
            See `PairModule`.
        positions : Tensor of int64 of shape (n_examples,), default=None
            The row of each example's user in `histories`.
        histories : SparseRows, default=None
            The items that these users rated, rows of unit norm. None: no implicit term.

        Returns
        -------
        loss : Tensor
            A scalar.
        """
        if histories is None:
            return super().loss(users, items, targets)
        own = self.user_vectors.index_select(0, users)
        implicit = pad(histories.matmul(self.implicit_factors), (0, 1))  # no part in the bias
        implicit = implicit.index_select(0, positions)
        losses, penalties = self.losses(own + implicit, items, targets)
        if not self.training:
            return losses.mean()
        # the penalty of the two parts instead of that of their sum
        squares = -2 * (own * implicit).sum(dim=1)
        return (losses + penalties + self.l2 / 2 * squares).mean()

    @property
    def implicit_factors(self):
        """The vectors y, of shape (n_items, n_factors)."""
        return self.implicit_step * self.implicit_vectors

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
    implicit : bool, default=False
        Whether the user's vector has a part that says which items they rated, whatever the ratings:
        :math:`|N(u)|^{-1/2} \sum_{j \in N(u)} y_j` (SVD++ [2]_). More accurate; an epoch takes
        longer.
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
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors p of the training users; with `implicit` their sum with the implicit part.
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors q.
    implicit_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors y. Only with `implicit`.
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
    alike. With `implicit`, p is shrunk to this mean plus the implicit part, which the items of the
    history determine.

    While training with `implicit`, the penalty of a rating is l2/2 · (‖p‖² + ‖z‖² + ‖q‖²) and of
    the biases, where z is the implicit part; the vectors y have none of their own.

    References
    ----------
    .. [1] Yehuda Koren, Robert Bell, Chris Volinsky. "Matrix Factorization Techniques for
       Recommender Systems". Computer 42 (8), 2009, eq. 4 and 5.
    .. [2] Yehuda Koren. "Factorization meets the neighborhood: a multifaceted collaborative
       filtering model". KDD 2008, eq. 15.

    Examples
    --------
    Each group of users gives five stars to one group of items, and one star to the other:

    >>> import numpy as np
    >>> from sklearn_recsys import MatrixFactorization
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = np.where(tastes, 5, 1) * (rng.random((80, 20)) < 0.6)
    >>> model = MatrixFactorization(n_factors=8, max_epochs=20, random_state=0).fit(R)
    >>> new_user = [[5, 5, 5] + [0] * 14 + [1, 1, 1]]
    >>> np.flatnonzero(model.predict(new_user) > 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 128
    _: KW_ONLY
    rating_range: tuple[float, float] | None = None
    dropout: float = 0.0
    implicit: bool = False
    lr: float = 0.003
    l2: float = 0.22
    validation_fraction: float = 0.05

    _parameter_constraints = {
        **TransductiveRatingRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "rating_range": [tuple, list, None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "implicit": ["boolean"],
    }

    @property
    def _can_distribute(self):
        return not self._implicit

    @property
    def _output_activation(self):
        return "identity" if self._fitted_param("rating_range") is None else "sigmoid"

    @property
    def _implicit(self):
        return self._fitted_param("implicit")

    # ---------------------------------------------------------------- training

    @property
    def _batches(self):
        return HistoryPairBatches if self._implicit else super()._batches

    @property
    def _valid_batches(self):
        return HistoryPairBatches if self._implicit else super()._valid_batches

    def _fitted_state(self):
        rules = {**super()._fitted_state(), **self._ridge_state()}
        if self._implicit:
            rules["_implicit_step_"] = Number(low=np.nextafter(0, 1))
            rules["implicit_factors_"] = Array("n_items", "n_factors")
            rules["_implicit_features_"] = Array("n_items", "n_weights")
        return rules

    def _make_module(self, X):
        return MatrixFactorizationModule(
            *X.shape,
            n_factors=self.n_factors,
            l2=self.l2,
            dropout=self.dropout,
            activation=self._output_activation,
            unit=self._scale_[1],
            intercept=self._intercept_,
            implicit_step=self._implicit_step_ if self._implicit else None,
        )

    def _make_datasets(self, train, valid):
        datasets = super()._make_datasets(train, valid)
        if self._implicit:
            for dataset in datasets:
                if dataset is not None:
                    dataset.histories = unit_rows(support(train))  # nothing that is held out
        return datasets

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        self._set_scale(X, self._fitted_param("rating_range"), resume)
        if self._implicit and not resume:
            # a user's part is a sum of many vectors y that move at once: it should move like p
            self._implicit_step_ = float(np.sqrt(np.count_nonzero(np.diff(X.indptr)) / X.nnz))
        if self._implicit and resume:  # the vectors that the users start from include this part
            users = self.net_.module_.user_vectors
            implicit = unit_rows(support(X)) @ self.implicit_factors_
            users.data[:, :-1] -= torch.from_numpy(implicit).to(users)

    def _finish(self, X, split):
        super()._finish(X, split)
        module = self.net_.module_
        trained = module.user_vectors.detach().cpu().numpy().astype(np.float64)
        if self._implicit:
            self.implicit_factors_ = module.implicit_factors.detach().cpu().numpy()
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

    def _set_item_side(self, codes, penalty, offsets=0.0):
        super()._set_item_side(codes, penalty, offsets)
        if self._implicit:
            vectors = np.pad(self.implicit_factors_.astype(np.float64), ((0, 0), (0, 1)))
            in_basis = np.linalg.solve(self._root_, vectors.T).T
            self._implicit_features_ = in_basis * np.sqrt(penalty / 2)

    # ---------------------------------------------------------------- users

    @property
    def _penalties(self):
        return np.geomspace(0.5, 2000, 13) / self._scale_[1] ** 2  # for errors in scaled units

    def _shifts(self, X):
        return unit_rows(support(X)) @ self._implicit_features_ if self._implicit else None

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

    def _score_vectors(self, histories):
        offset, scale = self._scale_
        item_biases = offset + scale * self._base_
        return self._user_rows(histories.X), scale * self._features_, 0.0, item_biases
