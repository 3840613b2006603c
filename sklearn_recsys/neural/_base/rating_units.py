"""Ratings in one unit, so that learning rates, penalties and all defaults mean the same on any."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._cells import with_values
from sklearn_recsys.utils._rating_scale import RatingScale
from sklearn_recsys.utils._state import Instance, Optional


class RatingUnitsMixin:
    """Mixin of the models that may read ratings: they work on a scale from 1 to 5.

    What a model reads is mapped so that the training ratings range from 1 to 5, and its scores are
    mapped back. Where training goes on, the scale stays what the model was trained on.
    """

    @property
    def _rating_scale(self):
        """The scale; None for other values than ratings, and in files saved before it was."""
        return vars(self).get("_rating_scale_")

    def _fitted_state(self):
        return {**super()._fitted_state(), "_rating_scale_": Optional(Instance(RatingScale))}

    def _set_rating_range(self, X, resume):
        super()._set_rating_range(X, resume)
        if not resume:
            self._rating_scale_ = RatingScale.of_range(*self.rating_range_)

    def _read(self, X):
        if self._rating_scale is None:
            return super()._read(X)
        ratings = self._rating_scale.read(X.data)
        if np.array_equal(ratings, X.data):
            return X
        return with_values(X, ratings)

    def _in_units_of_X(self, scores):
        return scores if self._rating_scale is None else self._rating_scale.undo(scores)
