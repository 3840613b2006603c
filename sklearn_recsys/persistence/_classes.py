"""Which classes a file may name, and what they are called there."""

from __future__ import annotations

import inspect
from importlib import import_module

from sklearn.base import BaseEstimator

from sklearn_recsys.persistence._container import ModelFileError

# what models keep in their fitted state, beside arrays
_HELPERS = (
    "sklearn_recsys.neighbors._similarity.RowSimilarity",
    "sklearn_recsys.utils._history_index.HistoryIndex",
    "sklearn_recsys.utils._rating_scale.RatingScale",
)

# transformers of scikit-learn that keep (n_users, n_items) and whose state is plain data
_SCIKIT_LEARN = (
    "sklearn.feature_extraction.text.TfidfTransformer",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing.Binarizer",
    "sklearn.preprocessing.MaxAbsScaler",
    "sklearn.preprocessing.Normalizer",
    "sklearn.preprocessing.QuantileTransformer",
    "sklearn.preprocessing.RobustScaler",
    "sklearn.preprocessing.StandardScaler",
)


def _allowed():
    """Return the full names of the allow-list: our public estimators, helpers, scikit-learn's."""
    public = import_module("sklearn_recsys")._PUBLIC
    names = {f"{module}.{name}" for module, names in public.items() for name in names}
    return names | {*_HELPERS, *_SCIKIT_LEARN}


def _lookup(name):
    """Return the class of a name on the allow-list, or None if it is none."""
    module, _, attribute = name.rpartition(".")
    item = getattr(import_module(module), attribute)
    if inspect.isclass(item) and (issubclass(item, BaseEstimator) or name in _HELPERS):
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


def is_estimator(cls):
    """Return whether objects of the class are saved with their parameters."""
    return issubclass(cls, BaseEstimator)


def has_hooks(cls):
    """Return whether the class saves and loads its state itself."""
    return hasattr(cls, "_save_state") and hasattr(cls, "_load_state")


def may_save(cls):
    """Return whether objects of the class can be saved: estimators, helpers, hooks of one's own."""
    return is_estimator(cls) or has_hooks(cls) or name_of(cls) in _HELPERS


def attribute_problem(cls, name):
    """Return why a name cannot be an attribute that an object's state sets; None if it can."""
    if type(name) is not str or not name.isidentifier() or name.startswith("__"):
        return "is no name of an attribute"
    item = inspect.getattr_static(cls, name, None)
    if callable(item) or hasattr(type(item), "__get__"):
        return "would hide a method or property"
    return None
