"""All private names of scikit-learn that the package uses, imported in one place.

If a later version of scikit-learn moves one of them, only this module has to change. Decorators get
types: scikit-learn has none, and type checkers would lose those of the decorated methods.
"""

from collections.abc import Callable
from typing import TypeVar

from sklearn.base import _clone_parametrized as clone_parametrized, _fit_context
from sklearn.pipeline import _VisualBlock as VisualBlock
from sklearn.utils import _safe_indexing as safe_indexing, metaestimators
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params
from sklearn.utils.validation import (
    _check_feature_names_in as check_feature_names_in,
    _get_feature_names as get_feature_names,
)

_Method = TypeVar("_Method", bound=Callable)

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:
        """Mixin without callbacks, which this version of scikit-learn does not have."""

    def with_callbacks(method):
        """Return a method as it is."""
        return method


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Method], _Method]:
    """Return the decorator of `fit` that validates the parameters."""
    return _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)


def available_if(check: Callable) -> Callable[[_Method], _Method]:
    """Return a decorator of methods that only exist if a check of the estimator is true."""
    return metaestimators.available_if(check)


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "VisualBlock",
    "available_if",
    "check_feature_names_in",
    "clone_parametrized",
    "fit_context",
    "get_feature_names",
    "safe_indexing",
    "validate_params",
    "with_callbacks",
]
