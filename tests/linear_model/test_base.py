"""Degree normalization, which linear models share."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys.linear_model._base import normalized


def test_cells_are_divided_by_powers_of_the_degrees():
    X = sp.csr_array(np.array([[4, 0, 0, -1], [0, 0, 0, 0], [0, 2, 0, 3]], dtype=np.float32))
    dense = X.toarray().astype(np.float64)
    users = np.abs(dense).sum(axis=1, keepdims=True)  # 5, 0, 5
    items = np.abs(dense).sum(axis=0)  # 4, 2, 0, 4
    for a, b in [(0.5, 0.5), (0.25, 0), (0, 1.0), (0.3, 0.7)]:
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.where(dense != 0, dense / users**a / items**b, 0)
        result = normalized(X, a, b)
        assert result.dtype == np.float32
        assert_allclose(result.toarray(), expected, rtol=1e-6)
    assert normalized(X, 0, 0) is X
    assert_array_equal(X.toarray(), dense)  # the input is unchanged
