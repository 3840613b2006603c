"""Sphinx configuration; the API reference is made from the package's table of public names.

Pages need no network, neither when they are built nor when they are read.
"""

import re
import sys
import zlib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import copy, copytree

from docutils import nodes

import sklearn_recsys

HERE = Path(__file__).parent

project = "sklearn_recsys"
author = "The sklearn_recsys developers"
copyright = f"2026, {author}"
version = release = sklearn_recsys.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "literal"

html_theme = "pydata_sphinx_theme"
html_title = f"sklearn_recsys {version}"
html_show_sourcelink = False
toc_object_entries_show_parents = "hide"  # a method is fit(), not EASE.fit()
html_theme_options = {
    "logo": {"text": project},
    "show_prev_next": False,
    "navbar_persistent": ["search-button"],  # an icon: the links fit into one line
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = dict.fromkeys(
    "index getting_started which_model coming_from faq glossary changelog citing".split(), []
)
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(HERE / "_static" / "scorer.js")
mathjax_path = "mathjax/tex-chtml.js"  # a copy, see copy_mathjax

# what is copied is what one types
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# Links to other projects: the names that we mention, a line for each in _inventories/PROJECT.txt.
OTHER_PROJECTS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "pandas": "https://pandas.pydata.org/docs/",
    "matplotlib": "https://matplotlib.org/stable/",
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "skorch": "https://skorch.readthedocs.io/en/stable/",
}

plot_html_show_formats = False  # one picture, without links to files
plot_html_show_source_link = False
plot_formats = [("png", 150)]

autosummary_generate = True
autodoc_typehints = "none"  # the texts say more: shapes, units, what each default means
numpydoc_show_class_members = False  # the class template shows them, with their documentation

sys.path.insert(0, str(HERE))  # for _gallery.py
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "_gallery.order",
    "backreferences_dir": "api/examples",
    "doc_module": ("sklearn_recsys",),
    "inspect_global_variables": False,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "parallel": True,  # as many examples at once as sphinx has processes
}


def write_inventory(project):
    """Compress a list of names, as intersphinx reads it; return the path."""
    names = (HERE / "_inventories" / f"{project}.txt").read_bytes()
    path = HERE / "_build" / "inventories" / f"{project}.inv"
    header = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n# zlib\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + zlib.compress(names))
    return str(path)


intersphinx_mapping = {name: (url, write_inventory(name)) for name, url in OTHER_PROJECTS.items()}


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


def read_markdown(app, path, docname, content):
    """Turn an included Markdown file, the changelog, into reStructuredText.

    Headings and links differ; names in backticks do not, because literals are the default role.
    """
    if path.suffix == ".md":
        text = re.sub(r"\[([^]`]+)\]\((\S+?)\)", r"`\1 <\2>`__", content[0])
        content[0] = re.sub(r"^(##|###) (.+)$", underline, text, flags=re.MULTILINE)


def underline(heading):
    """Return the heading of a match in reStructuredText."""
    level, title = heading.groups()
    return f"{title}\n{'-' * len(title) if level == '##' else '~' * len(title)}"


def source_module(app, module, name):
    """Return the module of a class, for its methods too: inherited ones link to no source."""
    return getattr(getattr(import_module(module), name.partition(".")[0]), "__module__", None)


def remove_mailboxes(app, doctree):
    """Turn "ndcg@10" back into text: docutils takes it for an address."""
    for node in list(doctree.findall(nodes.reference)):
        if node.get("refuri", "").startswith("mailto:"):
            node.replace_self(node.children)


def copy_mathjax(app, exception):
    """Copy what the pages need of the 24 MB in the package sphinx-mathjax-offline.

    It is not in the extensions: Sphinx would read the pages in one process.
    """
    if exception is None:
        source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
        target = Path(app.outdir) / "_static" / "mathjax"
        for part in ("input/tex/extensions", "output/chtml"):
            copytree(source / part, target / part, dirs_exist_ok=True)
        copy(source / "tex-chtml.js", target)


def setup(app):
    """Register our hooks with Sphinx."""
    app.connect("include-read", read_markdown)
    write_api_reference(HERE / "api")
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("viewcode-follow-imported", source_module)
    app.connect("doctree-read", remove_mailboxes)
    app.connect("build-finished", copy_mathjax)
