"""Warning categories of the package, so that a filter can name them."""

from __future__ import annotations

from sklearn.exceptions import ConvergenceWarning as _ConvergenceWarning

__all__ = [
    "ConvergenceWarning",
    "LeakWarning",
    "RecommenderWarning",
    "ValuesWarning",
    "VersionWarning",
]


class RecommenderWarning(UserWarning):
    """Base of every warning of this package.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import RecommenderWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", RecommenderWarning)  # silence them all
    """


class ConvergenceWarning(RecommenderWarning, _ConvergenceWarning):
    """Training diverged, or stopped before it converged.

    It is a :class:`sklearn.exceptions.ConvergenceWarning`, too: a filter for either catches it.

    Examples
    --------
    >>> import sklearn.exceptions
    >>> from sklearn_recsys.exceptions import ConvergenceWarning
    >>> issubclass(ConvergenceWarning, sklearn.exceptions.ConvergenceWarning)
    True
    """


class LeakWarning(RecommenderWarning):
    """A score is optimistic: the model was fitted on what it is scored against.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import LeakWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", LeakWarning)  # a leak stops the script
    """


class ValuesWarning(RecommenderWarning):
    """The stored values of a matrix do not look like what the model reads.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import ValuesWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ValuesWarning)
    """


class VersionWarning(RecommenderWarning):
    """A model was saved with other versions of the package or of what it stands on.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import VersionWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", VersionWarning)  # refuse to serve such a model
    """
