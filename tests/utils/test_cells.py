"""Operations on stored cells."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from sklearn_recsys.utils._cells import cell_rows, take_rows


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
