"""The base of the models that predict ratings by an embedding of each training user."""

from __future__ import annotations

from numbers import Real

import numpy as np

from sklearn_recsys.neural._base.examples import RatedCells
from sklearn_recsys.neural._base.transductive import TransductiveRecommender
from sklearn_recsys.neural._base.validation import hold_out_cells
from sklearn_recsys.neural._data.pair_batches import PairBatches
from sklearn_recsys.utils._state import Number, Offset


class TransductiveRatingRecommender(TransductiveRecommender):
    """Base of the models that predict ratings by an embedding of each training user.

    A model implements ``_make_module(X)``, which returns a :class:`PairModule` with the loss
    ``"mse"``, and calls ``_set_scale`` in ``_prepare``. Its module predicts
    (rating - offset) / unit, where `_scale_` holds the offset and the unit.

    Early stopping holds out a share of the ratings, and stops when their loss no longer falls.
    """

    @property
    def _examples(self):
        return RatedCells(*self._scale_)

    @property
    def _metric(self):
        return None

    @property
    def _valid_batches(self):
        return PairBatches

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        return tags

    def _fitted_state(self):
        return {**super()._fitted_state(), "_scale_": Offset(), "_intercept_": Number()}

    def _split(self, X, rng):
        if not self.early_stopping:
            return X, None
        return hold_out_cells(X, self.validation_fraction, rng)

    def _make_datasets(self, train, valid):
        train, valid = super()._make_datasets(train, valid)
        return train, None if valid is None else self._examples.dataset(valid, self._device())

    def _set_scale(self, X, rating_range, resume):
        """Set the offset and the unit of the module's ratings, and the initial output.

        Without a range, the module predicts deviations from the mean rating. With one, its sigmoid
        reaches an eighth of the range beyond it on either side. Resumed training keeps all of them.
        """
        mean = float(X.data.mean(dtype=np.float64))
        if rating_range is None:
            if not resume:
                self._scale_, self._intercept_ = (mean, 1.0), 0.0
            return
        are_numbers = all(isinstance(bound, Real) and np.isfinite(bound) for bound in rating_range)
        if len(rating_range) != 2 or not are_numbers or rating_range[0] > rating_range[1]:
            raise ValueError(
                "rating_range must be the lowest and the highest rating, such as (1, 5); got "
                f"{rating_range!r}."
            )
        lowest, highest = self.rating_range_  # of the training ratings, in float32
        if lowest < np.float32(rating_range[0]) or highest > np.float32(rating_range[1]):
            raise ValueError(
                f"X holds ratings from {lowest:g} to {highest:g}, outside of "
                f"rating_range={rating_range!r}."
            )
        if resume:
            return
        low, high = self._rating_scale.read(np.float32(rating_range)).tolist()
        margin = (high - low) / 8 or 1.0
        self._scale_ = low - margin, high - low + 2 * margin
        share = (mean - self._scale_[0]) / self._scale_[1]
        self._intercept_ = float(np.log(share / (1 - share)))

    def _as_ratings(self, outputs):
        """Return outputs of the module as ratings."""
        offset, unit = self._scale_
        return np.float32(offset) + np.float32(unit) * outputs

    def _score_items(self, X):
        return self._as_ratings(super()._score_items(X))

    def _score_pairs(self, X, rows, items):
        return self._as_ratings(super()._score_pairs(X, rows, items))
