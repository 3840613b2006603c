"""A leaderboard: the scores of models with their intervals."""

from __future__ import annotations

from typing import Self

import numpy as np

from sklearn_recsys.inspection._compare import compare
from sklearn_recsys.inspection._plotting import new_axes


class LeaderboardDisplay:
    """Scores of models with their intervals, the best one at the top.

    It is recommended to use `from_comparison` or `from_estimators`. All parameters are stored as
    attributes.

    Parameters
    ----------
    scores : DataFrame
        A row for each model, best first, with the columns ``score``, ``low`` and ``high``.
    metric : str
        What the scores are, for the label of the axis.
    baseline : str, default=None
        A model whose score is marked by a line.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the plot.
    figure_ : matplotlib Figure
        The figure that contains it.
    errorbar_ : matplotlib ErrorbarContainer
        The points with their intervals.

    See Also
    --------
    compare : Computes the scores.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.inspection import LeaderboardDisplay
    >>> scores = pd.DataFrame(
    ...     {"score": [0.31, 0.24], "low": [0.29, 0.22], "high": [0.33, 0.26]},
    ...     index=["EASE", "popular"],
    ... )
    >>> display = LeaderboardDisplay(scores=scores, metric="ndcg@10", baseline="popular")
    >>> [label.get_text() for label in display.plot().ax_.get_yticklabels()]
    ['EASE', 'popular']
    """

    def __init__(self, *, scores, metric, baseline=None):
        self.scores = scores
        self.metric = metric
        self.baseline = baseline

    def plot(self, ax=None, *, errorbar_kwargs=None) -> Self:
        """Plot the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        errorbar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.errorbar`.

        Returns
        -------
        display : LeaderboardDisplay
            The display itself.
        """
        ax = new_axes(ax)
        score = self.scores["score"].to_numpy()
        lengths = np.abs(self.scores[["low", "high"]].to_numpy().T - score)
        positions = np.arange(len(score))  # models, which may have the labels of numbers
        options = {"fmt": "o", "capsize": 3, **(errorbar_kwargs or {})}
        self.errorbar_ = ax.errorbar(score, positions, xerr=np.nan_to_num(lengths), **options)
        ax.set_yticks(positions, [str(name) for name in self.scores.index])
        ax.set_ylim(len(score) - 0.5, -0.5)  # the best one is at the top
        if self.baseline is not None:
            at = self.scores.loc[self.baseline, "score"]
            ax.axvline(at, color="gray", linestyle="--", linewidth=0.8, zorder=0)
        ax.set(xlabel=self.metric)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_comparison(
        cls, comparison, metric=None, *, difference=False, ax=None, errorbar_kwargs=None
    ) -> Self:
        """Plot the scores of a comparison.

        Parameters
        ----------
        comparison : Comparison
            What :func:`compare` returned.
        metric : str, default=None
            The label of a metric; None: the first one.
        difference : bool, default=False
            Whether to plot the differences from the baseline, whose own is 0.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        errorbar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.errorbar`.

        Returns
        -------
        display : LeaderboardDisplay
            The display, with the plot.
        """
        metric = comparison.metrics[0] if metric is None else metric
        frame = comparison.to_frame(metric)
        columns = ["score", "low", "high"]
        scores = frame[columns]
        label = metric
        if difference:
            scores = frame[["difference", "difference_low", "difference_high"]]
            scores = scores.set_axis(columns, axis=1)
            scores.loc[comparison.baseline] = 0.0
            label = f"{metric}, difference from {comparison.baseline}"
        display = cls(scores=scores, metric=label, baseline=comparison.baseline)
        return display.plot(ax, errorbar_kwargs=errorbar_kwargs)

    @classmethod
    def from_estimators(
        cls, models, X, y=None, *, metric="ndcg", ax=None, errorbar_kwargs=None, **options
    ) -> Self:
        """Compare models, and plot their scores.

        Parameters
        ----------
        models : dict of str to estimator
            Recommenders by name, as in :func:`compare`.
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The input cells of each row.
        y : {sparse matrix, sparse array, array-like}, default=None
            The held-out cells of each row.
        metric : str, default="ndcg"
            The metric.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        errorbar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.errorbar`.
        **options : dict
            Further arguments of :func:`compare`, such as `cv`.

        Returns
        -------
        display : LeaderboardDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import EASE, ItemKNN
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import LeaderboardDisplay
        >>> R = make_interactions(n_users=100, n_items=40, random_state=0)
        >>> models = {"EASE": EASE(l2=10), "knn": ItemKNN()}
        >>> display = LeaderboardDisplay.from_estimators(models, R, cv=2)
        >>> display.ax_.get_xlabel()
        'ndcg@10'
        """
        comparison = compare(models, X, y, metrics=metric, **options)
        return cls.from_comparison(comparison, ax=ax, errorbar_kwargs=errorbar_kwargs)
