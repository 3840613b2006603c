"""MatrixFactorization: dot products of vectors of users and items, with biases.

Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 2009;
Rendle, Krichene, Zhang and Anderson, "Neural Collaborative Filtering vs. Matrix Factorization
Revisited", RecSys 2020; Rendle, Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian
Personalized Ranking from Implicit Feedback", UAI 2009.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch.nn.functional import softplus

from sklearn_recsys.base import FactorsMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import LEARNING_RATES, PENALTIES
from sklearn_recsys.neural._base.ridge_users import RidgeUsersMixin
from sklearn_recsys.neural._base.transductive import TransductiveRecommender
from sklearn_recsys.neural._data.pair_batches import PairBatches
from sklearn_recsys.neural._data.random import dropout
from sklearn_recsys.neural._data.row_batches import RowBatches, RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.neural._nn.layers import ACTIVATIONS, split_biases
from sklearn_recsys.neural._nn.pair import PairModule, normal_vectors
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Array

_FOLD_IN_CELLS = 2**22  # scores of new users that are held at once
_USER_L2 = 50.0  # where no ratings are held out to choose it on; of errors on 1 to 5


class MatrixFactorizationModule(PairModule):
    """The score b + b_u + b_i + p_u · q_i; a vector is the factors and, at its end, the bias.

    Parameters
    ----------
    n_users, n_items : int
        Rows and columns of the training matrix.
    n_factors : int
        Length of p and q.
    objective : {"mse", "logistic", "bpr"}
        The loss.
    l2 : float
        The penalty.
    dropout : float
        Share of a user's factors dropped while training.
    n_negatives : int
        What the weight of items without an interaction is, in the loss over whole rows.
    activation : str, default="identity"
        After the score, in ``"mse"``.
    unit : float, default=1.0
        What one is in ratings.
    intercept : float, default=0.0
        The constant b.
    """

    def __init__(
        self,
        n_users,
        n_items,
        n_factors,
        objective,
        l2,
        dropout,
        n_negatives,
        activation="identity",
        unit=1.0,
        intercept=0.0,
    ):
        vectors = [normal_vectors(n, n_factors + 1) for n in (n_users, n_items)]
        for vector in vectors:
            vector[:, -1] = 0
        super().__init__(*vectors, objective, l2, unit)
        self.dropout = dropout
        self.n_negatives = n_negatives
        self.activation = activation
        self.intercept = intercept

    def _factors(self, u):
        return dropout(u[:, :-1], self.dropout, self.training)

    def score(self, u, v):
        """Return the scores of pairs of vectors, of shape (n_pairs,)."""
        products = (self._factors(u) * v[:, :-1]).sum(dim=1)
        return self._activated(products + u[:, -1] + v[:, -1])

    def grid(self, u):
        """Return the scores of users' vectors with all items, of shape (n_rows, n_items)."""
        products = torch.addmm(
            self.item_vectors[:, -1], self._factors(u), self.item_vectors[:, :-1].T
        )
        return self._activated(products + u[:, -1:])

    def _activated(self, scores):
        return ACTIVATIONS[self.activation](scores + self.intercept)

    def loss(self, *batch):
        """Return the mean loss of examples, or of all items for each of some rows."""
        if len(batch) == 3:
            return super().loss(*batch)
        rows, _ = batch
        losses, penalties, weights = self.row_losses(self.user_vectors[rows.numbers], rows)
        return (losses + penalties).sum() / weights.sum()

    def row_losses(self, u, rows):
        """Return each row's logistic loss over all items, its penalty and its sum of weights.

        An item with an interaction weighs 1; the others of a row together as much as `n_negatives`
        drawn ones for each interaction.
        """
        lengths = rows.indptr.diff()
        free = rows.shape[1] - lengths
        weights = self.n_negatives * lengths / free.clamp(min=1) * (free > 0)  # of a free item
        scores, owners = self.grid(u), rows.rows
        positives = scores[owners, rows.indices]
        squares = self.item_vectors.square().sum(dim=1)

        def over_row(of_all, of_positives, of_negatives):
            sums = weights * of_all
            changes = of_positives - weights[owners] * of_negatives
            return sums.index_add(0, owners, changes.to(sums.dtype))

        losses = over_row(softplus(scores).sum(dim=1), softplus(-positives), softplus(positives))
        touched = squares.index_select(0, rows.indices)  # its gradient has one order of sums
        item_squares = over_row(squares.sum(), touched, touched)
        totals = lengths + weights * free
        return losses, self.l2 / 2 * (totals * u.square().sum(dim=1) + item_squares), totals


@parameters
class MatrixFactorization(FactorsMixin, RidgeUsersMixin, TransductiveRecommender):
    r"""Matrix factorization: dot products of users' and items' vectors, with biases.

    The score of an item for a user is :math:`b_u + b_i + p_u \cdot q_i`. On ratings it is added to
    their mean [1]_; on interactions it ranks, by a logistic loss with negatives [2]_ or by pairs
    [3]_.

    Parameters
    ----------
    n_factors : int, default=128
        Length of the vectors p and q.
    loss : {"mse", "logistic", "bpr"}, default="mse"
        Squared error of ratings; logistic loss of interactions (``x > 0``) against negatives; or
        the logistic loss of the difference to a negative.
    rating_range : tuple of (float, float), default=None
        With ``"mse"``: the lowest and the highest rating, in the unit of the data. Scores then go
        through a sigmoid, scaled to this range and an eighth of it more on either side. None: they
        are as they are.
    negatives : {"all", "sampled"}, default="all"
        With ``"logistic"``: all items that a user has no interaction with, weighing together as
        much as `n_negatives` sampled ones for each interaction; or those, sampled again in each
        epoch. The first is the expectation of the second, at the cost of users × items × factors,
        which is quick for catalogs of some ten thousand items. ``"bpr"`` always samples.
    n_negatives : int, default=4
        Negatives for each interaction.
    dropout : float, default=0.0
        Share of a user's factors that are dropped from an example while training.
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to nothing over all epochs.
    lr : float, default=None
        Learning rate. None: 0.01, and 0.003 with ``"mse"``.
    max_epochs : int, default=100
        Passes over the data at most.
    batch_size : int or "auto", default="auto"
        Examples per update; users, where all items are negatives. "auto": a hundredth of the
        interactions, from 32 to 4096 examples; a twelfth of the users, at most 512.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=None
        Penalty on the vectors that an example touches: l2/2 · (‖u‖² + ‖v‖²), added to its loss, so
        that frequent users and items are held by it as much as rare ones. None: 0.01, and 0.22
        with ``"mse"``.
    early_stopping : bool, default=True
        Whether to stop when what is held out is no longer predicted better, and keep the best
        weights.
    validation_fraction : float, default=0.05
        The share of the ratings held out for that; with other losses of the interactions, at the
        most one of a user and 10,000, which NDCG@10 ranks among 99 drawn items.
    n_iter_no_change : int, default=5
        Epochs without an improvement before training stops.
    callbacks : list, default=None
        Callbacks of skorch.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, which takes a GPU if there is
        one.
    random_state : int, RandomState instance or None, default=None
        Seed of what is held out, the weights, the negatives and the batches.
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
        The biases; with ``"mse"`` on the scale that is trained on, 1 to 5.
    user_l2_ : float
        With ``"mse"``: the penalty of the users' ridge regressions, chosen on the ratings held out
        for early stopping.
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve; losses of ratings are on the scale that is trained on, 1 to 5.
    rating_range_ : tuple of float
        With ``"mse"``: the lowest and the highest training rating.
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
    ALS : Squared loss over all items, solved in turns; no learning rate.
    NCF : A multilayer perceptron in place of the dot product, or in addition to it.
    EmbeddingNet : A multilayer perceptron on ratings.

    Notes
    -----
    With ``"mse"`` a user's p and b_u have an exact solution, given the items' vectors: a ridge
    regression on their ratings, shrunk to the mean of the trained users by their covariance, as in
    the Notes of `AutoRec`. `fit` ends with it, and everyone is answered by it, known or new.

    With the other losses, a row that is a training row takes the user's trained vector. Any other
    row is folded in by 50 steps of Adam on the user's vector alone, in float64, with negatives that
    follow from the row's content.

    References
    ----------
    .. [1] Yehuda Koren, Robert Bell, Chris Volinsky. "Matrix Factorization Techniques for
       Recommender Systems". Computer 42 (8), 2009, eq. 4 and 5.
    .. [2] Steffen Rendle, Walid Krichene, Li Zhang, John Anderson. "Neural Collaborative Filtering
       vs. Matrix Factorization Revisited". RecSys 2020, section 4.
    .. [3] Steffen Rendle, Christoph Freudenthaler, Zeno Gantner, Lars Schmidt-Thieme. "BPR:
       Bayesian Personalized Ranking from Implicit Feedback". UAI 2009, section 4.

    Examples
    --------
    >>> from sklearn_recsys import MatrixFactorization
    >>> from sklearn_recsys.datasets import make_interactions, make_ratings
    >>> R = make_ratings(60, 40, density=0.3, random_state=0)
    >>> model = MatrixFactorization(n_factors=8, max_epochs=20, random_state=0).fit(R[:50])
    >>> model.predict(R[50:]).shape  # new users
    (10, 40)
    >>> X = make_interactions(60, 40, random_state=0)
    >>> ranker = MatrixFactorization(8, loss="logistic", max_epochs=20, random_state=0).fit(X)
    >>> ranker.recommend([0, 1], n=3).shape
    (2, 3)
    """

    n_factors: int = 128
    _: KW_ONLY
    loss: str = "mse"
    rating_range: tuple[float, float] | None = None
    negatives: str = "all"
    n_negatives: int = 4
    dropout: float = 0.0
    lr: float | None = None
    l2: float | None = None
    validation_fraction: float = 0.05

    _parameter_constraints = {
        **TransductiveRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"mse", "logistic", "bpr"})],
        "rating_range": [tuple, list, None],
        "negatives": [StrOptions({"all", "sampled"})],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "lr": [LEARNING_RATES, None],
        "l2": [PENALTIES, None],
    }

    @property
    def _objective(self):
        return self.loss

    @property
    def _on_rows(self):
        return self.loss == "logistic" and self.negatives == "all"

    @property
    def _batches(self):
        return RowBatches if self._on_rows else PairBatches

    @property
    def _output_activation(self):
        return "identity" if self.rating_range is None else "sigmoid"

    def _learning_rate(self):
        if self.lr is None:
            return 0.003 if self._on_ratings else 0.01
        return self.lr

    def _auto_batch(self, n_rows):
        if self._on_rows:
            n_batches = max(12, -(-n_rows // 512))
            return -(-n_rows // n_batches)  # of one size: a few users alone would make a wild step
        return super()._auto_batch(n_rows)

    # ---------------------------------------------------------------- training

    def _fitted_state(self):
        biases = {"item_biases_": Array("n_items"), "user_biases_": Array("n_users")}
        ridge = self._ridge_state() if self._on_ratings else {}
        return {**super()._fitted_state(), **biases, **ridge}

    def _make_module(self, X):
        l2, ratings = self.l2, {}
        if l2 is None:
            l2 = 0.22 if self._on_ratings else 0.01
        if self._on_ratings:
            ratings = {
                "activation": self._output_activation,
                "unit": self._scale_[1],
                "intercept": self._intercept_,
            }
        return MatrixFactorizationModule(
            *X.shape,
            n_factors=self.n_factors,
            objective=self.loss,
            l2=l2,
            dropout=self.dropout,
            n_negatives=self.n_negatives,
            **ratings,
        )

    def _examples(self, X):
        if self._on_rows:
            return RowDataset.of_filled_rows(X)
        return super()._examples(X)

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        if self._on_ratings:
            self._set_scale(X, self.rating_range, resume)

    def _finish(self, X, split):
        super()._finish(X, split)
        module = self.net_.module_
        users, items = (
            vectors.detach().cpu().numpy() for vectors in (module.user_vectors, module.item_vectors)
        )
        self.item_factors_, self.item_biases_ = split_biases(items)
        if self._on_ratings:
            self._set_ridge(users.astype(np.float64), module.intercept, split)
            users = self._solved(X)
        self.user_factors_, self.user_biases_ = split_biases(users)

    def _set_ridge(self, trained_users, intercept, split):
        """Set what the users' ridge regressions need, with the best penalty on held-out ratings."""
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
        return np.geomspace(0.5, 2000, 13) / self._scale_[1] ** 2  # of errors as they are scaled

    def _solved(self, X):
        """Return the users' vectors that the ridge regressions find, of float64."""
        deviations = self._user_rows(X) @ self._root_.T * np.sqrt(2 / self.user_l2_)
        return self._mean_row_ + deviations

    def _vectors(self, X):
        if self._on_ratings:
            return torch.from_numpy(self._solved(X).astype(np.float32)).to(self.net_.device)
        return super()._vectors(X)

    def _user_factors(self, X):
        return split_biases(self._vectors(X).cpu().numpy())[0]

    def _fold_in_blocks(self, X):
        if not self._on_rows:
            yield from super()._fold_in_blocks(X)
            return
        yield from gen_batches(X.shape[0], max(1, _FOLD_IN_CELLS // X.shape[1]))

    def _fold_in_loss(self, module, X):
        if not self._on_rows:
            return super()._fold_in_loss(module, X)
        rows = SparseRows.from_csr(X, self._device())

        def loss(vectors):
            losses, penalties, _ = module.row_losses(vectors, rows)
            return (losses + penalties).sum()

        return loss

    # ---------------------------------------------------------------- scores

    def _score_items(self, X):
        return self._ridge_items(X) if self._on_ratings else super()._score_items(X)

    def _score_pairs(self, X, rows, items):
        if self._on_ratings:
            return self._ridge_pairs(X, rows, items)
        return super()._score_pairs(X, rows, items)
