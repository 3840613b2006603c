"""Conversion of pandas objects to plain values and arrays, and back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sklearn_recsys.persistence._container import ModelFileError
from sklearn_recsys.utils._frames import as_pandas_frame, as_pandas_series, is_frame

_NUMBERS = [f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)]
_EXTENSIONS = {"str", "string", "boolean", "Float32", "Float64", *_NUMBERS}
_FIELDS = {
    "frame": {"columns", "columns_name", "index", "index_name", "data"},
    "series": {"values", "name", "index", "index_name"},
    "index": {"values", "name"},
}


def pandas_kind(value):
    """Return the kind of a pandas object in a file, or None for all other objects."""
    if type(value) is pd.DataFrame:
        return "frame"
    if type(value) is pd.Series:
        return "series"
    return "index" if isinstance(value, pd.Index) else None


def portable(parameter, name):
    """Return a parameter as an object that can be saved.

    Frames of other libraries become pandas frames, and their columns and arrays become numpy
    arrays: the values are saved, but not the original types.
    """
    cls = type(parameter)
    if isinstance(parameter, type) or cls.__module__.partition(".")[0] in ("numpy", "scipy"):
        return parameter
    if is_frame(parameter) and hasattr(cls, "shape") and pandas_kind(parameter) is None:
        return as_pandas_frame(parameter, name)
    if hasattr(cls, "__array__") and pandas_kind(parameter) is None:
        try:
            return np.asarray(parameter)
        except (TypeError, ValueError, RuntimeError):  # a tensor on another device
            return parameter
    return parameter


def split(value):
    """Return the object as a dict of lists, tuples and arrays; raise TypeError if impossible."""
    kind = pandas_kind(value)
    if kind == "index":
        return {"values": _split(value), "name": value.name}
    index = {"index": _split(value.index), "index_name": value.index.name}
    if kind == "series":
        return {"values": _split(value), "name": value.name, **index}
    return {
        "columns": _split(value.columns),
        "columns_name": value.columns.name,
        **index,
        "data": [_split(value.iloc[:, i]) for i in range(value.shape[1])],
    }


def join(kind, fields):
    """Return the object from the result of `split`."""
    is_valid = type(fields) is dict and set(fields) == _FIELDS[kind]
    if not is_valid or (kind == "frame" and type(fields["data"]) is not list):
        raise ModelFileError(f"it holds a pandas {kind} with the wrong fields.")
    if kind == "index":
        return _index(fields["values"], fields["name"])
    index = _index(fields["index"], fields["index_name"])
    columns = [fields["values"]] if kind == "series" else fields["data"]
    data = dict(enumerate(map(_join, columns)))
    if any(len(values) != len(index) for values in data.values()):
        raise ModelFileError(f"it holds a {kind} whose columns have different lengths.")
    if kind == "series":
        return pd.Series(data[0], index=index, name=fields["name"])
    frame = pd.DataFrame(data, index=index)
    frame.columns = _index(fields["columns"], fields["columns_name"])
    return frame


def n_bytes(item):
    """Return the size of all arrays in the result of `split`, including categories."""
    if isinstance(item, dict):
        return n_bytes(list(item.values()))
    if isinstance(item, (tuple, list)):
        return sum(map(n_bytes, item))
    return item.nbytes if isinstance(item, np.ndarray) else 0


def _split(values):
    """Return the name of the dtype and the values of a Series or Index."""
    if isinstance(values, pd.MultiIndex):
        raise TypeError("an index of several levels")
    if isinstance(values, pd.RangeIndex):  # more compact than its values
        return "range", values.start, values.stop, values.step
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categorical = pd.Categorical(values)
        return "category", categorical.codes, _split(dtype.categories), bool(dtype.ordered)
    if isinstance(dtype, pd.ArrowDtype):
        values = as_pandas_series(pd.Series(values))
        dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return "numpy", np.asarray(values)
    if str(dtype) not in _EXTENSIONS:
        raise TypeError(f"dtype {dtype}")
    objects = np.array(values.astype(object), dtype=object)
    objects[np.asarray(values.isna())] = None
    return str(dtype), objects


def _index(column, name):
    if type(column) is tuple and column[:1] == ("range",):
        _, *bounds = column
        if len(bounds) != 3 or not all(type(number) is int for number in bounds) or not bounds[2]:
            raise ModelFileError("it holds an invalid range index.")
        return pd.RangeIndex(*bounds, name=name)
    return pd.Index(_join(column), name=name, tupleize_cols=False)


def _join(column):
    """Return the values from the result of `_split`."""
    if type(column) is not tuple or len(column) != (4 if column[:1] == ("category",) else 2):
        raise ModelFileError("it holds an invalid column.")
    dtype, values = column[:2]
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise ModelFileError("it holds a column without values.")
    if dtype == "numpy":
        return values
    if dtype == "category":
        return pd.Categorical.from_codes(values, _index(column[2], None), ordered=column[3] is True)
    if type(dtype) is not str or dtype not in _EXTENSIONS:
        raise ModelFileError(f"it holds a column of the dtype {str(dtype)[:100]!r}.")
    if dtype == "str" and isinstance(pd.api.types.pandas_dtype("str"), np.dtype):
        return values  # before pandas 3, strings have the dtype object
    return pd.array(values, dtype=dtype)
