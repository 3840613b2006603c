"""The result of a comparison of recommenders."""

from __future__ import annotations

from html import escape
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sklearn_recsys.utils._suggest import did_you_mean

if TYPE_CHECKING:
    from sklearn_recsys.inspection._leaderboard import LeaderboardDisplay

_COSTS = {
    "fit_seconds": ("fit, s", "{:.3g}"),
    "predict_seconds": ("predict, s", "{:.3g}"),
    "fit_mib": ("fit, MiB", "{:.0f}"),
    "predict_mib": ("predict, MiB", "{:.0f}"),
}


class Comparison:
    r"""Scores of several recommenders on the same users, with intervals and tests.

    :func:`compare` makes it. All parameters are stored as attributes. It shows as a table, the best
    model first.

    Parameters
    ----------
    scores : DataFrame
        A row for each metric and model (in the index), with the columns

        - ``score``, ``low``, ``high``: the metric, and its bootstrap interval;
        - ``standard_error``: of the score, over users;
        - ``repeat_sd``: the standard deviation of the scores of the repetitions, NaN without any;
        - ``difference``, ``difference_low``, ``difference_high``: from the score of the baseline,
          with its interval; NaN for the baseline itself, as the columns below;
        - ``p_value``: of the paired test for a difference from the baseline;
        - ``p_holm``: the same after Holm's correction for the number of models, metric by metric;
        - ``effect_size``: the difference, divided by the standard deviation of the users'
          differences (Cohen's d of paired samples).

        Beyond-accuracy metrics, such as coverage, only have a ``score`` and a ``repeat_sd``.
    per_user : DataFrame
        A row for each user, a column for each metric and model, ``per_user["ndcg@10"]`` is the
        frame of one metric. NaN for users with nothing held out.
    costs : DataFrame
        A row for each model, means over its fits: ``fit_seconds`` and ``predict_seconds``, which
        is the ranking or the prediction of ratings; ``fit_mib`` and ``predict_mib``, by how much
        the peak of the resident memory exceeded what the process held before. NaN where it was not
        measured.
    repeats : DataFrame
        The scores of each repetition: a row for each model and repetition, a column for each
        metric.
    baseline : str
        The model that the others are tested against.
    confidence_level : float, default=0.95
        The confidence level of the intervals.

    See Also
    --------
    LeaderboardDisplay : Plots the scores.

    Notes
    -----
    A score is a mean over users; for the RMSE and the MAE, over the held-out cells of all users,
    :math:`\sum_u s_u / \sum_u n_u` with sums :math:`s_u` of errors and numbers of cells
    :math:`n_u`.

    *Intervals* are those of the bootstrap, bias-corrected and accelerated [1]_: users are drawn
    with replacement, with all their cells and for all models alike. They answer how much the score
    would change with other users of the same kind; the fitted models, their seeds and the split
    stay as they are. Of a score that rests on fewer than about twenty users with a hit, they
    are too short.

    *Tests* flip signs at random [2]_: if two models are equally good, each user's two values could
    as well be swapped. The p-value is the share of swaps after which the scores differ by more than
    they do, and half of those after which they differ by as much; of hits, that is McNemar's test
    with mid-p-values [3]_. It assumes no distribution but that the values are exchangeable, and
    with many users only that the means are equal; a t-test is then nearly the same. The test of
    Wilcoxon is not used because it is about the ranks of the differences that are not zero, not
    about the scores. `p_holm` bounds the chance to find a difference by mistake for any of the
    models [4]_.

    References
    ----------
    .. [1] B. Efron, "Better bootstrap confidence intervals", Journal of the American Statistical
       Association 82, 1987.
    .. [2] M. Smucker, J. Allan, B. Carterette, "A comparison of statistical significance tests for
       information retrieval evaluation", CIKM 2007.
    .. [3] M. Fagerland, S. Lydersen, P. Laake, "The McNemar test for binary matched-pairs data:
       mid-p and asymptotic are better than exact conditional", BMC Medical Research Methodology
       13:91, 2013.
    .. [4] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
       of Statistics 6, 1979.

    Examples
    --------
    >>> from sklearn_recsys import EASE, PopularityRecommender
    >>> from sklearn_recsys.datasets import make_movies
    >>> from sklearn_recsys.inspection import compare
    >>> from sklearn_recsys.preprocessing import InteractionEncoder
    >>> R = InteractionEncoder().fit_transform(make_movies(random_state=0).interactions)
    >>> models = {"popular": PopularityRecommender(), "EASE": EASE(l2=50)}
    >>> comparison = compare(models, R, cv=3, metrics=["ndcg", "coverage"])
    >>> comparison.per_user["ndcg@10"].mean().round(3)
    model
    popular    0.144
    EASE       0.303
    dtype: float64
    >>> comparison.scores.loc[("ndcg@10", "EASE"), ["difference", "p_holm"]].round(5)
    difference    0.15861
    p_holm        0.00005
    Name: (ndcg@10, EASE), dtype: float64
    """

    def __init__(self, scores, per_user, costs, repeats, baseline, *, confidence_level=0.95):
        self.scores = scores
        self.per_user = per_user
        self.costs = costs
        self.repeats = repeats
        self.baseline = baseline
        self.confidence_level = confidence_level

    @property
    def metrics(self) -> list[str]:
        """The labels of the metrics."""
        return self.scores.index.unique(0).tolist()

    @property
    def models(self) -> list[str]:
        """The names of the models, best first by the first metric."""
        return self.to_frame(self.metrics[0]).index.tolist()

    def to_frame(self, metric=None) -> pd.DataFrame:
        """Return the scores as a frame.

        Parameters
        ----------
        metric : str, default=None
            The label of a metric, such as ``"ndcg@10"``; None: all metrics.

        Returns
        -------
        frame : DataFrame
            A copy of `scores`. For one metric a row for each model, best first, with the columns of
            `costs`.
        """
        if metric is None:
            return self.scores.copy()
        if metric not in self.metrics:
            raise ValueError(
                f"The comparison has no metric {metric!r}; it has {', '.join(self.metrics)}."
                f"{did_you_mean(metric, self.metrics)}"
            )
        frame = self.scores.loc[metric].sort_values("score", ascending=False, kind="stable")
        return frame.join(self.costs)

    def plot(
        self, metric=None, *, difference=False, ax=None, errorbar_kwargs=None
    ) -> LeaderboardDisplay:
        """Plot the scores with their intervals.

        Parameters
        ----------
        metric : str, default=None
            The label of a metric; None: the first one.
        difference : bool, default=False
            Whether to plot the differences from the baseline.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        errorbar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.errorbar`.

        Returns
        -------
        display : LeaderboardDisplay
            The display, with the plot.
        """
        from sklearn_recsys.inspection import LeaderboardDisplay

        options = {"difference": difference, "ax": ax, "errorbar_kwargs": errorbar_kwargs}
        return LeaderboardDisplay.from_comparison(self, metric, **options)

    # ---------------------------------------------------------------- what it shows

    def _table(self):
        """Return a frame of text, a row for each model, best first."""
        alpha = 1 - self.confidence_level
        table = {}
        for metric in self.metrics:
            rows = self.scores.loc[metric]
            cells = rows["score"].map("{:.4f}".format)
            if rows["low"].notna().any():
                intervals = [f" [{a:.4f}, {b:.4f}]" for a, b in rows[["low", "high"]].to_numpy()]
                cells += intervals + np.where(rows["p_holm"] < alpha, " *", "  ")
            table[metric] = cells
            if rows["repeat_sd"].notna().any():
                deviations = rows["repeat_sd"].map("{:.4f}".format, na_action="ignore")
                table[f"{metric}, s.d. of repeats"] = deviations.fillna("")
        for column, (title, form) in _COSTS.items():
            if self.costs[column].notna().any():
                table[title] = self.costs[column].map(form.format, na_action="ignore").fillna("")
        return pd.DataFrame(table).loc[self.models]

    def _caption(self):
        n_users = self.per_user.notna().any(axis=1).sum()
        percent = f"{100 * self.confidence_level:g} %"
        return (
            f"{len(self.costs)} models on {n_users:,} users. In brackets: {percent} bootstrap "
            f"intervals over the users. *: differs from {self.baseline!r}, "
            f"p < {1 - self.confidence_level:.2g} by sign flips, with Holm's correction for the "
            "models."
        )

    def __repr__(self):
        return f"{self._table().to_string()}\n{fill(self._caption(), 100)}"

    def _repr_html_(self):
        return f"{self._table().to_html()}<p>{escape(self._caption())}</p>"
