"""Events in frames that do not fit into memory together: read twice, and sorted on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sklearn_recsys.persistence import load_csr
from sklearn_recsys.persistence._csr_folder import writing_csr
from sklearn_recsys.utils._frames import is_frame
from sklearn_recsys.utils._on_disk import sorting_on_disk

_EVENTS = 2**22  # sorted at a time, and read at a time from Parquet
_IDS = 2**20  # of an encoder's frames, collected before they are merged


def frames_of(events, required, optional, twice):
    """Return an iterable of frames, or None if `events` is not one: a single frame, or an error.

    Parameters
    ----------
    events : object
        What the caller has passed.
    required, optional : list of hashable
        The columns that are read, and those that are read where they exist.
    twice : bool
        Whether the frames will be read more than once.
    """
    if isinstance(events, (str, os.PathLike)):
        return ParquetFrames(os.fspath(events), required, optional)
    is_single = is_frame(events) or hasattr(events, "__array__") or sp.issparse(events)
    if is_single or isinstance(events, Mapping) or not isinstance(events, Iterable):
        return None
    if isinstance(events, (list, tuple)) and not all(map(is_frame, events)):
        return None
    if twice and iter(events) is events:
        raise ValueError(
            f"events is a {type(events).__name__}, which can be read once, but the frames are read "
            "twice: for the ids, or the lengths of the histories, and for the events. Pass a list, "
            "a path of Parquet files, or an object whose __iter__ begins again."
        )
    return events


class ParquetFrames:
    """The events of a Parquet file, or of all files of a folder in the order of their names.

    Parameters
    ----------
    path : str
        The file or the folder.
    required, optional : list of hashable
        The columns to read. If one that is required is missing, all are, for the error message.
    """

    def __init__(self, path, required, optional):
        try:
            import pyarrow.dataset
        except ImportError:
            raise ImportError(
                'Reading Parquet files needs pyarrow: pip install "sklearn_recsys[parquet]".'
            ) from None
        if not os.path.exists(path):
            raise FileNotFoundError(f"There are no Parquet files at {path!r}.")
        self.dataset = pyarrow.dataset.dataset(path, format="parquet", partitioning="hive")
        names = self.dataset.schema.names
        read = {*required, *optional} if {*required} <= {*names} else {*names}
        self.columns = [name for name in names if name in read]

    def __iter__(self):
        # little is read ahead, which would take most of the memory
        options = {"batch_size": _EVENTS // 4, "batch_readahead": 1, "fragment_readahead": 1}
        for batch in self.dataset.to_batches(columns=self.columns, **options):
            yield batch.to_pandas()


def distinct(column):
    """Return the ids of a column in the order of their appearance, and the count of each."""
    codes, ids = pd.factorize(column, use_na_sentinel=False)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))
    return column.iloc[first].reset_index(drop=True), np.bincount(codes, minlength=len(ids))


def merged(parts):
    """Return the same of a list of what `distinct` returns."""
    ids = pd.concat([ids for ids, _ in parts], ignore_index=True)
    codes, _ = pd.factorize(ids, use_na_sentinel=False)
    counts = np.bincount(codes, np.concatenate([counts for _, counts in parts]))
    return distinct(ids)[0], counts.astype(np.int64)


class Ids:
    """The distinct ids of a column of many frames."""

    def __init__(self):
        self.parts = []
        self.limit = _IDS

    def add(self, column):
        self.parts.append(distinct(column))
        if sum(len(counts) for _, counts in self.parts) > self.limit:
            n_ids = len(self.merge()[1])
            self.limit = 2 * n_ids + _IDS  # so that an id is merged a few times only

    def merge(self):
        """Return the ids and their counts, as `distinct` does."""
        self.parts = [merged(self.parts)]
        return self.parts[0]


class Types:
    """The common types of the values and of the times of several frames."""

    def __init__(self):
        self.value = self.time = None
        self.n_frames = 0

    def add(self, value, time):
        types = [None if array is None else array.dtype for array in (value, time)]
        if not self.n_frames:
            self.value, self.time = types
        for former, current in zip((self.value, self.time), types, strict=True):
            dates = {dtype is not None and dtype.kind == "M" for dtype in (former, current)}
            if (former is None) != (current is None) or len(dates) > 1:
                raise ValueError(
                    "The frames of events must have the same columns, with values of one kind; the "
                    f"times, or values, are {former or 'missing'} in one of them, and "
                    f"{current or 'missing'} in a later one."
                )
        if self.value is not None:
            self.value = np.result_type(self.value, types[0])
        if self.time is not None:
            self.time = np.result_type(self.time, types[1])
        self.n_frames += 1


def matrix_of_frames(frames, encode, counts, types, to_matrix, shape, folder):
    """Return the matrix of events in frames.

    The events are written to a temporary file, by blocks of users, in the order in which they come;
    then the matrix is made block by block.

    Parameters
    ----------
    frames : iterable of DataFrame
        The frames.
    encode : callable
        Returns the users, items, values and times of a frame: arrays, or None; −1 stands for
        unknown users and items.
    counts : ndarray of int64 of shape (n_users,)
        An upper bound of the number of events of each user.
    types : Types
        Of the values and times.
    to_matrix : callable
        ``to_matrix(users, items, value, time, shape)`` returns the matrix of encoded events.
    shape : tuple of int
        The shape of the matrix.
    folder : str, path-like or None
        Where to write the matrix; None returns one in memory.

    Returns
    -------
    X : csr_array of `shape`
    """
    if folder is None:
        blocks = []
        _for_each_block(frames, encode, counts, types, to_matrix, shape, None, blocks.append)
        return sp.vstack(blocks, format="csr")
    with writing_csr(folder, shape[1]) as append:
        _for_each_block(frames, encode, counts, types, to_matrix, shape, folder, append)
    return load_csr(folder)


def _for_each_block(frames, encode, counts, types, to_matrix, shape, folder, append):
    """Call ``append(X)`` with the matrix of each block of users."""
    if not types.n_frames:  # there is no event
        types.value = np.dtype(np.float64)
    columns = {"item": np.dtype(np.int32), "value": types.value, "time": types.time}
    columns = {name: dtype for name, dtype in columns.items() if dtype is not None}
    with sorting_on_disk(counts, columns, _EVENTS, folder) as spill:
        for frame in frames:
            if len(frame):
                users, *arrays = encode(frame)
                known = (users >= 0) & (arrays[0] >= 0)
                spill.add(
                    users[known],
                    {
                        name: array[known]
                        for name, array in zip(_COLUMNS, arrays, strict=True)
                        if name in columns
                    },
                )
        for users, keys, events in spill.read():
            arrays = [events[name] if name in columns else None for name in _COLUMNS]
            append(to_matrix(keys, *arrays, (users.stop - users.start, shape[1])))


_COLUMNS = ("item", "value", "time")
