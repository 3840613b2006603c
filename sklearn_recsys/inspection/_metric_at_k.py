"""A plot of a ranking metric at several lengths of the list."""

from __future__ import annotations

from typing import Self

import pandas as pd

from sklearn_recsys.inspection._plotting import add_legend, list_outcome, new_axes
from sklearn_recsys.metrics import _scorer
from sklearn_recsys.model_selection._evaluate import named_models, outcomes

_LENGTHS = (1, 2, 5, 10, 20, 50)


class MetricAtKDisplay:
    """Plot of a ranking metric against k, the length of the list.

    A band is one standard error on each side. It is recommended to use `from_estimator` or
    `from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    scores : DataFrame of shape (n_lengths, n_models)
        The metric at each length of the list, which is the index, of each model.
    standard_errors : DataFrame of shape (n_lengths, n_models)
        Their standard errors over the users.
    metric : str
        The name of the metric, such as ``"ndcg"``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the plot.
    figure_ : matplotlib Figure
        The figure that contains it.
    lines_ : list of matplotlib Line2D
        A line for each model.

    See Also
    --------
    sklearn_recsys.model_selection.evaluate : The same figures, and others, as a table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.inspection import MetricAtKDisplay
    >>> scores = pd.DataFrame({"EASE": [0.2, 0.6]}, index=[1, 10])
    >>> errors = pd.DataFrame({"EASE": [0.01, 0.01]}, index=[1, 10])
    >>> display = MetricAtKDisplay(scores=scores, standard_errors=errors, metric="recall").plot()
    >>> display.ax_.get_ylabel()
    'recall@k'
    """

    def __init__(self, *, scores, standard_errors, metric):
        self.scores = scores
        self.standard_errors = standard_errors
        self.metric = metric

    def plot(self, ax=None, *, line_kwargs=None) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : MetricAtKDisplay
            The display itself.
        """
        ax = new_axes(ax)
        self.lines_ = []
        for name, scores in self.scores.items():
            options = {"marker": "o", "label": name, **(line_kwargs or {})}
            self.lines_ += ax.plot(scores.index, scores, **options)
            error, color = self.standard_errors[name], self.lines_[-1].get_color()
            ax.fill_between(scores.index, scores - error, scores + error, color=color, alpha=0.2)
        ax.set_xscale("log")
        ax.set_xticks(self.scores.index, [str(k) for k in self.scores.index])
        ax.minorticks_off()
        ax.set(xlabel="k, the length of the list", ylabel=f"{self.metric}@k")
        add_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        metric="ndcg",
        k=_LENGTHS,
        exclude_seen=True,
        candidates=None,
        user_features=None,
        ax=None,
        line_kwargs=None,
    ) -> Self:
        """Rank with fitted models, once, and plot a metric of the lists.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            A fitted recommender, or several by name.
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The input cells of each row.
        y : {sparse matrix, sparse array, array-like}, default=None
            The held-out cells of each row, as in `score`.
        metric : str, default="ndcg"
            A ranking metric of `score`, such as ``"ndcg"``, ``"hr"`` or ``"recall"``.
        k : sequence of int, default=(1, 2, 5, 10, 20, 50)
            The lengths of the list.
        exclude_seen : bool, default=True
            Whether to exclude the items of `X` from the ranking.
        candidates : array-like or sparse, default=None
            Rank only these items, together with the row's held-out ones, as in `score`.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of the rows of `X`, for models that were fitted with user features.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : MetricAtKDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import EASE, PopularityRecommender
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import MetricAtKDisplay
        >>> from sklearn_recsys.model_selection import random_holdout
        >>> R = make_interactions(n_users=200, n_items=50, density=0.2, random_state=0)
        >>> train, test = random_holdout(R, 0.2, per_user=True, random_state=0)
        >>> models = {"EASE": EASE(l2=10).fit(train), "popular": PopularityRecommender().fit(train)}
        >>> display = MetricAtKDisplay.from_estimator(models, train, test, k=[1, 5, 10])
        >>> display.scores.idxmax(axis=1).tolist()  # the best model at 1, 5 and 10 items
        ['EASE', 'EASE', 'EASE']
        """
        parsed = _at_lengths(metric, k)
        options = {"exclude_seen": exclude_seen, "candidates": candidates}
        found = outcomes(
            named_models(estimator), X, y, parsed, user_features=user_features, **options
        )
        return cls._from_outcomes(found, parsed, ax, line_kwargs)

    @classmethod
    def from_predictions(
        cls, y_true, y_pred, *, metric="ndcg", k=_LENGTHS, ax=None, line_kwargs=None
    ) -> Self:
        """Plot a metric of ranked lists.

        Parameters
        ----------
        y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items)
            The held-out items of each row: those of the nonzero cells.
        y_pred : array-like of int of shape (n_rows, n_slots), or dict of str to array-like
            Ranked item ids, best first; -1 is an empty slot. Or those of several models by name.
        metric : str, default="ndcg"
            A ranking metric of `score`, such as ``"ndcg"``, ``"hr"`` or ``"recall"``.
        k : sequence of int, default=(1, 2, 5, 10, 20, 50)
            The lengths of the list.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : MetricAtKDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys.inspection import MetricAtKDisplay
        >>> display = MetricAtKDisplay.from_predictions(
        ...     [[1, 0, 0], [0, 1, 0]], [[0, 1], [0, 1]], metric="hr", k=[1, 2]
        ... )
        >>> display.scores["recommendations"].tolist()
        [0.5, 1.0]
        """
        parsed = _at_lengths(metric, k)
        depth = max(depth for *_, depth in parsed)
        lists = y_pred if isinstance(y_pred, dict) else {"recommendations": y_pred}
        found = {name: list_outcome(y_true, ids, depth) for name, ids in lists.items()}
        return cls._from_outcomes(found, parsed, ax, line_kwargs)

    @classmethod
    def _from_outcomes(cls, found, parsed, ax, line_kwargs):
        """Return the display of some models' `Outcome` by name, with the plot."""
        sums = {name: outcome.row_sums(parsed) for name, outcome in found.items()}
        lengths = {label: depth for label, _, depth in parsed}

        def table(value):
            columns = {
                name: {lengths[label]: value(one) for label, one in of_model.items()}
                for name, of_model in sums.items()
            }
            return pd.DataFrame(columns)

        display = cls(
            scores=table(lambda one: one.score),
            standard_errors=table(lambda one: one.standard_error),
            metric=parsed[0][1],
        )
        return display.plot(ax, line_kwargs=line_kwargs)


def _at_lengths(metric, k):
    """Return the parsed metric at each length, shortest first."""
    if "@" in str(metric):
        raise ValueError(f"metric must be a name without a length, and k the lengths; got {metric}")
    parsed = [_scorer.parse_metric(metric, length) for length in sorted(set(k))]
    if not parsed:
        raise ValueError("k must hold at least one length; got none.")
    if parsed[0][2] is None:
        raise ValueError(f"metric must be a ranking metric; got {metric!r}.")
    return parsed
