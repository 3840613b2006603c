"""Validation of the parameters and fitted attributes of a loaded estimator."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_recsys.persistence._classes import has_hooks, name_of
from sklearn_recsys.utils._state import (
    Array,
    Instance,
    Labels,
    Maybe,
    Number,
    Optional,
    Size,
    check_state,
)

_SEARCHES = (GridSearchCV, RandomizedSearchCV)
_COLUMNS = {
    "n_features_in_": Size("n_columns"),
    "feature_names_in_": Optional(Labels("n_columns", strings=True)),
}
_SCALE = Maybe(Array("n_columns", finite=False))  # NaN for a column of NaN

_LINEAR = {**_COLUMNS, "coef_": Array("n_columns"), "intercept_": Number()}
_TREES = {name: Optional(rule) for name, rule in _COLUMNS.items()}  # the rest: see `_trees`

_SEARCH = {
    "best_estimator_": Optional(Instance(BaseEstimator)),
    "best_params_": Optional(Instance(dict)),
    "best_index_": Optional(Number(low=0)),
    "cv_results_": Instance(dict),
    "n_splits_": Number(low=1),
}

# the fitted attributes of scikit-learn's classes, which do not declare any themselves
_SCIKIT_LEARN = {
    "sklearn.ensemble.HistGradientBoostingClassifier": _TREES,
    "sklearn.ensemble.HistGradientBoostingRegressor": _TREES,
    "sklearn.feature_extraction.text.TfidfTransformer": {
        **_COLUMNS,
        "idf_": Optional(Array("n_columns")),
    },
    "sklearn.linear_model.ElasticNet": _LINEAR,
    "sklearn.linear_model.LinearRegression": _LINEAR,
    "sklearn.linear_model.LogisticRegression": {
        **_COLUMNS,
        "classes_": Array(2, kinds="biufU"),
        "coef_": Array(1, "n_columns"),
        "intercept_": Array(1),
    },
    "sklearn.linear_model.Ridge": _LINEAR,
    "sklearn.model_selection.GridSearchCV": _SEARCH,
    "sklearn.model_selection.RandomizedSearchCV": _SEARCH,
    "sklearn.preprocessing.Binarizer": _COLUMNS,
    "sklearn.preprocessing.FunctionTransformer": {
        name: Optional(rule) for name, rule in _COLUMNS.items()
    },
    "sklearn.preprocessing.MaxAbsScaler": {
        **_COLUMNS,
        "max_abs_": _SCALE,
        "scale_": _SCALE,
    },
    "sklearn.preprocessing.Normalizer": _COLUMNS,
    "sklearn.preprocessing.QuantileTransformer": {
        **_COLUMNS,
        "n_quantiles_": Size("n_quantiles"),
        "references_": Array("n_quantiles"),
        "quantiles_": Array("n_quantiles", "n_columns", finite=False),
    },
    "sklearn.preprocessing.RobustScaler": {**_COLUMNS, "center_": _SCALE, "scale_": _SCALE},
    "sklearn.preprocessing.StandardScaler": {
        **_COLUMNS,
        "mean_": _SCALE,
        "var_": _SCALE,
        "scale_": _SCALE,
    },
}


def check_parameters(model):
    """Raise ValueError if a model has parameters that a file must not set."""
    if hasattr(model, "_check_portable"):
        model._check_portable()
    if isinstance(model, Pipeline):
        _check_steps(model)
    if isinstance(model, _SEARCHES):
        _check_search(model)
    if isinstance(model, FunctionTransformer):
        for function in (model.func, model.inverse_func):
            if function is not None and not isinstance(function, np.ufunc):
                raise ValueError(
                    f"its function is {function!r:.100}; a file can only hold numpy functions, "
                    "such as numpy.log1p"
                )


def check_fitted(model):
    """Raise ValueError unless a model is unfitted or has valid parameters and attributes."""
    fitted = check_state(model, rules=_SCIKIT_LEARN.get(name_of(type(model))))
    if fitted and isinstance(model, BaseEstimator):
        model._validate_params()
    if fitted and isinstance(model, Pipeline):
        for name, step in model.steps:
            n_columns = getattr(step, "n_features_in_", model.n_features_in_)
            if n_columns != model.n_features_in_:
                raise ValueError(f"step {name!r} has {n_columns} columns")


def derived_attributes(cls):
    """Return the attributes that are not saved because they follow from the others."""
    derived = {"scorer_"} if issubclass(cls, _SEARCHES) else set(getattr(cls, "_derived", ()))
    return {"_skl_callbacks", *derived}  # callbacks of scikit-learn are any objects


def derive(model):
    """Set the derived attributes of a loaded model."""
    if hasattr(model, "_set_derived"):
        model._set_derived()
    if isinstance(model, _SEARCHES) and hasattr(model, "cv_results_"):
        try:
            model.scorer_, _ = model._get_scorers()
        except (TypeError, AttributeError) as error:  # the estimator has no score method
            raise ValueError(f"its scoring cannot be used: {error}") from error


def _check_search(search):
    """Raise ValueError unless `fit` and `score` can use the parameters of a search."""
    if not isinstance(search.estimator, BaseEstimator):
        raise ValueError("its estimator is not an estimator")
    scoring = search.scoring
    if isinstance(scoring, (list, tuple)):
        is_valid = all(isinstance(name, str) for name in scoring)
    elif isinstance(scoring, dict):
        is_valid = all(_is_scorer(item) for item in scoring.values())
    else:
        is_valid = scoring is None or _is_scorer(scoring)
    if not is_valid or not isinstance(search.refit, (bool, str)):
        raise ValueError("its scoring or its refit is a function")
    cv = search.cv
    if not (cv is None or isinstance(cv, (int, list, tuple)) or hasattr(cv, "split")):
        raise ValueError(f"its cv is {cv!r:.50}")


def _is_scorer(item):
    return isinstance(item, str) or has_hooks(type(item))  # functions have no such hooks


def _check_steps(pipeline):
    """Raise ValueError unless the steps are pairs of a name and an estimator."""
    steps = pipeline.steps
    if not isinstance(steps, (list, tuple)) or not steps:
        raise ValueError("its steps are not a list of steps")
    for step in steps:
        if not isinstance(step, (tuple, list)) or len(step) != 2 or not isinstance(step[0], str):
            raise ValueError("its steps are not pairs of a name and an estimator")
        if not (step[1] is None or step[1] == "passthrough" or isinstance(step[1], BaseEstimator)):
            raise ValueError(f"its step {step[0]!r:.50} is not an estimator")
