"""All private names of scikit-learn that the package uses, imported in one place.

If a later version of scikit-learn moves one of them, only this module has to change.
"""

from sklearn.base import _clone_parametrized as clone_parametrized, _fit_context as fit_context
from sklearn.pipeline import _VisualBlock as VisualBlock
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions, validate_params
from sklearn.utils.validation import (
    _check_feature_names_in as check_feature_names_in,
    _get_feature_names as get_feature_names,
)

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "VisualBlock",
    "check_feature_names_in",
    "clone_parametrized",
    "fit_context",
    "get_feature_names",
    "safe_indexing",
    "validate_params",
]
