"""What the user may have meant: near names, and the models that have a method."""

from __future__ import annotations

from difflib import get_close_matches


def did_you_mean(name, known):
    """Return `` Did you mean 'ndcg'?`` for a name close to a known one, else an empty string.

    Parameters
    ----------
    name : object
        What came; anything but a string is close to nothing.
    known : iterable of object
        What could have been meant.
    """
    if not isinstance(name, str):
        return ""
    by_lower = {str(other).lower(): other for other in known}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""


class MissingMethodError(AttributeError):
    """An AttributeError that names the recommenders that have what this one lacks.

    They are looked up when the message is read: `hasattr` raises and drops errors all the time, and
    the look-up imports every model.
    """

    def __init__(self, error, name, owner):
        super().__init__(error, name, owner)

    def __str__(self):
        from sklearn_recsys.utils.discovery import all_recommenders

        error, name, owner = self.args
        models = [model for model, cls in all_recommenders() if hasattr(cls, name)]
        if models:
            return f"{error}. Models that have it: {', '.join(models)}."
        public = [other for other in dir(owner) if not other.startswith("_") and other != name]
        return f"{error}.{did_you_mean(name, public)}"
