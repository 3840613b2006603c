"""Biases of users and items: r_ui ≈ μ + b_u + b_i, by a ridge regression solved exactly."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._cells import cell_rows, item_counts

_TOLERANCE = 1e-12  # of the residual, relative to that of zero biases
_MAX_ITER = 1000


def fit_biases(X, user_l2, item_l2):
    """Minimize ``Σ (r_ui − μ − b_u − b_i)² + user_l2 Σ b_u² + item_l2 Σ b_i²``, μ being the mean.

    The biases of the users are eliminated, and conjugate gradients solve for those of the items. A
    step costs two passes over the ratings, and a few dozen steps are enough.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The ratings.
    user_l2, item_l2 : float
        The penalties, at least 0.

    Returns
    -------
    mean : float
        μ.
    item_biases : ndarray of float64 of shape (n_items,)
        Zero for items without a rating.
    """
    mean = float(X.data.mean(dtype=np.float64))
    rows, n_users, n_items = cell_rows(X), *X.shape
    of_users = np.diff(X.indptr) + float(user_l2)  # an integer may exceed int32
    of_items = item_counts(X) + float(item_l2)
    of_users[of_users == 0] = 1  # no rating and no penalty: any bias would do
    of_items[of_items == 0] = 1

    def to_users(of_cells):
        return np.bincount(rows, of_cells, n_users) / of_users

    def schur(biases):  # (D_i − Aᵀ D_u⁻¹ A) b, where A is the matrix of ones
        shared = to_users(biases[X.indices])
        return of_items * biases - np.bincount(X.indices, shared[rows], n_items)

    deviations = X.data.astype(np.float64) - mean
    target = np.bincount(X.indices, deviations - to_users(deviations)[rows], n_items)
    return mean, _conjugate_gradients(schur, target, of_items)


def user_biases(X, mean, item_biases, user_l2):
    """Return the optimal bias of each row, given those of the items, in float64.

    Rows without a rating have the bias 0.
    """
    deviations = X.data.astype(np.float64) - mean - item_biases[X.indices]
    sums = np.bincount(cell_rows(X), deviations, X.shape[0])
    return sums / np.maximum(np.diff(X.indptr) + float(user_l2), np.finfo(float).tiny)


def _conjugate_gradients(product, target, diagonal):
    """Solve a positive semidefinite system, given its product with vectors and its diagonal.

    scipy's `cg` divides by zero if the system is singular and only rounding errors are left of the
    residual.
    """
    x, residual = np.zeros_like(target), target
    direction, previous = np.zeros_like(target), np.inf
    for _ in range(_MAX_ITER):
        scaled = residual / diagonal
        squared = residual @ scaled
        if previous == np.inf:
            enough = _TOLERANCE**2 * squared
        if squared <= enough:
            break
        direction = scaled + squared / previous * direction
        image = product(direction)
        curvature = direction @ image
        # only rounding errors are left, in the null space of a singular system
        if curvature <= _TOLERANCE * (direction @ (diagonal * direction)):
            break
        x = x + squared / curvature * direction
        residual = residual - squared / curvature * image
        previous = squared
    return x
