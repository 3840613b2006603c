"""`similar_items` and `similar_users`: nearest neighbors by the similarity of a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.utils.validation import check_indices, check_length


class SimilarItemsMixin:
    """Mixin for models with item similarities.

    A model implements ``_item_neighbors(items, n)``, which returns the ids and the similarities of
    the `n` nearest items of each of the `items`, as `similar_items` does.
    """

    def similar_items(self, items, n=10) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the items most similar to each of `items`.

        Parameters
        ----------
        items : int or array-like of int of shape (n_queries,)
            Item indices.
        n : int, default=10
            Items per row. ItemKNN and ItemKNNBaseline have at most the `n_neighbors` that `fit`
            stored.

        Returns
        -------
        ids : ndarray of int64 of shape (n_queries, n)
            Nearest first, except the item itself and items without a similarity: those with a zero
            vector, and, in models of neighbors and ContentRecommender, those with a similarity of 0
            or less. −1 in empty slots.
        similarities : ndarray of float32 of shape (n_queries, n)
            Their similarities, −inf in empty slots: the cosines of the vectors or profiles of the
            items, or what models of neighbors call similarity.
        """
        check_is_fitted(self)
        n = check_length(n)
        items = check_indices(np.atleast_1d(items), self.n_features_in_, name="items")
        return self._item_neighbors(items, n)


class SimilarUsersMixin:
    """Mixin for models with user similarities.

    A model implements ``_user_neighbors(histories, n, skip)``, which returns the training rows and
    the similarities of the `n` nearest training users of each of the `Histories`, as
    `similar_users` does; `skip` is the training row of each of them, or −1.
    """

    def similar_users(self, users=None, n=10) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the training users most similar to each of `users`.

        Parameters
        ----------
        users : None, int, 1-D array-like of int or bool, or matrix, default=None
            As in `recommend`: training rows, or histories of any users.
        n : int, default=10
            Users per row.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            Training rows, nearest first, except the user (a training row with the same history) and
            users without a similarity: those with a zero vector, and, in UserKNN, those with a
            similarity of 0 or less. −1 in empty slots.
        similarities : ndarray of float32 of shape (n_rows, n)
            Their similarities, −inf in empty slots: the cosines of the vectors of the users, or the
            `metric` of UserKNN.
        """
        return self._similar_users(self._histories(users), n)

    def _similar_users(self, histories, n):
        n = check_length(n)
        skip = histories.training_rows
        if skip is None:
            read = self._as_read(histories)
            skip = self._training_rows(read.X, **read.features)
        return self._user_neighbors(histories, n, skip)
