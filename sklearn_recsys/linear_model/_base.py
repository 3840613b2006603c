"""What linear item-item models share: they score a history x as x W."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.base import ExplainMixin, RecommenderMixin
from sklearn_recsys.base._explain import weights_at
from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._state import Array, Sparse
from sklearn_recsys.utils._threads import sparse_dot


class LinearMixin(ExplainMixin, RecommenderMixin):
    """Mixin for models that learn an items × items matrix W and score a history x as x W.

    A model's `_fit` sets `coef_`, which is W in float32: dense, or a csr_array if
    ``_sparse_coef`` says so.
    """

    _sparse_coef = False

    def _fitted_state(self):
        rule = Sparse("n_items", "n_items") if self._sparse_coef else Array("n_items", "n_items")
        return {**super()._fitted_state(), "coef_": rule}

    def _score_items(self, X):
        return sparse_dot(X, self.coef_)

    def _contributions(self, X, rows, items):
        return weights_at(self.coef_, X, rows, items)


def normalized(X, user_normalization, item_normalization):
    """Divide the cells of a matrix by powers of the degrees of their rows and columns.

    X̃ = D_u^(−a) X D_i^(−b), where D_u and D_i hold the sums of the absolute values of the rows and
    of the columns: with a = b = ½ the normalized adjacency matrix of the graph of users and items.

    Parameters
    ----------
    X : csr_array of float32 of shape (n_users, n_items)
        A canonical matrix.
    user_normalization : float
        The exponent a; 0 leaves the rows as they are.
    item_normalization : float
        The exponent b; 0 leaves the columns as they are.

    Returns
    -------
    X : csr_array of float32 of shape (n_users, n_items)
        The input itself if both exponents are 0.
    """
    if user_normalization == item_normalization == 0:
        return X
    absolute = np.abs(X.data).astype(np.float64)
    rows = cell_rows(X)
    of_users = np.bincount(rows, absolute, X.shape[0])
    of_items = np.bincount(X.indices, absolute, X.shape[1])
    with np.errstate(divide="ignore"):  # rows and columns without a cell
        of_users, of_items = of_users**-user_normalization, of_items**-item_normalization
    data = X.data * of_users[rows] * of_items[X.indices]
    return sp.csr_array((data.astype(np.float32), X.indices, X.indptr), shape=X.shape)
