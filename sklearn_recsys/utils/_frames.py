"""Frames of any library, as pandas frames of numpy's types: the door of all tabular input."""

from __future__ import annotations

import pandas as pd


def is_frame(data):
    """Return whether `data` has named columns: a frame of pandas or of another library.

    The class is asked, not the object: to look at the columns of a lazy frame may run its query.
    """
    return hasattr(type(data), "columns") or hasattr(type(data), "column_names")


def as_pandas_frame(frame, name, content=""):
    """Return a frame of any library as a pandas frame whose columns have numpy's types.

    Columns of Arrow and nullable types become what pandas makes of such values by default; of
    these only integers and booleans with missing values keep a nullable type.

    Parameters
    ----------
    frame : DataFrame
        Of pandas, or of a library that narwhals reads: polars, pyarrow, DuckDB, Modin, …
    name : str
        Its name in error messages.
    content : str, default=""
        What it holds, for error messages.

    Returns
    -------
    frame : pandas.DataFrame
        The frame itself if nothing had to change.

    Raises
    ------
    TypeError
        If it is no frame, or nothing here can read it.
    """
    if isinstance(frame, pd.DataFrame):
        return _with_numpy_types(frame)
    if not is_frame(frame):
        raise TypeError(
            f"{name} must be a pandas DataFrame{content}, or a frame of polars, pyarrow, DuckDB or "
            f"another library; got {type(frame).__name__}."
        )
    try:
        import narwhals.stable.v2 as nw
    except ImportError:
        raise TypeError(
            f"{name} is a {_full_name(frame)}, which is read with narwhals, which is not "
            f"installed: pip install narwhals, or pass {name}.{_way(frame)}."
        ) from None
    try:
        frame_ = nw.from_native(frame)
        if isinstance(frame_, nw.LazyFrame):
            frame_ = frame_.collect()
    except (TypeError, ImportError) as error:
        raise TypeError(
            f"{name} is a {_full_name(frame)}, which narwhals cannot read ({error}): pass "
            f"{name}.{_way(frame)}."
        ) from error
    if frame_.implementation.is_pandas_like():
        return _with_numpy_types(frame_.to_pandas())
    return pd.DataFrame({column: _from_narwhals(frame_[column], nw) for column in frame_.columns})


def take_rows(frame, mask):
    """Return the rows of a frame that a boolean array names, as a frame of the same library.

    A lazy frame becomes what narwhals collects it to.
    """
    if isinstance(frame, pd.DataFrame):
        return frame[mask]
    import narwhals.stable.v2 as nw

    frame = nw.from_native(frame)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    return frame.filter(mask.tolist()).to_native()


def as_pandas_series(values):
    """Return a pandas Series with numpy's type instead of an Arrow or nullable one."""
    if isinstance(values.dtype, pd.ArrowDtype):
        return pd.Series(_from_arrow(values.array), index=values.index, name=values.name)
    nullable = getattr(values.dtype, "numpy_dtype", None)
    if nullable is not None and not values.isna().any():
        return values.astype(nullable)
    return values


def _with_numpy_types(frame):
    """Return a pandas frame without Arrow types, and without nullable ones that miss nothing."""
    changed = frame
    for place, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.ArrowDtype) or hasattr(dtype, "numpy_dtype"):
            if changed is frame:
                changed = frame.copy(deep=False)
            changed.isetitem(place, as_pandas_series(frame.iloc[:, place]))
    return changed


def _from_arrow(array):
    """Return the values of an Arrow-backed pandas array as pandas holds them by default."""
    import pyarrow as pa

    values = array.__arrow_array__()
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if values.null_count and (pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)):
        dtype = "Int64" if pa.types.is_integer(values.type) else "boolean"
        return pd.array(values.to_pylist(), dtype=dtype)
    return values.to_pandas(date_as_object=False).array


def _from_narwhals(values, nw):
    """Return the values of a narwhals Series as pandas holds them."""
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


def _full_name(data):
    return f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"


def _way(frame):
    """Return how a frame of another library is made a pandas frame."""
    for method in ("to_pandas", "toPandas", "df", "compute", "collect"):
        if hasattr(type(frame), method):
            return f"{method}()"
    return "to_pandas()"
