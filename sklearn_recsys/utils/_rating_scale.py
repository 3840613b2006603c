"""The one unit that rating models work in, whatever unit their ratings come in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_STEP = 2.0**-14  # of the grid that ratings are rounded to: a 65,536th of their range


@dataclass
class RatingScale:
    """An affine map of ratings onto a scale from 1 to 5, and back.

    Learning rates, penalties and all other parameters of rating models were chosen on ratings from
    1 to 5. On this scale they mean the same whatever the unit of the data.

    Parameters
    ----------
    low : float
        The rating that becomes 1.
    unit : float
        What one is in ratings; greater than zero.

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
        """Return ratings on the scale as float32, rounded to a fine grid, none of them zero.

        Ratings in another unit differ by what float32 loses. Training would amplify that; rounded,
        they are equal to the last bit, and so is all that is learned from them.
        """
        scaled = np.rint(self.apply(ratings) / _STEP) * _STEP
        scaled[scaled == 0] = _STEP  # a stored zero would be a cell that is not observed
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
            raise ValueError(f"a rating scale of {state!r}")
        self.low, self.unit = low, unit
