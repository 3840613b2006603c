"""Operations on stored cells."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys.utils._cells import cell_rows, normalized, take_rows


@pytest.mark.parametrize("rows", [[3], [0], [4], [2, 2, 0], []])
def test_take_rows_is_indexing(rows):
    X = sp.csr_array(np.array([[0, 2, 3], [0, 0, 0], [1, 0, 0], [4, 5, 6], [0, 0, 0]], np.float32))
    rows = np.array(rows, dtype=np.int64)
    taken, expected = take_rows(X, rows), X[rows]
    assert taken.shape == expected.shape
    assert taken.dtype == X.dtype
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(taken, name), getattr(expected, name))
        assert getattr(taken, name).dtype == getattr(X, name).dtype
    assert_array_equal(cell_rows(taken), expected.tocoo().row)


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
