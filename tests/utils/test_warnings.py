"""Warnings lead to the line that called the package."""

from __future__ import annotations

import warnings
from inspect import currentframe

import pytest
from sklearn.base import BaseEstimator, _fit_context

from sklearn_recsys.exceptions import LeakWarning, RecommenderWarning
from sklearn_recsys.utils._warnings import warn


class Warns(BaseEstimator):
    _parameter_constraints: dict = {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X):
        warn("deep down", LeakWarning)


def test_the_line_is_the_callers():
    with pytest.warns(LeakWarning, match="deep down") as record:
        warn("deep down", LeakWarning)
    assert record[0].filename == __file__
    assert record[0].lineno == currentframe().f_lineno - 2


def test_wrappers_of_scikit_learn_are_skipped():
    # `fit` of a recommender is called by scikit-learn's `_fit_context`; here our own method stands
    # for the user's line, as the innermost one that is in no library
    with pytest.warns(LeakWarning) as record:
        Warns().fit(None)
    assert record[0].filename == __file__


def test_a_filter_by_the_base_category_silences_all():
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("ignore", RecommenderWarning)
        warn("quiet", LeakWarning)
    assert not record
