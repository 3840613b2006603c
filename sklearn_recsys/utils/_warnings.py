"""Warnings that point at the user's line and are issued once per search."""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
import weakref
from importlib.util import find_spec

import joblib
from joblib.parallel import BatchedCalls

from sklearn_recsys.exceptions import RecommenderWarning


def _folder(module):
    """Return the folder of a package's code, without importing it."""
    return os.path.dirname(find_spec(module).origin) + os.sep


_PACKAGE = _folder("sklearn_recsys")
# libraries that call the package on a user's behalf: the user's line is in none of them
_LIBRARIES = (_PACKAGE, *map(_folder, ("sklearn", "joblib", "skorch", "torch")))

# A search, a cross-validation or a learning curve runs its fits and scores in one call of one
# joblib.Parallel object. Python's own registries of issued warnings do not help: scikit-learn
# enters catch_warnings in each task, which clears them.
_RUN = joblib.Parallel.__call__.__code__
_TASK = BatchedCalls.__call__.__code__  # what a worker of that call, a thread or a process, runs
_shown = weakref.WeakKeyDictionary()  # Parallel: the warnings that its call has issued
_lock = threading.RLock()


def warn(message, category=RecommenderWarning):
    """Issue a warning at the innermost line outside the package, scikit-learn and joblib.

    Within one call of joblib, such as a search of scikit-learn, a warning is issued once; messages
    that only differ in their numbers count as equal. Otherwise Python's warning filters decide.
    Worker processes know neither the user's line nor each other: there every task warns, at the
    method of this package that it called.

    Parameters
    ----------
    message : str
        The warning.
    category : type, default=RecommenderWarning
        One of `sklearn_recsys.exceptions`.
    """
    stack = _stack(sys._getframe(1))
    run = _outermost(stack, (_RUN, _TASK))
    if run is not None and run.f_code is _TASK:
        del stack[stack.index(run) :]  # the callers of a task are joblib's, not the user's
        threads = map(_stack, sys._current_frames().values())
        runs = [_outermost(thread, (_RUN, _TASK)) for thread in threads]
        runs = [frame for frame in runs if frame is not None and frame.f_code is _RUN]
        run = runs[0] if len(runs) == 1 else None  # with several, it is unknown which one is ours
        stack += _stack(run)
    users = [frame for frame in stack if not _in(_LIBRARIES)(frame)]
    line = users[0] if users else [frame for frame in stack if _in(_PACKAGE)(frame)][-1]
    if run is None:
        _issue(message, category, line)
        return
    with _lock:
        shown = _shown.setdefault(run.f_locals["self"], set())
        location = (line.f_code.co_filename, line.f_lineno)
        key = (category, re.sub(r"\d+", "#", message), location)
        if key not in shown:
            _issue(message, category, line)  # raises if a filter turns it into an error
            shown.add(key)


def _in(folders):
    """Return a check that the code of a frame is in one of the folders."""
    return lambda frame: frame.f_code.co_filename.startswith(folders)


def _stack(frame):
    """Return a frame and its callers, the innermost first."""
    stack = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    return stack


def _outermost(stack, codes):
    """Return the outermost frame that runs one of the codes, or None."""
    return next((frame for frame in reversed(stack) if frame.f_code in codes), None)


def _issue(message, category, frame):
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__", "<unknown>"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
