"""ONNX files of the nets that need a dense row alone."""

from __future__ import annotations

from sklearn_recsys.base._onnx import OnnxMixin
from sklearn_recsys.neural._data.dense_rows import OfDenseRows


class NetOnnxMixin(OnnxMixin):
    """Mixin of the models that score a row by a forward pass, and can be exported to ONNX."""

    def _onnx_module(self):
        return OfDenseRows(self.net_.module_)
