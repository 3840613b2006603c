"""User vectors by ridge regression on the vectors of rated items, for known and new users alike."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_recsys.neural._nn.layers import ACTIVATIONS
from sklearn_recsys.utils._cells import cell_rows, products_at, with_values
from sklearn_recsys.utils._fold_in import ridge_rows
from sklearn_recsys.utils._state import Array, Number
from sklearn_recsys.utils._threads import map_blas_blocks

_CELLS = 2**19  # ratings computed at once: their temporary arrays stay in the cache
_CHOICE_USERS = 1000  # the users on whose held-out ratings the penalty is chosen
_ISOTROPIC = 0.5  # share of the identity in the covariance of the users' rows


class RidgeUsersMixin:
    """Mixin for rating models whose user vectors have an exact solution, given the item vectors.

    A user's row (a weight for each entry of an item's vector, and a bias) is shrunk to the mean of
    the trained rows, by their covariance; see the Notes of `AutoRec`. A model sets
    `_scale_`, the offset and the unit of ratings, and `_in_units` scales predictions back.
    """

    @property
    def _penalties(self):
        """The penalties to choose from."""
        return np.geomspace(10, 100_000, 13)

    @property
    def _output_activation(self):
        """The name of the activation after the output layer."""
        return "identity"

    def _shifts(self, X):
        """Return how far the prior mean of each row is from the mean row; None: all have that."""
        return None

    def _ridge_state(self):
        """Return the rules for the attributes of this mixin; see `_fitted_state`."""
        return {
            "user_l2_": Number(low=np.nextafter(0, 1)),
            "_mean_row_": Array("n_weights"),
            "_root_": Array("n_weights", "n_weights"),
            "_base_": Array("n_items"),
            "_features_": Array("n_items", "n_weights"),
        }

    def _set_prior(self, rows):
        """Set the prior: mean and covariance of trained rows of shape (n_users, n_factors + 1)."""
        self._mean_row_ = rows.mean(axis=0)
        covariance = np.atleast_2d(np.cov(rows.T, ddof=0))
        covariance *= (1 - _ISOTROPIC) / max(np.diag(covariance).mean(), 1e-12)
        covariance[np.diag_indices_from(covariance)] += _ISOTROPIC
        if not np.isfinite(covariance).all():  # the module diverged: predictions will be NaN
            self._root_ = np.full_like(covariance, np.nan)
            return
        self._root_ = np.linalg.cholesky(covariance)

    def _best_penalty(self, train, held_out, codes, offsets=0.0):
        """Return the penalty with the least error on the held-out ratings of a thousand users."""
        tested = np.unique(np.linspace(0, train.shape[0] - 1, _CHOICE_USERS).astype(np.int64))
        tested = tested[np.diff(held_out.indptr)[tested] > 0]
        train, held_out = train[tested], held_out[tested]
        errors = []
        for penalty in self._penalties:
            self._set_item_side(codes, penalty, offsets)
            predicted = self._ridge_pairs(train, cell_rows(held_out), held_out.indices)
            errors.append(np.mean((predicted - held_out.data) ** 2))
        return float(self._penalties[np.argmin(errors)])

    def _set_item_side(self, codes, penalty, offsets=0.0):
        """Set the prior prediction of each item, and the features, which include the penalty.

        The items' `codes` have the shape (n_items, n_factors); `offsets` are added to every user's
        products with them.
        """
        features = np.hstack([codes, np.ones((len(codes), 1))])
        prior = torch.from_numpy(offsets + features @ self._mean_row_).requires_grad_()
        outputs = ACTIVATIONS[self._output_activation](prior)
        (slopes,) = torch.autograd.grad(outputs.sum(), prior)
        self._base_ = outputs.detach().numpy()
        self._features_ = features @ self._root_ * np.sqrt(2 / penalty)
        self._features_ *= slopes.numpy()[:, None]  # the activation is linearized at the prior

    def _user_rows(self, X):
        """Return each row's deviation from the mean row, in the basis of `_features_`."""
        offset, scale = self._scale_
        data = (X.data.astype(np.float64) - offset) / scale - self._base_[X.indices]
        shifts = self._shifts(X)
        if shifts is None:
            return ridge_rows(with_values(X, data), self._features_)
        data -= products_at(shifts, self._features_, cell_rows(X), X.indices)
        return shifts + ridge_rows(with_values(X, data), self._features_)

    def _ridge_items(self, X):
        """Return the ratings of all items by rows of `X`."""
        vectors = self._user_rows(X)
        ratings = np.empty((X.shape[0], len(self._features_)), dtype=np.float32)

        def block(rows):
            ratings[rows] = self._in_units(self._base_ + vectors[rows] @ self._features_.T)

        map_blas_blocks(block, len(ratings), max(1, _CELLS // len(self._features_)))
        return ratings

    def _ridge_pairs(self, X, rows, items):
        """Return the ratings at the cells (rows, items)."""
        outputs = products_at(self._user_rows(X), self._features_, rows, items)
        return self._in_units(self._base_[items] + outputs, items)

    def _in_units(self, outputs, items=slice(None)):
        """Return outputs as float32 ratings."""
        offset, scale = self._scale_
        return (offset + scale * outputs).astype(np.float32)
