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
    try:
        import matplotlib.pyplot as plt  # imported only here: it is optional, and slow to import
    except ImportError as error:
        raise ImportError('Plots need matplotlib: pip install "sklearn_recsys[plot]".') from error

    return plt.subplots(layout="constrained")[1]


def add_legend(ax, n_inside=5):
    """Add a legend: inside, or to the right of the axes if it would cover curves."""
    if len(ax.get_legend_handles_labels()[1]) <= n_inside:
        return ax.legend()
    return ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def label_points(ax, points, names, **text_options):
    """Label points, each on the side where its name covers no other and no point, inside the axes.

    Call it when the limits are final. Names that fit nowhere are where they overlap the least.
    """
    from matplotlib.transforms import Bbox

    ax.figure.draw_without_rendering()  # the layout decides how large the axes are
    frame = ax.get_window_extent()
    pixels = ax.figure.dpi / 72
    centers = ax.transData.transform(points) if len(points) else []
    taken = [Bbox([center - 3 * pixels, center + 3 * pixels]) for center in centers]
    texts = []
    for point, name in zip(points, names, strict=True):
        options = {"text": str(name), "xy": point, "textcoords": "offset points", **text_options}
        tried = []
        for offset, sides in _SIDES:
            text = ax.annotate(xytext=offset, **sides, **options)
            box = text.get_window_extent()
            text.remove()
            tried.append((_shared(box, taken) + _outside(box, frame), box, offset, sides))
        _, box, offset, sides = min(tried, key=lambda one: one[0])  # the first of equal ones
        taken.append(box)
        if max(map(abs, offset)) > 10:  # too far to see whose name it is
            sides = {**sides, "arrowprops": {"arrowstyle": "-", "color": "gray", "lw": 0.6}}
        texts.append(ax.annotate(xytext=offset, **sides, **options))
    return texts


# offsets in points from a point to its name, and the name's alignment
_SIDES = [
    ((x, y), {"ha": ha, "va": va})
    for x, y, ha, va in (
        (5, 4, "left", "bottom"),
        (5, -4, "left", "top"),
        (-5, 4, "right", "bottom"),
        (-5, -4, "right", "top"),
        (0, 12, "center", "bottom"),
        (0, -12, "center", "top"),
        (5, 18, "left", "bottom"),
        (5, -18, "left", "top"),
        (-5, 18, "right", "bottom"),
        (-5, -18, "right", "top"),
    )
]


def _shared(box, others):
    """Return the area that a box shares with others."""
    widths = (min(box.x1, other.x1) - max(box.x0, other.x0) for other in others)
    heights = (min(box.y1, other.y1) - max(box.y0, other.y0) for other in others)
    return sum(max(w, 0) * max(h, 0) for w, h in zip(widths, heights, strict=True))


def _outside(box, frame):
    """Return the area of a box outside a frame."""
    return box.width * box.height - _shared(box, [frame])


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
