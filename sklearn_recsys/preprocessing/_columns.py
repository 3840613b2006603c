"""Reading the columns of a frame of events."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sklearn_recsys.utils._suggest import did_you_mean

_NAMES = "user=…, item=…, rating=…, timestamp=…"
_HINT = f"Name the columns in the constructor: InteractionEncoder({_NAMES})."


def check_column(events, column, hint=_HINT):
    """Return a column; raise if it is missing, duplicated, or contains NaN."""
    if column not in events.columns:
        advice = f"{hint}{did_you_mean(column, events.columns)}"
        if column in events.index.names:
            advice = "It is in the index: pass events.reset_index()."
        raise ValueError(
            f"events has no column {column!r}; its columns are {list(events.columns)}. {advice}"
        )
    series = events[column]
    if series.ndim != 1:
        raise ValueError(f"events has several columns named {column!r}.")
    missing = series.isna()
    if missing.any():
        raise ValueError(
            f"Column {column!r} holds NaN in {missing.sum()} of {len(events)} events. Drop them: "
            f"events.dropna(subset=[{column!r}])."
        )
    return series


def read_ratings(events, column):
    """Return the ratings as finite float64 without zeros."""
    without = 'Events without ratings are encoded by values="one" or values="count".'
    series = check_column(events, column, f"{_HINT} {without}")
    if not pd.api.types.is_numeric_dtype(series) or pd.api.types.is_complex_dtype(series):
        raise ValueError(
            f"Column {column!r} must hold numbers; its dtype is {series.dtype}. Convert it, for "
            'example with pandas.to_numeric, or ignore it with values="one".'
        )
    ratings = series.to_numpy(dtype=np.float64)
    if not np.all(np.isfinite(ratings)):
        raise ValueError(f"Column {column!r} holds infinite values.")
    if np.any(ratings == 0):
        raise ValueError(
            f"Column {column!r} holds {np.sum(ratings == 0)} rating(s) of 0, and a zero in a "
            "user × item matrix means 'not observed'. Shift the scale "
            "(for example by adding 1), drop these events, or ignore ratings with values='one'."
        )
    return ratings


def read_times(events, column, hint=_HINT):
    """Return the times as int64, finite float64 or datetime64 in UTC."""
    series = check_column(events, column, hint)
    if series.dtype == object and pd.api.types.infer_dtype(series) in {"date", "datetime"}:
        series = pd.to_datetime(series)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(series):
        return series.to_numpy()
    if pd.api.types.is_bool_dtype(series) or not pd.api.types.is_numeric_dtype(series):
        raise ValueError(
            f"Column {column!r} must hold times as numbers or datetimes; its dtype is "
            f"{series.dtype}. Convert it, for example with pandas.to_datetime."
        )
    integer = pd.api.types.is_integer_dtype(series)
    times = series.to_numpy(dtype=np.int64 if integer else np.float64)
    if not np.all(np.isfinite(times)):
        raise ValueError(f"Column {column!r} holds infinite values.")
    return times


def as_seconds(times):
    """Return datetimes as seconds since 1970: int64 if all are whole, else float64."""
    seconds = times.astype("datetime64[s]")
    if np.all(seconds == times):
        return seconds.astype(np.int64)
    return (times - np.datetime64(0, "s")) / np.timedelta64(1, "s")


def factorize(series):
    """Return codes and raw ids, sorted if they can be, else in order of appearance."""
    codes, ids = pd.factorize(series)
    ids = np.asarray(ids)
    try:
        order = np.argsort(ids, kind="stable")
    except TypeError:  # ids of mixed types cannot be sorted
        return codes, ids
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[codes], ids[order]
