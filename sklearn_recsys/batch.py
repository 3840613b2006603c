"""Recommendations for many users by a saved model, on any engine that maps pandas frames."""

from __future__ import annotations

import os
import threading
from functools import lru_cache

import numpy as np

from sklearn_recsys.persistence import load
from sklearn_recsys.utils._ids import as_index
from sklearn_recsys.utils.validation import check_length

_lock = threading.Lock()


class BatchRecommender:
    """A function from a frame of histories to a frame of recommendations, by a saved model.

    It holds the path of the model, not the model: an engine sends it to its workers at no cost, and
    each worker process loads the file once, when it is first called there. So the path must be
    readable on all workers.

    Parameters
    ----------
    path : str or path-like
        The file of a pipeline with an encoder, or, with `encoder`, of any recommender.
    n : int, default=10
        Items per user.
    encoder : str or path-like, default=None
        The file of the InteractionEncoder of the model's items. None: the model is a
        :class:`~sklearn_recsys.RecommenderPipeline` with an encoder.
    exclude_seen : bool, default=True
        Whether to exclude the items of the user's own history.
    candidates, exclude : array-like, default=None
        Raw ids of the only items that may be recommended, or of items that must not be.

    See Also
    --------
    sklearn_recsys.persistence.save : How models are saved.

    Notes
    -----
    With Dask, Spark and Ray, where a row of `histories` is a user, with a list of items:

    - ``histories.map_partitions(batch, meta=batch(histories._meta)).to_parquet(folder)``
    - ``histories.mapInPandas(batch.map, "user long, rank long, item long, score float")``
    - ``histories.map_batches(batch, batch_format="pandas", batch_size=None)``

    A file that is replaced is loaded again at the next call.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from sklearn_recsys import ItemKNN, make_recommender_pipeline
    >>> from sklearn_recsys.batch import BatchRecommender
    >>> from sklearn_recsys.preprocessing import InteractionEncoder
    >>> events = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": ["tea", "milk", "tea"]})
    >>> encoder = InteractionEncoder(values="one")
    >>> R = encoder.fit_transform(events)
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "model")
    >>> make_recommender_pipeline(ItemKNN(), encoder=encoder).fit(R).save(path)
    >>> batch = BatchRecommender(path, n=1)
    >>> histories = pd.DataFrame({"user": ["cid"], "item": [["milk"]]})
    >>> batch(histories)[["user", "rank", "item"]]
      user  rank item
    0  cid     1  tea
    >>> folder.cleanup()
    """

    def __init__(
        self, path, n=10, *, encoder=None, exclude_seen=True, candidates=None, exclude=None
    ):
        self.path = os.fspath(path)
        self.n = check_length(n)
        self.encoder = None if encoder is None else os.fspath(encoder)
        self.exclude_seen = exclude_seen
        self.candidates = candidates
        self.exclude = exclude

    def __call__(self, histories):
        """Return recommendations for users.

        Parameters
        ----------
        histories : DataFrame
            The encoder's columns, in one of two forms: a row for each user, whose items, and
            ratings and times if the encoder reads some, are lists of equal lengths; or an event in
            each row, where all events of a user must be in the same frame. New users are welcome.

        Returns
        -------
        frame : DataFrame
            Columns: the user column, "rank" (1 = best), the item column and "score", a float32.
        """
        model = _load(self.path)
        encoder = getattr(model, "encoder", None) if self.encoder is None else _load(self.encoder)
        if not hasattr(encoder, "transform_histories"):
            raise ValueError(
                f"{self.path} holds a {type(model).__name__} without an InteractionEncoder, which "
                "raw ids need: save a pipeline with an encoder, or pass encoder=, its file."
            )
        events, users = _events(histories, encoder)
        if not len(histories):  # of the dtypes of other answers
            item = np.zeros((1, 1), dtype=np.int64)
            return encoder.decode(item, item.astype(np.float32), encoder.user_ids_[:1])[:0]
        X, users = encoder.transform_histories(events, users)
        sets = {"candidates": self.candidates, "exclude": self.exclude}
        options = {"exclude_seen": self.exclude_seen, "return_scores": True}
        if self.encoder is None:
            frame = model.recommend(X, self.n, **options, **sets)
            frame.insert(0, encoder.user, as_index(users, "user").take(frame.pop("row")))
            return frame
        sets = {
            name: items if items is None else encoder.encode_items(items)
            for name, items in sets.items()
        }
        ids, scores = model.recommend(X, self.n, **options, **sets)
        return encoder.decode(ids, scores, users)

    def map(self, frames):
        """Yield the recommendations of each of several frames, as Spark's ``mapInPandas`` asks.

        Parameters
        ----------
        frames : iterable of DataFrame
            As in a call, each with all of the history of its users.

        Yields
        ------
        frame : DataFrame
            As a call returns it.
        """
        for histories in frames:
            yield self(histories)


def _events(histories, encoder):
    """Return a frame of events, and the users of the rows if each row was a user."""
    items = histories[encoder.item]
    if not len(items) or not isinstance(items.iloc[0], (list, tuple, np.ndarray)):
        return histories, None
    read = (encoder.item, encoder.rating, encoder.timestamp)
    columns = [name for name in read if name in histories.columns]
    events = histories[[encoder.user, *columns]].explode(columns, ignore_index=True)
    events = events[events[encoder.item].notna()]  # an empty list makes one row
    return events.infer_objects(), histories[encoder.user]


def _load(path):
    stat = os.stat(path)
    with _lock:  # threads wait for the first one that loads the file
        return _loaded(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _loaded(path, changed, size):
    return load(path)
