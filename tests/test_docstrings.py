"""Docstrings of public names pass the checks of numpydoc."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

import sklearn_recsys

validate = pytest.importorskip("numpydoc.validate").validate

# a one-line summary may say it all; returned values have names, as in scikit-learn
EXCEPT = {"ES01", "RT02"}
# methods are read on the page of their class
EXCEPT_IN_METHODS = EXCEPT | {"SA01", "EX01"}

PUBLIC = [(module, name) for module, names in sklearn_recsys._PUBLIC.items() for name in names]


def faults(path, allowed):
    return [
        f"{path}: {code} {text}" for code, text in validate(path)["errors"] if code not in allowed
    ]


def own_methods():
    """Return a path to each public method of ours, however many classes inherit it."""
    paths = {}
    for module, name in PUBLIC:
        cls = getattr(import_module(module), name)
        for method in dir(cls) if inspect.isclass(cls) else ():
            item = inspect.getattr_static(cls, method)
            for wrapper in ("fget", "fn", "__func__"):  # property, available_if, classmethod
                item = getattr(item, wrapper, item)
            own = inspect.isfunction(item) and item.__module__.startswith("sklearn_recsys.")
            if own and not method.startswith("_"):
                paths.setdefault(item, f"{module}.{name}.{method}")
    return paths


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_docstrings_are_valid(module, name):
    assert not faults(f"{module}.{name}", EXCEPT)


def test_docstrings_of_methods_are_valid():
    paths = own_methods()
    seen = {path.rpartition(".")[2] for path in paths.values()}
    assert {"recommend", "similar_items", "history_", "from_csr"} <= seen  # behind decorators, too
    assert "get_metadata_routing" not in seen  # of scikit-learn
    found = [fault for path in paths.values() for fault in faults(path, EXCEPT_IN_METHODS)]
    assert not found, "\n".join(found)


def test_a_faulty_docstring_is_seen():
    codes = {fault.split()[1] for fault in faults(f"{__name__}.own_methods", EXCEPT)}
    assert {"EX01", "RT01", "SA01"} <= codes
