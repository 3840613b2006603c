"""Raw ids: lookup of their positions, and alignment of frames to them."""

from __future__ import annotations

import weakref
from collections.abc import Collection

import numpy as np
import pandas as pd

from sklearn_recsys.utils._frames import as_pandas_series
from sklearn_recsys.utils._warnings import warn

# Index objects by owner, so that their hash tables are reused between calls. They are not
# attributes of the owners, because attributes are fitted state, which is saved and compared.
_indexes = weakref.WeakKeyDictionary()


def index(ids):
    """Return an Index that keeps tuples as single ids."""
    return pd.Index(ids, tupleize_cols=False)


def index_of(owner, ids):
    """Return the Index of an array of ids that `owner` keeps, the same one in every call."""
    cached = _indexes.setdefault(owner, {})
    entry = cached.get(id(ids))
    if entry is None or entry[0] is not ids:
        if len(cached) > 5:  # entries of earlier fits, whose arrays may be gone
            cached.clear()
        entry = cached[id(ids)] = ids, index(ids)
    return entry[1]


def as_index(raw_ids, kind):
    """Return a collection of raw ids as an Index, which leaves mixed ids as they are."""
    if isinstance(raw_ids, (list, tuple, np.ndarray)):
        if isinstance(raw_ids, np.ndarray) and raw_ids.ndim != 1:
            raise ValueError(
                f"Expected a 1-D sequence of {kind} ids; got an array of shape {raw_ids.shape}."
            )
        return index(raw_ids)
    if is_scalar(raw_ids):
        raise ValueError(f"Expected a 1-D sequence of {kind} ids; got {raw_ids!r}.")
    if isinstance(raw_ids, pd.MultiIndex):
        raw_ids = raw_ids.to_flat_index()  # tuples
    if isinstance(raw_ids, pd.Index) and isinstance(raw_ids.dtype, np.dtype):
        return raw_ids
    if isinstance(raw_ids, (pd.Index, pd.Series)):
        values = raw_ids.to_series() if isinstance(raw_ids, pd.Index) else raw_ids
        values = as_pandas_series(values).array
        categories = isinstance(values.dtype, pd.CategoricalDtype)
        return index(np.asarray(values) if categories else values)
    if hasattr(raw_ids, "__array__"):  # a column of another library
        return index(np.asarray(raw_ids))
    return index(list(raw_ids))


def is_scalar(value):
    """Return whether a value is one id rather than a collection of ids."""
    if isinstance(value, (str, bytes)):
        return True
    return not isinstance(value, Collection) and np.ndim(value) == 0


def missing_ids(ids, limit=5):
    """Return the first ids as text, for error messages about missing ones."""
    text = ", ".join(map(repr, np.asarray(ids[:limit]).tolist()))
    return f"{text}, …" if len(ids) > limit else text


def find(vocabulary, raw, kind, unknown):
    """Return the positions of raw ids in a vocabulary.

    Parameters
    ----------
    vocabulary : Index
        The ids seen in fit, each once.
    raw : Index
        The ids to find.
    kind : str
        ``"user"`` or ``"item"``, for error messages.
    unknown : {"error", "ignore"}
        Whether unknown ids raise a ValueError that lists them, or get the position −1.

    Returns
    -------
    positions : ndarray of int64 of shape (n,)
    """
    positions = vocabulary.get_indexer(raw)
    if len(positions) and positions.min() < 0:
        missing = pd.unique(raw[positions < 0])
        types = "" if positions.max() >= 0 else _different_types(vocabulary, raw, kind)
        if unknown == "error":
            raise ValueError(
                f"{len(missing)} unknown {kind} id(s) that were not seen in fit: "
                f"{missing_ids(missing)}{'' if len(missing) > 5 else '.'} The valid ids are in "
                f'{kind}_ids_; an encoder with unknown="ignore" drops others.'
                f"{types or _ADVICE.get(kind, '')}"
            )
        if types:
            # the same text for all ids: Python keeps each one, as long as a service runs
            warn(f"All {kind} ids are unknown, and ignored.{types}")
    return positions.astype(np.int64, copy=False)


_ADVICE = {
    "user": " To get recommendations for new users, pass their events.",
    "item": " A catalog, InteractionEncoder(items=...), has items without events, too.",
}


def _different_types(vocabulary, raw, kind):
    """Return a sentence if ids cannot be known, as they are numbers and the others strings."""
    kinds = id_kind(vocabulary), id_kind(raw)
    if set(kinds) != {"number", "string"} or not len(vocabulary):
        return ""
    return (
        f" The {kind} ids of fit are {kinds[0]}s, such as {missing_ids(vocabulary[:1])}, and these "
        f"are {kinds[1]}s: convert one of them."
    )


def id_kind(ids):
    """Return the type of the ids in an Index, with all numbers as one type."""
    kind = ids.inferred_type
    return "number" if kind in _NUMBERS else kind


_NUMBERS = {"integer", "floating", "mixed-integer-float", "boolean"}


def is_default_index(labels):
    """Return whether labels are the default index of a frame, 0, 1, 2 and so on."""
    return isinstance(labels, pd.RangeIndex) and labels.start == 0 and labels.step == 1


def row_order(frame, ids, name, kind, column=None):
    """Return the row of a pandas frame for each id, or None if the frame is already aligned.

    Rows are matched by the frame's index; if that is the default index, by the named column if the
    frame has it; otherwise by position.

    Parameters
    ----------
    frame : DataFrame
        The rows, in any order; additional rows are allowed.
    ids : ndarray or Index
        Raw ids.
    name, kind : str
        Names of the frame and of the ids, for error messages.
    column : hashable, default=None
        The name of a column of ids.

    Returns
    -------
    positions : ndarray of int64 of shape (n_ids,) or None

    Raises
    ------
    ValueError
        If ids are missing or repeated, or if it is ambiguous whether the default index consists of
        ids.
    """
    ids, labels = as_index(ids, kind), frame.index
    if is_default_index(labels) and column is not None and column in frame.columns:
        labels = as_index(frame[column], kind)
    elif is_default_index(labels) and len(labels) == len(ids):
        if not labels.equals(ids) and len(labels.intersection(ids)) == len(ids):
            raise ValueError(
                f"The index of {name} is 0, 1, …, and so are the {kind} ids, but in another "
                f"order: identify the rows by a column {column!r} of {kind} ids, or pass an array "
                "with the rows in the order of the ids."
            )
        return None
    else:
        labels = as_index(labels, kind)
    if labels.equals(ids):
        return None
    relevant = np.flatnonzero(labels.isin(ids))
    labels = labels[relevant]
    if labels.has_duplicates:
        duplicated = labels[labels.duplicated()].unique()
        raise ValueError(f"{name} has several rows of one {kind} id: {missing_ids(duplicated)}.")
    positions = labels.get_indexer(ids)
    if len(positions) and positions.min() < 0:
        missing = ids[positions < 0]
        raise ValueError(
            f"{name} has no row for {len(missing)} of {len(ids)} {kind} id(s): "
            f"{missing_ids(missing)}. Its index must hold the raw {kind} ids; it starts with "
            f"{missing_ids(frame.index, 3)}. With a default index, 0, 1, …, rows are matched by "
            "position, and every id needs one."
        )
    return relevant[positions]


def aligned_rows(frame, ids, name, kind, column=None):
    """Return a pandas frame with one row for each id, in their order; see `row_order`."""
    positions = row_order(frame, ids, name, kind, column)
    return frame if positions is None else frame.iloc[positions]
