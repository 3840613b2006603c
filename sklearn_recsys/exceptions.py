"""Warning categories of the package, for use in warning filters."""

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
    """Base class of all warnings of this package.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import RecommenderWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", RecommenderWarning)  # silence them all
    """


class ConvergenceWarning(RecommenderWarning, _ConvergenceWarning):
    """Training diverged, or stopped before it converged.

    It is also a :class:`sklearn.exceptions.ConvergenceWarning`: a filter for either one applies.

    Examples
    --------
    >>> import sklearn.exceptions
    >>> from sklearn_recsys.exceptions import ConvergenceWarning
    >>> issubclass(ConvergenceWarning, sklearn.exceptions.ConvergenceWarning)
    True
    """


class LeakWarning(RecommenderWarning):
    """A score is too optimistic: the model was fitted on the data that it is scored on.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import LeakWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", LeakWarning)  # a leak stops the script
    """


class ValuesWarning(RecommenderWarning):
    """The stored values of a matrix do not look like the kind that the model expects.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import ValuesWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ValuesWarning)
    """


class VersionWarning(RecommenderWarning):
    """A model was saved with other versions of the package or its dependencies.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import VersionWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", VersionWarning)  # refuse to serve such a model
    """
