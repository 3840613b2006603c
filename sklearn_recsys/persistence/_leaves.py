"""Values that are saved as one line of text: numbers, ids, dtypes."""

from __future__ import annotations

import datetime
import math
import re
from uuid import UUID

import numpy as np
import pandas as pd

from sklearn_recsys.persistence._container import PLAIN_KINDS

_NUMPY_TYPES = {
    name: np.dtype(name).type
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
# elementwise functions of one array, for `FunctionTransformer`
_UFUNCS = {
    name: getattr(np, name)
    for name in (
        *("abs", "cbrt", "ceil", "exp", "exp2", "expm1", "floor", "log", "log10", "log1p", "log2"),
        *("negative", "positive", "reciprocal", "rint", "sign", "sqrt", "square", "tanh", "trunc"),
    )
}
_UFUNC_NAMES = {function: name for name, function in _UFUNCS.items()}
_NUMPY_NAMES = {cls: name for name, cls in _NUMPY_TYPES.items()}
_DTYPE = re.compile(r"[<>|=]?([biufcUSmM])[1-9]\d{0,8}(\[\d{0,9}[A-Za-z]{1,2}\])?")
_RANGE = re.compile(r"(-?\d{1,18}):(-?\d{1,18}):(-?\d{1,18})")
_TIME = re.compile(r"(s|ms|us|ns):(-?\d{1,19}):(UTC)?")


def _parse_int(text):
    if not re.fullmatch(r"-?0x[0-9a-f]+", text):
        raise ValueError(f"{text[:100]!r} is not a hexadecimal number")
    return int(text, 16)


def _parse_float(text):
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text]


def _parse_dtype(text):
    if not _DTYPE.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is not a dtype of plain elements")
    return np.dtype(text)


def _dtype_text(dtype):
    if dtype.kind not in PLAIN_KINDS or dtype.subdtype or not _DTYPE.fullmatch(dtype.str):
        raise TypeError(f"dtype {dtype}")
    return dtype.str


def _scalar_text(scalar):
    return f"{_dtype_text(scalar.dtype)}:{scalar.tobytes().hex()}"


def _parse_scalar(text):
    dtype, _, data = text.partition(":")
    (scalar,) = np.frombuffer(bytes.fromhex(data), dtype=_parse_dtype(dtype))
    return scalar


def _time_text(time):
    if time.tz is not None and str(time.tz) != "UTC":
        raise TypeError(f"time zone {time.tz}; convert to UTC")
    return f"{time.unit}:{time.asm8.astype(np.int64)}:{'' if time.tz is None else 'UTC'}"


def _parse_time(text):
    unit, count, zone = _TIME.fullmatch(text).groups()
    return pd.Timestamp(np.datetime64(int(count), unit)).tz_localize(zone)


def _range_text(numbers):
    return f"{numbers.start}:{numbers.stop}:{numbers.step}"


def _parse_range(text):
    return range(*map(int, _RANGE.fullmatch(text).groups()))


# kind: (type, to text, from text); subclasses of the type do not qualify
_LEAVES = {
    "int": (int, hex, _parse_int),  # beyond 64 bits
    "float": (float, repr, _parse_float),  # nan and inf, which JSON does not have
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "uuid": (UUID, str, UUID),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "timestamp": (pd.Timestamp, _time_text, _parse_time),
    "range": (range, _range_text, _parse_range),
    "numpy.str": (np.str_, str, np.str_),
}
_KINDS = {cls: kind for kind, (cls, *_) in _LEAVES.items()}
_PARSERS = {kind: parse for kind, (*_, parse) in _LEAVES.items()} | {
    "numpy.scalar": _parse_scalar,
    "numpy.dtype": _parse_dtype,
    "numpy.type": _NUMPY_TYPES.__getitem__,
    "numpy.ufunc": _UFUNCS.__getitem__,
}

LEAF_KINDS = frozenset(_PARSERS)


def is_plain(value):
    """Return whether JSON can represent the value directly."""
    kind = type(value)
    if kind is int:
        return -(2**63) <= value < 2**63
    return kind in (str, bool, type(None)) or (kind is float and math.isfinite(value))


def leaf_text(value):
    """Return the kind and the text of a value, or None if it is not a leaf."""
    cls = type(value)
    if cls in _KINDS:
        kind = _KINDS[cls]
        return kind, _LEAVES[kind][1](value)
    if isinstance(value, np.generic):
        return "numpy.scalar", _scalar_text(value)
    if isinstance(value, np.dtype):
        return "numpy.dtype", _dtype_text(value)
    if cls is np.ufunc and value in _UFUNC_NAMES:
        return "numpy.ufunc", _UFUNC_NAMES[value]
    if cls is type and value in _NUMPY_NAMES:
        return "numpy.type", _NUMPY_NAMES[value]
    return None


def parse_leaf(kind, text):
    """Return the value that a text represents."""
    if type(text) is not str:
        raise TypeError(f"a {kind} must be text, not {type(text).__name__}")
    return _PARSERS[kind](text)
