"""Sphinx configuration; the API reference is made from the package's table of public names."""

from importlib import import_module
from pathlib import Path

import sklearn_recsys

HERE = Path(__file__).parent

project = "sklearn_recsys"
author = "The sklearn_recsys developers"
copyright = f"2026, {author}"
version = release = sklearn_recsys.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "literal"

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_recsys {version}"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}

# No intersphinx: it would fetch inventories, and the build has to work (and warn) offline.

autosummary_generate = True
numpydoc_show_class_members = False  # the class template shows them, with their documentation

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": ("sklearn_recsys",),
    "reference_url": {"sklearn_recsys": None},
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "parallel": True,  # as many examples at once as sphinx has processes
}


def write_api_reference(folder):
    """Write the index of the API reference, from which autosummary makes a page for each name."""
    lines = [
        "API reference",
        "=============",
        "",
        "Models and the pipeline are imported from the package, as in "
        "``from sklearn_recsys import EASE``;",
        "everything else from its submodule.",
    ]
    pages = set()
    for module, names in sklearn_recsys._PUBLIC.items():
        summary = (import_module(module).__doc__ or "").strip().partition("\n")[0]
        lines += ["", module, "-" * len(module), "", summary]
        lines += ["", f".. currentmodule:: {module}", ""]
        lines += [".. autosummary::", "   :toctree: generated", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in names]
        pages |= {f"{module}.{name}.rst" for name in names}
    folder.mkdir(exist_ok=True)
    index, text = folder / "index.rst", "\n".join(lines) + "\n"
    if not index.exists() or index.read_text(encoding="utf-8") != text:
        index.write_text(text, encoding="utf-8")
    for page in (folder / "generated").glob("*.rst"):
        if page.name not in pages:  # of a name that is gone
            page.unlink()


def skip_inherited(app, what, name, obj, skip, options):
    """Leave out what scikit-learn documents: its texts refer to pages that are not here."""
    obj = getattr(obj, "fget", None) or obj  # what a property calls
    inherited = (getattr(obj, "__module__", None) or "").startswith("sklearn.")
    return True if inherited and name not in {"get_params", "set_params"} else None


def setup(app):
    """Register our hooks with Sphinx."""
    write_api_reference(HERE / "api")
    app.connect("autodoc-skip-member", skip_inherited)
