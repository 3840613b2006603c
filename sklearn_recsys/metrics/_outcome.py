"""What a model predicted for held-out interactions, and its metrics: overall, and row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.metrics import _scorer
from sklearn_recsys.metrics._hits import average_rows
from sklearn_recsys.metrics._per_row import NO_GAIN
from sklearn_recsys.utils._cells import cell_rows


@dataclass(eq=False, slots=True)
class Outcome:
    """Predictions for held-out interactions.

    Parameters
    ----------
    X, y : csr_array of shape (n_rows, n_items)
        What was given of each row, and what was held out, canonical.
    ratings : ndarray of shape (n_cells,), default=None
        Predicted ratings of the cells of `y`; None without a rating metric.
    ids : ndarray of int64 of shape (n_rows, n_slots), default=None
        Ranked items; None without a ranking metric.
    seconds : float, default=0.0
        How long the predictions took.
    """

    X: sp.csr_array
    y: sp.csr_array
    ratings: np.ndarray | None = None
    ids: np.ndarray | None = None
    seconds: float = 0.0

    def scores(self, parsed):
        """Return a dict of the accuracy metrics in `parsed`, None for beyond-accuracy ones."""
        values = {}
        if self.ratings is not None:
            values.update(_scorer.rating_scores(parsed, self.y.data, self.ratings))
        if self.ids is not None:
            values.update(_scorer.ranking_scores(parsed, self.y, self.ids))
        return {label: values.get(label) for label, *_ in parsed}

    def row_sums(self, parsed):
        """Return a dict of the `RowSums` of the accuracy metrics in `parsed`."""
        sums = {}
        for label, name, depth in parsed:
            if depth is None:
                errors = _scorer.CELL_ERRORS[name](self.ratings - self.y.data.astype(np.float64))
                rows, n_rows = cell_rows(self.y), self.y.shape[0]
                totals = np.bincount(rows, weights=errors, minlength=n_rows)
                sums[label] = RowSums(name, totals, np.diff(self.y.indptr).astype(np.float64))
        ranked = {} if self.ids is None else _scorer.ranking_values(parsed, self.y, self.ids)
        for label, values in ranked.items():
            defined = ~np.isnan(average_rows(values, None, NO_GAIN))
            sums[label] = RowSums(label, np.where(defined, values, 0), defined.astype(np.float64))
        return {label: sums[label] for label, *_ in parsed if label in sums}


@dataclass(eq=False, slots=True)
class RowSums:
    """A metric as a mean over the values of all rows: one value of a row, or one of each cell.

    Parameters
    ----------
    name : str
        The metric: ``"neg_rmse"``, ``"neg_mae"``, or any mean over rows.
    totals : ndarray of float64 of shape (n_rows,)
        The sum of each row's values; for rating metrics, of squared or absolute errors.
    counts : ndarray of float64 of shape (n_rows,)
        Their number, 0 for rows with nothing held out.
    """

    name: str
    totals: np.ndarray
    counts: np.ndarray

    @property
    def score(self):
        """The metric over all rows."""
        return float(as_score(self.name, self.totals.sum() / self.counts.sum()))

    @property
    def by_row(self):
        """The metric of each row alone, NaN where nothing is held out."""
        with np.errstate(invalid="ignore"):
            return as_score(self.name, self.totals / self.counts)

    @property
    def influence(self):
        """What each row with something held out adds to the score, to first order: mean 0."""
        rows = self.counts > 0
        totals, counts = self.totals[rows], self.counts[rows]
        mean = totals.sum() / counts.sum()
        slope = 1.0
        if self.name in _scorer.CELL_ERRORS:
            slope = -0.5 / np.sqrt(mean) if self.name == "neg_rmse" and mean else -1.0
        return slope * (totals - mean * counts) / counts.mean()

    @property
    def standard_error(self):
        """The standard error of the score over a sample of rows; NaN of fewer than two."""
        influence = self.influence
        if len(influence) < 2:
            return np.nan
        return float(influence.std(ddof=1) / np.sqrt(len(influence)))


def as_score(name, mean):
    """Return the value of a metric from the mean of its rows' or cells' values."""
    if name == "neg_rmse":
        return -np.sqrt(mean)
    return -mean if name == "neg_mae" else mean
