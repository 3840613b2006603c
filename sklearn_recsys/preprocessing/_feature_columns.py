"""Reading the columns of a frame of features."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pandas as pd

KINDS = ("number", "category", "tags", "text", "drop")

MAX_CODES = 2**24  # float32 represents all integers up to here exactly

_COLLECTIONS = (list, tuple, set, frozenset, np.ndarray)

# pandas's names for the inferred types of values → ours
_TYPES = {
    "string": "strings",
    "boolean": "booleans",
    "integer": "numbers",
    "floating": "numbers",
    "mixed-integer-float": "numbers",
    "decimal": "numbers",
    "empty": "nothing",
}

# the value types that each kind accepts
_ACCEPTED = {
    "number": {"numbers", "booleans", "nothing"},
    "category": {"strings", "numbers", "booleans", "nothing"},
    "tags": {"strings", "collections", "nothing"},
    "text": {"strings", "nothing"},
}

_HINT = "Convert it, or drop it with kinds={%r: 'drop'}."


def type_of(values, column):
    """Return the common type of all values except missing ones.

    Parameters
    ----------
    values : Series or list
        The values.
    column : str
        Their column, for error messages.

    Returns
    -------
    type : {"strings", "numbers", "booleans", "collections", "nothing"}
    """
    if isinstance(getattr(values, "dtype", None), pd.CategoricalDtype):
        values = values.astype(object)
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred in _TYPES:
        return _TYPES[inferred]
    present = [value for value in values if isinstance(value, _COLLECTIONS) or not pd.isna(value)]
    if not present:
        return "nothing"
    if all(isinstance(value, _COLLECTIONS) for value in present):
        return "collections"
    types = sorted({type(value).__name__ for value in present})
    raise ValueError(
        f"Column {column!r} holds values of the type(s) {', '.join(types)}; expected values of "
        f"one type: numbers, booleans, strings, or collections of them. {_HINT % column}"
    )


def infer_kind(series, separator):
    """Infer the kind of a column by the rules in the docstring of `FeatureEncoder`."""
    values = type_of(series, series.name)
    if isinstance(series.dtype, pd.CategoricalDtype) or values in {"booleans", "nothing"}:
        return "category"
    if values != "strings":
        return "number" if values == "numbers" else "tags"
    strings = series[series.notna() & (series != "")].astype(object)
    if not len(strings):
        return "category"
    if strings.map(lambda value: separator in value).mean() >= 0.1:
        return "tags"
    several_words = strings.map(lambda value: len(value.split()) > 1).mean() >= 0.5
    return "text" if several_words and 2 * strings.nunique() >= len(strings) else "category"


def read_numbers(series):
    """Return float64, NaN where a number is missing."""
    _check_type(series, "number")
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        raise ValueError(f"Column {series.name!r} holds infinite values.")
    return numbers


def read_rows(series, kind, separator, analyzer):
    """Return a list of values for each row.

    A category is one value, None if it is missing; tags are distinct and in their original order;
    words are in the order of the text.
    """
    value_type = _check_type(series, kind)
    is_missing = series.isna().to_numpy()
    values = [
        None if missing else value
        for value, missing in zip(series.tolist(), is_missing, strict=True)
    ]
    if kind == "category":
        return [[None if value == "" else value] for value in values]
    if kind == "text":
        return [[] if value is None else analyzer(value) for value in values]
    if value_type == "strings":
        rows = [
            [] if value is None else [tag.strip() for tag in value.split(separator)]
            for value in values
        ]
        return [list(dict.fromkeys(filter(None, row))) for row in rows]
    rows = [[] if value is None else _members(value) for value in values]
    if type_of(list(chain.from_iterable(rows)), series.name) == "collections":
        raise ValueError(
            f"Column {series.name!r} holds collections of collections. {_HINT % series.name}"
        )
    return [list(dict.fromkeys(row)) for row in rows]


def _members(value):
    """Return the non-missing members of a collection; those of a set are sorted by name."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    return [
        member
        for member in value
        if isinstance(member, _COLLECTIONS) or not (pd.isna(member) or member == "")
    ]


def _check_type(series, kind):
    """Return the type of the values; raise ValueError if the kind does not accept it."""
    values = type_of(series, series.name)
    if values not in _ACCEPTED[kind]:
        expected = " or ".join(sorted(_ACCEPTED[kind] - {"nothing"}))
        raise ValueError(
            f"Column {series.name!r} is of the kind {kind!r}, which needs {expected}, but it holds "
            f"{values}. Name another kind in kinds."
        )
    return values


def learn_vocabulary(rows, min_count, max_size=None):
    """Return the values in at least `min_count` rows, sorted; at most the `max_size` most common.

    Ties are in alphabetical order.
    """
    counts = Counter(chain.from_iterable(map(set, rows)))
    counts.pop(None, None)
    values = sorted(value for value, count in counts.items() if count >= min_count)
    if max_size is not None and len(values) > max_size:
        values = sorted(sorted(values, key=lambda value: -counts[value])[:max_size])
    text = any(isinstance(value, str) for value in values)
    return np.array(values, dtype=object if text else None)


def count_codes(vocabulary, column, max_codes=MAX_CODES):
    """Return the number of codes of a vocabulary, including those of padding and unknown values."""
    n_codes = len(vocabulary) + 2
    if n_codes > max_codes:
        raise ValueError(
            f"Column {column!r} has {n_codes:,} codes, but float32 can distinguish at most "
            f"{max_codes:,}. Raise min_count, or drop the column."
        )
    return n_codes


def look_up(rows, vocabulary, column):
    """Return the codes of all values, row by row, and how many each row has."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    values = list(chain.from_iterable(rows))
    before, now = type_of(vocabulary.tolist(), column), type_of(values, column)
    if before != now and "nothing" not in {before, now}:
        raise ValueError(
            f"Column {column!r} holds {now}, but it held {before} in fit: none of them would be in "
            "the vocabulary."
        )
    codes = {value: code for code, value in enumerate(vocabulary.tolist(), start=2)}
    found = (codes.get(value, 1) for value in values)
    return np.fromiter(found, dtype=np.int64, count=len(values)), lengths
