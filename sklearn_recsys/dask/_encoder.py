"""InteractionEncoder on a Dask cluster: events in partitions to a matrix in blocks of users."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.dask._blocks import is_distributed
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.preprocessing._event_frames import distinct, merged
from sklearn_recsys.utils._sklearn import fit_context
from sklearn_recsys.utils._threads import batches

_WIDTH = 8  # lists of ids that one task merges


class DaskInteractionEncoder(InteractionEncoder):
    """InteractionEncoder for a frame of events in partitions, a Dask DataFrame.

    It has the ids, and makes the matrix, that :class:`~sklearn_recsys.InteractionEncoder` has and
    makes of the partitions in one frame. The matrix is a dask array of CSR blocks of users, which
    the estimators of :mod:`sklearn_recsys.dask` are fitted to; the events of a user may be in any
    partitions.

    Parameters
    ----------
    user, item : hashable, default="user" and "item"
        As in InteractionEncoder.
    values : {"rating", "count", "one", "timestamp", "position"}, default="rating"
        As in InteractionEncoder, but "timestamp" is for one machine only.
    rating, timestamp : hashable
        As in InteractionEncoder.
    duplicates, unknown : str
        As in InteractionEncoder.
    users, items : array-like, default=None
        As in InteractionEncoder.

    Attributes
    ----------
    user_ids_, item_ids_ : ndarray
        As in InteractionEncoder.
    n_users_, n_items_ : int
        The numbers of users and items seen in `fit`.

    See Also
    --------
    sklearn_recsys.InteractionEncoder : The local encoder, with all parameters explained.

    Notes
    -----
    `fit` goes through the events once; the distinct ids of each partition are merged in a tree, and
    all of them are in the memory of the caller. The matrix is computed when it is needed: the
    encoded events of each partition are divided among the blocks of users, in tasks whose number is
    the product of the numbers of partitions and of blocks.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> import pandas as pd
    >>> from sklearn_recsys.dask import DaskInteractionEncoder
    >>> events = pd.DataFrame({"user": ["ann", "bob", "ann"], "item": [7, 7, 9],
    ...                        "rating": [5, 3, 4]})
    >>> encoder = DaskInteractionEncoder()
    >>> X = encoder.fit_transform(dd.from_pandas(events, npartitions=2))
    >>> X.shape
    (2, 2)
    >>> encoder.to_local().transform(events).toarray()
    array([[5., 4.],
           [3., 0.]], dtype=float32)
    """

    def to_local(self) -> InteractionEncoder:
        """Return the fitted encoder without Dask.

        Returns
        -------
        encoder : InteractionEncoder
            One with the same parameters and ids.
        """
        encoder = InteractionEncoder(**self.get_params(deep=False))
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_")}
        vars(encoder).update(fitted)
        return encoder

    def save(self, path) -> None:
        """Save the local encoder, as `to_local` returns it, to one file.

        Parameters
        ----------
        path : str or path-like
            The file; an existing file is replaced atomically.
        """
        self.to_local().save(path)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, events, y=None) -> Self:
        """Learn the users and the items.

        Parameters
        ----------
        events : dask.dataframe.DataFrame
            Tidy events. All columns that `transform` reads are already validated here.
        y : None
            Ignored.

        Returns
        -------
        self : DaskInteractionEncoder
            The fitted encoder.
        """
        import dask

        if self.values == "timestamp":
            raise ValueError(
                'DaskInteractionEncoder takes no values="timestamp": of which type all times are '
                'would depend on all partitions. Use values="position", or InteractionEncoder.'
            )
        encoder = dask.delayed(self.to_local(), traverse=False)
        ids = [dask.delayed(_distinct)(encoder, part) for part in self._parts(events)]
        while len(ids) > 1:
            ids = [dask.delayed(_merged)(ids[part]) for part in batches(len(ids), _WIDTH)]
        (((users, _), (items, _)),) = dask.compute(*ids)
        if not len(users):
            raise ValueError("events is an empty frame; at least one event is needed to fit.")
        _, user_ids = self._learn(users, "user", self.users)
        _, item_ids = self._learn(items, "item", self.items)
        self.user_ids_, self.item_ids_ = user_ids, item_ids
        self.n_users_, self.n_items_ = len(user_ids), len(item_ids)
        return self

    def fit_transform(self, events, y=None) -> Any:
        """Learn the users and the items, and encode their events.

        Parameters
        ----------
        events : dask.dataframe.DataFrame
            Tidy events.
        y : None
            Ignored.

        Returns
        -------
        X : dask.array.Array of shape (n_users, n_items)
            As `transform` returns it.
        """
        return self.fit(events).transform(events)

    def transform(self, events, n_blocks=None) -> Any:
        """Encode events of users seen in `fit`.

        Parameters
        ----------
        events : dask.dataframe.DataFrame, or DataFrame in memory
            Tidy events; users without events have an empty row.
        n_blocks : int, default=None
            Number of blocks of the matrix. None: as many as `events` has partitions.

        Returns
        -------
        X : dask.array.Array of shape (n_users, n_items)
            In blocks of consecutive users, each a canonical csr_array. Of a frame in memory a
            csr_array.
        """
        import dask
        import dask.array as da

        check_is_fitted(self)
        if not is_distributed(events):
            return super().transform(events)
        encoder = dask.delayed(self.to_local(), traverse=False)
        parts = self._parts(events)
        size = -(-self.n_users_ // min(n_blocks or len(parts), self.n_users_))
        bounds = list(batches(self.n_users_, size))
        encode = dask.delayed(_encoded, nout=len(bounds))
        pieces = [encode(encoder, part, size, len(bounds)) for part in parts]
        dtype = np.int64 if self.values == "position" else np.float32
        blocks = []
        for rows, *events in zip(bounds, *pieces, strict=True):
            n_users = rows.stop - rows.start
            block = dask.delayed(_matrix)(encoder, events, n_users)
            shape = (n_users, self.n_items_)
            blocks.append(da.from_delayed(block, shape, meta=np.empty((0, 0), dtype)))
        return da.concatenate(blocks)

    def _parts(self, events):
        """Return the partitions of a Dask DataFrame, with the columns that the encoder reads."""
        import dask.dataframe as dd

        if not isinstance(events, dd.DataFrame):
            raise TypeError(
                f"events must be a Dask DataFrame; got {type(events).__name__}. "
                "InteractionEncoder encodes frames in memory."
            )
        read = (self.user, self.item, self.rating, self.timestamp)
        return events[[name for name in events.columns if name in read]].to_delayed()


def _distinct(encoder, events):
    """Return the users and the items of a partition, as `distinct` does."""
    events, _, _ = encoder._read(events)
    return [distinct(events[column]) for column in (encoder.user, encoder.item)]


def _merged(ids):
    return [merged(parts) for parts in zip(*ids, strict=True)]


def _encoded(encoder, events, size, n_blocks):
    """Return the encoded events of each block of `size` users, each column an array or None."""
    events, value, time = encoder._read(events)
    users = encoder._lookup(events[encoder.user], "user", encoder.unknown)
    items = encoder._lookup(events[encoder.item], "item", encoder.unknown)
    blocks, rows = np.divmod(users, size)  # −1 for unknown users
    order = np.argsort(blocks, kind="stable")
    bounds = np.searchsorted(blocks[order], np.arange(n_blocks + 1))
    columns = (rows.astype(np.int32), items.astype(np.int32), value, time)
    columns = [column if column is None else column[order] for column in columns]
    return [
        [column if column is None else column[start:stop] for column in columns]
        for start, stop in pairwise(bounds)
    ]


def _matrix(encoder, events, n_users):
    """Return the rows of a block of users, given their encoded events of each partition."""
    users, items, value, time = (
        None if arrays[0] is None else np.concatenate(arrays)
        for arrays in zip(*events, strict=True)
    )
    return encoder._matrix(users, items, value, time, (n_users, encoder.n_items_))
