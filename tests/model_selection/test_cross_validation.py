"""The cross-validators drive scikit-learn's searches over held-out cells."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, check_cv

from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.model_selection._cross_validation import HoldoutSplit, cell_kfold


class Constant(BaseEstimator):
    """Predict the mean of the training values plus `shift`; the score is the negative MSE."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y=None):
        """Remember the mean and the shapes that came."""
        self.mean_ = X.sum() / X.nnz + self.shift
        self.n_rows_ = X.shape[0]
        return self

    def score(self, X, y):
        """Return the negative mean squared error over the held-out cells."""
        assert X.shape == y.shape
        assert X.multiply(y).nnz == 0
        return -float(np.mean((y.data - self.mean_) ** 2))


@pytest.fixture
def ratings():
    """Return integer ratings with an empty row."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 6, (12, 9)) * (rng.random((12, 9)) < 0.6)
    values[4] = 0
    return sp.csr_array(values)


def test_holdout_split_yields_all_rows_once(ratings):
    X, y = random_holdout(ratings, random_state=0)
    cv = HoldoutSplit()
    splits = list(cv.split(X, y))
    assert len(splits) == cv.get_n_splits() == cv.get_n_splits(X, y) == 1
    for rows in splits[0]:
        np.testing.assert_array_equal(rows, np.arange(12))
    assert not np.shares_memory(*splits[0])
    assert len(next(cv.split(X, np.zeros(12, dtype=int)))[0]) == 12
    assert repr(cv) == "HoldoutSplit()"
    assert check_cv(cv) is cv


def test_holdout_split_needs_y(ratings):
    with pytest.raises(ValueError, match=r"search.fit\(X_fit, X_valid\)"):
        next(HoldoutSplit().split(ratings))
    with pytest.raises(ValueError, match="y is None"):
        GridSearchCV(Constant(), {"shift": [0]}, cv=HoldoutSplit()).fit(ratings)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        next(HoldoutSplit().split(ratings, ratings[:3]))


def test_holdout_split_in_a_search(ratings):
    X_fit, X_valid = random_holdout(ratings, 0.3, random_state=0)
    shifts = [-1.0, 0.25, 2.0]
    search = GridSearchCV(Constant(), {"shift": shifts}, cv=HoldoutSplit())
    search.fit(X_fit, X_valid)
    expected = [Constant(shift).fit(X_fit).score(X_fit, X_valid) for shift in shifts]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected)
    assert search.best_params_ == {"shift": shifts[int(np.argmax(expected))]}
    assert search.best_estimator_.n_rows_ == 12
    assert clone(search).cv.get_n_splits() == 1


@pytest.mark.parametrize("n_splits", [2, 5, 7])
def test_cell_kfold_holds_out_every_cell_once(ratings, n_splits):
    X, y, cv = cell_kfold(ratings, n_splits, random_state=0)
    assert X.shape == y.shape == (n_splits * 12, 9)
    assert len(cv) == n_splits
    assert X.dtype == y.dtype == ratings.dtype
    held_out = np.zeros(ratings.shape, dtype=ratings.dtype)
    n_held_out = []
    for number, (train, test) in enumerate(cv):
        np.testing.assert_array_equal(train, np.arange(12) + 12 * number)
        np.testing.assert_array_equal(train, test)
        known, asked = X[train], y[test]
        assert known.multiply(asked).nnz == 0
        np.testing.assert_array_equal((known + asked).toarray(), ratings.toarray())
        held_out += asked.toarray()
        n_held_out.append(asked.nnz)
    np.testing.assert_array_equal(held_out, ratings.toarray())
    assert max(n_held_out) - min(n_held_out) <= 1
    for part in (X, y):
        assert isinstance(part, sp.csr_array)
        assert part.indices.dtype == np.int32
        assert part.has_canonical_format


def test_cell_kfold_in_a_search(ratings):
    X, y, cv = cell_kfold(ratings, 3, random_state=0)
    shifts = [-1.0, 0.0, 1.0]
    search = GridSearchCV(Constant(), {"shift": shifts}, cv=cv, refit=False).fit(X, y)
    for number in range(3):
        rows = slice(12 * number, 12 * (number + 1))
        expected = [Constant(shift).fit(X[rows]).score(X[rows], y[rows]) for shift in shifts]
        np.testing.assert_allclose(search.cv_results_[f"split{number}_test_score"], expected)
    assert search.best_params_ == {"shift": 0.0}


def test_cell_kfold_keeps_large_integers_and_shuffles():
    times = 2**53 + np.arange(1, 101).reshape(10, 10)
    folds = [cell_kfold(times, 4, random_state=seed)[1] for seed in (0, 0, 1)]
    total = sum(folds[0][10 * b : 10 * (b + 1)].toarray() for b in range(4))
    np.testing.assert_array_equal(total, times)
    np.testing.assert_array_equal(folds[0].toarray(), folds[1].toarray())
    assert np.any(folds[0].toarray() != folds[2].toarray())


def test_cell_kfold_warns_with_times(ratings):
    times = ratings.copy()
    times.data = np.random.default_rng(0).permutation(times.nnz) + 2**33
    with pytest.warns(UserWarning, match="trained on the future") as warned:
        X, y, _ = cell_kfold(ratings, 3, order=times, random_state=0)
    t = np.tile(times.toarray(), (3, 1))
    newest = np.where(X.toarray() > 0, t, 0).max(axis=1, keepdims=True)
    share = 100 * np.sum((y.toarray() > 0) & (t < newest)) / ratings.nnz
    assert f"{share:.3g} % of the test" in str(warned[0].message)


def test_cell_kfold_errors(ratings):
    with pytest.raises(ValueError, match="n_splits == 1, must be >= 2"):
        cell_kfold(ratings, 1)
    with pytest.raises(ValueError, match="exceeds the 3 interactions"):
        cell_kfold(np.eye(3), 4)
    with pytest.raises(ValueError, match="X holds no interaction"):
        cell_kfold(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="order must have the shape"):
        cell_kfold(ratings, order=ratings[:3])
