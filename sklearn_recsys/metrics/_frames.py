"""Conversion of tidy frames of raw ids to the arrays that the metrics read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._ids import id_kind, index, is_default_index

_EXPECTED = "a user, the rank from 1, an item and optionally a score, as `recommend` returns them"


def lists_frame(y_pred):
    """Return a tidy frame of recommendations, of any library, as a pandas frame; None for arrays.

    A frame without a column "rank" counts as an array of item ids.
    """
    if not is_frame(y_pred):
        return None
    frame = as_pandas_frame(y_pred, "y_pred")
    return frame if "rank" in frame.columns else None


class Frames:
    """Frames of recommendations and of events, with users and items matched by raw id.

    Rows are all users of the frames and columns all items, in order of appearance.

    Parameters
    ----------
    y_pred : DataFrame
        Recommendations, as `lists_frame` returns them. The two columns other than "rank" and
        "score" are the user and the item.
    k : int
        Recommendations beyond this rank are dropped.
    **events : DataFrame
        Frames of events of any library by name, with the same two columns.

    Attributes
    ----------
    users : Index
        The raw ids of the rows.
    items : Index
        The raw ids of the columns.
    lists : ndarray of int64 of shape (n_users, at most k)
        The recommendations, −1 in empty slots.
    """

    def __init__(self, y_pred, k, **events):
        self.user, self.item = columns = id_columns(y_pred)
        frames = {
            name: check_ids(frame, columns, name)
            for name, frame in {"y_pred": y_pred, **events}.items()
        }
        self.users, user_codes = self._match(frames, self.user)
        self.items, item_codes = self._match(frames, self.item)
        self._codes = {name: (user_codes[name], item_codes[name]) for name in frames}
        self._events = frames
        self.lists = self._ranked(y_pred, k)

    def _match(self, frames, column):
        """Return the raw ids of a column of all frames, and their codes for each frame."""
        ids = {name: np.asarray(frame[column], dtype=object) for name, frame in frames.items()}
        kinds = {name: id_kind(index(values)) for name, values in ids.items() if len(values)}
        if len(set(kinds.values()) - {"mixed", "mixed-integer"}) > 1:
            raise ValueError(
                f"The ids in column {column!r} are of different types, so none would match: "
                + ", ".join(f"{kind} in {name}" for name, kind in kinds.items())
                + "."
            )
        codes, raw = pd.factorize(np.concatenate(list(ids.values())))
        codes_by_frame = np.split(codes, np.cumsum([len(values) for values in ids.values()])[:-1])
        raw = index(raw).rename(column).infer_objects()
        return raw, dict(zip(frames, codes_by_frame, strict=True))

    def _ranked(self, y_pred, k):
        ranks = np.asarray(y_pred["rank"]) if len(y_pred) else np.empty(0, dtype=np.int64)
        if ranks.dtype.kind not in "iuf" or not np.all((ranks >= 1) & (ranks == np.floor(ranks))):
            raise ValueError("Column 'rank' of y_pred must hold whole numbers from 1.")
        users, items = self._codes["y_pred"]
        top = ranks <= k
        users, items, positions = users[top], items[top], ranks[top].astype(np.int64) - 1
        lists = np.full((len(self.users), positions.max(initial=-1) + 1), -1, dtype=np.int64)
        lists[users, positions] = items
        self._refuse_repeats(users, positions, lambda i: f"two items of rank {positions[i] + 1}")
        self._refuse_repeats(users, items, lambda i: f"item {_raw(self.items, items[i])!r} twice")
        return lists

    def _refuse_repeats(self, users, codes, describe):
        repeated = pd.DataFrame({"user": users, "code": codes}).duplicated().to_numpy()
        if repeated.any():
            i = np.flatnonzero(repeated)[0]
            raise ValueError(f"y_pred has {describe(i)} for user {_raw(self.users, users[i])!r}.")

    def check_common_users(self, name):
        """Raise if no user of a frame of events has a recommendation."""
        event_users, listed_users = self._codes[name][0], self._codes["y_pred"][0]
        if len(listed_users) and not np.isin(event_users, listed_users).any():
            raise ValueError(
                f"No user of {name} is in y_pred: users are matched by their raw ids, the values "
                f"of column {self.user!r}."
            )

    def matrix(self, name, *, ratings=False, own_rows=False):
        """Return a frame of events as a csr_array of ones or ratings, with the items as columns.

        Parameters
        ----------
        name : str
            The name of the frame.
        ratings : bool, default=False
            Whether to read the column "rating"; the last of repeated events counts.
        own_rows : bool, default=False
            Whether the rows are only the users of this frame.
        """
        frame = self._events[name]
        users, items = self._codes[name]
        values = np.ones(len(frame))
        if ratings:
            values = number_column(frame, "rating", name)
        repeated = pd.DataFrame({"user": users, "item": items}).duplicated(keep="last").to_numpy()
        users, items, values = users[~repeated], items[~repeated], values[~repeated]
        if own_rows:
            users = pd.factorize(users)[0]
        n_rows = users.max(initial=-1) + 1 if own_rows else len(self.users)
        return sp.csr_array((values, (users, items)), shape=(n_rows, len(self.items)))

    def features(self, item_features):
        """Return the features of the items, matched by the frame's index or its item column."""
        if not is_frame(item_features):
            raise TypeError(
                "y_pred is a frame of raw ids, so item_features must be a DataFrame with the raw "
                f"item ids as its index, or as its column {self.item!r}; got "
                f"{type(item_features).__name__}."
            )
        item_features = as_pandas_frame(item_features, "item_features")
        if is_default_index(item_features.index) and self.item in item_features.columns:
            item_features = item_features.set_index(self.item)
        positions = item_features.index.get_indexer(self.items)
        if np.any(positions < 0):
            missing = self.items[positions < 0].tolist()
            raise ValueError(
                f"item_features lacks {len(missing)} of the recommended items: "
                f"{', '.join(map(repr, missing[:5]))}{', …' if len(missing) > 5 else '.'}"
            )
        return item_features.iloc[positions]

    def labeled(self, values) -> Any:  # a float or a Series, depending on `average`
        """Return an average as it is, and values of the rows as a Series indexed by user."""
        return pd.Series(values, index=self.users) if np.ndim(values) else values


def id_columns(y_pred):
    """Return the names of the user and item columns of a frame of recommendations."""
    names = [name for name in y_pred.columns if name not in ("rank", "score")]
    if len(names) != 2:
        raise ValueError(
            f"A frame passed as y_pred must have columns for {_EXPECTED}; got "
            f"{list(y_pred.columns)}."
        )
    return names[::-1] if names == ["item", "user"] else names


def check_ids(frame, columns, name):
    """Return a pandas frame; raise unless it has columns of users and items without missing ids."""
    if not is_frame(frame):
        raise TypeError(
            f"y_pred is a frame of raw ids, so {name} must also be a frame, with the columns "
            f"{columns}; got {type(frame).__name__}."
        )
    frame = as_pandas_frame(frame, name)
    for column in columns:
        if list(frame.columns).count(column) != 1:
            raise ValueError(
                f"{name} must have one column {column!r}, like y_pred; its columns are "
                f"{list(frame.columns)}."
            )
        if frame[column].isna().any():
            raise ValueError(f"Column {column!r} of {name} holds NaN: drop these rows.")
    return frame


def paired_ratings(y_true, y_pred):
    """Return the ratings of a frame of events, and the predictions for the same pairs."""
    y_pred = as_pandas_frame(y_pred, "y_pred")
    columns = id_columns(y_pred)
    y_pred, y_true = check_ids(y_pred, columns, "y_pred"), check_ids(y_true, columns, "y_true")
    scores = y_pred[columns].assign(score=number_column(y_pred, "score", "y_pred"))
    if scores.duplicated(columns).any():
        raise ValueError("y_pred has several scores for one pair of user and item.")
    pairs = y_true[columns].assign(rating=number_column(y_true, "rating", "y_true"))
    pairs = pairs.merge(scores, on=columns, how="left")
    missing = pairs["score"].isna()
    if missing.any():
        first = tuple(pairs.loc[[missing.idxmax()], columns].astype(object).to_numpy().tolist()[0])
        raise ValueError(
            f"y_pred has no score for {missing.sum()} of the {len(pairs)} pairs of y_true, for "
            f"example {first}."
        )
    return pairs["rating"].to_numpy(), pairs["score"].to_numpy()


def number_column(frame, column, name):
    """Return a column of numbers as finite float64."""
    if column not in frame.columns:
        raise ValueError(f"{name} must have a column {column!r}; got {list(frame.columns)}.")
    values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"Column {column!r} of {name} holds NaN or infinity.")
    return values


def _raw(index, code):
    """Return one raw id, as Python prints it."""
    return index[[code]].tolist()[0]
