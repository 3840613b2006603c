"""The weights of EASE after new users, without inverting again.

An inverse Gram matrix P follows from the weights W and its diagonal d: off the diagonal P_ij =
−W_ij / c_j, where c holds the factors of the columns, see `column_factors`. New rows U change it by
the formula of Sherman, Morrison and Woodbury, P′ = P − (UP)ᵀ (I + U P Uᵀ)⁻¹ UP.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.linalg import cholesky
from scipy.linalg.blas import dtrsm

from sklearn_recsys.linear_model._gram import matvec
from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._threads import batches, sparse_dot

_ROWS = 256  # rows of the weights changed at once


def column_factors(d, penalty, max_diagonal):
    """Return c = Λ + μ: off its diagonal W is −P · diagMat(c).

    Parameters
    ----------
    d : ndarray of shape (n_items,)
        The diagonal of P = (G + Λ)⁻¹.
    penalty : float or ndarray of shape (n_items,)
        The diagonal of Λ.
    max_diagonal : float
        The bound ξ of the diagonal of W; μ = max(0, (1 − ξ) / d − Λ) holds its multipliers.
    """
    if max_diagonal == 0:  # the bound is tight for every item, up to rounding
        return 1 / d
    return np.maximum((1 - max_diagonal) / d, penalty)


def bounded_diagonal(d, penalty, max_diagonal):
    """Return the diagonal of W from the same: 1 − d ∘ c, without its rounding."""
    return np.clip(1 - d * penalty, 0, max_diagonal)


class NewUsers:
    """What new rows add to the weights, computed without changing them.

    Parameters
    ----------
    coef : ndarray of float32 of shape (n_items, n_items)
        The weights W = I − P · diagMat(c).
    d : ndarray of float64 of shape (n_items,)
        The diagonal of P.
    X : csr_array of float32 of shape (n_new_users, n_items)
        The new rows.
    penalty : float
        The ridge penalty, which is the same for all items.
    max_diagonal : float
        The bound of the diagonal of W.

    Attributes
    ----------
    inverse_diagonal : ndarray of float64 of shape (n_items,)
        The diagonal of the new P.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the weights are too coarse to determine P, or the new ones are too large for float32.
    """

    def __init__(self, coef, d, X, penalty, max_diagonal):
        self._former = coef, d, penalty, max_diagonal
        c = column_factors(d, penalty, max_diagonal)
        # UP, which becomes V = L⁻¹ UP with I + U P Uᵀ = L Lᵀ: then P′ = P − Vᵀ V
        V = sparse_dot(X, coef).astype(np.float64)  # (n_new_users, n_items)
        V /= -c
        V[cell_rows(X), X.indices] += X.data * (d + coef.diagonal() / c)[X.indices]
        K = X.astype(np.float64) @ V.T
        K[np.diag_indices_from(K)] += 1
        L = cholesky((K + K.T) / 2, lower=True, check_finite=False)
        V = dtrsm(1.0, L, V.T, side=1, lower=1, trans_a=1, overwrite_b=1).T
        self.inverse_diagonal = d - np.einsum("ij,ij->j", V, V)
        new = column_factors(self.inverse_diagonal, penalty, max_diagonal)
        self._diagonal = bounded_diagonal(self.inverse_diagonal, penalty, max_diagonal)
        self._ratios = (new / c).astype(np.float32)
        self._left, self._right = V.astype(np.float32), (V * new).astype(np.float32)
        # bounds all entries of P · diagMat(new), as P is positive definite
        largest = np.max(np.sqrt(d.max() * d) * new)
        if not (largest < np.finfo(np.float32).max / 4 and np.isfinite(self._right).all()):
            raise np.linalg.LinAlgError("The weights do not fit into float32.")
        self._part = np.empty((min(_ROWS, len(coef)), len(coef)), dtype=np.float32)

    def times_inverse(self, vector):
        """Return the product of the new P with a vector of float64."""
        coef, d, penalty, max_diagonal = self._former
        scaled = vector / column_factors(d, penalty, max_diagonal)
        former = d * vector + coef.diagonal() * scaled - matvec(coef, scaled)
        return former - self._left.T @ (self._left @ vector)

    def add_to(self, coef):
        """Change the former weights in place into those of a fit that also has the new rows.

        It allocates no array, so that it does not fail halfway.
        """
        for rows in batches(len(coef), _ROWS):
            weights = coef[rows]
            part = self._part[: len(weights)]
            np.matmul(self._left[:, rows].T, self._right, out=part)
            weights *= self._ratios
            weights += part
        np.fill_diagonal(coef, self._diagonal)


def can_change(attributes):
    """Return whether the array ``coef_`` of a working copy may be changed in place.

    It may if nothing else would notice: it belongs to the model alone, and no copy of the model, no
    view and no variable refers to it.

    Parameters
    ----------
    attributes : dict
        The attributes of the working copy; the model that it was made of refers to the array, too.
    """
    value = object()
    twice = {"coef_": value}, {"coef_": value}
    del value
    own = sys.getrefcount(twice[0]["coef_"])  # interpreters count differently
    if sys.getrefcount(attributes["coef_"]) > own:
        return False
    flags = attributes["coef_"].flags
    return flags.writeable and flags.owndata
