"""Rating errors: hand-computed, pooled over cells, exact in float32, and errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from sklearn_recsys.metrics import mae, rmse

both = pytest.mark.parametrize("metric", [rmse, mae])


def test_hand_computed():
    assert rmse([1, 2, 3], [1, 4, 2]) == pytest.approx((5 / 3) ** 0.5, abs=1e-15)
    assert mae([1, 2, 3], [1, 4, 2]) == pytest.approx(1.0, abs=1e-15)
    assert type(rmse([1], [2])) is float
    assert type(mae([1], [2])) is float


def test_weights_are_repetitions():
    y_true, y_pred, times = np.array([1.0, 2, 5]), np.array([2.0, 2, 1]), np.array([3, 1, 2])
    repeated = np.repeat(y_true, times), np.repeat(y_pred, times)
    assert rmse(y_true, y_pred, sample_weight=times) == pytest.approx(rmse(*repeated), abs=1e-12)
    assert mae(y_true, y_pred, sample_weight=times) == pytest.approx(mae(*repeated), abs=1e-12)


def test_equal_to_sklearn():
    rng = np.random.default_rng(0)
    y_true, y_pred, weight = rng.random((3, 500))
    assert rmse(y_true, y_pred) == root_mean_squared_error(y_true, y_pred)
    assert mae(y_true, y_pred) == mean_absolute_error(y_true, y_pred)
    expected = root_mean_squared_error(y_true, y_pred, sample_weight=weight)
    assert rmse(y_true, y_pred, sample_weight=weight) == expected


@both
def test_float32_cells_are_averaged_in_float64(metric):
    """One large error must not swallow the digits of many small ones."""
    y_true = np.zeros(100_001, dtype=np.float32)
    y_pred = np.full(100_001, 0.1, dtype=np.float32)
    y_pred[0] = 4096
    expected = metric(y_true.astype(np.float64), y_pred.astype(np.float64))
    assert metric(y_true, y_pred) == expected
    assert (
        metric(y_true.astype(np.int8), pd.Series(y_pred, index=range(100_001, 0, -1))) == expected
    )


@both
def test_pooled_over_cells_is_not_the_mean_over_users(metric):
    """One user with three cells off by 1 and one with a single cell off by 3."""
    pooled = metric([0, 0, 0, 0], [1, 1, 1, 3])
    assert pooled == pytest.approx({rmse: 3**0.5, mae: 1.5}[metric])
    assert pooled != pytest.approx((metric([0, 0, 0], [1, 1, 1]) + metric([0], [3])) / 2)


@both
@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        (sp.csr_array([[1, 0]]), [1.0], "y_true must be 1-D.*got a sparse matrix.*predict_pairs"),
        ([[1, 0]], [1.0, 2.0], r"y_true must be 1-D.*shape \(1, 2\)"),
        ([1.0, 2.0], [[1.0, 2.0]], r"y_pred must be 1-D.*shape \(1, 2\)"),
        (1.0, [1.0], r"y_true must be 1-D.*shape \(\)"),
        ([1.0, np.nan], [1.0, 2.0], "y_true contains NaN"),
        ([1.0, 2.0], [np.inf, 2.0], "y_pred contains infinity"),
        ([1.0, 2.0], [1.0], "inconsistent numbers of samples"),
        ([], [], "0 sample"),
        (["a", "b"], [1.0, 2.0], "strings"),
        ([1j, 2.0], [1.0, 2.0], "Complex data not supported"),
    ],
)
def test_bad_input(metric, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_pred)
