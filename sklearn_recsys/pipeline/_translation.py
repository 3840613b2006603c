"""What callers say in raw ids, as what models take: rows, matrices and item indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._ids import (
    aligned_rows,
    as_index,
    find,
    index,
    index_of,
    is_scalar,
    missing_ids,
    says_nothing,
)
from sklearn_recsys.utils._labels import item_labels

_COLLECTIONS = (list, tuple, set, frozenset, np.ndarray, pd.Index, pd.Series)


@dataclass
class Asked:
    """The users that a call is about.

    Parameters
    ----------
    users : None, ndarray of int or matrix
        What a recommender takes: None for every training user, training rows, or histories.
    labels : ndarray or Index
        What each row is called: a raw id, or for a matrix its row.
    name : hashable
        Name of the labels: the encoder's column of users, or "row".
    places : ndarray of int, default=None
        Where the rows are in what the caller listed, if some of that was dropped as unknown.
    n_listed : int, default=0
        How many the caller listed, if some were dropped.
    """

    users: object
    labels: object
    name: object
    places: np.ndarray | None = None
    n_listed: int = 0

    def rows_of(self, values):
        """Return what goes with the rows, given something with a row for each of the listed."""
        if self.places is None or np.shape(values)[0] != self.n_listed:
            return values
        return (values if sp.issparse(values) else np.asarray(values))[self.places]


class RawIds:
    """The raw ids of a pipeline.

    Parameters
    ----------
    pipeline : RecommenderPipeline
        With an encoder.
    fitting : bool, default=False
        Whether the pipeline is about to be fitted, and has nothing to compare the encoder with.
    """

    def __init__(self, pipeline, fitting=False):
        if not (fitting or pipeline.__sklearn_is_fitted__()):
            check_is_fitted(pipeline)  # raises; it takes as long as a user's scores
        self.pipeline = pipeline
        self.fitting = fitting
        self.encoder = pipeline.encoder
        self.ignores = self.encoder.unknown == "ignore"

    # ---------------------------------------------------------------- the ids themselves

    @property
    def user_ids(self):
        """Return the raw ids of the training rows."""
        ids = getattr(self.pipeline, "user_ids_", None)
        if ids is None:
            ids = self._of_encoder("user_ids_")
        if len(ids) != self.pipeline.interactions_.shape[0]:
            self._refuse()
        return ids

    @property
    def item_ids(self):
        """Return the raw ids of the columns."""
        ids = self._of_encoder("item_ids_")
        if not self.fitting and len(ids) != self.pipeline.n_features_in_:
            self._refuse()
        return ids

    def _of_encoder(self, name):
        if not hasattr(self.encoder, name):
            check_is_fitted(self.encoder)  # raises
        return getattr(self.encoder, name)

    def _refuse(self):
        raise ValueError(
            f"The encoder knows {len(self.encoder.user_ids_)} users and "
            f"{len(self.encoder.item_ids_)} items, but the pipeline was fitted on a matrix of "
            f"shape {self.pipeline.interactions_.shape}: fit it on what encoder.transform returns."
        )

    def rows(self, raw):
        """Return the training row of each raw user id; −1 where unknown ones are ignored."""
        ids = self.user_ids
        return find(index_of(self.encoder, ids), as_index(raw, "user"), "user", self._unknown)

    def columns(self, raw):
        """Return the item index of each raw item id; −1 where unknown ones are ignored."""
        ids = self.item_ids
        return find(index_of(self.encoder, ids), as_index(raw, "item"), "item", self._unknown)

    @property
    def _unknown(self):
        return self.encoder.unknown

    # ---------------------------------------------------------------- who is asked about

    def asked(self, users):
        """Return whom `users` stands for."""
        user = self.encoder.user
        if users is None:
            return Asked(None, self.user_ids, user)
        if is_frame(users):
            frame = as_pandas_frame(users, "users")
            if self.holds_events(frame):
                return Asked(*self.encoder.transform_histories(frame), user)
            if user in frame.columns:
                return self.asked(frame[user])
            return Asked(self.matrix(frame, "users"), frame.index, "row")
        if self._is_matrix(users):
            n_rows = 1 if np.ndim(users) == 1 else np.shape(users)[0]
            return Asked(users, np.arange(n_rows), "row")
        rows = self.rows(index([users]) if self.is_one(users) else users)
        if not self.ignores or not len(rows) or rows.min() >= 0:
            return Asked(rows, self.user_ids[rows], user)
        places = np.flatnonzero(rows >= 0)
        return Asked(rows[places], self.user_ids[rows[places]], user, places, len(rows))

    def is_one(self, raw):
        """Return whether `raw` is one user id or item id."""
        if isinstance(raw, tuple):  # which may be an id itself
            return raw in index_of(self.encoder, self.user_ids) or raw in index_of(
                self.encoder, self.item_ids
            )
        return is_scalar(raw)

    def _is_matrix(self, values):
        """Return whether values are histories, or sets with a row each, rather than ids."""
        if isinstance(values, (list, tuple)):
            if not len(values) or not isinstance(values[0], (list, tuple, np.ndarray)):
                return False
            return not (isinstance(values[0], tuple) and self.is_one(values[0]))
        return sp.issparse(values) or getattr(values, "ndim", 0) >= 2

    def holds_events(self, frame):
        """Return whether a frame has the encoder's columns."""
        return {self.encoder.user, self.encoder.item} <= set(frame.columns)

    def matrix(self, frame, name):
        """Return a frame with a column per item with its columns in the encoder's order.

        Columns are matched by raw id, and items without a column have not been observed; default
        columns, 0, 1, …, stand for the items in their order.
        """
        ids, columns = index_of(self.encoder, self.item_ids), frame.columns
        if says_nothing(columns) and len(columns) == len(ids):
            if not columns.equals(ids) and len(columns.intersection(ids)) == len(ids):
                raise ValueError(
                    f"The columns of {name} are 0, 1, …, and so are the item ids, but in another "
                    "order: pass an array with the items in the encoder's order."
                )
            return frame
        columns = as_index(columns, "item")
        if columns.has_duplicates:
            twice = columns[columns.duplicated()].unique()
            raise ValueError(f"{name} has several columns of one item: {missing_ids(twice)}.")
        places = find(ids, columns, "item", self._unknown)
        if not np.any(places >= 0):
            raise ValueError(
                f"None of the columns of {name} is a known item: {missing_ids(columns)}. Events "
                f"have the columns {self.encoder.user!r} and {self.encoder.item!r}."
            )
        if not np.array_equal(places, np.arange(len(ids))):
            frame = frame.iloc[:, np.flatnonzero(places >= 0)]
            frame = frame.set_axis(places[places >= 0], axis=1)
            frame = frame.reindex(columns=np.arange(len(ids)), fill_value=0)
        named = self.fitting or item_labels(self.pipeline) is not None
        return frame.set_axis(ids if named else pd.RangeIndex(len(ids)), axis=1)

    # ---------------------------------------------------------------- what goes with the users

    def features(self, features, asked):
        """Return features of users with a row for each of those asked about."""
        if features is None or not is_frame(features):
            return features if features is None else asked.rows_of(features)
        frame = as_pandas_frame(features, "user_features")
        if asked.name != "row":
            return aligned_rows(frame, asked.labels, "user_features", "user", self.encoder.user)
        if not says_nothing(asked.labels) and isinstance(asked.labels, pd.Index):
            return aligned_rows(frame, asked.labels, "user_features", "row")
        return self.features_of_rows(frame, asked.labels.shape[0])

    def features_of_rows(self, features, n_rows):
        """Return features of the users of a matrix without labels.

        As many rows as the encoder has users are those users. Of others, such as a fold of a
        search, no more can be told than that their order should be the encoder's.
        """
        if not is_frame(features):
            return features
        frame, ids = as_pandas_frame(features, "user_features"), self.encoder.user_ids_
        labels, named = frame.index, self.encoder.user in frame.columns
        if says_nothing(labels) and not named:
            return frame
        if says_nothing(labels):
            labels = frame[self.encoder.user]
        places = index_of(self.encoder, ids).get_indexer(as_index(labels, "user"))
        if n_rows == len(ids) and np.any(places >= 0):
            return aligned_rows(frame, ids, "user_features", "user", self.encoder.user)
        if len(places) and places.max() >= 0 and not np.all(np.diff(places) > 0):
            raise ValueError(
                f"X has {n_rows} rows without labels, and the rows of user_features are labeled "
                "with users that are not in the encoder's order, so their rows may stand for "
                "different users: pass user_features.loc[encoder.user_ids_] for the encoder's "
                "users, or an array."
            )
        return frame

    def held_out(self, y, asked):
        """Return held-out interactions as a matrix with a row for each of those asked about."""
        if y is None or sp.issparse(y):
            return y if y is None else asked.rows_of(y)
        if is_frame(y):
            frame = as_pandas_frame(y, "y")
            if not self.holds_events(frame):
                return self.matrix(frame, "y")
            return self._held_out_events(frame, asked)
        if np.ndim(y) != 1:
            return asked.rows_of(y)
        y = asked.rows_of(y)
        return find(index_of(self.encoder, self.item_ids), as_index(y, "item"), "item", "error")

    def _held_out_events(self, events, asked):
        labels = asked.labels
        if asked.name == "row":
            if not isinstance(labels, pd.Index) or says_nothing(labels):
                if len(labels) != len(self.user_ids):
                    raise ValueError(
                        f"y is a frame of events, but the {len(labels)} rows of X have no user "
                        f"ids and are not the {len(self.user_ids)} users of the encoder: pass X "
                        "as user ids or as a frame of events, too."
                    )
                labels = self.user_ids
        strangers = ~events[self.encoder.user].isin(labels)
        if strangers.any() and not self.ignores:
            missing = events.loc[strangers, self.encoder.user].unique()
            raise ValueError(
                f"y holds events of {len(missing)} user(s) who are not in X: "
                f'{missing_ids(missing)}. Drop them, or encode with unknown="ignore".'
            )
        return self.encoder.transform_histories(events, users=labels)[0]

    # ---------------------------------------------------------------- candidates and exclude

    def sets(self, items, asked, name):
        """Return `candidates` or `exclude` as a mask, or as a matrix with a row for each user."""
        if items is None:
            return None
        if is_frame(items):
            return self._frame_sets(as_pandas_frame(items, name), asked, name)
        if sp.issparse(items):
            return asked.rows_of(items)
        if isinstance(items, pd.Series) and items.dtype == object and not items.empty:
            first = items.iloc[0]
            if isinstance(first, _COLLECTIONS) and not self.is_one(first):  # of groups, by user
                items = dict(items)
        if isinstance(items, Mapping):
            return self._sets_by_user(items, asked, name)
        if isinstance(items, pd.Series) and items.dtype == bool and not says_nothing(items.index):
            items = items.index[items.to_numpy()]
        if self.is_one(items):
            return self._mask([items])
        if isinstance(items, (list, np.ndarray)) and np.size(items) and _first_is(items, bool):
            items = np.asarray(items)
            return items if items.ndim == 1 else asked.rows_of(items)
        if self._is_matrix(items):
            raise ValueError(
                f"With an encoder {name} with items for each user is a dict {{user: items}} or a "
                "frame of users and items, matched by user id, or a sparse or boolean matrix with "
                f"a row each; got a nested {type(items).__name__}."
            )
        return self._mask(items)

    def pairs(self, items, asked):
        """Return the row and the column of each user and item that `items` asks for, row by row."""
        if is_frame(items) or isinstance(items, Mapping):
            sets = self.sets(items, asked, "items")
            if sp.issparse(sets):
                sets.sort_indices()
                return cell_rows(sets), sets.indices
            columns = np.flatnonzero(sets)
        else:
            columns = self.columns([items] if self.is_one(items) else items)
            columns = columns[columns >= 0]
        n_rows = len(asked.labels)
        return np.repeat(np.arange(n_rows), len(columns)), np.tile(columns, n_rows)

    def _mask(self, raw):
        mask = np.zeros(len(self.item_ids), dtype=bool)
        columns = self.columns(raw)
        mask[columns[columns >= 0]] = True
        return mask

    def _frame_sets(self, frame, asked, name):
        user, item = self.encoder.user, self.encoder.item
        if item in frame.columns and user in frame.columns:
            return self._cells(frame[user], frame[item], asked, name)
        if item in frame.columns:
            return self._mask(frame[item])
        frame = self.matrix(frame, name)
        if not says_nothing(frame.index):
            frame = aligned_rows(frame, asked.labels, name, "user")
        return sp.csr_array(asked.rows_of(frame.to_numpy()).astype(bool))

    def _sets_by_user(self, sets, asked, name):
        users, items = [], []
        for user, ids in sets.items():
            ids = [ids] if self.is_one(ids) else list(ids)
            users.extend([user] * len(ids))
            items.extend(ids)
        return self._cells(users, items, asked, name, keys=list(sets))

    def _cells(self, users, items, asked, name, keys=None):
        """Return pairs of a user and an item as a matrix with a row for each of those asked."""
        labels, copies = index(asked.labels), None
        if labels.has_duplicates:
            copies, labels = pd.factorize(labels)
            labels = index(labels)
        users = as_index(users, "user")
        if not self.ignores and asked.name != "row":
            given = users if keys is None else as_index(keys, "user")
            strangers = given[(labels.get_indexer(given) < 0)]
            strangers = strangers[index_of(self.encoder, self.user_ids).get_indexer(strangers) < 0]
            if len(strangers):
                strangers = strangers.unique()
                raise ValueError(
                    f"{name} names {len(strangers)} unknown user id(s): {missing_ids(strangers)}. "
                    'An encoder with unknown="ignore" passes over them.'
                )
        rows, columns = labels.get_indexer(users), self.columns(items)
        found = (rows >= 0) & (columns >= 0)
        shape = (len(labels), len(self.item_ids))
        ones = np.ones(np.count_nonzero(found), dtype=np.int8)
        cells = sp.csr_array((ones, (rows[found], columns[found])), shape=shape)
        cells.data[:] = 1  # a pair listed twice is one pair
        return cells if copies is None else cells[copies]


def _first_is(values, type_):
    """Return whether the first of the innermost values is of a type."""
    if isinstance(values, np.ndarray):
        return values.dtype == type_
    first = values[0]
    while isinstance(first, (list, np.ndarray)) and len(first):
        first = first[0]
    return isinstance(first, (type_, np.bool_))
