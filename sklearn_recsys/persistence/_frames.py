"""pandas objects as plain values and arrays, which the rest of a file knows."""

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
    """Return what a pandas object is called in a file, None for all other objects."""
    if type(value) is pd.DataFrame:
        return "frame"
    if type(value) is pd.Series:
        return "series"
    return "index" if isinstance(value, pd.Index) else None


def portable(parameter, name):
    """Return a parameter in a form that can be saved.

    Frames of other libraries become pandas frames, and their columns and arrays become numpy's:
    values count, and what else their types say is lost.
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
    """Return a dict of lists, tuples and arrays; TypeError if the object cannot be said so."""
    kind = pandas_kind(value)
    if kind == "index":
        return {"values": _split(value), "name": value.name}
    parts = {"index": _split(value.index), "index_name": value.index.name}
    if kind == "series":
        return {"values": _split(value), "name": value.name, **parts}
    return {
        "columns": _split(value.columns),
        "columns_name": value.columns.name,
        **parts,
        "data": [_split(value.iloc[:, i]) for i in range(value.shape[1])],
    }


def join(kind, parts):
    """Return the object of what `split` returned."""
    right = type(parts) is dict and set(parts) == _FIELDS[kind]
    if not right or (kind == "frame" and type(parts["data"]) is not list):
        raise ModelFileError(f"it holds a pandas {kind} with other fields than it should.")
    if kind == "index":
        return _index(parts["values"], parts["name"])
    index = _index(parts["index"], parts["index_name"])
    columns = [parts["values"]] if kind == "series" else parts["data"]
    data = dict(enumerate(map(_join, columns)))
    if any(len(values) != len(index) for values in data.values()):
        raise ModelFileError(f"it holds a {kind} whose columns have different lengths.")
    if kind == "series":
        return pd.Series(data[0], index=index, name=parts["name"])
    frame = pd.DataFrame(data, index=index)
    frame.columns = _index(parts["columns"], parts["columns_name"])
    return frame


def n_bytes(part):
    """Return how large the parts of an object are, categories included."""
    if isinstance(part, dict):
        return n_bytes(list(part.values()))
    if isinstance(part, (tuple, list)):
        return sum(map(n_bytes, part))
    return part.nbytes if isinstance(part, np.ndarray) else 0


def _split(values):
    """Return the name of the dtype and the values of a Series or Index."""
    if isinstance(values, pd.MultiIndex):
        raise TypeError("an index of several levels")
    if isinstance(values, pd.RangeIndex):  # the default index says nothing, its values would
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


def _index(part, name):
    if type(part) is tuple and part[:1] == ("range",):
        if len(part) != 4 or not all(type(number) is int for number in part[1:]) or not part[3]:
            raise ModelFileError("it holds an index that is no range.")
        return pd.RangeIndex(*part[1:], name=name)
    return pd.Index(_join(part), name=name, tupleize_cols=False)


def _join(part):
    """Return the values of what `_split` returned."""
    if type(part) is not tuple or len(part) != (4 if part[:1] == ("category",) else 2):
        raise ModelFileError("it holds a column that is none.")
    dtype, values = part[:2]
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise ModelFileError("it holds a column without values.")
    if dtype == "numpy":
        return values
    if dtype == "category":
        return pd.Categorical.from_codes(values, _index(part[2], None), ordered=part[3] is True)
    if type(dtype) is not str or dtype not in _EXTENSIONS:
        raise ModelFileError(f"it holds a column of the dtype {str(dtype)[:100]!r}.")
    if dtype == "str" and isinstance(pd.api.types.pandas_dtype("str"), np.dtype):
        return values  # before pandas 3 strings are objects
    return pd.array(values, dtype=dtype)
