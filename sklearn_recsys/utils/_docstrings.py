"""Docstrings of methods that take one more parameter than the method they override."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable)


def documented_like(other: Callable, entry: str) -> Callable[[_Function], _Function]:
    """Return a decorator: the docstring of another method, with the entry of one more parameter.

    Parameters
    ----------
    other : function
        The method whose docstring is taken; it has a section of parameters and one of returns.
    entry : str
        The entry, as in a numpydoc section: the parameter's name, its type, and a description. It
        is put where the parameter is in the signature of the decorated method.

    Returns
    -------
    decorator : function
        It returns the method itself, with a docstring.
    """

    def decorate(method: _Function) -> _Function:
        text = inspect.getdoc(other)
        if text is None:  # python -OO
            return method
        names = list(inspect.signature(method).parameters)
        after = names[names.index(entry.partition(" ")[0]) + 1 :]
        place = f"\n{after[0]} : " if after else "\n\nReturns\n"
        if text.count(place) != 1:
            raise ValueError(f"The docstring of {other.__qualname__} has no place for {entry!r}.")
        method.__doc__ = text.replace(place, f"\n{entry}{place}")
        return method

    return decorate
