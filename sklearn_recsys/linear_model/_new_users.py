"""The weights of EASE after new users, without inverting again.

An inverse Gram matrix P follows from the weights W and its diagonal d: off the diagonal P_ij =
−W_ij / c_j, where c holds the factors of the columns, see `column_factors`. New rows U change it by
the formula of Sherman, Morrison and Woodbury, P′ = P − (UP)ᵀ (I + U P Uᵀ)⁻¹ UP.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from sklearn_recsys.linear_model._gram import matvec
from sklearn_recsys.utils._threads import batches, sparse_dot

_BATCH = 512  # new users added at once: their products are dense
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


def add_users(coef, d, X, penalty, max_diagonal, *, batch=_BATCH):
    """Change weights in place into those of a fit that also has the rows of X.

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
    batch : int, default=512
        Users added at once, which bounds the memory.

    Returns
    -------
    d : ndarray of float64 of shape (n_items,)
        The diagonal of the new P.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the weights are too coarse to determine P.
    """
    for users in batches(X.shape[0], batch):
        d = _add_batch(coef, d, X[users], penalty, max_diagonal)
    return d


def _add_batch(coef, d, X, penalty, max_diagonal):
    c = column_factors(d, penalty, max_diagonal)
    diagonal = coef.diagonal().astype(np.float64)
    U = X.astype(np.float64)
    UP = sparse_dot(X, coef).astype(np.float64)
    UP = (U.multiply(diagonal / c + d)).toarray() - UP / c
    K = U @ UP.T
    K[np.diag_indices_from(K)] += 1
    Z = cho_solve(cho_factor((K + K.T) / 2, check_finite=False), UP, check_finite=False)
    d = d - np.einsum("ij,ij->j", UP, Z)
    new = column_factors(d, penalty, max_diagonal)
    ratios, UP, Z = (a.astype(np.float32) for a in (new / c, UP, Z * new))
    for rows in batches(len(coef), _ROWS):
        coef[rows] *= ratios
        coef[rows] += UP[:, rows].T @ Z
    np.fill_diagonal(coef, bounded_diagonal(d, penalty, max_diagonal))
    return d


def times_inverse(coef, d, penalty, max_diagonal, vector):
    """Return the product of P with a vector of float64, from what `add_users` takes."""
    scaled = vector / column_factors(d, penalty, max_diagonal)
    return d * vector + coef.diagonal() * scaled - matvec(coef, scaled)
