"""Discovery of the recommenders of the package."""

from __future__ import annotations

from importlib import import_module
from inspect import signature


def all_recommenders() -> list[tuple[str, type]]:
    """List every recommender class of the package that needs no arguments.

    Returns
    -------
    recommenders : list of tuple of (str, type)
        Names and classes, in alphabetical order.

    See Also
    --------
    sklearn.utils.all_estimators : The same for scikit-learn.
    sklearn_recsys.base.is_recommender : Whether an object is a recommender.

    Examples
    --------
    >>> from sklearn_recsys.utils.discovery import all_recommenders
    >>> [name for name, _ in all_recommenders()][:2]
    ['ALS', 'AutoRec']
    """
    import sklearn_recsys
    from sklearn_recsys.base import RecommenderMixin

    public = {
        name: getattr(import_module(module), name)
        for name, module in sklearn_recsys._TOP_LEVEL.items()
    }
    return sorted(
        (name, item)
        for name, item in public.items()
        if isinstance(item, type)
        and issubclass(item, RecommenderMixin)
        and hasattr(item, "_score_items")  # base classes of the user's own models are none
        and not any(p.default is p.empty for p in signature(item).parameters.values())
    )
