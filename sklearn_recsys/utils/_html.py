"""What scikit-learn's HTML representation shows of the package's estimators."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

from sklearn_recsys.utils._sklearn import VisualBlock, available_if


@cache
def documentation_address():
    """Return the project URL "Documentation" of the installed package; None if it has none."""
    try:
        urls = metadata("sklearn_recsys").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    addresses = dict(url.split(", ", maxsplit=1) for url in urls)
    return addresses.get("Documentation")


def size_text(n_users, n_items, nnz=None):
    """Return the size of a matrix as a text."""
    text = f"{n_users:,} users × {n_items:,} items"
    if nnz is not None:
        density = nnz / max(n_users * n_items, 1)
        text += f", {nnz:,} interactions, density {100 * density:.3g} %"
    return text


def _has_caption(estimator):
    """Return whether to draw one block: what has parts is left to scikit-learn."""
    parts = [part for part in estimator.get_params(deep=False).values() if hasattr(part, "fit")]
    return not parts and estimator._html_caption() is not None


class HTMLMixin:
    """Mixin for estimators whose diagram has a line on their data, and a link to their page."""

    _doc_link_module = "sklearn_recsys"

    @property
    def _doc_link_template(self):
        address = str(documentation_address()).rstrip("/")
        default = address + "/api/generated/{estimator_module}.{estimator_name}.html"
        return vars(self).get("__doc_link_template", default)

    @_doc_link_template.setter
    def _doc_link_template(self, value):  # for models of others, as scikit-learn documents it
        vars(self)["__doc_link_template"] = value

    def _get_doc_link(self):
        has_page = documentation_address() or self._doc_link_module != "sklearn_recsys"
        return super()._get_doc_link() if has_page else ""

    def _html_caption(self):
        """Return the line below the name; None: no line."""
        X = self.__dict__.get("interactions_")
        return None if X is None else size_text(*X.shape, X.nnz)

    @available_if(_has_caption)
    def _sk_visual_block_(self):
        return VisualBlock(
            "single",
            self,
            names=type(self).__name__,
            name_details=str(self),
            name_caption=self._html_caption(),
        )
