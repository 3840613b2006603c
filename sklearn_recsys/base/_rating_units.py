"""A common unit of ratings, so that hyperparameters do not depend on the scale of the data."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._cells import with_values
from sklearn_recsys.utils._on_disk import by_rows, cell_slices
from sklearn_recsys.utils._rating_scale import RatingScale
from sklearn_recsys.utils._state import Instance, Optional


@by_rows
def _scaled(X, read):
    return with_values(X, read(X.data))


class RatingUnitsMixin:
    """Mixin for models that may read ratings: they work on a scale from 1 to 5.

    Ratings are mapped so that those of the training matrix range from 1 to 5, and scores are mapped
    back. Resumed training keeps the scale.
    """

    @property
    def _rating_scale(self):
        """The scale; None if the values are not ratings, and in older files, which have none."""
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
        read = self._rating_scale.read
        parts = cell_slices(X.nnz)
        if all(np.array_equal(read(X.data[part]), X.data[part]) for part in parts):
            return X
        return _scaled(X, read)

    def _in_units_of_X(self, scores):
        return scores if self._rating_scale is None else self._rating_scale.undo(scores)
