"""Checks of input: in any container, never modified, and refused if it is invalid."""

from __future__ import annotations

import os
import tempfile
import warnings
from copy import deepcopy
from functools import partial

import joblib
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_recsys.utils._corrupt import corrupt_matrices
from sklearn_recsys.utils.estimator_checks._tools import FEW, TOLERANCE, assert_raises, make_matrix


def check_containers(estimator):
    """Check that arrays, frames and every scipy sparse format, of any index width, agree."""
    X = make_matrix(estimator, n_users=FEW)
    expected = clone(estimator).fit(X).predict(X)
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    shuffled = X.tocoo()
    order = np.random.RandomState(0).permutation(X.nnz)
    shuffled = sp.coo_array(
        (shuffled.data[order], (shuffled.coords[0][order], shuffled.coords[1][order])), X.shape
    )
    formats = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    matrices = [X.asformat(name) for name in formats]
    matrices += [sp.csr_matrix(X), sp.coo_matrix(X), wide, shuffled, X.toarray()]
    matrices += [X.astype(np.float64), X.astype(np.int64), np.asfortranarray(X.toarray())]
    for matrix in matrices:
        model = clone(estimator).fit(matrix)
        assert_array_equal(model.interactions_.toarray(), X.toarray())
        assert model.interactions_.indices.dtype == np.int32
        assert_allclose(model.predict(matrix), expected, **TOLERANCE)
    frame = pd.DataFrame(X.toarray(), columns=[f"item {i}" for i in range(X.shape[1])])
    model = clone(estimator).fit(frame)
    assert_allclose(model.predict(frame), expected, **TOLERANCE)
    assert_array_equal(model.feature_names_in_, frame.columns)
    assert_raises(ValueError, "feature names", partial(model.predict, frame.iloc[:, ::-1]))


def check_explicit_zeros(estimator):
    """Check that an explicit zero is not observed, and that duplicates are summed."""
    X = make_matrix(estimator)
    dense = X.toarray()
    stored = np.argwhere(dense == 0)[::3]
    rows, items = X.nonzero()
    zeros = sp.coo_array(
        (
            np.concatenate([X.data / 2, X.data / 2, np.zeros(len(stored), dtype=np.float32)]),
            (
                np.concatenate([rows, rows, stored[:, 0]]),
                np.concatenate([items, items, stored[:, 1]]),
            ),
        ),
        shape=X.shape,
    )
    model = clone(estimator).fit(zeros)
    assert model.interactions_.nnz == X.nnz
    assert_allclose(model.predict(zeros), estimator.fit(X).predict(X), **TOLERANCE)


def check_input_unmodified(estimator):
    """Check that `X` is never modified, may be read-only, and may be changed after `fit`."""
    X = make_matrix(estimator, n_users=FEW)
    names = ("data", "indices", "indptr")
    before = [getattr(X, name).copy() for name in names]
    model = clone(estimator).fit(X)
    expected = model.predict(X)
    model.recommend(X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*rows of X were in fit")
        model.score(X)
    for name, array in zip(names, before, strict=True):
        assert_array_equal(getattr(X, name), array)
    changed = X.copy()
    model = clone(estimator).fit(changed)
    changed.data[:] = 3
    changed.indices[:] = 0
    assert_array_equal(model.predict(X), expected)
    dense = X.toarray()
    model = clone(estimator).fit(dense)
    dense[:] = 1
    assert_array_equal(model.interactions_.toarray(), X.toarray())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X.joblib")
        joblib.dump(X, path)
        mapped = joblib.load(path, mmap_mode="r")  # as joblib passes it to its workers
        model = clone(estimator).fit(mapped)
        assert_array_equal(model.predict(mapped), expected)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*rows of X were in fit")
            model.score(mapped)
        del mapped


def check_failing_fit(estimator):
    """Check that a failing `fit` has a helpful message and leaves the estimator unfitted."""
    X = make_matrix(estimator)
    with_nan = X.toarray()
    with_nan[0, 0] = np.nan
    infinite = X.toarray()
    infinite[0, 0] = np.inf
    events = pd.DataFrame({"user": [1, 2], "item": [3, 4], "rating": [5.0, 1.0]})
    fitted = clone(estimator).fit(X)
    expected = fitted.predict(X)
    for invalid, error, match in [
        (with_nan, ValueError, "NaN"),
        (infinite, ValueError, "infinity"),
        (X.toarray()[0], ValueError, "2D array"),
        (X[0], ValueError, "1-D sparse array"),
        (X.toarray() + 1j, ValueError, "Complex"),
        (np.full(X.shape, "a"), ValueError, "onvert"),
        (sp.csr_array(X.shape, dtype=np.float32), ValueError, "no interaction"),
        (np.empty((0, 5)), ValueError, "0 sample"),
        (np.empty((5, 0)), ValueError, "0 feature"),
        (events, ValueError, "InteractionEncoder"),
    ]:
        model = deepcopy(fitted)
        assert_raises(error, match, partial(model.fit, invalid))
        assert not hasattr(model, "interactions_")
        for method in (model.predict, model.recommend, model.score):
            assert_raises(NotFittedError, "fitted", partial(method, X))
    other = make_matrix(estimator, n_items=X.shape[1] + 1)
    for method in (fitted.predict, fitted.recommend, fitted.score):
        assert_raises(ValueError, "features", partial(method, other))
    assert_array_equal(fitted.predict(X), expected)


def check_corrupt_input(estimator):
    """Check that a corrupt sparse matrix is refused with the name of the argument."""
    X = make_matrix(estimator)
    model = clone(estimator).fit(X)
    before = model.predict(X)
    for corrupt in corrupt_matrices(X).values():
        assert_raises(ValueError, "X", partial(clone(estimator).fit, corrupt))
        assert_raises(ValueError, "X", partial(model.partial_fit, corrupt))
        assert_raises(ValueError, "X", partial(model.predict, corrupt))
        assert_raises(ValueError, "X", partial(model.predict_pairs, corrupt, [0], [0]))
        assert_raises(ValueError, "users", partial(model.recommend, corrupt))
        assert_raises(ValueError, "X", partial(model.score, corrupt))
        assert_raises(ValueError, "X", partial(model.score, corrupt, X))
        assert_raises(ValueError, "y", partial(model.score, X, corrupt))
        for name in ("candidates", "exclude"):
            assert_raises(ValueError, name, partial(model.recommend, X, **{name: corrupt}))
    assert_array_equal(model.predict(X), before)
