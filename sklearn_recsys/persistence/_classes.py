"""The classes that a file may name, and their names there."""

from __future__ import annotations

import inspect
from importlib import import_module

from sklearn.base import BaseEstimator

from sklearn_recsys.persistence._container import ModelFileError

_FORMER = "sklearn_recsys.persistence._classes.Former"

# classes in the parameters and the fitted state of models that are not estimators
_HELPERS = (
    "sklearn_recsys.metrics._scorer.RecommenderScorer",
    "sklearn_recsys.neighbors._similarity.RowSimilarity",
    _FORMER,
    "sklearn_recsys.utils._rating_scale.RatingScale",
)

# whose trees are saved as arrays, see `_trees`
_TREES = (
    "sklearn.ensemble.HistGradientBoostingClassifier",
    "sklearn.ensemble.HistGradientBoostingRegressor",
)

# scikit-learn's transformers that preserve the shape (n_users, n_items), and estimators that stacks
# and two-stage recommenders may end with, if their state is plain data
_SCIKIT_LEARN = (
    *_TREES,
    "sklearn.feature_extraction.text.TfidfTransformer",
    "sklearn.linear_model.ElasticNet",
    "sklearn.linear_model.LinearRegression",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.linear_model.Ridge",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing.Binarizer",
    "sklearn.preprocessing.FunctionTransformer",
    "sklearn.preprocessing.MaxAbsScaler",
    "sklearn.preprocessing.Normalizer",
    "sklearn.preprocessing.QuantileTransformer",
    "sklearn.preprocessing.RobustScaler",
    "sklearn.preprocessing.StandardScaler",
)


_SEARCHES = (
    "sklearn.model_selection.GridSearchCV",
    "sklearn.model_selection.RandomizedSearchCV",
)

# built by their constructors, because their parameters are their only state
_SPLITTERS = (
    "sklearn_recsys.model_selection.HoldoutSplit",
    *(
        f"sklearn.model_selection.{name}"
        for name in (
            *("GroupKFold", "GroupShuffleSplit", "KFold", "LeaveOneOut", "LeavePOut"),
            *("PredefinedSplit", "RepeatedKFold", "ShuffleSplit", "TimeSeriesSplit"),
        )
    ),
)


# old names, in files of earlier versions, of classes that were moved
_RENAMED = {
    "sklearn_recsys.neighbors.ContentRecommender": "sklearn_recsys.content.ContentRecommender",
    "sklearn_recsys.TwoTowerRecommender": "sklearn_recsys.TwoTower",
    "sklearn_recsys.neural.TwoTowerRecommender": "sklearn_recsys.neural.TwoTower",
    "sklearn_recsys.utils._history_index.HistoryIndex": _FORMER,
}

# and what they call parameters and attributes of our classes
_RENAMED_ATTRIBUTES = {
    "fold_in_l2": "user_l2",
    "fold_in_l2_": "user_l2_",
    "n_embedding": "embedding_dim",
    "n_feature_embedding": "feature_embedding_dim",
}

# attributes of our classes that files no longer hold, because they follow from others
_FORMER_ATTRIBUTES = {"_transposed_"}


class Former:
    """An object of a class that files no longer hold; it is dropped after it is read.

    It is read because other objects of the file may refer to its contents.
    """


def _allowed():
    """Return the full names of all allowed classes."""
    public = import_module("sklearn_recsys")._PUBLIC
    names = {f"{module}.{name}" for module, names in public.items() for name in names}
    return names | {*_HELPERS, *_SCIKIT_LEARN, *_SEARCHES, *_SPLITTERS}


def _lookup(name):
    """Return the class of a name on the allow-list, or None if it is not such a class."""
    module, _, attribute = name.rpartition(".")
    item = getattr(import_module(module), attribute)
    others = (*_HELPERS, *_SPLITTERS)
    if inspect.isclass(item) and (issubclass(item, BaseEstimator) or name in others):
        return item
    return None


def name_of(cls):
    """Return the name of a class in a file: its public name, so that files survive a move."""
    for name in _allowed():
        if name.rpartition(".")[2] == cls.__name__ and _lookup(name) is cls:
            return name
    return f"{cls.__module__}.{cls.__qualname__}"


def class_of(name, trusted):
    """Return the class that a file names, from the allow-list or the caller's trusted classes."""
    if type(name) is not str:
        raise ModelFileError(f"it names a class by a {type(name).__name__}.")
    name = _RENAMED.get(name, name)
    cls = _lookup(name) if name in _allowed() else None
    by_name = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in trusted}
    cls = cls or by_name.get(name)
    if cls is None:  # a class defined in a script is in __main__ there, but elsewhere when imported
        same = [item for item in by_name.values() if name.endswith(f".{item.__qualname__}")]
        cls = same[0] if len(same) == 1 else None
    if cls is None:
        short = name.rpartition(".")[2]
        raise ModelFileError(
            f"it holds an object of the class {name[:200]!r}, which is not part of "
            f"sklearn_recsys. If you trust the source of the file, pass the class: load(path, "
            f"trusted=[{short[:100]}])."
        )
    return cls


def updated(cls, params, state):
    """Return the class, parameters and state of today for those that a file holds."""
    if not cls.__module__.startswith("sklearn_recsys."):
        return cls, _without_former(params), _without_former(state)
    params, state = _renamed(params), _renamed(state)
    if type(state.get(_FIT_PARAMS)) is dict:
        state[_FIT_PARAMS] = _renamed(state[_FIT_PARAMS])
    if cls.__name__ == "MatrixFactorization" and "loss" in params:
        return _divided(cls, params, state)
    return cls, params, state


_FIT_PARAMS = "_fit_params_"  # the parameters of `fit` that were changed after it


def _without_former(attributes):
    return {name: value for name, value in attributes.items() if not isinstance(value, Former)}


def _renamed(attributes):
    return {
        _RENAMED_ATTRIBUTES.get(name, name): value
        for name, value in _without_former(attributes).items()
        if name not in _FORMER_ATTRIBUTES
    }


def _divided(cls, params, state):
    """Return what one class for ratings and rankings, told apart by `loss`, is today."""
    of_ratings = isinstance(params["loss"], str) and params["loss"] == "mse"
    dropped = {"loss", "negatives", "n_negatives"} if of_ratings else {"rating_range"}
    if not of_ratings:
        cls = import_module("sklearn_recsys.neural").ImplicitMatrixFactorization

    def converted(params):
        params = {name: value for name, value in params.items() if name not in dropped}
        for name in {"lr", "l2"} & set(params):
            if params[name] is None:  # was: the default of the loss
                params[name] = getattr(cls, name)
        return params

    if type(state.get(_FIT_PARAMS)) is dict:
        state = {**state, _FIT_PARAMS: converted(state[_FIT_PARAMS])}
    return cls, converted(params), state


def is_built(cls):
    """Return whether objects of the class are saved as the parameters of their constructor."""
    return issubclass(cls, BaseEstimator) or is_splitter(cls)


def is_splitter(cls):
    """Return whether the class is a cross-validation splitter of the allow-list."""
    return name_of(cls) in _SPLITTERS


def parameter_names(cls):
    """Return the names of the parameters that the constructor of a class takes."""
    if issubclass(cls, BaseEstimator):
        return cls._get_param_names()
    if not is_splitter(cls):
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(cls).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def parameter(value, name):
    """Return a parameter of an object; repeated splitters store some of them in a dict."""
    return getattr(value, name) if hasattr(value, name) else value.cvargs[name]


def has_hooks(cls):
    """Return whether the class has its own methods to save and load its state, or we have."""
    return (hasattr(cls, "_save_state") and hasattr(cls, "_load_state")) or _has_trees(cls)


def _has_trees(cls):
    return cls.__name__ in {name.rpartition(".")[2] for name in _TREES} and name_of(cls) in _TREES


def saved_state(value):
    """Return the state of a fitted object whose class `has_hooks`."""
    if _has_trees(type(value)):
        return import_module("sklearn_recsys.persistence._trees").saved_state(value)
    return value._save_state()


def load_state(value, state):
    """Set the state of an object whose class `has_hooks`."""
    if _has_trees(type(value)):
        import_module("sklearn_recsys.persistence._trees").load_state(value, state)
    else:
        value._load_state(state)


def may_save(cls):
    """Return whether objects of the class can be saved."""
    return is_built(cls) or has_hooks(cls) or name_of(cls) in _HELPERS


def attribute_problem(cls, name):
    """Return why an object's state must not set an attribute of this name; None if it may."""
    if type(name) is not str or not name.isidentifier() or name.startswith("__"):
        return "is not the name of an attribute"
    item = inspect.getattr_static(cls, name, None)
    if callable(item) or hasattr(type(item), "__get__"):
        return "would hide a method or property"
    return None


def check_constants(value, names):
    """Raise ValueError if an undeclared attribute would hide a class attribute.

    A file could otherwise change, for example, the metric of early stopping.
    """
    declared = value._fitted_state() if hasattr(value, "_fitted_state") else {}
    missing = object()
    for name in names:
        constant = inspect.getattr_static(type(value), name, missing) is not missing
        if constant and name not in declared:
            raise ValueError(f"the attribute {name!r:.50} would hide a constant of the class")
