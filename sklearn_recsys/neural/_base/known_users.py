"""Training users, found by what their rows hold."""

from __future__ import annotations

from sklearn_recsys.utils._history_index import HistoryIndex


class KnownUsersMixin:
    """Mixin of the neural models that keep something for each training user.

    `_index_` finds the training row that a row is. It follows from `interactions_` and is not
    stored.
    """

    def _finish(self, X, split):
        super()._finish(X, split)
        self._set_index(X)

    def _set_index(self, X):
        self._index_ = HistoryIndex(X)

    def _save_state(self):
        state = super()._save_state()
        state.pop("_index_", None)
        return state

    def _set_state(self, state, checked=False):
        super()._set_state(state, checked)
        if self.__sklearn_is_fitted__():
            self._set_index(self._read(self.interactions_))
