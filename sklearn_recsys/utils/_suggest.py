"""Suggestions in error messages: similar names, and the models that have a method."""

from __future__ import annotations

from difflib import get_close_matches


def did_you_mean(name, valid_names):
    """Return `` Did you mean 'ndcg'?`` for a name similar to a valid one, else an empty string.

    Parameters
    ----------
    name : object
        The invalid name; anything except a string gets no suggestion.
    valid_names : iterable of object
        The names to choose a suggestion from.
    """
    if not isinstance(name, str):
        return ""
    by_lower = {str(valid).lower(): valid for valid in valid_names}
    close = get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""


class MissingMethodError(AttributeError):
    """An AttributeError that lists the recommenders that do have the attribute.

    They are looked up only when the message is read: `hasattr` raises and discards errors all the
    time, and the lookup imports every model.
    """

    def __init__(self, error, name, owner):
        super().__init__(error, name, owner)

    def __str__(self):
        from sklearn_recsys.utils.discovery import all_recommenders

        error, name, owner = self.args
        models = [model for model, cls in all_recommenders() if hasattr(cls, name)]
        if models:
            known = f"{error}. Models that have it: {', '.join(models)}."
            if hasattr(owner, "named_steps") and not hasattr(owner, name):
                known += (
                    f" A pipeline does not hand it on: pipe[-1].{name} is the model's own, for "
                    "transformed rows."
                )
            return known
        public = [other for other in dir(owner) if not other.startswith("_") and other != name]
        return f"{error}.{did_you_mean(name, public)}"
