"""Errors of predicted ratings, pooled over cells."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from sklearn.utils import check_array

from sklearn_recsys.metrics._frames import paired_ratings
from sklearn_recsys.utils._frames import is_frame
from sklearn_recsys.utils._labels import check_same_rows


def _check_cells(values, name):
    """Return the ratings of some cells as a 1-D float64 array."""
    if sp.issparse(values) or np.ndim(values) != 1:
        kind = "a sparse matrix" if sp.issparse(values) else "an array"
        raise ValueError(
            f"{name} must be 1-D, one rating per cell; got {kind} of shape {np.shape(values)}. "
            "For a matrix Y of held-out cells, use the stored ones: Y = csr_array(Y).tocoo(); "
            "y_true = Y.data; y_pred = model.predict_pairs(X, Y.row, Y.col)."
        )
    # float64, because a float32 mean over millions of cells loses precision
    values = check_array(values, ensure_2d=False, input_name=name)
    return values.astype(np.float64, copy=False)


def _check_pair(y_true, y_pred):
    """Return observed and predicted ratings of the same cells as 1-D float64 arrays."""
    if is_frame(y_pred) and is_frame(y_true):
        return paired_ratings(y_true, y_pred)
    check_same_rows(y_true, y_pred, "y_pred", "y_true")
    return _check_cells(y_true, "y_true"), _check_cells(y_pred, "y_pred")


def rmse(y_true, y_pred, *, sample_weight=None) -> float:
    r"""Root mean squared error, pooled over cells.

    Parameters
    ----------
    y_true : array-like of shape (n_cells,) or DataFrame
        Observed ratings. A frame of a user, an item and the column "rating" if `y_pred` is one.
    y_pred : array-like of shape (n_cells,) or DataFrame
        Predicted ratings of the same cells, in the same order. Or a frame of a user, an item and
        the column "score", which has every pair of `y_true`; other pairs are ignored.
    sample_weight : array-like of shape (n_cells,), default=None
        Weights of the cells; None weighs them equally.

    Returns
    -------
    rmse : float
        In units of the ratings; 0 is best.

    See Also
    --------
    mae : Mean absolute error.
    sklearn.metrics.root_mean_squared_error : What computes it.

    Notes
    -----
    :math:`\sqrt{\frac{1}{n} \sum_c (\hat r_c - r_c)^2}` over all cells c at once: a user with many
    ratings counts more than a user with few. It is not a mean of the users' errors.

    Examples
    --------
    >>> from sklearn_recsys.metrics import rmse
    >>> round(rmse([3, 5, 1, 4], [3, 4, 2, 2]), 4)
    1.2247
    """
    check_same_rows(y_true, sample_weight, "sample_weight", "y_true")
    y_true, y_pred = _check_pair(y_true, y_pred)
    return float(root_mean_squared_error(y_true, y_pred, sample_weight=sample_weight))


def mae(y_true, y_pred, *, sample_weight=None) -> float:
    r"""Mean absolute error, pooled over cells.

    Parameters
    ----------
    y_true : array-like of shape (n_cells,) or DataFrame
        Observed ratings. A frame of a user, an item and the column "rating" if `y_pred` is one.
    y_pred : array-like of shape (n_cells,) or DataFrame
        Predicted ratings of the same cells, in the same order. Or a frame of a user, an item and
        the column "score", which has every pair of `y_true`; other pairs are ignored.
    sample_weight : array-like of shape (n_cells,), default=None
        Weights of the cells; None weighs them equally.

    Returns
    -------
    mae : float
        In units of the ratings; 0 is best.

    See Also
    --------
    rmse : Root mean squared error.
    sklearn.metrics.mean_absolute_error : What computes it.

    Notes
    -----
    :math:`\frac{1}{n} \sum_c |\hat r_c - r_c|` over all cells c at once: a user with many ratings
    counts more than a user with few. It is not a mean of the users' errors.

    Examples
    --------
    >>> from sklearn_recsys.metrics import mae
    >>> mae([3, 5, 1, 4], [3, 4, 2, 2])
    1.0
    """
    check_same_rows(y_true, sample_weight, "sample_weight", "y_true")
    y_true, y_pred = _check_pair(y_true, y_pred)
    return float(mean_absolute_error(y_true, y_pred, sample_weight=sample_weight))
