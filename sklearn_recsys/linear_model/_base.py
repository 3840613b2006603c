"""What linear item-item models share: they score a history x as x W."""

from __future__ import annotations

from sklearn_recsys.base import ExplainMixin, RecommenderMixin
from sklearn_recsys.base._explain import weights_at
from sklearn_recsys.base._onnx import LinearOnnxMixin
from sklearn_recsys.utils._state import Array, Sparse
from sklearn_recsys.utils._threads import sparse_dot


class LinearMixin(LinearOnnxMixin, ExplainMixin, RecommenderMixin):
    """Mixin for models that learn an items × items matrix W and score a history x as x W.

    A model's `_fit` sets `coef_`, which is W in float32: dense, or a csr_array if
    ``_sparse_coef`` says so.
    """

    _sparse_coef = False

    def _fitted_state(self):
        rule = Sparse("n_items", "n_items") if self._sparse_coef else Array("n_items", "n_items")
        return {**super()._fitted_state(), "coef_": rule}

    def _score_items(self, X):
        return sparse_dot(X, self.coef_)

    def _contributions(self, X, rows, items):
        return weights_at(self.coef_, X, rows, items)
