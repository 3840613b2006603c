"""Progress bars of long fits and predictions."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar

_DELAY = 0.5  # seconds before a bar appears: most calls take less
_is_shown = ContextVar("show_progress", default=False)


@contextmanager
def show_progress():
    """Show progress bars, with the time left, for all that takes long inside of the context.

    That is `fit`, `partial_fit`, `recommend`, `predict`, `predict_pairs`, `score` and `explain` of
    every model, and functions that call them, such as
    :func:`~sklearn_recsys.model_selection.evaluate`. A call that takes less than half a second
    shows nothing. The bars are those of tqdm: text on the standard error, widgets in a notebook
    with ipywidgets.

    The context is that of the thread that enters it. A search with ``n_jobs`` fits in other threads
    or processes, for which scikit-learn 1.9 has callbacks: ``search.set_callbacks(ProgressBar())``.

    Yields
    ------
    None
        The context has no value.

    Raises
    ------
    ImportError
        If tqdm, which skorch requires, is not installed.

    See Also
    --------
    sklearn.callback.ProgressBar : Bars of `fit`, nested in those of searches and pipelines.

    Examples
    --------
    >>> from sklearn_recsys import EASE, show_progress
    >>> from sklearn_recsys.datasets import make_interactions
    >>> R = make_interactions(60, 40, random_state=0)
    >>> with show_progress():  # nothing here, because it is quick
    ...     ids = EASE(l2=10).fit(R).recommend(n=5)
    """
    _tqdm()  # now, rather than in the middle of a fit
    token = _is_shown.set(True)
    try:
        yield
    finally:
        _is_shown.reset(token)


def progress_bar(description, total, *, unit, show=False):
    """Return a bar of tqdm, or None where none is shown.

    Parameters
    ----------
    description : str
        The text before the bar.
    total : int
        Number of units.
    unit : str
        What is counted.
    show : bool, default=False
        Whether the user asks for this bar, as `verbose` does; else `show_progress` decides.
    """
    if not show and (total <= 1 or not _is_shown.get()):
        return None
    return _tqdm()(
        total=total,
        desc=description,
        unit=f" {unit}",
        delay=0 if show else _DELAY,
        leave=None,  # only the outermost bar stays when it is full
    )


def progress(iterable, description, total=None, *, unit="block", size=None):
    """Return an iterable over the same values, whose progress is shown where bars are.

    Parameters
    ----------
    iterable : iterable
        Each value counts when the next one is taken.
    description : str
        The text before the bar.
    total : int, default=None
        Number of units; None: the length of the iterable.
    unit : str, default="block"
        What is counted.
    size : callable, default=None
        Returns the number of units of a value; None: one each.
    """
    bar = progress_bar(description, len(iterable) if total is None else total, unit=unit)
    return iterable if bar is None else _counted(iterable, bar, size)


def length(rows):
    """Return the length of a slice, the `size` of a block."""
    return rows.stop - rows.start


def _counted(iterable, bar, size):
    with bar:
        for value in iterable:
            yield value
            bar.update(1 if size is None else size(value))


def _tqdm():
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("Progress bars need tqdm: `pip install tqdm`.") from error
    return tqdm
