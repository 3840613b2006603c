"""Checks of what a model predicts: pairs, blocks, units, and what it learns."""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import get_tags

from sklearn_recsys.utils._cells import with_values
from sklearn_recsys.utils.estimator_checks._tools import FEW, TOLERANCE, make_matrix


def check_predict_pairs(estimator):
    """Check that `predict_pairs` returns the values of `predict` at the given cells."""
    X = make_matrix(estimator)
    model = estimator.fit(X)
    histories = sp.vstack(
        [make_matrix(estimator, seed=1), sp.csr_array((1, X.shape[1]))], format="csr"
    )
    rng = np.random.RandomState(0)
    rows = rng.randint(histories.shape[0], size=200)
    items = rng.randint(X.shape[1], size=200)
    assert_allclose(
        model.predict_pairs(histories, rows, items),
        model.predict(histories)[rows, items],
        **TOLERANCE,
    )
    assert model.predict_pairs(histories, [], []).shape == (0,)


def check_blocks(estimator):
    """Check that the block size does not change the scores beyond rounding."""
    X = make_matrix(estimator)
    with config_context(working_memory=1e-3):
        small = clone(estimator).fit(X).predict(X)
    model = estimator.fit(X)
    whole = model.predict(X)
    assert_allclose(small, whole, **TOLERANCE)
    with config_context(working_memory=1e-3):
        assert_allclose(model.predict(X), whole, **TOLERANCE)
        _, scores = model.recommend(return_scores=True)
    assert_allclose(scores, model.recommend(return_scores=True)[1], **TOLERANCE)
    each = np.vstack([model.predict(X[[row]]) for row in range(FEW)])
    assert_allclose(each, whole[:FEW], **TOLERANCE)


def check_permutations(estimator):
    """Check that permuted rows permute results; if `exact`, also the training rows and items."""
    X = make_matrix(estimator)
    rng = np.random.RandomState(0)
    rows, items = rng.permutation(X.shape[0]), rng.permutation(X.shape[1])
    model = estimator.fit(X)
    predicted = model.predict(X)
    assert_allclose(model.predict(X[rows]), predicted[rows], **TOLERANCE)
    others = make_matrix(estimator, seed=1)
    assert_allclose(model.score(others[rows]), model.score(others), rtol=1e-6)
    if get_tags(estimator).recommender_tags.exact:
        loose = {"rtol": 1e-4, "atol": 1e-5}
        why = "the tag `exact` says that the order of {} does not matter to `fit`"
        permuted = clone(estimator).fit(X[rows])
        assert_allclose(permuted.predict(X), predicted, **loose, err_msg=why.format("users"))
        permuted = clone(estimator).fit(X[:, items]).predict(X[:, items])
        assert_allclose(permuted, predicted[:, items], **loose, err_msg=why.format("items"))


def check_rating_units(estimator):
    """Check that a rating model fitted on ``a * ratings + b`` predicts ``a * predictions + b``."""
    if get_tags(estimator).recommender_tags.values != "rating":
        return
    X, others = make_matrix(estimator), make_matrix(estimator, seed=1)
    model = clone(estimator).fit(X)
    expected, score = model.predict(others), model.score(others)
    low, high = X.data.min(), X.data.max()
    for a, b in [(1e-6, 0), (0.2, 0), (20, 0), (1e4, 0), (5, -14.5), (2, 1000)]:
        in_units = partial(_with_ratings, a=a, b=b)
        model = clone(estimator).fit(in_units(X))
        predicted = (model.predict(in_units(others)).astype(np.float64) - b) / a
        unit = f"a = {a:g}, b = {b:g}"
        assert_allclose(predicted, expected, rtol=0, atol=2e-3 * (high - low), err_msg=unit)
        assert_allclose(model.score(in_units(others)) / a, score, rtol=2e-3, err_msg=unit)


def _with_ratings(X, a, b):
    """Return ``a * ratings + b``."""
    return with_values(X, a * X.data.astype(np.float64) + b)


def check_checkerboard(estimator):
    """Check that each user's held-out item is ranked first, on two groups of users and items."""
    tags = get_tags(estimator).recommender_tags
    if not (tags.personalized and tags.ranks_by_score):
        return
    n = 50
    same_group = np.add.outer(np.arange(n), np.arange(n)) % 2 == 0
    if tags.values == "rating":
        checkerboard = np.where(same_group, 5.0, 1.0)
    elif tags.values == "order":
        checkerboard = same_group * (
            1.0 + np.random.default_rng(0).permuted(np.tile(np.arange(n), (n, 1)), axis=1)
        )
    else:
        checkerboard = same_group.astype(np.float64)
    np.fill_diagonal(checkerboard, 0)
    if tags.values == "rating":  # the held-out item must not be the only unseen one
        checkerboard[np.arange(n), (np.arange(n) + 1) % n] = 0
    model = estimator.fit(checkerboard)
    assert_array_equal(model.recommend(n=1)[:, 0], np.arange(n))
    if tags.values == "rating":
        assert model.score(checkerboard, sp.csr_array(5.0 * np.eye(n)), metric="neg_rmse") > -1
