"""Who is asked about: training users, or histories of any users."""

from __future__ import annotations

import scipy.sparse as sp

from sklearn_recsys.utils._history_index import HistoryIndex


class HistoriesMixin:
    """What `RecommenderMixin` has for finding training users by their rows."""

    # fitted attributes that follow from the others, and are neither pickled nor saved
    _derived = ("_cache_",)

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
        """Set what is not saved of a fitted model."""
        if "interactions_" in vars(self):
            self._cache_ = {}

    def _training_rows(self, X, features=None):
        """Return the training row that each row of `X` is, as int64, or −1 for new users.

        `X` is what the model reads. A training row has the same items and values, and the same
        `features`; among duplicates it is the first.
        """
        return self._index().lookup(_joined(X, features))

    def _index(self):
        """Return the index of the training rows, which is made when it is first asked for."""
        # of one state of the model: a partial_fit in another thread replaces all attributes
        state = vars(self)
        X, features = state["interactions_"], state.get("user_features_")
        cache = state["_cache_"]  # a dict, as predictions must not set attributes
        made_of_X, made_of_features, index = cache.get("index", (None, None, None))
        if made_of_X is not X or made_of_features is not features:
            index = HistoryIndex(_joined(self._read(X), features))
            cache["index"] = X, features, index
        return index


def _joined(X, features):
    """Return histories and features as one csr_array."""
    return X if features is None else sp.hstack([X, sp.csr_array(features)], format="csr")
