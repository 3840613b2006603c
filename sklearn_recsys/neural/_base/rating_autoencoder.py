"""The base of the autoencoders on observed ratings, user-based and item-based."""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Real

import numpy as np
import torch

from sklearn_recsys.base._onnx import OnnxMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._base.ridge_users import RidgeUsersMixin
from sklearn_recsys.neural._base.validation import hold_out_cells
from sklearn_recsys.neural._data.dense_rows import OfDenseRows
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.utils._cells import item_counts, with_values
from sklearn_recsys.utils._on_disk import by_rows, row_slice, row_slices, transposed
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Array, Number, Offset

_USER_L2 = 1000.0  # if no ratings are held out to choose it


@by_rows
def _standardized(X, offset, unit):
    return with_values(X, (X.data - np.float32(offset)) / np.float32(unit))


class _Ratings(OfDenseRows):
    """Ratings, given the module and its inputs and outputs in other units."""

    def __init__(self, module, scale, cold, cold_value):
        super().__init__(module)
        self.offset, self.unit = scale
        self.cold_value = cold_value
        self.register_buffer("cold", torch.from_numpy(cold))

    def forward(self, rows):
        """Return the ratings that `RatingAutoencoder` predicts for a tensor of rows."""
        inputs = torch.where(rows != 0, (rows - self.offset) / self.unit, 0.0)
        ratings = self.offset + self.unit * super().forward(inputs)
        return torch.where(self.cold, self.cold_value, ratings)


@parameters
class RatingAutoencoder(OnnxMixin, RidgeUsersMixin, NeuralRecommender):
    """Base of the autoencoders that reconstruct the ratings of a user, or of an item.

    Early stopping holds out a share of the ratings. A user-based model predicts by a forward pass.
    In an item-based one the output layer has a row for each training user; for predictions, ridge
    regressions on the hidden vectors of the items replace it, see the Notes of `AutoRec`. A model
    implements ``_make_module(X)``, which returns a `RatingModule` with `_n_inputs(X)` inputs, and
    ``_output_activation``, the name of the activation after the output layer.
    """

    _: KW_ONLY
    cold_value: str | float = "midpoint"
    user_l2: float | None = None
    n_iter_no_change: int = 10

    _parameter_constraints = {
        **NeuralRecommender._parameter_constraints,
        "kind": [StrOptions({"item", "user"})],
        "cold_value": [StrOptions({"midpoint", "mean"}), Real],
        "user_l2": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        return tags

    @property
    def _item_based(self):
        return self._fitted_param("kind") == "item"

    def _fitted_state(self):
        rules = {
            **super()._fitted_state(),
            "_scale_": Offset(),
            "_cold_": Array("n_items", kinds="b"),
            "_cold_value_": Number(),
        }
        if self._item_based:
            rules |= {"item_factors_": Array("n_items", "n_factors"), **self._ridge_state()}
        return rules

    def _n_inputs(self, X):
        return X.shape[0] if self._item_based else X.shape[1]

    def _check_resume(self, X):
        if self._item_based and X.shape[0] != self.interactions_.shape[0]:
            raise ValueError(
                f"Item-based {type(self).__name__} reads an item's ratings by the "
                f"{self.interactions_.shape[0]} training users; partial_fit needs a row for each "
                f"of them, in their order; got {X.shape[0]}. New users need no fit."
            )

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        self._cold_ = item_counts(X) == 0
        self._cold_value_ = self._make_cold_value(X)
        if not resume:  # resumed training keeps the scale of the module's inputs
            self._scale_ = self._make_scale(X)

    def _split(self, X, rng):
        if not self.early_stopping:
            return X, None
        return hold_out_cells(X, self.validation_fraction, rng)

    def _make_datasets(self, train, valid):
        rows = self._rows(train)
        if valid is None:
            return RowDataset(rows), None
        return RowDataset(rows), RowDataset(rows, self._rows(valid))

    def _make_cold_value(self, X):
        """Return the prediction for items without a training rating, on the scale of `X`."""
        if self.cold_value == "mean":
            return float(X.data.mean(dtype=np.float64))
        value = self.cold_value
        if value == "midpoint":
            value = sum(self.rating_range_) / 2
        return float(value if self._rating_scale is None else self._rating_scale.apply(value))

    def _make_scale(self, X):
        """Return the offset and the unit of the module's inputs."""
        if self._output_activation == "sigmoid":
            return self._scale_to(0.0, 1.0)
        return float(X.data.mean(dtype=np.float64)), 1.0

    def _scale_to(self, bottom, top):
        """Return the offset and the unit that map the range of the ratings to [bottom, top]."""
        low, high = self._rating_scale.apply(self.rating_range_).tolist()
        unit = (high - low) / (top - bottom) or 1.0
        return low - unit * bottom, unit

    def _rows(self, X):
        """Return the inputs of the module: scaled ratings, with a row per item or per user."""
        X = _standardized(X, *self._scale_)
        return transposed(X) if self._item_based else X

    def _item_codes(self, X):
        """Return the hidden vectors of the items, given the ratings `X`."""
        X, device, codes = self._rows(X), self.net_.device, []
        for items in row_slices(X):  # as tensors they take several times the memory
            rows = SparseRows.from_csr(row_slice(X, items), device)
            codes.append(self._evaluated(self.net_.module_.hidden, rows).astype(np.float64))
        return np.concatenate(codes)

    def _finish(self, X, split):
        super()._finish(X, split)
        if not self._item_based:
            return
        with torch.no_grad():
            weight, bias = self.net_.module_.output_layer()
            rows = torch.hstack([weight, bias[:, None]]).cpu().numpy().astype(np.float64)
        self._set_prior(rows)
        self.user_l2_ = self.user_l2
        if self.user_l2 is None:
            self.user_l2_ = _USER_L2
            train, valid = split
            if valid is not None:
                self.user_l2_ = self._best_penalty(train, valid, self._item_codes(train))
        codes = self._item_codes(X)
        self.item_factors_ = codes.astype(np.float32)
        self._set_item_side(codes, self.user_l2_)

    def _in_units(self, outputs, items=slice(None)):
        """Return outputs of the module as float32 ratings, with the value of cold items."""
        offset, scale = self._scale_
        cold = self._cold_[items]
        return np.where(cold, self._cold_value_, offset + scale * outputs).astype(np.float32)

    def _onnx_module(self):
        if self._item_based:
            raise ValueError(
                f"Item-based {type(self).__name__} solves a ridge regression for each user, which "
                "is no ONNX graph: use kind='user'."
            )
        if getattr(self, "user_features_", None) is not None:
            raise ValueError(
                f"This {type(self).__name__} was fitted with user_features, which an ONNX file of "
                "histories does not take."
            )
        return _Ratings(self.net_.module_, self._scale_, self._cold_, self._cold_value_)

    def _score_items(self, X, user_features=None):
        if self._item_based:
            return self._ridge_items(X)
        rows = SparseRows.from_csr(self._rows(X), self.net_.device, features=user_features)
        return self._in_units(self._evaluated(self.net_.module_, rows))

    def _score_pairs(self, X, rows, items, user_features=None):
        if not self._item_based:
            return super()._score_pairs(X, rows, items, user_features)
        return self._ridge_pairs(X, rows, items)
