"""The users of a call: training users, or users given by their histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.utils._cells import take_rows
from sklearn_recsys.utils._history_index import HistoryIndex
from sklearn_recsys.utils._labels import item_labels, refuse_history
from sklearn_recsys.utils._sparse import as_csr
from sklearn_recsys.utils._threads import row_blocks
from sklearn_recsys.utils.progress import length, progress
from sklearn_recsys.utils.validation import check_indices, check_interactions


@dataclass(eq=False, slots=True)  # frozen would be slower to construct
class Histories:
    """Users as a model sees them, one per row; a slice or an array of rows takes some of them.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        Canonical histories.
    user_features : ndarray of float32 of shape (n_rows, n_user_features), default=None
        Encoded features of the users, if the model was fitted with some.
    training_rows : ndarray of int64 of shape (n_rows,), default=None
        The rows of the training matrix, if the caller named training users.
    """

    X: sp.csr_array
    user_features: np.ndarray | None = None
    training_rows: np.ndarray | None = None

    def __len__(self):
        return self.X.shape[0]

    def __getitem__(self, rows):
        if isinstance(rows, slice) and rows == slice(0, len(self)):  # avoids a copy
            return self
        values = (self.X, self.user_features, self.training_rows)
        return Histories(*(None if value is None else value[rows] for value in values))

    def with_X(self, X):
        """Return the same users with their histories in another form."""
        return self if X is self.X else Histories(X, self.user_features, self.training_rows)

    def blocks(self):
        """Yield slices of rows whose dense scores take bounded memory, with their `Histories`."""
        for rows in row_blocks(len(self), 4 * self.X.shape[1]):
            yield rows, self[rows]

    def shown_blocks(self, description):
        """Return the same iterator as `blocks`, whose users a progress bar counts."""
        return progress(
            self.blocks(), description, len(self), unit="user", size=lambda block: length(block[0])
        )

    @property
    def labels(self):
        """The number of each user in results: the training row, or the row of the matrix."""
        return np.arange(len(self)) if self.training_rows is None else self.training_rows

    @property
    def features(self):
        """The keyword arguments that pass the features to a model's methods; {} without any."""
        return {} if self.user_features is None else {"user_features": self.user_features}

    @property
    def is_cold(self):
        """Whether each user has an empty history and no features."""
        if self.user_features is not None:
            return np.zeros(len(self), dtype=bool)
        return self.X.indptr[1:] == self.X.indptr[:-1]  # faster than np.diff

    def joined(self):
        """Return histories and features as one csr_array."""
        if self.user_features is None:
            return self.X
        return sp.hstack([self.X, sp.csr_array(self.user_features)], format="csr")


class HistoriesMixin:
    """The part of `RecommenderMixin` that resolves users, and recognizes training users."""

    # attributes that are computed from the others, or belong to a fit that is going on: neither
    # pickled nor saved
    _derived = ("_cache_", "_progress", "_callback_fit_ctx", "_skl_callbacks_to_teardown")

    def __getstate__(self):
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in self._derived}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._set_derived()

    def _set_interactions(self, X):
        """Set the training matrix, which ends a fit."""
        self.interactions_ = X
        self._set_derived()

    def _set_derived(self):
        """Set the attributes that are not saved."""
        if "interactions_" in vars(self):
            self._cache_ = {}

    # ---------------------------------------------------------------- the users of a call

    def _checked(self, X, *, reset=False, copy=False, name="X"):
        """Return `X`, the caller's argument `name`, as a canonical matrix."""
        order = self._values == "order"
        return check_interactions(self, X, reset=reset, order=order, copy=copy, name=name)

    def _checked_histories(self, X, user_features=None):
        """Return the users whose histories are the rows of a caller's `X`."""
        check_is_fitted(self)
        return self._with_features(Histories(self._checked(X)), user_features)

    def _histories(self, users, user_features=None):
        """Return the users that a caller's `users` stands for, as in `recommend`."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)  # raises; too slow to call always
        return self._with_features(self._users(users), user_features)

    _has_features = False

    def _with_features(self, histories, user_features):
        """Return users with their checked features."""
        if user_features is not None:
            raise ValueError(f"{type(self).__name__} takes no user_features.")
        return histories

    def _users(self, users):
        """Return the users that a caller's `users` stands for, without features."""
        if users is None:
            X = self._own_interactions()
            return Histories(X, training_rows=np.arange(X.shape[0]))
        if sp.issparse(users) and users.ndim == 1:
            users = as_csr(users, "users")
        if sp.issparse(users) or hasattr(users, "columns") or np.ndim(users) >= 2:
            return Histories(self._checked(users, name="users"))
        refuse_history(users, item_labels(self))
        rows = np.asarray(users)
        n_users = self._own_interactions().shape[0]
        if rows.dtype == bool and rows.ndim == 1:
            if len(rows) != n_users:
                raise ValueError(
                    f"A boolean users must have length n_users = {n_users}; got {len(rows)}."
                )
            return self._training_users(np.flatnonzero(rows))
        if rows.dtype.kind == "f" and rows.size:
            raise ValueError(
                "users is a 1-D array of floats. Use integers for rows of the training matrix, or "
                "reshape(1, -1) if it is the history of one user."
            )
        if rows.dtype.kind not in "iuf":
            raise ValueError(
                "users must be rows of the training matrix (integers or a boolean mask) or a "
                f"matrix of histories; got {rows.dtype} values. Raw ids go through a "
                "RecommenderPipeline with an encoder."
            )
        rows = check_indices(np.atleast_1d(rows), n_users, name="users", what="training row")
        return self._training_users(rows)

    def _own_interactions(self):
        """Return the training matrix; raise if it has no rows, as after a fit on a cluster."""
        if not self.interactions_.shape[0]:
            raise ValueError(
                f"This {type(self).__name__} has no training rows, as it was fitted on a cluster: "
                "pass the histories of users instead."
            )
        return self.interactions_

    def _training_users(self, rows):
        return Histories(take_rows(self.interactions_, rows), training_rows=rows)

    # ---------------------------------------------------------------- training users

    def _as_read(self, histories):
        """Return the users with their histories as the model reads them."""
        return histories.with_X(self._read(histories.X))

    def _training_rows(self, X, user_features=None):
        """Return the training row that equals each row of `X`, as int64, or −1 for new users.

        `X` is what the model reads. Rows are equal if their items, their values and their
        `user_features` are; of equal training rows the first is returned.
        """
        return self._index().lookup(Histories(X, user_features).joined())

    def _index(self):
        """Return the index of the training rows, which is built when it is first needed."""
        # a snapshot: a partial_fit in another thread replaces all attributes at once
        state = vars(self)
        X, features = state["interactions_"], state.get("user_features_")
        cache = state["_cache_"]  # a dict, because predictions must not set attributes
        indexed_X, indexed_features, index = cache.get("index", (None, None, None))
        if indexed_X is not X or indexed_features is not features:
            index = HistoryIndex(Histories(self._read(X), features).joined())
            cache["index"] = X, features, index
        return index
