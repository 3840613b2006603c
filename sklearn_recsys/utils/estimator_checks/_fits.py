"""Checks of fitted models: saved, fitted again with one seed, and fitted further."""

from __future__ import annotations

import os
import pickle
import tempfile

import joblib
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags

from sklearn_recsys.persistence import load
from sklearn_recsys.utils.estimator_checks._tools import TOLERANCE, make_matrix


def _all_params(estimator):
    """Return all parameters as text, including those of nested estimators."""
    with config_context(print_changed_only=False):
        return BaseEstimator.__repr__(estimator, N_CHAR_MAX=10**6)


def check_persistence(estimator):
    """Check that models survive pickle, joblib and save/load bit for bit."""
    X = make_matrix(estimator)
    model = estimator.fit(X)
    expected = model.predict(X)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), expected)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.joblib")
        joblib.dump(model, path)
        assert_array_equal(joblib.load(path).predict(X), expected)

        path = os.path.join(folder, "model.recsys")
        model.save(path)
        values = [model, *model.get_params().values()]
        trusted = {type(value) for value in values if isinstance(value, BaseEstimator)}
        loaded = load(path, trusted=trusted)
    assert type(loaded) is type(model)
    assert _all_params(loaded) == _all_params(model), "loading changed a parameter"
    assert_array_equal(loaded.predict(X), expected)
    for before, after in zip(
        model.recommend(return_scores=True), loaded.recommend(return_scores=True), strict=True
    ):
        assert_array_equal(after, before)


def check_reproducible(estimator):
    """Check that `fit` is reproducible, does not depend on earlier fits, and uses no global state.

    The `random_state` of the estimator, if any, is an integer here.
    """
    X = make_matrix(estimator)
    users_state = np.random.get_state()
    np.random.seed(860_241)  # an unusual seed, which no model sets itself
    state = np.random.get_state()
    try:
        first, second = clone(estimator).fit(X), clone(estimator)
        second.fit(make_matrix(estimator, n_users=20, seed=1))
        second.fit(X)
        assert_array_equal(first.predict(X), second.predict(X))
        assert_array_equal(first.recommend(), second.recommend())
        for before, after in zip(state, np.random.get_state(), strict=True):
            assert_array_equal(after, before, err_msg="numpy's global random state was changed")
    finally:
        np.random.set_state(users_state)


def check_partial_fit(estimator):
    """Check that the first `partial_fit` is a fit, and that exact models then add the new rows."""
    X = make_matrix(estimator)
    first = clone(estimator).partial_fit(X)
    assert_array_equal(first.predict(X), clone(estimator).fit(X).predict(X))
    if get_tags(estimator).recommender_tags.exact:
        first = clone(estimator).fit(X[:25]).partial_fit(X[25:])
        assert_allclose(first.predict(X), estimator.fit(X).predict(X), **TOLERANCE)
        assert_array_equal(first.interactions_.toarray(), X.toarray())
