"""What the displays share: axes, and the outcome of ranked lists."""

from __future__ import annotations

from sklearn_recsys.metrics._hits import check_lists
from sklearn_recsys.metrics._outcome import Outcome
from sklearn_recsys.utils._labels import check_same_rows
from sklearn_recsys.utils.validation import check_csr


def new_axes(ax):
    """Return `ax`, or the axes of a new figure if it is None."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # imported only here: it is optional, and slow to import

    return plt.subplots(layout="constrained")[1]


def list_outcome(y_true, y_pred, k, X=None):
    """Return the `Outcome` of ranked lists; `X` is what was given of each row, if that matters."""
    check_same_rows(y_true, y_pred, "y_pred", "y_true")
    y_true = check_csr(y_true, name="y_true")
    y_pred = check_lists(y_pred, k, y_true.shape[1], catalog="y_true")
    X = y_true if X is None else check_csr(X, name="X")
    if not len(y_pred) == X.shape[0] == y_true.shape[0]:
        raise ValueError(
            f"All arguments must have the same rows; got {len(y_pred)} rows in y_pred, "
            f"{y_true.shape[0]} in y_true and {X.shape[0]} in X."
        )
    return Outcome(X, y_true, ids=y_pred)
