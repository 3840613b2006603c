"""DataFrames as plain values and arrays, which the rest of a file knows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sklearn_recsys.persistence._container import ModelFileError

_NUMBERS = [f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)]
_EXTENSIONS = {"str", "string", "boolean", "Float32", "Float64", *_NUMBERS}
_FIELDS = {"columns", "columns_name", "index", "index_name", "data"}


def split_frame(frame):
    """Return a dict of lists, tuples and arrays; TypeError if the frame cannot be said so."""
    return {
        "columns": _split(frame.columns),
        "columns_name": frame.columns.name,
        "index": _split(frame.index),
        "index_name": frame.index.name,
        "data": [_split(frame.iloc[:, i]) for i in range(frame.shape[1])],
    }


def join_frame(parts, size):
    """Return the frame of what `split_frame` returned; `size` is that of the file."""
    if type(parts) is not dict or set(parts) != _FIELDS or type(parts["data"]) is not list:
        raise ModelFileError("it holds a frame with other fields than it should.")
    if sum(map(_n_bytes, parts["data"])) > 4 * size + 2**20:  # one array as many columns
        raise ModelFileError("it holds a frame that is larger than the file.")
    index = pd.Index(_join(parts["index"]), name=parts["index_name"], tupleize_cols=False)
    data = dict(enumerate(map(_join, parts["data"])))
    if any(len(values) != len(index) for values in data.values()):
        raise ModelFileError("it holds a frame whose columns have different lengths.")
    frame = pd.DataFrame(data, index=index)
    columns = _join(parts["columns"])
    frame.columns = pd.Index(columns, name=parts["columns_name"], tupleize_cols=False)
    return frame


def _n_bytes(part):
    """Return how large a column is, its categories included."""
    if isinstance(part, (tuple, list)):
        return sum(map(_n_bytes, part))
    return part.nbytes if isinstance(part, np.ndarray) else 0


def _split(values):
    """Return the name of the dtype and the values of a Series or Index."""
    dtype = values.dtype
    if isinstance(values, pd.MultiIndex):
        raise TypeError("an index of several levels")
    if isinstance(dtype, pd.CategoricalDtype):
        categorical = pd.Categorical(values)
        return "category", categorical.codes, _split(dtype.categories), bool(dtype.ordered)
    if isinstance(dtype, np.dtype):
        return "numpy", np.asarray(values)
    if str(dtype) not in _EXTENSIONS:
        raise TypeError(f"dtype {dtype}")
    objects = np.array(values.astype(object), dtype=object)
    objects[np.asarray(values.isna())] = None
    return str(dtype), objects


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
        categories = pd.Index(_join(part[2]), tupleize_cols=False)
        return pd.Categorical.from_codes(values, categories, ordered=part[3] is True)
    if type(dtype) is not str or dtype not in _EXTENSIONS:
        raise ModelFileError(f"it holds a column of the dtype {str(dtype)[:100]!r}.")
    if dtype == "str" and isinstance(pd.api.types.pandas_dtype("str"), np.dtype):
        return values  # before pandas 3 strings are objects
    return pd.array(values, dtype=dtype)
