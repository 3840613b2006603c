"""The methods of a pipeline, with raw ids if it has an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.pipeline._raw_explanations import RawExplanationsMixin
from sklearn_recsys.pipeline._translation import RawIds
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._ids import find, index
from sklearn_recsys.utils._sklearn import available_if
from sklearn_recsys.utils.validation import check_indices


def _model_has(name):
    """Return a check that the model at the end of the pipeline has a method."""

    def check(self):
        return hasattr(self.steps[-1][1], name)

    return check


class RawIdsMixin(RawExplanationsMixin):
    """Mixin with the public methods of a pipeline: on indices, or on raw ids with an encoder.

    The pipeline provides `_model`, `_transformed` and the hooks of a recommender.
    """

    def recommend(
        self,
        users=None,
        n=10,
        *,
        user_features=None,
        exclude_seen=True,
        candidates=None,
        exclude=None,
        return_scores=False,
    ) -> Any:
        """Recommend items, best first.

        Parameters
        ----------
        users : None, raw ids, matrix or DataFrame, default=None
            Without an encoder as in every recommender. With one: None for every training user; a
            raw user id or a collection of them; a frame of events, the histories of any users; or
            histories as a matrix, or as a frame whose columns are raw item ids. Unknown ids raise
            ValueError, or are skipped if the encoder's `unknown` is ``"ignore"``.
        n : int, default=10
            Items per row.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of `users`, if the model was fitted with some. Training users keep those
            of `fit` if none are passed. With an encoder the rows of a frame are matched by the raw
            user ids in its index, in any order.
        exclude_seen : bool, default=True
            Whether to exclude the items of the row's own raw history.
        candidates : array-like, set, dict, DataFrame or sparse, default=None
            Recommend nothing but these items. Without an encoder as in every recommender. With one:
            a collection of raw item ids for all users; a dict of users to collections of items or a
            frame with a column of each, matched by user id; a boolean mask over the items, or a
            sparse or boolean matrix with a row for each of `users`, in their order. A user that a
            dict or frame does not list has no candidates. Unknown ids as in `users`.
        exclude : array-like, set, dict, DataFrame or sparse, default=None
            Never recommend these items; forms as in `candidates`.
        return_scores : bool, default=False
            Whether to return the scores, too.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n), or DataFrame
            Item indices by descending score, −1 in empty slots. With an encoder: a frame of the
            user, the rank from 1 and the item, as raw ids, with the score if `return_scores`; for a
            matrix of histories, the row instead of the user.
        scores : ndarray of float32 of shape (n_rows, n)
            Only if `return_scores` and there is no encoder.
        """
        if self.encoder is None:
            return super().recommend(
                users,
                n,
                user_features=user_features,
                exclude_seen=exclude_seen,
                candidates=candidates,
                exclude=exclude,
                return_scores=return_scores,
            )
        raw = RawIds(self)
        users = raw.users(users)
        ids, scores = self._recommend(
            users.argument,
            self._histories_of(raw, users, user_features),
            n,
            exclude_seen=exclude_seen,
            candidates=raw.sets(candidates, users, "candidates"),
            exclude=raw.sets(exclude, users, "exclude"),
        )
        ranked = {self.encoder.item: (raw.item_ids, ids)}
        return _tidy(users.name, users.labels, ranked, scores if return_scores else None)

    def predict(self, X, *, user_features=None) -> Any:
        """Predict every item's score for every row.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The histories of known or new users; with an encoder also what `recommend` takes as
            users.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            As in `recommend`.

        Returns
        -------
        scores : ndarray of float32 of shape (n_rows, n_items), or DataFrame
            As in every recommender. With an encoder, a frame for raw ids and for frames, with the
            labels of the rows as its index and raw item ids as its columns.
        """
        if self.encoder is None:
            return super().predict(X, user_features=user_features)
        raw = RawIds(self)
        users = raw.users(X)
        scores = self._predict(self._histories_of(raw, users, user_features))
        if users.name == "row" and not is_frame(X):
            return scores
        return pd.DataFrame(
            scores, _row_labels(users), index(raw.item_ids).rename(self.encoder.item)
        )

    def predict_pairs(self, X, rows=None, items=None, *, user_features=None) -> NDArray[np.float32]:
        """Predict the scores of the given pairs only.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The histories of known or new users. With an encoder also what `recommend` takes as
            users; for ``predict_pairs(users, items)``, the raw user id of each pair.
        rows : array-like of shape (n_pairs,), default=None
            Rows of `X`: their numbers, or for a frame of events the raw ids of its users.
        items : array-like of shape (n_pairs,), default=None
            Item indices; raw item ids if there is an encoder.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of the rows of `X`, if the model was fitted with some. For raw user ids, a
            frame whose index holds them, with one row for a user who is in several pairs.

        Returns
        -------
        scores : ndarray of float32 of shape (n_pairs,)
            The values of `predict` at these cells; NaN for unknown ids that the encoder ignores.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn_recsys import EASE, RecommenderPipeline
        >>> from sklearn_recsys.preprocessing import InteractionEncoder
        >>> events = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": ["tea", "milk", "tea"]})
        >>> encoder = InteractionEncoder(values="one")
        >>> X = encoder.fit_transform(events)
        >>> pipe = RecommenderPipeline([("ease", EASE(l2=1))], encoder=encoder).fit(X)
        >>> pipe.predict_pairs(["bob", "bob"], ["milk", "tea"])
        array([0.3333333, 0.       ], dtype=float32)
        """
        if self.encoder is None:
            if rows is None or items is None:
                raise TypeError("predict_pairs needs X, rows and items; there is no encoder.")
            return super().predict_pairs(X, rows, items, user_features=user_features)
        raw = RawIds(self)
        if rows is None or items is None:
            user_ids, items = X, rows if items is None else items
            if items is None:
                raise TypeError("predict_pairs needs raw items: predict_pairs(users, items).")
            rows = raw.rows(index([user_ids]) if raw.is_one(user_ids) else user_ids)
            distinct, inverse = np.unique(rows[rows >= 0], return_inverse=True)
            rows[rows >= 0] = inverse
            users = raw.users(raw.user_ids[distinct])
        else:
            users = raw.users(X)
            if users.name == "row":
                rows = check_indices(rows, len(users.labels), name="rows", what="row")
            else:
                rows = find(index(users.labels), index(rows), "user", "error")
        columns = raw.columns([items] if raw.is_one(items) else items)
        if 1 in (len(rows), len(columns)):
            rows, columns = np.broadcast_arrays(rows, columns)
        if len(rows) != len(columns):
            raise ValueError(
                f"Users and items must be pairs; got {len(rows)} users and {len(columns)} items."
            )
        histories = self._histories_of(raw, users, user_features)
        valid = (rows >= 0) & (columns >= 0)
        scores = np.full(len(rows), np.nan, dtype=np.float32)
        if valid.any():
            pairs = rows[valid], columns[valid]
            scores[valid] = self._in_rating_range(self._scores_at(histories, *pairs))
        return scores

    def score(
        self,
        X,
        y=None,
        *,
        user_features=None,
        metric=None,
        k=10,
        exclude_seen=True,
        candidates=None,
    ) -> float:
        """Score recommendations or predicted ratings against held-out interactions.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The history of each row, without its held-out interactions; with an encoder also what
            `recommend` takes as users, None for every training user.
        y : {sparse matrix, sparse array, array-like, DataFrame}, default=None
            The held-out interactions of each row, as in every recommender. With an encoder also a
            frame of events, matched by user id, or a 1-D array with a raw item id for each row.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            As in `recommend`.
        metric : str, default=None
            As in every recommender.
        k : int, default=10
            Length of the ranked list.
        exclude_seen : bool, default=True
            Whether the items of `X` are excluded from the ranking.
        candidates : array-like, set, dict, DataFrame or sparse, default=None
            Rank only these items, together with the row's held-out ones: forms as in `recommend`.

        Returns
        -------
        score : float
            Greater is better.
        """
        if self.encoder is None:
            options = {"user_features": user_features, "candidates": candidates}
            return super().score(X, y, metric=metric, k=k, exclude_seen=exclude_seen, **options)
        y = y if y is None or not is_frame(y) else as_pandas_frame(y, "y")
        options = {"user_features": user_features, "candidates": candidates}
        return self._score(X, y, metric, k=k, exclude_seen=exclude_seen, **options)

    def _evaluate(self, X, y, parsed, *, candidates=None, user_features=None, **options):
        if self.encoder is not None:
            raw = RawIds(self)
            users = raw.users(X)
            y = raw.held_out(y, users)
            candidates = raw.sets(candidates, users, "candidates")
            user_features = raw.features(user_features, users)
            X = self._users(users.argument).X
        options |= {"candidates": candidates, "user_features": user_features}
        return super()._evaluate(X, y, parsed, **options)

    # ---------------------------------------------------------------- neighbors

    @available_if(_model_has("similar_items"))
    def similar_items(self, items, n=10) -> Any:
        """Return the items most similar to each of `items`.

        Parameters
        ----------
        items : scalar or array-like of shape (n_queries,)
            Item indices; raw item ids if there is an encoder, unknown ones as in `recommend`.
        n : int, default=10
            Items per row.

        Returns
        -------
        ids : ndarray of int64 of shape (n_queries, n)
            Nearest first, except the item itself; −1 in empty slots.
        similarities : ndarray of float32 of shape (n_queries, n)
            Their similarities, −inf in empty slots. With an encoder, one frame instead of the
            two arrays: the raw item, the rank from 1, the raw id of the similar item, the score.
        """
        check_is_fitted(self)
        if self.encoder is None:
            return self._model.similar_items(items, n)
        raw = RawIds(self)
        columns = raw.columns([items] if raw.is_one(items) else items)
        columns = columns[columns >= 0]
        ids, scores = self._model.similar_items(columns, n)
        item = self.encoder.item
        ranked = {f"similar_{item}": (raw.item_ids, ids)}
        return _tidy(item, raw.item_ids[columns], ranked, scores)

    @available_if(_model_has("similar_users"))
    def similar_users(self, users=None, n=10, *, user_features=None) -> Any:
        """Return the training users most similar to each of `users`.

        Parameters
        ----------
        users : None, raw ids, matrix or DataFrame, default=None
            As in `recommend`.
        n : int, default=10
            Users per row.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            As in `recommend`.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            Training rows, nearest first, except the user; −1 in empty slots.
        similarities : ndarray of float32 of shape (n_rows, n)
            Their similarities, −inf in empty slots. With an encoder, one frame instead of the two
            arrays: the user (or row), the rank from 1, the raw id of the similar user, the score.
        """
        check_is_fitted(self)
        if self.encoder is None:
            return self._similar_users(users, n, user_features)
        raw = RawIds(self)
        users = raw.users(users)
        features = raw.features(user_features, users)
        ids, scores = self._similar_users(users.argument, n, features)
        ranked = {f"similar_{self.encoder.user}": (raw.user_ids, ids)}
        return _tidy(users.name, users.labels, ranked, scores)

    def _similar_users(self, users, n, features):
        options = {} if features is None else {"user_features": features}
        return self._model.similar_users(self._users_of_model(users), n, **options)

    # ---------------------------------------------------------------- vectors

    @available_if(_model_has("export_vectors"))
    def export_vectors(self, users=None, *, user_features=None) -> tuple[Any, Any]:
        """Return vectors of users and items whose inner products are the scores.

        They are for indexes of approximate nearest neighbors by the inner product, and hold all
        that the model adds to the products, such as biases.

        Parameters
        ----------
        users : None, raw ids, matrix or DataFrame, default=None
            As in `recommend`.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            As in `recommend`.

        Returns
        -------
        user_vectors : ndarray of float32 of shape (n_rows, n_factors + 3), or DataFrame
            A vector for each user; with an encoder, a frame whose index holds the raw user ids.
        item_vectors : ndarray of float32 of shape (n_items, n_factors + 3), or DataFrame
            A vector for each item, the same in every call; with an encoder, a frame whose index
            holds the raw item ids.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_recsys import ALS, RecommenderPipeline
        >>> from sklearn_recsys.datasets import make_movies
        >>> from sklearn_recsys.preprocessing import InteractionEncoder
        >>> encoder = InteractionEncoder()
        >>> R = encoder.fit_transform(make_movies(n_users=50, random_state=0).interactions)
        >>> als = ALS(n_factors=4, random_state=0)
        >>> pipe = RecommenderPipeline([("als", als)], encoder=encoder).fit(R)
        >>> users, items = pipe.export_vectors(encoder.user_ids_[:2])
        >>> scores = users @ items.T  # a frame of raw ids, as of predict
        >>> np.allclose(scores, pipe.predict(encoder.user_ids_[:2]), atol=1e-5)
        True
        """
        check_is_fitted(self)
        if self.encoder is None:
            return self._vectors(users, user_features)
        raw = RawIds(self)
        users = raw.users(users)
        vectors = self._vectors(users.argument, raw.features(user_features, users))
        labels = _row_labels(users), index(raw.item_ids).rename(self.encoder.item)
        return tuple(pd.DataFrame(*side) for side in zip(vectors, labels, strict=True))

    def _vectors(self, users, features):
        options = {} if features is None else {"user_features": features}
        return self._model.export_vectors(self._users_of_model(users), **options)

    def _users_of_model(self, users):
        """Return the users as an argument of the model at the end."""
        histories = self._users(users)
        if not len(histories):
            return np.empty(0, dtype=np.int64)  # steps may refuse a matrix without rows
        rows = histories.training_rows
        return self._transformed(histories.X) if rows is None else rows


def _row_labels(users):
    """Return the labels of users as the index of a frame."""
    return index(users.labels).rename(users.name if users.name != "row" else None)


def _tidy(name, labels, ranked, scores):
    """Return ranked ids as a tidy frame, without empty slots."""
    ((column, (raw_ids, ids)),) = ranked.items()
    rows, slots = np.nonzero(ids != -1)
    frame = {name: labels.take(rows), "rank": slots + 1, column: raw_ids[ids[rows, slots]]}
    if scores is not None:
        frame["score"] = scores[rows, slots]
    return pd.DataFrame(frame, copy=False)  # the arrays are new
