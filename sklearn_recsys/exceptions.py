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

    See Also
    --------
    ConvergenceWarning : Training diverged, or stopped too early.
    LeakWarning : A score is too optimistic.
    ValuesWarning : The values of a matrix look wrong.
    VersionWarning : A model was saved with other versions.

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

    See Also
    --------
    RecommenderWarning : The base class of all warnings.

    Examples
    --------
    >>> import sklearn.exceptions
    >>> from sklearn_recsys.exceptions import ConvergenceWarning
    >>> issubclass(ConvergenceWarning, sklearn.exceptions.ConvergenceWarning)
    True
    """


class LeakWarning(RecommenderWarning):
    """A score is too optimistic: the model was fitted on the data that it is scored on.

    See Also
    --------
    RecommenderWarning : The base class of all warnings.
    sklearn_recsys.model_selection.HoldoutSplit : Splits that leak nothing.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import LeakWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", LeakWarning)  # a leak stops the script
    """


class ValuesWarning(RecommenderWarning):
    """The stored values of a matrix do not look like the kind that the model expects.

    See Also
    --------
    RecommenderWarning : The base class of all warnings.
    sklearn.preprocessing.Binarizer : Turns ratings into likes.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import ValuesWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ValuesWarning)
    """


class VersionWarning(RecommenderWarning):
    """A model was saved with other versions of the package or its dependencies.

    See Also
    --------
    RecommenderWarning : The base class of all warnings.
    sklearn_recsys.persistence.load : The function that warns.

    Examples
    --------
    >>> import warnings
    >>> from sklearn_recsys.exceptions import VersionWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", VersionWarning)  # refuse to serve such a model
    """
