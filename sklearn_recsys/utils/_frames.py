"""Conversion of frames of any library to pandas frames with numpy dtypes, for all tabular input."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd


def is_frame(data):
    """Return whether `data` has named columns: a frame of pandas or of another library.

    It looks at the class, because reading the columns of a lazy frame may run its query.
    """
    return hasattr(type(data), "columns") or hasattr(type(data), "column_names")


def as_pandas_frame(frame, name, content=""):
    """Return a frame of any library as a pandas frame whose columns have numpy dtypes.

    Columns of Arrow and nullable types get the default pandas dtype for such values; only integers
    and booleans with missing values keep a nullable dtype.

    Parameters
    ----------
    frame : DataFrame
        A frame of pandas or of a library that narwhals supports: polars, pyarrow, DuckDB, Modin, …
    name : str
        The name of the frame in error messages.
    content : str, default=""
        A description of its content for error messages.

    Returns
    -------
    frame : pandas.DataFrame
        The frame itself if no column had to be converted.

    Raises
    ------
    TypeError
        If it is not a frame, or cannot be converted.
    """
    if isinstance(frame, pd.DataFrame):
        return _with_numpy_types(frame)
    if not is_frame(frame):
        advice = _making_a_frame(frame, name) if content else ""
        raise TypeError(
            f"{name} must be a pandas DataFrame{content}, or a frame of polars, pyarrow, DuckDB or "
            f"another library; got {type(frame).__name__}.{advice}"
        )
    try:
        import narwhals.stable.v2 as nw
    except ImportError:
        raise TypeError(
            f"{name} is a {_full_name(frame)}, which needs narwhals, which is not installed: pip "
            f"install narwhals, or pass {name}.{_conversion(frame)}."
        ) from None
    try:
        frame_ = nw.from_native(frame)
        if isinstance(frame_, nw.LazyFrame):
            frame_ = frame_.collect()
    except (TypeError, ImportError) as error:
        raise TypeError(
            f"{name} is a {_full_name(frame)}, which narwhals cannot read ({error}): pass "
            f"{name}.{_conversion(frame)}."
        ) from error
    if frame_.implementation.is_pandas_like():
        return _with_numpy_types(frame_.to_pandas())
    return pd.DataFrame({column: _from_narwhals(frame_[column], nw) for column in frame_.columns})


def take_rows(frame, mask):
    """Return the rows of a frame that a boolean array selects, as a frame of the same library.

    A lazy frame is collected by narwhals.
    """
    if isinstance(frame, pd.DataFrame):
        return frame[mask]
    import narwhals.stable.v2 as nw

    frame = nw.from_native(frame)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    return frame.filter(mask.tolist()).to_native()


def as_pandas_series(values):
    """Return a pandas Series with a numpy dtype instead of an Arrow or nullable one."""
    if isinstance(values.dtype, pd.ArrowDtype):
        return pd.Series(_from_arrow(values.array), index=values.index, name=values.name)
    nullable = getattr(values.dtype, "numpy_dtype", None)
    if nullable is not None and not values.isna().any():
        return values.astype(nullable)
    return values


def _with_numpy_types(frame):
    """Return a pandas frame without Arrow dtypes and without nullable ones that have no gaps."""
    converted = frame
    for position, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.ArrowDtype) or hasattr(dtype, "numpy_dtype"):
            if converted is frame:
                converted = frame.copy(deep=False)
            converted.isetitem(position, as_pandas_series(frame.iloc[:, position]))
    return converted


def _from_arrow(array):
    """Return the values of an Arrow-backed pandas array with pandas's default dtype."""
    import pyarrow as pa

    values = array.__arrow_array__()
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if values.null_count and (pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)):
        dtype = "Int64" if pa.types.is_integer(values.type) else "boolean"
        return pd.array(values.to_pylist(), dtype=dtype)
    return values.to_pandas(date_as_object=False).array


def _from_narwhals(values, nw):
    """Return the values of a narwhals Series with pandas's default dtype."""
    dtype = values.dtype
    if dtype in (nw.Categorical, nw.Enum):
        return pd.Categorical(values.cast(nw.String).to_list())
    if dtype == nw.Decimal:
        return values.cast(nw.Float64).to_numpy()
    if values.null_count() and (dtype.is_integer() or dtype == nw.Boolean):
        return pd.array(values.to_list(), dtype="Int64" if dtype.is_integer() else "boolean")
    if dtype == nw.Datetime:
        times = pd.Series(values.to_numpy())  # in UTC
        if dtype.time_zone is None:
            return times
        return times.dt.tz_localize("UTC").dt.tz_convert(dtype.time_zone)
    if dtype.is_numeric() or dtype in (nw.Boolean, nw.Date):
        return pd.Series(values.to_numpy())
    return pd.Series(values.to_list(), dtype=None if dtype == nw.String else object)


def _making_a_frame(data, name):
    """Return advice on how to make a frame of events, for an error message."""
    if isinstance(data, Mapping):
        return f" Make one by pandas.DataFrame({name})."
    if hasattr(data, "reset_index"):  # a Series with ids as its index
        return f" Make one by {name}.reset_index()."
    if isinstance(data, (list, tuple)) or hasattr(data, "__array__"):
        return f' Make one by pandas.DataFrame({name}, columns=["user", "item", ...]).'
    return ""


def _full_name(data):
    return f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"


def _conversion(frame):
    """Return the method call that converts a frame of another library to pandas."""
    for method in ("to_pandas", "toPandas", "df", "compute", "collect"):
        if hasattr(type(frame), method):
            return f"{method}()"
    return "to_pandas()"
