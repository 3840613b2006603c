"""Splits of a frame of events, where a (user, item) pair may occur on both sides of a cutoff."""

from __future__ import annotations

import datetime
from numbers import Real

import numpy as np
import pandas as pd

from sklearn_recsys.model_selection._common import check_size, held_out_counts
from sklearn_recsys.preprocessing._columns import check_column, factorize, read_times
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame, take_rows

_HINT = "Name the column of {0} with {1}=…."


def is_events(X, order, user="timestamp"):
    """Return whether `X` is a frame of events: then `order` is a column name or None."""
    if not is_frame(X):
        return False
    if order is None:
        return not {"timestamp", user}.isdisjoint(as_pandas_frame(X, "X").columns)
    return isinstance(order, str) or np.ndim(order) == 0


def split_at(events, column, test_size, cutoff):
    """Return the events before the cutoff, and those at or after it."""
    times, zone = _times(events, column)
    test = after_cutoff(times, find_cutoff(times, test_size, cutoff, zone))
    return take_rows(events, ~test), take_rows(events, test)


def split_last(events, column, n, min_train, user):
    """Return the training events, and the last `n` of every user; ties are in input order."""
    times, _ = _times(events, column)
    users = check_column(as_pandas_frame(events, "X"), user, _HINT.format("users", "user"))
    codes, ids = factorize(users)
    lengths = np.bincount(codes, minlength=len(ids))
    counts = held_out_counts(lengths, n, min_train)
    if not counts.any():
        raise ValueError(
            f"No user has the n + min_train = {n + min_train} events that are needed to hold out "
            f"{n}; the longest history has {lengths.max(initial=0)}."
        )
    order = np.lexsort((times, codes))
    ranks = np.arange(len(codes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    last = np.zeros(len(codes), dtype=bool)
    last[order] = ranks >= np.repeat(lengths - counts, lengths)
    return take_rows(events, ~last), take_rows(events, last)


def _times(events, column):
    """Return the times of the events, and the column's time zone or None."""
    frame = as_pandas_frame(events, "X")
    column = "timestamp" if column is None else column
    without = 'InteractionEncoder(values="position", timestamp=None)'
    hint = f"{_HINT.format('times', 'order')} Without times encode the events by {without}."
    series = check_column(frame, column, hint)
    if not len(series):
        raise ValueError("X is an empty frame of events.")
    return read_times(frame, column, hint), getattr(series.dtype, "tz", None)


def find_cutoff(times, test_size, cutoff, zone=None):
    """Return the first time of the test period.

    Parameters
    ----------
    times : ndarray of int, float or datetime64
        Datetimes are in UTC.
    test_size : float, int or None
        Share or number of the newest events; 0.2 if `cutoff` is also None.
    cutoff : number, date or None
        The first time of the test period.
    zone : tzinfo, default=None
        The time zone of dates without one. None: UTC.
    """
    if cutoff is None:
        n_test = check_size(0.2 if test_size is None else test_size, "test_size", len(times))
        return np.partition(times, len(times) - n_test)[len(times) - n_test]
    if test_size is not None:
        raise ValueError(
            f"Give test_size or cutoff, not both; got test_size={test_size!r}, cutoff={cutoff!r}."
        )
    # datetime.datetime and pandas.Timestamp are subclasses of datetime.date
    if isinstance(cutoff, (str, datetime.date, np.datetime64)):
        return _date(times, cutoff, zone)
    if times.dtype.kind == "M":
        raise TypeError(
            f"cutoff must be a date, because the times are datetimes; got {cutoff!r}. Pass a "
            'string, such as "2024-03-31", or a datetime.'
        )
    if not isinstance(cutoff, Real):
        raise TypeError(f"cutoff must be a date or a number in the units of order; got {cutoff!r}.")
    return cutoff


def _date(times, cutoff, zone):
    """Return a date in the units of the times: a datetime64, or seconds since 1970."""
    try:
        moment = pd.Timestamp(cutoff)
    except ValueError as error:
        raise ValueError(
            f"cutoff is not a date that pandas.Timestamp can parse: {cutoff!r}."
        ) from error
    if moment is pd.NaT:
        raise ValueError("cutoff is NaT, which is not a time.")
    if moment.tz is None and zone is not None:
        moment = moment.tz_localize(zone)
    if moment.tz is not None:
        moment = moment.tz_convert("UTC").tz_localize(None)
    if times.dtype.kind == "M":
        return moment.to_datetime64()
    if not 10**8 < times.max() < 2**32:
        raise TypeError(
            f"cutoff is the date {cutoff!r}, but the times, up to {times.max()}, are not seconds "
            "since 1970: pass a number in the units of order."
        )
    return (moment - pd.Timestamp(0)).total_seconds()


def after_cutoff(times, cutoff):
    """Return a mask of the times at or after the cutoff; raise if all are on one side."""
    test = times >= cutoff
    if test.all() or not test.any():
        raise ValueError(
            f"All interactions are {'at or after' if test.all() else 'before'} the cutoff at "
            f"{cutoff}: times range from {times.min()} to {times.max()}. Choose a cutoff between "
            "them."
        )
    return test
