"""Imports go down only, torch is loaded late, and every public name is documented."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import sklearn_recsys

ROOT = Path(sklearn_recsys.__file__).parent
PACKAGE = "sklearn_recsys"

# the parts of the package from the bottom up; a part imports from parts below it only
LAYERS = [
    {"exceptions"},
    {"persistence"},  # it knows the classes of the package by name alone
    {"utils"},
    {"metrics", "model_selection", "preprocessing", "datasets"},
    {"base"},
    {"dummy", "linear_model", "neighbors", "decomposition", "content", "neural"},
    {"pipeline", "compose"},
    {"batch", "dask", "inspection"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

# evaluation ranks and scores; the metrics themselves know arrays, not models or splits. Of utils
# only the public checks of estimators save and load.
SIDEWAYS = {
    ("model_selection", "metrics"),
    ("model_selection", "preprocessing"),
    ("persistence", "utils"),
}

# files that find recommenders by name, wherever they are, when they are asked to
LOOKS_UP = {"utils/discovery.py"}

TORCH = {"torch", "skorch"}
DASK = {"dask", "distributed"}
MAY_IMPORT = {"neural": {"torch", "skorch"}, "decomposition": {"torch"}}


def files():
    return sorted(
        path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem != "__init__"
    )


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def part_of(module):
    """Return the part of the package that a dotted module name is in; None for others."""
    names = module.split(".")
    if names[0] != PACKAGE:
        return None
    return names[1] if len(names) > 1 else ""


def imported_modules(node, path):
    """Return the absolute names that an import statement of a file may refer to."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = []
    if node.level:
        parts = [PACKAGE, *path.relative_to(ROOT).parent.parts]
        base = parts[: len(parts) - node.level + 1]
    module = ".".join([*base, *([node.module] if node.module else [])])
    # `from sklearn_recsys import base` names a module, too
    return [f"{module}.{alias.name}" for alias in node.names]


def imports(path, *, module_level=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from imported_modules(node, path)
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if not (module_level and inner):
            nodes.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_imports_go_down_only(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert own in LEVEL, f"{own} has no place in the layers"
    module_level = name_of(path) in LOOKS_UP
    for module in imports(path, module_level=module_level):
        part = part_of(module)
        if part is None or part == own:
            continue
        if part == "":
            raise AssertionError(f"{path} imports the whole package")
        if part.startswith("__"):  # the version
            continue
        allowed = LEVEL[part] < LEVEL[own] or (own, part) in SIDEWAYS
        assert allowed, f"{name_of(path)} ({own}) imports {module}"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_torch_and_skorch_are_imported_late(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    found = {module.split(".")[0] for module in imports(path, module_level=True)} & TORCH
    assert found <= MAY_IMPORT.get(own, set()), f"{name_of(path)} imports {found}"


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_dask_is_imported_by_its_estimators_only_and_late(path):
    """So their documentation can be read where Dask is not installed."""
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    found = imports(path, module_level=own == "dask")
    assert not {module.split(".")[0] for module in found} & DASK


def test_the_walk_sees_every_form_of_import(tmp_path):
    """The tests above prove nothing if the walk is blind."""
    source = ROOT / "neighbors" / "imaginary.py"

    def seen(code, **kwargs):
        path = tmp_path / "code.py"
        path.write_text(code)
        tree = ast.parse(code)
        if kwargs:
            return list(imports(path, **kwargs))
        return [
            m
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for m in imported_modules(node, source)
        ]

    assert seen("import torch.nn as nn") == ["torch.nn"]
    assert seen("from sklearn_recsys import base") == ["sklearn_recsys.base"]
    assert seen("from ..base import X") == ["sklearn_recsys.base.X"]
    assert seen("from .. import base") == ["sklearn_recsys.base"]
    assert seen("from . import _knn") == ["sklearn_recsys.neighbors._knn"]
    assert seen("from ._knn import X") == ["sklearn_recsys.neighbors._knn.X"]
    late = "class A:\n  import os\n  def f(self):\n    import torch\nif 1:\n  import json"
    assert set(seen(late, module_level=True)) == {"os", "json"}
    assert len(files()) > 20


# ------------------------------------------------------------------------------- public names

PUBLIC = [(module, name) for module, names in sklearn_recsys._PUBLIC.items() for name in names]


def owner(module):
    """Return the module's __all__, or None where it has none (a file of one subject)."""
    return getattr(import_module(module), "__all__", None)


@pytest.mark.parametrize("module", sklearn_recsys._PUBLIC)
def test_the_table_of_public_names_is_that_of_the_modules(module):
    names = sklearn_recsys._PUBLIC[module]
    assert len(set(names)) == len(names)
    listed = owner(module)
    if listed is not None:
        assert sorted(listed) == sorted(names)
    else:
        contents = vars(import_module(module))
        own = {
            name
            for name, item in contents.items()
            if not name.startswith("_") and getattr(item, "__module__", None) == module
        }
        assert set(names) <= own
        if not module.startswith(f"{PACKAGE}.utils"):
            assert set(names) == own


def test_names_are_reached_from_the_package():
    for name in sklearn_recsys.__all__:
        assert getattr(sklearn_recsys, name) is not None
        assert name in dir(sklearn_recsys)
    for module, name in PUBLIC:
        if name in sklearn_recsys.__all__:
            assert getattr(sklearn_recsys, name) is getattr(import_module(module), name)
    with pytest.raises(AttributeError, match="has no attribute 'SVD'"):
        _ = sklearn_recsys.SVD
    with pytest.raises(ImportError):
        from sklearn_recsys import nothing  # noqa: F401


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_public_names_have_an_example_that_runs(module, name):
    """Doctests are run elsewhere; here it counts that there is one."""
    item = getattr(import_module(module), name)
    text = inspect.getdoc(item) or ""
    assert re.search(r"^Examples\n-+$", text, flags=re.M), f"{name} has no Examples section"
    assert doctest.DocTestParser().get_examples(text), f"the example of {name} has no code"


def documented(item, section):
    """Return the names in a numpydoc section."""
    text = inspect.getdoc(item) or ""
    found = re.search(rf"^{section}\n-+\n(.*?)(?=^\w[\w ]*\n-+$|\Z)", text, flags=re.M | re.S)
    if not found:
        return []
    lines = re.findall(r"^(\S[^:\n]*?)\s*(?::|$)", found.group(1), flags=re.M)
    return [name.strip().lstrip("*") for line in lines for name in line.split(",")]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_every_parameter_is_documented_and_no_other(module, name):
    item = getattr(import_module(module), name)
    if inspect.isclass(item) and issubclass(item, Warning):  # raised by the package, not by users
        return
    signature = inspect.signature(item)
    takes = [p for p in signature.parameters if p not in {"self", "args", "kwargs"}]
    assert documented(item, "Parameters") == takes


METHODS = [
    (module, name, method)
    for module, name in PUBLIC
    if inspect.isclass(getattr(import_module(module), name))
    for method, item in vars(getattr(import_module(module), name)).items()
    if inspect.isfunction(item) and not method.startswith("_")
]


@pytest.mark.parametrize(
    ("module", "name", "method"), METHODS, ids=[".".join(m[1:]) for m in METHODS]
)
def test_every_method_documents_its_parameters(module, name, method):
    item = getattr(getattr(import_module(module), name), method)
    takes = [p for p in inspect.signature(item).parameters if p != "self"]
    assert (inspect.getdoc(item) or "").strip()
    assert documented(item, "Parameters") == takes


def test_estimators_document_what_fit_sets():
    import numpy as np

    from sklearn_recsys.utils.discovery import all_recommenders

    for name, recommender in all_recommenders():
        model = recommender()
        if hasattr(model, "max_epochs"):
            model.set_params(max_epochs=1)
        model.fit(np.eye(4) + 2 * np.eye(4, k=1))
        fitted = {a for a in vars(model) if a.endswith("_") and not a.startswith("_")}
        fitted |= {"history_"} & set(dir(model))  # a view of net_
        listed = set(documented(recommender, "Attributes"))
        assert fitted <= listed, name
        optional = {"feature_names_in_", "item_labels_", "implicit_factors_"}
        assert listed <= fitted | optional, name
