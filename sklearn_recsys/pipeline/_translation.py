"""Translation of arguments with raw ids into training rows, matrices and item indices."""

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
    is_default_index,
    is_scalar,
    missing_ids,
)
from sklearn_recsys.utils._labels import item_labels, refuse_history

_COLLECTIONS = (list, tuple, set, frozenset, np.ndarray, pd.Index, pd.Series)


@dataclass
class Users:
    """The users of a call.

    Parameters
    ----------
    argument : None, ndarray of int or matrix
        The argument `users` of a recommender: None for every training user, training rows, or
        histories.
    labels : ndarray or Index
        The label of each row: a raw id, or the row itself for a matrix.
    name : hashable
        Name of the labels: the encoder's column of users, or "row".
    positions : ndarray of int, default=None
        Positions of the users in the caller's list, if unknown ones were dropped from it.
    n_listed : int, default=0
        Length of the caller's list, if users were dropped.
    """

    argument: object
    labels: object
    name: object
    positions: np.ndarray | None = None
    n_listed: int = 0

    def drop_unknown(self, values):
        """Return values with a row for each listed user without the rows of dropped users."""
        if self.positions is None or np.shape(values)[0] != self.n_listed:
            return values
        return (values if sp.issparse(values) else np.asarray(values))[self.positions]


class RawIds:
    """Translator of the arguments of a pipeline with an encoder.

    Parameters
    ----------
    pipeline : RecommenderPipeline
        The pipeline.
    fitting : bool, default=False
        Whether the pipeline is about to be fitted, so that its shape cannot be compared with the
        encoder's.
    """

    def __init__(self, pipeline, fitting=False):
        if not (fitting or pipeline.__sklearn_is_fitted__()):
            check_is_fitted(pipeline)  # raises; too slow to call always
        self.pipeline = pipeline
        self.fitting = fitting
        self.encoder = pipeline.encoder
        self.ignores_unknown = self.encoder.unknown == "ignore"

    # ---------------------------------------------------------------- ids

    @property
    def user_ids(self):
        """Return the raw ids of the training rows."""
        ids = getattr(self.pipeline, "user_ids_", None)
        if ids is None:
            ids = self._encoder_attribute("user_ids_")
        if len(ids) != self.pipeline.interactions_.shape[0]:
            self.raise_mismatch(self.pipeline.interactions_.shape)
        return ids

    @property
    def item_ids(self):
        """Return the raw ids of the columns."""
        ids = self._encoder_attribute("item_ids_")
        if not self.fitting and len(ids) != self.pipeline.n_features_in_:
            self.raise_mismatch(self.pipeline.interactions_.shape)
        return ids

    def _encoder_attribute(self, name):
        if not hasattr(self.encoder, name):
            check_is_fitted(self.encoder)  # raises
        return getattr(self.encoder, name)

    def raise_mismatch(self, shape):
        """Raise the error that the training matrix is not the encoder's."""
        known = len(self.encoder.user_ids_), len(self.encoder.item_ids_)
        transposed = " X.T is of the encoder's shape." if shape[::-1] == known else ""
        raise ValueError(
            f"The encoder knows {known[0]} users and {known[1]} items, but the matrix in fit is of "
            f"shape {shape}: fit the pipeline on what encoder.transform returns.{transposed}"
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

    # ---------------------------------------------------------------- users

    def users(self, users):
        """Return the users that the argument `users` of a call describes."""
        user = self.encoder.user
        if users is None:
            return Users(None, self.user_ids, user)
        if is_frame(users):
            frame = as_pandas_frame(users, "users")
            if self.holds_events(frame):
                histories, ids = self.encoder.transform_histories(frame)
                # steps may refuse a matrix without rows
                return Users(histories if len(ids) else np.empty(0, np.int64), ids, user)
            if user in frame.columns:
                return self.users(frame[user])
            return Users(self.matrix(frame, "users"), frame.index, "row")
        if self._is_matrix(users):
            n_rows = 1 if np.ndim(users) == 1 else np.shape(users)[0]
            return Users(users, np.arange(n_rows), "row")
        refuse_history(users, self.item_ids)
        rows = self.rows(index([users]) if self.is_one(users) else users)
        if not self.ignores_unknown or not len(rows) or rows.min() >= 0:
            return Users(rows, self.user_ids[rows], user)
        positions = np.flatnonzero(rows >= 0)
        rows, n_listed = rows[positions], len(rows)
        return Users(rows, self.user_ids[rows], user, positions, n_listed)

    def is_one(self, raw):
        """Return whether `raw` is one user id or item id."""
        if isinstance(raw, tuple):  # may itself be an id
            return raw in index_of(self.encoder, self.user_ids) or raw in index_of(
                self.encoder, self.item_ids
            )
        return is_scalar(raw)

    def _is_matrix(self, values):
        """Return whether values have a row for each user, rather than being ids."""
        if isinstance(values, (list, tuple)):
            if not len(values) or not isinstance(values[0], (list, tuple, np.ndarray)):
                return False
            return not (isinstance(values[0], tuple) and self.is_one(values[0]))
        return sp.issparse(values) or getattr(values, "ndim", 0) >= 2

    def holds_events(self, frame):
        """Return whether a frame has the encoder's columns."""
        return {self.encoder.user, self.encoder.item} <= set(frame.columns)

    def matrix(self, frame, name):
        """Return a frame of items in columns, reordered and completed to the encoder's items.

        Columns are matched by raw id, and missing ones are filled with zeros, for not observed;
        default columns, 0, 1, …, stand for the items in their order.
        """
        ids, columns = index_of(self.encoder, self.item_ids), frame.columns
        if is_default_index(columns) and len(columns) == len(ids):
            if not columns.equals(ids) and len(columns.intersection(ids)) == len(ids):
                raise ValueError(
                    f"The columns of {name} are 0, 1, …, and so are the item ids, but in another "
                    "order: pass an array with the items in the encoder's order."
                )
            return frame
        columns = as_index(columns, "item")
        if columns.has_duplicates:
            repeated = columns[columns.duplicated()].unique()
            raise ValueError(f"{name} has several columns of one item: {missing_ids(repeated)}.")
        positions = find(ids, columns, "item", self._unknown)
        if not np.any(positions >= 0):
            raise ValueError(
                f"None of the columns of {name} is a known item: {missing_ids(columns)}. Events "
                f"have the columns {self.encoder.user!r} and {self.encoder.item!r}."
            )
        if not np.array_equal(positions, np.arange(len(ids))):
            frame = frame.iloc[:, np.flatnonzero(positions >= 0)]
            frame = frame.set_axis(positions[positions >= 0], axis=1)
            frame = frame.reindex(columns=np.arange(len(ids)), fill_value=0)
        named = self.fitting or item_labels(self.pipeline) is not None
        return frame.set_axis(ids if named else pd.RangeIndex(len(ids)), axis=1)

    # ---------------------------------------------------------------- features and held-out cells

    def features(self, features, users):
        """Return features with a row for each of the users."""
        if features is None or not is_frame(features):
            return features if features is None else users.drop_unknown(features)
        frame = as_pandas_frame(features, "user_features")
        if users.name != "row":
            return aligned_rows(frame, users.labels, "user_features", "user", self.encoder.user)
        if not is_default_index(users.labels) and isinstance(users.labels, pd.Index):
            return aligned_rows(frame, users.labels, "user_features", "row")
        return self.features_of_rows(frame, users.labels.shape[0])

    def features_of_rows(self, features, n_rows):
        """Return features of the rows of a matrix without labels.

        If there are as many rows as the encoder has users, these are the users. Of other rows, such
        as a fold of a search, only the order can be checked: it must be the encoder's.
        """
        if not is_frame(features):
            return features
        frame, ids = as_pandas_frame(features, "user_features"), self.encoder.user_ids_
        labels, has_ids = frame.index, self.encoder.user in frame.columns
        if is_default_index(labels) and not has_ids:
            return frame
        if is_default_index(labels):
            labels = frame[self.encoder.user]
        positions = index_of(self.encoder, ids).get_indexer(as_index(labels, "user"))
        if n_rows == len(ids) and np.any(positions >= 0):
            return aligned_rows(frame, ids, "user_features", "user", self.encoder.user)
        if len(positions) and positions.max() >= 0 and not np.all(np.diff(positions) > 0):
            raise ValueError(
                f"X has {n_rows} rows without labels, and the rows of user_features are labeled "
                "with users that are not in the encoder's order, so their rows may stand for "
                "different users: pass user_features.loc[encoder.user_ids_] for the encoder's "
                "users, or an array."
            )
        return frame

    def held_out(self, y, users):
        """Return held-out interactions with a row of a matrix, or one item, for each user."""
        if y is None or sp.issparse(y):
            return y if y is None else users.drop_unknown(y)
        if is_frame(y):
            frame = as_pandas_frame(y, "y")
            if not self.holds_events(frame):
                return self.matrix(frame, "y")
            return self._held_out_events(frame, users)
        if np.ndim(y) != 1:
            return users.drop_unknown(y)
        y = users.drop_unknown(y)
        return find(index_of(self.encoder, self.item_ids), as_index(y, "item"), "item", "error")

    def _held_out_events(self, events, users):
        labels = users.labels
        if users.name == "row":
            if not isinstance(labels, pd.Index) or is_default_index(labels):
                if len(labels) != len(self.user_ids):
                    raise ValueError(
                        f"y is a frame of events, but the {len(labels)} rows of X have no user "
                        f"ids and are not the {len(self.user_ids)} users of the encoder: pass X "
                        "as user ids or as a frame of events, too."
                    )
                labels = self.user_ids
        unknown = ~events[self.encoder.user].isin(labels)
        if unknown.any() and not self.ignores_unknown:
            missing = events.loc[unknown, self.encoder.user].unique()
            raise ValueError(
                f"y holds events of {len(missing)} user(s) who are not in X: "
                f'{missing_ids(missing)}. Drop them, or encode with unknown="ignore".'
            )
        return self.encoder.transform_histories(events, users=labels)[0]

    # ---------------------------------------------------------------- candidates and exclude

    def sets(self, items, users, name):
        """Return `candidates` or `exclude` as a mask, or as a matrix with a row for each user."""
        if items is None:
            return None
        if is_frame(items):
            return self._frame_sets(as_pandas_frame(items, name), users, name)
        if sp.issparse(items):
            return users.drop_unknown(items)
        if isinstance(items, pd.Series) and items.dtype == object and not items.empty:
            first = items.iloc[0]
            if isinstance(first, _COLLECTIONS) and not self.is_one(first):  # items by user
                items = dict(items)
        if isinstance(items, Mapping):
            return self._sets_by_user(items, users, name)
        if (
            isinstance(items, pd.Series)
            and items.dtype == bool
            and not is_default_index(items.index)
        ):
            items = items.index[items.to_numpy()]
        if self.is_one(items):
            return self._mask([items])
        if isinstance(items, (list, np.ndarray)) and np.size(items) and _first_is(items, bool):
            items = np.asarray(items)
            return items if items.ndim == 1 else users.drop_unknown(items)
        if self._is_matrix(items):
            raise ValueError(
                f"With an encoder {name} with items for each user is a dict {{user: items}} or a "
                "frame of users and items, matched by user id, or a sparse or boolean matrix with "
                f"a row each; got a nested {type(items).__name__}."
            )
        return self._mask(items)

    def pairs(self, items, users):
        """Return the row and the column of each requested user and item, row by row."""
        if is_frame(items) or isinstance(items, Mapping):
            sets = self.sets(items, users, "items")
            if sp.issparse(sets):
                sets.sort_indices()
                return cell_rows(sets), sets.indices
            columns = np.flatnonzero(sets)
        else:
            columns = self.columns([items] if self.is_one(items) else items)
            columns = columns[columns >= 0]
        n_rows = len(users.labels)
        return np.repeat(np.arange(n_rows), len(columns)), np.tile(columns, n_rows)

    def _mask(self, raw):
        mask = np.zeros(len(self.item_ids), dtype=bool)
        columns = self.columns(raw)
        mask[columns[columns >= 0]] = True
        return mask

    def _frame_sets(self, frame, users, name):
        user, item = self.encoder.user, self.encoder.item
        if item in frame.columns and user in frame.columns:
            return self._cells(frame[user], frame[item], users, name)
        if item in frame.columns:
            return self._mask(frame[item])
        frame = self.matrix(frame, name)
        if not is_default_index(frame.index):
            frame = aligned_rows(frame, users.labels, name, "user")
        return sp.csr_array(users.drop_unknown(frame.to_numpy()).astype(bool))

    def _sets_by_user(self, sets, users, name):
        user_ids, item_ids = [], []
        for user, items in sets.items():
            items = [items] if self.is_one(items) else list(items)
            user_ids.extend([user] * len(items))
            item_ids.extend(items)
        return self._cells(user_ids, item_ids, users, name, keys=list(sets))

    def _cells(self, user_ids, item_ids, users, name, keys=None):
        """Return pairs of a user and an item as a boolean matrix with a row for each user."""
        labels, inverse = index(users.labels), None
        if labels.has_duplicates:
            inverse, labels = pd.factorize(labels)
            labels = index(labels)
        user_ids = as_index(user_ids, "user")
        if not self.ignores_unknown and users.name != "row":
            named = user_ids if keys is None else as_index(keys, "user")
            unknown = named[(labels.get_indexer(named) < 0)]
            unknown = unknown[index_of(self.encoder, self.user_ids).get_indexer(unknown) < 0]
            if len(unknown):
                unknown = unknown.unique()
                raise ValueError(
                    f"{name} names {len(unknown)} unknown user id(s): {missing_ids(unknown)}. "
                    'An encoder with unknown="ignore" skips them.'
                )
        rows, columns = labels.get_indexer(user_ids), self.columns(item_ids)
        valid = (rows >= 0) & (columns >= 0)
        shape = (len(labels), len(self.item_ids))
        ones = np.ones(np.count_nonzero(valid), dtype=np.int8)
        cells = sp.csr_array((ones, (rows[valid], columns[valid])), shape=shape)
        cells.data[:] = 1  # a repeated pair counts once
        return cells if inverse is None else cells[inverse]


def _first_is(values, type_):
    """Return whether the first scalar of nested values has a type."""
    if isinstance(values, np.ndarray):
        return values.dtype == type_
    first = values[0]
    while isinstance(first, (list, np.ndarray)) and len(first):
        first = first[0]
    return isinstance(first, (type_, np.bool_))
