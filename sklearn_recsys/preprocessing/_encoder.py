"""Tidy events to a user × item matrix and back, with the raw ids kept."""

from __future__ import annotations

from collections.abc import Hashable
from copy import copy
from typing import Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.persistence import load_csr, save, save_csr
from sklearn_recsys.preprocessing._columns import (
    as_seconds,
    check_column,
    factorize,
    read_ratings,
    read_times,
)
from sklearn_recsys.preprocessing._event_frames import (
    Ids,
    Types,
    frames_of,
    matrix_of_frames,
)
from sklearn_recsys.preprocessing._event_matrix import matrix_of_events
from sklearn_recsys.utils._frames import as_pandas_frame
from sklearn_recsys.utils._html import HTMLMixin, size_text
from sklearn_recsys.utils._ids import as_index, find, index_of, missing_ids
from sklearn_recsys.utils._sklearn import StrOptions, fit_context
from sklearn_recsys.utils._state import Labels, Size
from sklearn_recsys.utils.validation import check_csr, check_indices


class InteractionEncoder(HTMLMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Encode a tidy frame of events as a sparse user × item matrix.

    Each row of the frame is one event: a user interacted with an item. The matrix has one row per
    user and one column per item seen in `fit`, always all of them and always in the same order, so
    that the matrices of different sets of events (train and test) line up.

    Events that do not fit into memory are read from Parquet files, or from any frames that can be
    iterated over twice; the matrix is then written to a folder, and memory-mapped.

    Parameters
    ----------
    user, item : hashable, default="user" and "item"
        Names of the columns with the raw ids: integers, strings, or anything hashable.
    values : {"rating", "count", "one", "timestamp", "position"}, default="rating"
        What a stored value of the matrix means:

        - ``"rating"``: the value of the column `rating` (float32);
        - ``"count"``: the number of events of the pair (float32);
        - ``"one"``: 1 for every pair (float32);
        - ``"timestamp"``: the value of the column `timestamp`: int64 for integer columns, float64
          for floats, never float32. Datetime columns become seconds since 1970-01-01 UTC, int64
          if all of them are whole seconds and float64 otherwise;
        - ``"position"``: 1 … n_u (int64), the position of the pair in the user's chronological
          order: a stable sort by the time of the pair's last event, then by its row in the frame.

    rating : hashable, default="rating"
        Name of the column of ratings; read only if `values` is "rating".
    timestamp : hashable or None, default="timestamp"
        Name of the column of times. Required for ``values="timestamp"``. None means that the rows
        of the frame are in chronological order.
    duplicates : {"last", "sum", "mean", "max"}, default="last"
        How several events of the same user and item are combined into one value: "last" takes the
        latest by `timestamp` (equal times: the later row; without such a column: the last row).
        Counts, ones and positions are not affected; a position is that of the last event.
    unknown : {"error", "ignore"}, default="error"
        Whether ids that were not seen in `fit` raise a ValueError that lists them, or their events
        are dropped.
    users, items : array-like, default=None
        Raw ids of all users, or of all items (the catalog). They determine the rows, or columns,
        and their order, including those of users and items without events; `unknown` applies to
        ids in events that are not in the list. None: the ids of the events in `fit`. A list or an
        array can be saved with the encoder.

    Attributes
    ----------
    user_ids_ : ndarray of shape (n_users,)
        Raw user ids by row: `users` if given; else sorted, or in order of appearance if they
        cannot be sorted.
    item_ids_ : ndarray of shape (n_items,)
        Raw item ids by column, in the same kind of order.
    n_users_, n_items_ : int
        The numbers of users and items seen in `fit`.

    See Also
    --------
    sklearn_recsys.preprocessing.filter_k_core : Drop rare users and items first.

    Notes
    -----
    A zero in the matrix means *not observed*. If a value comes out as 0 (a rating scale that
    contains 0, ratings that sum to 0, time 0), a ValueError asks you to shift the scale.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.preprocessing import InteractionEncoder
    >>> events = pd.DataFrame({"user": ["ann", "bob", "ann"], "item": [7, 7, 9],
    ...                        "rating": [5, 3, 4]})
    >>> encoder = InteractionEncoder()
    >>> encoder.fit_transform(events).toarray()
    array([[5., 4.],
           [3., 0.]], dtype=float32)
    >>> encoder.decode([[1, 0]], users=["bob"])
      user  rank  item
    0  bob     1     9
    1  bob     2     7

    A catalog includes items without interactions:

    >>> InteractionEncoder(items=[9, 8, 7]).fit_transform(events).toarray()
    array([[4., 0., 5.],
           [0., 0., 3.]], dtype=float32)
    """

    # The frame is data, not metadata that a meta-estimator could route.
    __metadata_request__fit = {"events": UNUSED}
    __metadata_request__transform = {"events": UNUSED, "folder": UNUSED}

    _parameter_constraints: dict = {
        "user": [Hashable],
        "item": [Hashable],
        "values": [StrOptions({"rating", "count", "one", "timestamp", "position"})],
        "rating": [Hashable],
        "timestamp": [Hashable, None],
        "duplicates": [StrOptions({"last", "sum", "mean", "max"})],
        "unknown": [StrOptions({"error", "ignore"})],
        "users": ["array-like", None],
        "items": ["array-like", None],
    }

    def __init__(
        self,
        user="user",
        item="item",
        values="rating",
        *,
        rating="rating",
        timestamp="timestamp",
        duplicates="last",
        unknown="error",
        users=None,
        items=None,
    ):
        self.user = user
        self.item = item
        self.values = values
        self.rating = rating
        self.timestamp = timestamp
        self.duplicates = duplicates
        self.unknown = unknown
        self.users = users
        self.items = items

    def _fitted_state(self):
        return {
            "user_ids_": Labels("n_users"),
            "item_ids_": Labels("n_items"),
            "n_users_": Size("n_users"),
            "n_items_": Size("n_items"),
        }

    def fit(self, events, y=None) -> Self:
        """Learn the users and the items.

        Parameters
        ----------
        events : DataFrame of shape (n_events, n_columns), path or iterable of DataFrame
            Tidy events: a frame of pandas or of any library that narwhals supports; or the path of
            a Parquet file, or of a folder of such files, which are read in the order of their
            names; or frames, such as a list of them, in the order of the events. All columns that
            `transform` reads are already validated here.
        y : None
            Ignored.

        Returns
        -------
        self : InteractionEncoder
            The fitted encoder.
        """
        self._fit(events, encode=False)
        return self

    def fit_transform(self, events, y=None, *, folder=None) -> sp.csr_array:
        """Learn the users and the items, and encode their events.

        Parameters
        ----------
        events : DataFrame of shape (n_events, n_columns), path or iterable of DataFrame
            Tidy events, as in `fit`.
        y : None
            Ignored.
        folder : str or path-like, default=None
            As in `transform`.

        Returns
        -------
        X : csr_array of shape (n_users, n_items)
            The matrix, as `transform` returns it.
        """
        return self._fit(events, folder=folder)

    @fit_context(prefer_skip_nested_validation=True)
    def _fit(self, events, folder=None, encode=True):
        """Set the fitted attributes once the whole encoding has succeeded; return the matrix."""
        frames = self._frames(events, twice=encode)
        if frames is not None:
            return self._fit_frames(frames, folder, encode)
        events, value, time = self._read(events)
        if len(events) == 0:
            raise ValueError("events is an empty frame; at least one event is needed to fit.")
        users, user_ids = self._learn(events[self.user], "user", self.users)
        items, item_ids = self._learn(events[self.item], "item", self.items)
        X = self._matrix(users, items, value, time, (len(user_ids), len(item_ids)))
        self.user_ids_, self.item_ids_ = user_ids, item_ids
        self.n_users_, self.n_items_ = X.shape
        return _stored(X, folder)

    def _fit_frames(self, frames, folder, encode):
        """Do the same with frames, which are encoded only on request."""
        users, items, types = Ids(), Ids(), Types()
        for frame in frames:
            events, value, time = self._read(frame)
            if len(events):
                users.add(events[self.user])
                items.add(events[self.item])
                types.add(value, time)
        if not types.n_frames:
            raise ValueError("events holds no event; at least one is needed to fit.")
        (raw_users, n_events), (raw_items, _) = users.merge(), items.merge()
        new = copy(self)
        codes, new.user_ids_ = self._learn(raw_users, "user", self.users)
        _, new.item_ids_ = self._learn(raw_items, "item", self.items)
        new.n_users_, new.n_items_ = len(new.user_ids_), len(new.item_ids_)
        X = None
        if encode:
            counts = np.zeros(new.n_users_, dtype=np.int64)
            counts[codes[codes >= 0]] = n_events[codes >= 0]
            X = new._matrix_of_frames(frames, counts, types, folder)
        vars(self).update(vars(new))
        return X

    def _learn(self, raw, kind, catalog):
        """Return the codes of raw ids, and the ids by code: the catalog if there is one."""
        if catalog is None:
            return factorize(raw)
        if isinstance(catalog, (set, frozenset)):
            raise ValueError(f"{kind}s is a set, which has no order: pass sorted({kind}s).")
        ids = as_index(catalog, kind)
        if ids.hasnans or ids.has_duplicates:
            repeated = "NaN" if ids.hasnans else missing_ids(ids[ids.duplicated()].unique())
            raise ValueError(f"{kind}s must hold each {kind} id once; got several of {repeated}.")
        return self._lookup(raw, kind, self.unknown, ids), np.asarray(ids)

    def transform(self, events, *, folder=None) -> sp.csr_array:
        """Encode events of users seen in `fit`.

        Parameters
        ----------
        events : DataFrame of shape (n_events, n_columns), path or iterable of DataFrame
            Tidy events, as in `fit`; users without events have an empty row. Frames are read twice,
            and the result is that of all of them in one.
        folder : str or path-like, default=None
            Folder to write the matrix to, as :func:`~sklearn_recsys.persistence.save_csr` does.
            None: the matrix is in memory. From frames or Parquet files, the events are written to a
            temporary file first, in the folder or in that of Python's `tempfile`, which takes 8
            bytes for an event, and 8 for its rating and its time each if they are read.

        Returns
        -------
        X : csr_array of shape (n_users, n_items)
            Canonical: sorted indices, no duplicates, no explicit zeros. With a folder it is
            memory-mapped and read-only, as :func:`~sklearn_recsys.persistence.load_csr` returns it.
        """
        check_is_fitted(self)
        frames = self._frames(events, twice=True)
        if frames is None:
            return _stored(self._matrix(*self._encoded(events), self._shape), folder)
        counts, types = np.zeros(self.n_users_, dtype=np.int64), Types()
        for frame in frames:
            users, _, value, time = self._encoded(frame)
            if len(users):
                np.add.at(counts, users[users >= 0], 1)
                types.add(value, time)
        return self._matrix_of_frames(frames, counts, types, folder)

    def transform_histories(self, events, users=None) -> tuple[sp.csr_array, np.ndarray]:
        """Encode the histories of any users, seen in `fit` or new.

        Parameters
        ----------
        events : DataFrame of shape (n_events, n_columns)
            Tidy events. Unknown items follow the parameter `unknown`.
        users : array-like of shape (n_histories,), default=None
            Raw ids of the users to return rows for, in this order; new users are allowed. None:
            the users of `events`.

        Returns
        -------
        X : csr_array of shape (n_histories, n_items)
            One row per user; empty if the user has no event, or if all items were unknown and
            dropped.
        user_ids : ndarray of shape (n_histories,)
            Their raw ids: `users` if given; else sorted, or in order of appearance if they cannot
            be sorted. **The rows are in this order**, not in that of the events.
        """
        check_is_fitted(self)
        events, value, time = self._read(events)
        if users is None:
            users, user_ids = factorize(events[self.user])
        else:
            requested = as_index(users, "user")
            if requested.has_duplicates:
                repeated = missing_ids(requested[requested.duplicated()].unique())
                raise ValueError(f"users must hold each user id once; got several of {repeated}.")
            users = self._lookup(events[self.user], "user", "ignore", requested)
            user_ids = np.asarray(requested)
        items = self._lookup(events[self.item], "item", self.unknown)
        X = self._matrix(users, items, value, time, (len(user_ids), self.n_items_))
        return X, user_ids

    def encode_users(self, raw_ids) -> NDArray[np.int64]:
        """Return the row of each raw user id.

        Parameters
        ----------
        raw_ids : array-like of shape (n,)
            Raw ids; an unknown id raises ValueError even if `unknown` is "ignore".

        Returns
        -------
        rows : ndarray of int64 of shape (n,)
            The rows, in the order of `raw_ids`.
        """
        check_is_fitted(self)
        return find(index_of(self, self.user_ids_), as_index(raw_ids, "user"), "user", "error")

    def encode_items(self, raw_ids) -> NDArray[np.int64]:
        """Return the column of each raw item id.

        Parameters
        ----------
        raw_ids : array-like of shape (n,)
            Raw ids; an unknown id raises ValueError even if `unknown` is "ignore".

        Returns
        -------
        columns : ndarray of int64 of shape (n,)
            The columns, in the order of `raw_ids`.
        """
        check_is_fitted(self)
        return find(index_of(self, self.item_ids_), as_index(raw_ids, "item"), "item", "error")

    def decode(self, items, scores=None, users=None) -> pd.DataFrame:
        """Turn what ``recommend`` returns into a tidy frame of raw ids.

        Parameters
        ----------
        items : array-like of int of shape (n_rows, n)
            Item indices, best first; empty slots, marked by −1, are skipped.
        scores : array-like of shape (n_rows, n), default=None
            Scores of the items.
        users : array-like of shape (n_rows,), default=None
            Raw user ids that label the rows. None: all users seen in `fit`, in their order.

        Returns
        -------
        frame : DataFrame
            Columns: the user column, "rank" (1 = best), the item column and, with `scores`,
            "score".
        """
        check_is_fitted(self)
        items = np.asarray(items)
        if items.ndim != 2:
            raise ValueError(
                f"items must be 2-D (n_rows, n), as recommend returns it; got shape {items.shape}."
            )
        if users is None:
            if len(items) != self.n_users_:
                raise ValueError(
                    f"items has {len(items)} rows, but the encoder was fitted on {self.n_users_} "
                    "users: name the users of the rows with users=[raw ids]."
                )
            users = self.user_ids_
        users = as_index(users, "user")
        if len(users) != len(items):
            raise ValueError(
                f"users must label each of the {len(items)} rows of items; got {len(users)} labels."
            )
        rows, positions = np.nonzero(items != -1)
        columns = check_indices(items[rows, positions], self.n_items_, name="items")
        raw_items = self.item_ids_[columns]
        frame = {self.user: users.take(rows), "rank": positions + 1, self.item: raw_items}
        if scores is not None:
            scores = np.asarray(scores)
            if scores.shape != items.shape:
                raise ValueError(
                    f"scores must have the shape of items, {items.shape}; got {scores.shape}."
                )
            frame["score"] = scores[rows, positions]
        return pd.DataFrame(frame)

    def inverse_transform(self, X) -> pd.DataFrame:
        """Turn a matrix back into a tidy frame, one row per stored cell.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            A matrix of this encoder's users and items.

        Returns
        -------
        events : DataFrame
            Columns: the user column, the item column, and the value, named after the column it
            came from or else "count", "one" or "position". Sorted by user, then by item.
        """
        check_is_fitted(self)
        X = check_csr(X)
        if X.shape != (self.n_users_, self.n_items_):
            raise ValueError(
                f"X must have a row for each user and a column for each item seen in fit, "
                f"{(self.n_users_, self.n_items_)}; got shape {X.shape}."
            )
        name = {"rating": self.rating, "timestamp": self.timestamp}.get(self.values, self.values)
        rows = np.repeat(np.arange(self.n_users_), np.diff(X.indptr))
        return pd.DataFrame(
            {self.user: self.user_ids_[rows], self.item: self.item_ids_[X.indices], name: X.data}
        )

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns: the raw item ids as strings.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        feature_names_out : ndarray of object of shape (n_items,)
            The names, in the order of the columns.
        """
        check_is_fitted(self)
        return np.array([str(item) for item in self.item_ids_], dtype=object)

    def save(self, path) -> None:
        """Save the encoder to one file, for :func:`sklearn_recsys.load`.

        Parameters
        ----------
        path : str or path-like
            The file; an existing file is replaced atomically.

        See Also
        --------
        sklearn_recsys.persistence.save : What can be saved.
        """
        save(self, path)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.no_validation = True  # frames of events, not feature matrices
        return tags

    def _read(self, events):
        """Check the columns in use; return a pandas frame and its values and times, or None."""
        events = as_pandas_frame(events, "events", " with one row per event")
        for column in (self.user, self.item):
            check_column(events, column)
        value = time = None
        if self.values == "rating":
            value = read_ratings(events, self.rating)
        last_counts = self.values == "position" or (
            self.values == "rating" and self.duplicates == "last"
        )
        if self.values == "timestamp":
            if self.timestamp is None:
                raise ValueError('values="timestamp" needs timestamp, the column of times.')
            value = time = read_times(events, self.timestamp)
            value = as_seconds(value) if value.dtype.kind == "M" else value
        elif last_counts and self.timestamp is not None:
            # positions depend on time, so a mistyped column name must raise; the last of several
            # ratings can fall back to the order of the rows
            if self.values == "position" or self.timestamp in events.columns:
                time = read_times(events, self.timestamp)
        return events, value, time

    def _frames(self, events, twice):
        """Return an iterable of frames, or None for a single frame."""
        ids, times = [self.user, self.item], [self.timestamp]
        required, optional = {
            "rating": ([*ids, self.rating], times),
            "timestamp": ([*ids, *times], []),
            "position": (ids, times),
        }.get(self.values, (ids, []))
        return frames_of(events, required, optional, twice)

    def _encoded(self, events):
        """Return the users, the items, the values and the times of a frame."""
        events, value, time = self._read(events)
        users = self._lookup(events[self.user], "user", self.unknown)
        items = self._lookup(events[self.item], "item", self.unknown)
        return users, items, value, time

    def _html_caption(self):
        return size_text(*self._shape) if hasattr(self, "item_ids_") else None

    @property
    def _shape(self):
        return self.n_users_, self.n_items_

    def _matrix_of_frames(self, frames, counts, types, folder):
        args = frames, self._encoded, counts, types, self._matrix, self._shape, folder
        return matrix_of_frames(*args)

    def _lookup(self, raw, kind, unknown, vocabulary=None):
        """Return the codes of a column, −1 for unknown ids if `unknown` is "ignore"."""
        if vocabulary is None:
            vocabulary = index_of(self, self.user_ids_ if kind == "user" else self.item_ids_)
        codes, ids = pd.factorize(raw, use_na_sentinel=False)
        return find(vocabulary, as_index(ids, kind), kind, unknown)[codes]

    def _matrix(self, users, items, value, time, shape):
        """Return the matrix of events; those with a code of −1 are dropped."""
        column = getattr(self, self.values, None)
        return matrix_of_events(
            users, items, value, time, shape, self.values, self.duplicates, column
        )


def _stored(X, folder):
    """Return a matrix, memory-mapped if there is a folder to write it to."""
    if folder is None:
        return X
    save_csr(X, folder)
    return load_csr(folder)
