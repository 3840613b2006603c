"""Docstrings of methods that take one more parameter than the one they override."""

from __future__ import annotations

import inspect

import pytest

from sklearn_recsys.base import RecommenderMixin, UserFeaturesMixin
from sklearn_recsys.utils._docstrings import documented_like

ENTRY = "extra : int\n    One more."


def original(first, second=None):
    """Do something.

    Parameters
    ----------
    first : int
        The first.
    second : int, default=None
        The second.

    Returns
    -------
    result : int
        Something.
    """


def test_the_entry_is_where_the_parameter_is():
    @documented_like(original, ENTRY)
    def between(first, *, extra=None, second=None):
        pass

    @documented_like(original, ENTRY)
    def last(first, second=None, *, extra=None):
        pass

    text = inspect.getdoc(original)
    assert inspect.getdoc(between) == text.replace("second : int", f"{ENTRY}\nsecond : int")
    assert inspect.getdoc(last) == text.replace("\n\nReturns", f"\n{ENTRY}\n\nReturns")


def test_a_docstring_without_a_place_for_the_entry_is_refused():
    def other(first):
        """Do something else."""

    with pytest.raises(ValueError, match="other has no position for 'extra"):

        @documented_like(other, ENTRY)
        def more(first, *, extra=None):
            pass


@pytest.mark.parametrize("method", ["predict", "predict_pairs", "recommend", "score"])
def test_methods_with_features_have_the_text_of_those_without(method):
    without, with_features = (
        inspect.getdoc(getattr(mixin, method)).splitlines()
        for mixin in (RecommenderMixin, UserFeaturesMixin)
    )
    added = [line for line in with_features if line not in without]
    assert added[0].startswith("user_features : array-like")
    assert [line for line in with_features if line not in added] == without
