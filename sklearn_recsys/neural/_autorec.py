"""AutoRec: an autoencoder on the observed ratings of an item or a user.

Sedhain, Menon, Sanner and Xie, "AutoRec: Autoencoders Meet Collaborative Filtering", WWW 2015.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.neural._base import NeuralRecommender
from sklearn_recsys.neural._batches import RowDataset, SparseRows
from sklearn_recsys.neural._modules import ACTIVATIONS
from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._fold_in import ridge_rows

_FOLD_IN_GRID = np.geomspace(10, 10_000, 10)
_FOLD_IN_USERS = 1000  # of whom the penalty of the ridge regressions is chosen
_FOLD_IN_L2 = 1000.0  # where nothing is held out to choose it on
_ISOTROPIC = 0.5  # share of the identity in the covariance of the users' decoder rows


class AutoRecModule(nn.Module):
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
        super().__init__()
        self.encoder_activation = encoder_activation
        self.decoder_activation = decoder_activation
        self.V = nn.Parameter(torch.empty(n_inputs, n_factors))
        self.mu = nn.Parameter(torch.zeros(n_factors))
        self.W = nn.Parameter(torch.empty(n_inputs, n_factors))
        self.b = nn.Parameter(torch.zeros(n_inputs))
        nn.init.xavier_uniform_(self.V)
        nn.init.xavier_uniform_(self.W)

    def encode(self, rows):
        """Return the codes g(V r + μ), of shape (n_rows, n_factors)."""
        return ACTIVATIONS[self.encoder_activation](rows.matmul(self.V) + self.mu)

    def forward(self, rows):
        """Return every output, of shape (n_rows, n_inputs)."""
        outputs = self.encode(rows) @ self.W.T + self.b
        return ACTIVATIONS[self.decoder_activation](outputs)

    def loss(self, inputs, targets):
        """Return the squared error over the target cells, per row (eq. 2, without the penalty)."""
        outputs = targets.sample(self.encode(inputs), self.W) + self.b[targets.indices]
        outputs = ACTIVATIONS[self.decoder_activation](outputs)
        return (targets.values - outputs).square().sum() / len(targets)


class AutoRec(NeuralRecommender):
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
        g in eq. 1: ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"relu6"``,
        ``"leaky_relu"``, ``"elu"``, ``"selu"``, ``"swish"`` or ``"softplus"``.
    decoder_activation : str, default="identity"
        f in eq. 1, of the same names. With ``"sigmoid"`` ratings are scaled to [0, 1].
    cold_value : {"midpoint", "mean"} or float, default="midpoint"
        The prediction for items without a training rating: the middle of the rating range (the
        paper's 3), the mean rating, or a number.
    lr : float, default=1e-3
        Learning rate. ``optimizer="lbfgs"`` does without: its steps are found by a line search.
    max_epochs : int, default=200
        Passes over the data at the most.
    batch_size : int, default=512
        Items (users) per update.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`; ``"lbfgs"`` takes all rows at once, and an epoch is
        20 of its iterations.
    l2 : float, default=50.0
        λ in eq. 2, the penalty on both weight matrices: λ/2 · (‖W‖² + ‖V‖²), beside the sum of
        squared errors over all observed ratings.
    early_stopping : bool, default=True
        Whether to stop when the loss on held-out ratings stops falling, and keep the best weights.
    validation_fraction : float, default=0.1
        The share of the ratings held out for that.
    fold_in_l2 : float, default=None
        Item-based: the penalty λ_f of the users' ridge regressions. None: chosen on the ratings
        held out for early stopping, or 1000 where there are none.
    n_iter_no_change : int, default=10
        Epochs without an improvement before training stops.
    callbacks : list, default=None
        Callbacks of skorch.
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
        The training curve.
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        Item-based: the codes z = g(V r + μ) of the items.
    fold_in_l2_ : float
        Item-based: the penalty λ_f of the users' ridge regressions.
    rating_range_ : tuple of float
        The lowest and the highest training rating.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.

    Notes
    -----
    An item's input runs over the training users, so a new user has no place in it. But given the
    codes z_i, eq. 2 is a ridge regression for each user's row of the decoder,

    .. math:: v_u = \arg\min_v \sum_i (r_{ui} - v \cdot (z_i, 1))^2
              + \tfrac{\lambda_f}{2} (v - \bar v)^\top \Sigma^{-1} (v - \bar v),

    where :math:`v = (w, b)`. The mean :math:`\bar v` and the covariance :math:`\Sigma` of the
    trained decoder's rows say what users are like; :math:`\Sigma` is scaled to a mean variance of
    one, and half of it is the identity. Every user takes that path, known or new:
    what is predicted for a user depends on the user's ratings alone.

    References
    ----------
    .. [1] Suvash Sedhain, Aditya Krishna Menon, Scott Sanner, Lexing Xie. "AutoRec: Autoencoders
       Meet Collaborative Filtering". WWW 2015.

    Examples
    --------
    >>> from sklearn_recsys import AutoRec
    >>> from sklearn_recsys.datasets import make_ratings
    >>> R = make_ratings(60, 40, density=0.3, random_state=0)
    >>> model = AutoRec(n_factors=20, max_epochs=5, device="cpu", random_state=0).fit(R)
    >>> model.predict(R).shape
    (60, 40)
    """

    _parameter_constraints: dict = {
        **NeuralRecommender._parameter_constraints,
        "kind": [StrOptions({"item", "user"})],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "encoder_activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_activation": [StrOptions(set(ACTIVATIONS))],
        "cold_value": [StrOptions({"midpoint", "mean"}), Real],
        "fold_in_l2": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        kind="item",
        n_factors=500,
        *,
        encoder_activation="sigmoid",
        decoder_activation="identity",
        cold_value="midpoint",
        lr=1e-3,
        max_epochs=200,
        batch_size=512,
        optimizer="adam",
        l2=50.0,
        early_stopping=True,
        validation_fraction=0.1,
        fold_in_l2=None,
        n_iter_no_change=10,
        callbacks=None,
        device="cpu",
        random_state=None,
        verbose=0,
        net_params=None,
    ):
        self.kind = kind
        self.n_factors = n_factors
        self.encoder_activation = encoder_activation
        self.decoder_activation = decoder_activation
        self.cold_value = cold_value
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.l2 = l2
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.fold_in_l2 = fold_in_l2
        self.n_iter_no_change = n_iter_no_change
        self.callbacks = callbacks
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        return tags

    def _make_module(self, X):
        n_inputs = X.shape[0] if self.kind == "item" else X.shape[1]
        return AutoRecModule(
            n_inputs, self.n_factors, self.encoder_activation, self.decoder_activation
        )

    def _check_resume(self, X):
        if self.kind == "item" and X.shape[0] != self.interactions_.shape[0]:
            raise ValueError(
                "Item-based AutoRec reads an item's ratings by the "
                f"{self.interactions_.shape[0]} training users; partial_fit needs a row for each "
                f"of them, in their order, got {X.shape[0]}. New users need no fit."
            )

    def _make_datasets(self, X, rng):
        low, high = float(X.data.min()), float(X.data.max())
        self._scale_ = (float(X.data.mean(dtype=np.float64)), 1.0)
        if self.decoder_activation == "sigmoid":
            self._scale_ = (low, high - low or 1.0)
        self._cold_ = np.bincount(X.indices, minlength=X.shape[1]) == 0
        self._cold_value_ = {"midpoint": (low + high) / 2, "mean": float(X.data.mean())}.get(
            self.cold_value, self.cold_value
        )
        if not self.early_stopping or X.nnz < 2:
            self._split_ = X, None
            return RowDataset(self._rows(X)), None
        known, held_out = random_holdout(X, self.validation_fraction, random_state=rng)
        self._split_ = known, held_out
        rows = self._rows(known)
        return RowDataset(rows), RowDataset(rows, self._rows(held_out))

    def _rows(self, X):
        """Return what the module reads: rows of items or of users, scaled."""
        offset, scale = self._scale_
        X = X.copy()
        X.data = (X.data - np.float32(offset)) / np.float32(scale)
        return X.T.tocsr() if self.kind == "item" else X

    def _codes(self, X):
        """Return the items' codes, from all their ratings."""
        device = self.net_.device
        with torch.no_grad():
            self.net_.module_.eval()
            rows = SparseRows.from_csr(self._rows(X), device)
            return self.net_.module_.encode(rows).cpu().numpy().astype(np.float64)

    def _finish(self, X):
        if self.kind == "user":
            return
        known, held_out = self._split_
        del self._split_
        self._set_prior()
        self.fold_in_l2_ = self.fold_in_l2
        if self.fold_in_l2 is None:
            self.fold_in_l2_ = _FOLD_IN_L2
            if held_out is not None:
                self.fold_in_l2_ = self._best_penalty(known, held_out)
        codes = self._codes(X)
        self.item_factors_ = codes.astype(np.float32)
        self._set_item_side(codes, self.fold_in_l2_)

    def _set_prior(self):
        """Set the mean of the trained decoder's rows, and a root of their covariance."""
        module = self.net_.module_
        with torch.no_grad():
            rows = torch.hstack([module.W, module.b[:, None]]).cpu().numpy().astype(np.float64)
        self._mean_row_ = rows.mean(axis=0)
        covariance = np.atleast_2d(np.cov(rows.T, ddof=0))
        covariance *= (1 - _ISOTROPIC) / max(np.diag(covariance).mean(), 1e-12)
        covariance[np.diag_indices_from(covariance)] += _ISOTROPIC
        self._root_ = np.linalg.cholesky(covariance)

    def _best_penalty(self, known, held_out):
        """Return the penalty of least error on held-out ratings; a thousand users tell it."""
        tested = np.unique(np.linspace(0, known.shape[0] - 1, _FOLD_IN_USERS).astype(np.int64))
        codes, known, held_out = self._codes(known), known[tested], held_out[tested]
        errors = []
        for penalty in _FOLD_IN_GRID:
            self._set_item_side(codes, penalty)
            predicted = self._score_pairs(known, cell_rows(held_out), held_out.indices)
            errors.append(np.mean((predicted - held_out.data) ** 2))
        return float(_FOLD_IN_GRID[np.argmin(errors)])

    def _set_item_side(self, codes, penalty):
        """Set what a user's ridge regression starts from, and its features with the penalty in."""
        features = np.hstack([codes, np.ones((len(codes), 1))])
        self._base_ = features @ self._mean_row_
        self._features_ = features @ self._root_ * np.sqrt(2 / penalty)

    def _user_rows(self, X):
        """Return each row's deviation from the mean decoder row, in the basis of `_features_`."""
        offset, scale = self._scale_
        data = (X.data.astype(np.float64) - offset) / scale - self._base_[X.indices]
        return ridge_rows(sp.csr_array((data, X.indices, X.indptr), shape=X.shape), self._features_)

    def _in_units(self, outputs, items=slice(None)):
        """Return outputs of the module as float32 ratings, with the value of cold items."""
        offset, scale = self._scale_
        cold = self._cold_[items]
        return np.where(cold, self._cold_value_, offset + scale * outputs).astype(np.float32)

    def _score_items(self, X):
        if self.kind == "item":
            return self._in_units(self._base_ + self._user_rows(X) @ self._features_.T)
        with torch.no_grad():
            self.net_.module_.eval()
            outputs = self.net_.module_(SparseRows.from_csr(self._rows(X), self.net_.device))
        return self._in_units(outputs.cpu().numpy())

    def _score_pairs(self, X, rows, items):
        if self.kind == "user":
            return super()._score_pairs(X, rows, items)
        asked, inverse = np.unique(rows, return_inverse=True)
        V = self._user_rows(X[asked])
        outputs = np.empty(len(rows))
        for start in range(0, len(rows), 2**16):
            cells = slice(start, start + 2**16)
            outputs[cells] = np.einsum("ij,ij->i", V[inverse[cells]], self._features_[items[cells]])
        return self._in_units(self._base_[items] + outputs, items)
