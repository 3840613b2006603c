"""Which classes a file may name, and what they are called there."""

from __future__ import annotations

import inspect
from importlib import import_module

from sklearn.base import BaseEstimator

from sklearn_recsys.persistence._container import ModelFileError

# what models keep in their parameters and their fitted state, beside arrays
_HELPERS = (
    "sklearn_recsys.metrics._scorer.RecommenderScorer",
    "sklearn_recsys.neighbors._similarity.RowSimilarity",
    "sklearn_recsys.utils._history_index.HistoryIndex",
    "sklearn_recsys.utils._rating_scale.RatingScale",
)

# transformers of scikit-learn that keep (n_users, n_items) and whose state is plain data
_SCIKIT_LEARN = (
    "sklearn.feature_extraction.text.TfidfTransformer",
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

# made by their constructors, whose parameters are all that they hold
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


# what files of earlier versions call classes that have another name now
_RENAMED = {
    "sklearn_recsys.neighbors.ContentRecommender": "sklearn_recsys.content.ContentRecommender",
}


def _allowed():
    """Return the full names of the allow-list: our public estimators, helpers, scikit-learn's."""
    public = import_module("sklearn_recsys")._PUBLIC
    names = {f"{module}.{name}" for module, names in public.items() for name in names}
    return names | {*_HELPERS, *_SCIKIT_LEARN, *_SEARCHES, *_SPLITTERS}


def _lookup(name):
    """Return the class of a name on the allow-list, or None if it is none."""
    module, _, attribute = name.rpartition(".")
    item = getattr(import_module(module), attribute)
    others = (*_HELPERS, *_SPLITTERS)
    if inspect.isclass(item) and (issubclass(item, BaseEstimator) or name in others):
        return item
    return None


def name_of(cls):
    """Return what a class is called in a file: its public name, so that files survive a move."""
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
    own = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in trusted}
    cls = cls or own.get(name)
    if cls is None:  # a script's own class is in __main__, and elsewhere where it is loaded
        same = [item for full, item in own.items() if name.endswith(f".{item.__qualname__}")]
        cls = same[0] if len(same) == 1 else None
    if cls is None:
        short = name.rpartition(".")[2]
        raise ModelFileError(
            f"it holds an object of the class {name[:200]!r}, which is not of sklearn_recsys. If "
            f"you know where the file comes from, pass the class: load(path, "
            f"trusted=[{short[:100]}])."
        )
    return cls


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
    """Return a parameter of an object; what repeats a splitter holds some of them in a dict."""
    return getattr(value, name) if hasattr(value, name) else value.cvargs[name]


def has_hooks(cls):
    """Return whether the class saves and loads its state itself."""
    return hasattr(cls, "_save_state") and hasattr(cls, "_load_state")


def may_save(cls):
    """Return whether objects of the class can be saved: estimators, helpers, hooks of one's own."""
    return is_built(cls) or has_hooks(cls) or name_of(cls) in _HELPERS


def attribute_problem(cls, name):
    """Return why a name cannot be an attribute that an object's state sets; None if it can."""
    if type(name) is not str or not name.isidentifier() or name.startswith("__"):
        return "is no name of an attribute"
    item = inspect.getattr_static(cls, name, None)
    if callable(item) or hasattr(type(item), "__get__"):
        return "would hide a method or property"
    return None


def check_constants(value, names):
    """Raise ValueError if an attribute would hide what the class sets, and is no fitted state.

    Such as the metric that training is stopped by.
    """
    declared = value._fitted_state() if hasattr(value, "_fitted_state") else {}
    missing = object()
    for name in names:
        constant = inspect.getattr_static(type(value), name, missing) is not missing
        if constant and name not in declared:
            raise ValueError(f"the attribute {name!r:.50} would hide a constant of the class")
