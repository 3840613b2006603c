"""Docstrings of methods that take one more parameter than the method they override."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable)


def documented_like(other: Callable, entry: str) -> Callable[[_Function], _Function]:
    """Return a decorator that copies a docstring and adds the entry of one more parameter.

    Parameters
    ----------
    other : function
        The method whose docstring is copied; it has the sections Parameters and Returns.
    entry : str
        The entry, as in a numpydoc section: the parameter's name, its type, and a description. It
        is inserted in the order of the signature of the decorated method.

    Returns
    -------
    decorator : function
        It returns the same method, with a docstring.
    """

    def decorate(method: _Function) -> _Function:
        text = inspect.getdoc(other)
        if text is None:  # python -OO
            return method
        names = list(inspect.signature(method).parameters)
        after = names[names.index(entry.partition(" ")[0]) + 1 :]
        next_text = f"\n{after[0]} : " if after else "\n\nReturns\n"
        if text.count(next_text) != 1:
            raise ValueError(
                f"The docstring of {other.__qualname__} has no position for {entry!r}."
            )
        method.__doc__ = text.replace(next_text, f"\n{entry}{next_text}") + "\n"
        return method

    return decorate
