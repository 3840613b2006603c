"""Rules for the fitted attributes of a model, used to validate loaded files.

A class declares its fitted attributes in a method ``_fitted_state()``, which returns a dict from
names to the rules below. Shapes consist of numbers and of named sizes, such as ``"n_items"``; the
first attribute with a named size determines it, and all others must agree. A class without such a
method is not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
import scipy.sparse as sp

_CHUNK = 2**20


class Rule:
    """Base class of the rules for one attribute."""

    optional = False  # whether a fitted model may lack the attribute

    def check(self, value, sizes):
        """Raise ValueError unless `value` is valid; `sizes` holds the sizes determined so far."""
        raise NotImplementedError


@dataclass
class Optional(Rule):
    """An attribute that may be missing."""

    rule: Rule
    optional = True

    def check(self, value, sizes):
        self.rule.check(value, sizes)


@dataclass
class Maybe(Rule):
    """None, or a value that another rule accepts."""

    rule: Rule

    def check(self, value, sizes):
        if value is not None:
            self.rule.check(value, sizes)


@dataclass
class Size(Rule):
    """A number of rows or columns."""

    name: str

    def check(self, value, sizes):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            raise ValueError(f"is {value!r:.50}, not a number of {self.name.removeprefix('n_')}")
        _check_size(int(value), self.name, sizes)


@dataclass
class Number(Rule):
    """A finite number within bounds."""

    low: float = -np.inf
    high: float = np.inf
    type: type = Real

    def check(self, value, sizes):
        # a comparison with an integer beyond float64's range is exact, a conversion fails
        is_number = isinstance(value, self.type) and not isinstance(value, bool)
        if not (is_number and abs(value) < np.inf and self.low <= value <= self.high):
            raise ValueError(f"is {value!r:.50}, not a number from {self.low} to {self.high}")
        if isinstance(value, Integral) and abs(int(value)) >= 2**63:
            raise ValueError(f"is {value!r:.50}, which is out of range")


@dataclass
class Range(Rule):
    """A pair of finite numbers, the lower one first."""

    def check(self, value, sizes):
        if type(value) not in (tuple, list) or len(value) != 2:
            raise ValueError(f"is {value!r:.50}, not a pair of numbers")
        for bound in value:
            Number().check(bound, sizes)
        if value[0] > value[1]:
            raise ValueError(f"is {value!r:.50}: its lower bound is above its upper bound")


@dataclass
class Offset(Rule):
    """An offset and a unit, which is greater than zero."""

    def check(self, value, sizes):
        if type(value) not in (tuple, list) or len(value) != 2:
            raise ValueError(f"is {value!r:.50}, not an offset and a unit")
        Number().check(value[0], sizes)
        Number(low=np.nextafter(0, 1)).check(value[1], sizes)


@dataclass
class OneOf(Rule):
    """One of some values."""

    values: tuple

    def check(self, value, sizes):
        if not isinstance(value, str) or value not in self.values:
            raise ValueError(f"is {value!r:.50}, not one of {', '.join(map(repr, self.values))}")


@dataclass
class Check(Rule):
    """A value that a function accepts; the function raises ValueError otherwise."""

    function: object

    def check(self, value, sizes):
        self.function(value)


class Array(Rule):
    """A dense array of a given shape.

    Parameters
    ----------
    *shape : int or str
        The lengths, or the names of sizes.
    kinds : str, default="f"
        The allowed dtype kinds.
    low, high : float or str, default=None
        Bounds of its values, inclusive; a string is the name of a size, an exclusive upper bound.
    finite : bool, default=True
        Whether NaN and infinite values are refused.
    """

    def __init__(self, *shape, kinds="f", low=None, high=None, finite=True):
        self.shape, self.kinds, self.low, self.high = shape, kinds, low, high
        self.finite = finite

    def check(self, value, sizes):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in self.kinds:
            raise ValueError(f"is {_describe(value)}, not an array of kind {self.kinds!r}")
        _check_shape(value.shape, self.shape, sizes)
        if self.finite and value.dtype.kind == "f" and not all_finite(value):
            raise ValueError("holds NaN or infinite values")
        if not value.size:
            return
        if self.low is not None and value.min() < self.low:
            raise ValueError(f"holds {value.min()}, less than {self.low}")
        if self.high is not None:
            high = sizes[self.high] - 1 if isinstance(self.high, str) else self.high
            if value.max() > high:
                raise ValueError(f"holds {value.max()}, more than {high}")


class Labels(Rule):
    """A 1-D array of raw ids or names.

    Parameters
    ----------
    size : str
        The name of its length.
    strings : bool, default=False
        Whether they must be strings.
    """

    def __init__(self, size, *, strings=False):
        self.size, self.strings = size, strings

    def check(self, value, sizes):
        if not isinstance(value, np.ndarray) or value.ndim != 1:
            raise ValueError(f"is {_describe(value)}, not a 1-D array of labels")
        _check_shape(value.shape, (self.size,), sizes)
        if self.strings and not all(isinstance(item, str) for item in value.tolist()):
            raise ValueError("holds names that are not strings")
        if not pd.Index(value, tupleize_cols=False).is_unique:
            raise ValueError("holds a repeated label")


class Sparse(Rule):
    """A CSR array of finite values, by default with sorted and distinct indices.

    Parameters
    ----------
    *shape : str
        The names of the number of rows and of columns.
    kinds : str, default="f"
        The allowed dtype kinds of its values.
    sorted : bool, default=True
        Whether the indices must be sorted and distinct within a row.
    """

    def __init__(self, *shape, kinds="f", sorted=True):
        self.shape, self.kinds, self.sorted = shape, kinds, sorted

    def check(self, value, sizes):
        if not isinstance(value, sp.csr_array) or value.dtype.kind not in self.kinds:
            raise ValueError(f"is {_describe(value)}, not a csr_array of kind {self.kinds!r}")
        _check_shape(value.shape, self.shape, sizes)
        if value.dtype.kind == "f" and not all_finite(value.data):
            raise ValueError("holds NaN or infinite values")
        if self.sorted and not value.has_canonical_format:
            raise ValueError("has indices that are not sorted, or repeated within a row")


@dataclass
class Interactions(Rule):
    """The canonical matrix that a recommender was fitted on; no rows if it is on a cluster."""

    def check(self, value, sizes):
        Sparse("n_users", "n_items").check(value, sizes)
        if value.dtype != np.float32:
            raise ValueError(f"is of {value.dtype}, not of float32")
        if not value.shape[1] or np.any(value.data == 0):
            raise ValueError("has no column, or a stored zero")


@dataclass
class Instance(Rule):
    """An instance of a class; with `shared`, its own attributes are checked with the same sizes."""

    cls: type
    shared: bool = False

    def check(self, value, sizes):
        if not isinstance(value, self.cls):
            raise ValueError(f"is {_describe(value)}, not a {self.cls.__name__}")
        if self.shared:
            check_state(value, sizes)


@dataclass
class FittedModels(Rule):
    """A list of fitted recommenders of the same items, whose own attributes are checked."""

    def check(self, value, sizes):
        if type(value) is not list or not value:
            raise ValueError(f"is {_describe(value)}, not a list of models")
        for model in value:
            own = {name: sizes[name] for name in ("n_users", "n_items") if name in sizes}
            if not hasattr(model, "interactions_") or not check_state(model, own):
                raise ValueError(f"holds {_describe(model)}, not a fitted recommender")


def check_state(model, sizes=None, rules=None):
    """Raise ValueError unless a fitted model's attributes follow the rules of its class.

    Parameters
    ----------
    model : object
        Any object; unfitted models and classes without rules are accepted.
    sizes : dict, default=None
        Sizes that are already determined.
    rules : dict, default=None
        The rules, for classes that do not declare any.

    Returns
    -------
    fitted : bool
        Whether the model has any of the declared attributes.
    """
    if rules is None:
        declare = getattr(model, "_fitted_state", None)
        rules = declare() if declare is not None else {}
    sizes = {} if sizes is None else sizes
    state = vars(model)
    if not any(name in state for name in rules):
        return False
    for name, rule in rules.items():
        if name not in state:
            if not rule.optional:
                raise ValueError(f"{type(model).__name__} has no {name}")
            continue
        try:
            rule.check(state[name], sizes)
        except ValueError as error:
            raise ValueError(f"{name} of {type(model).__name__} {error}") from None
    return True


def all_finite(array):
    """Return whether all values are finite, without a temporary array of the full size."""
    flat = array.ravel(order="K")
    return all(np.isfinite(flat[i : i + _CHUNK]).all() for i in range(0, len(flat), _CHUNK))


def _describe(value):
    dtype = getattr(value, "dtype", None)
    name = type(value).__name__
    return f"a {name}" if dtype is None else f"a {name} of {dtype!s:.50}"


def _check_shape(shape, expected, sizes):
    if len(shape) != len(expected):
        raise ValueError(f"has {len(shape)} dimension(s), not {len(expected)}")
    for length, size in zip(shape, expected, strict=True):
        if isinstance(size, str):
            _check_size(length, size, sizes)
        elif length != size:
            raise ValueError(f"has the shape {shape}, not {expected}")


def _check_size(length, name, sizes):
    if sizes.setdefault(name, length) != length:
        raise ValueError(f"implies that {name} is {length}, but it is {sizes[name]} elsewhere")
