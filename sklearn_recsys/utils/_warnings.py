"""Warnings that point at the user's line, however deep in the package they arise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import joblib
import sklearn

from sklearn_recsys.exceptions import RecommenderWarning

# a user's line is never in one of these: they stand between the user and the package
_SKIPPED = tuple(
    str(folder)
    for folder in (
        Path(__file__).resolve().parents[1],
        Path(sklearn.__file__).resolve().parent,
        Path(joblib.__file__).resolve().parent,
    )
)


def warn(message, category=RecommenderWarning):
    """Issue a warning at the innermost frame outside the package, scikit-learn and joblib.

    Parameters
    ----------
    message : str
        The warning.
    category : type, default=RecommenderWarning
        One of `sklearn_recsys.exceptions`.
    """
    frame = outermost = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        outermost, frame = frame, frame.f_back
    frame = frame or outermost  # a worker process has no line of the user's
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__", "<unknown>"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
