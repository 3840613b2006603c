"""The internal scale of rating models, which makes them independent of the unit of the ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP = 2.0**-14  # grid that scaled ratings are rounded to: 1 / 65,536 of their range


@dataclass
class RatingScale:
    """An affine map of ratings onto a scale from 1 to 5, and back.

    The default learning rates, penalties and other hyperparameters of rating models were chosen for
    ratings from 1 to 5. On this scale they have the same effect in any unit of the data.

    Parameters
    ----------
    low : float
        The rating that becomes 1.
    unit : float
        The length of one scale unit in rating units; greater than zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.utils._rating_scale import RatingScale
    >>> scale = RatingScale.of_range(10, 50)
    >>> scale.apply([10, 25, 50])
    array([1. , 2.5, 5. ])
    >>> scale.undo(np.array([1, 2.5, 5], dtype=np.float32))
    array([10., 25., 50.], dtype=float32)
    """

    low: float
    unit: float

    @classmethod
    def of_range(cls, low, high):
        """Return the scale of ratings from `low` to `high`; a single rating, never 0, becomes 1."""
        return cls(float(low), (high - low) / 4 or abs(float(low)))

    def apply(self, ratings):
        """Return ratings on the scale, in float64."""
        scaled = np.asarray(ratings, dtype=np.float64) - self.low
        scaled /= self.unit
        scaled += 1
        return scaled

    def read(self, ratings):
        """Return ratings on the scale as nonzero float32, rounded to a fine grid.

        Ratings in another unit differ by float32 rounding errors, which training would amplify;
        after rounding to the grid they are bit-identical, and so is the trained model.
        """
        scaled = np.rint(self.apply(ratings) / STEP) * STEP
        scaled[scaled == 0] = STEP  # a stored zero would mean "not observed"
        return scaled.astype(np.float32)

    def undo(self, scaled):
        """Turn a float array on the scale into ratings, in place, and return it."""
        if self.low != 1 or self.unit != 1:
            scaled -= 1
            scaled *= self.unit
            scaled += self.low
        return scaled

    def _save_state(self):
        return {"low": self.low, "unit": self.unit}

    def _load_state(self, state):
        low, unit = (float(state.get(name, np.nan)) for name in ("low", "unit"))
        if not (len(state) == 2 and np.isfinite(low) and 0 < unit < np.inf):
            raise ValueError(f"the rating scale {state!r} is invalid")
        self.low, self.unit = low, unit
