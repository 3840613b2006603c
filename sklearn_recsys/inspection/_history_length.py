"""A plot of a metric for users with histories of different lengths."""

from __future__ import annotations

from numbers import Integral
from typing import Self

import numpy as np
import pandas as pd
from sklearn.utils import check_scalar

from sklearn_recsys.inspection._plotting import add_legend, list_outcome, new_axes
from sklearn_recsys.metrics import _scorer
from sklearn_recsys.metrics._outcome import RowSums
from sklearn_recsys.model_selection._evaluate import named_models, outcomes


class HistoryLengthDisplay:
    """Plot of a metric for users with histories of different lengths.

    The users are divided at quantiles of the lengths of their histories into groups of about the
    same size. Error bars are one standard error on each side. It is recommended to use
    `from_estimator` or `from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    scores : DataFrame of shape (n_groups, n_models)
        The metric in each group, whose lengths of histories, as in ``"5-12"``, are the index.
    standard_errors : DataFrame of shape (n_groups, n_models)
        Their standard errors over the users; NaN for a group of one.
    n_users : Series of int of shape (n_groups,)
        How many users with something held out are in each group.
    metric : str
        The name of the metric, such as ``"ndcg@10"``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the plot.
    figure_ : matplotlib Figure
        The figure that contains it.
    errorbars_ : list of matplotlib ErrorbarContainer
        The points of each model.

    See Also
    --------
    sklearn_recsys.compose.SwitchRecommender : A model for each length of history.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.inspection import HistoryLengthDisplay
    >>> index = ["1-5", "6-20"]
    >>> display = HistoryLengthDisplay(
    ...     scores=pd.DataFrame({"EASE": [0.2, 0.4]}, index=index),
    ...     standard_errors=pd.DataFrame({"EASE": [0.01, 0.01]}, index=index),
    ...     n_users=pd.Series([500, 480], index=index),
    ...     metric="ndcg@10",
    ... )
    >>> [label.get_text() for label in display.plot().ax_.get_xticklabels()]
    ['1-5', '6-20']
    """

    def __init__(self, *, scores, standard_errors, n_users, metric):
        self.scores = scores
        self.standard_errors = standard_errors
        self.n_users = n_users
        self.metric = metric

    def plot(self, ax=None, *, errorbar_kwargs=None) -> Self:
        """Plot the metric of each group.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        errorbar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.errorbar`.

        Returns
        -------
        display : HistoryLengthDisplay
            The display itself.
        """
        ax = new_axes(ax)
        positions = np.arange(len(self.scores))
        offsets = np.linspace(-0.1, 0.1, self.scores.shape[1]) if self.scores.shape[1] > 1 else [0]
        self.errorbars_ = []
        for offset, (name, scores) in zip(offsets, self.scores.items(), strict=True):
            errors = self.standard_errors[name].fillna(0)
            options = {"marker": "o", "capsize": 3, "label": name, **(errorbar_kwargs or {})}
            # side by side: error bars of models would hide each other
            self.errorbars_.append(ax.errorbar(positions + offset, scores, errors, **options))
        ax.set_xticks(positions, list(self.scores.index))
        if len(positions) > 6:
            ax.tick_params(axis="x", rotation=45)  # side by side the ranges would not fit
        ax.set(xlabel="Length of the history", ylabel=self.metric)
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
        metric="ndcg@10",
        n_groups=5,
        exclude_seen=True,
        candidates=None,
        user_features=None,
        ax=None,
        errorbar_kwargs=None,
    ) -> Self:
        """Evaluate fitted models, and plot a metric by length of the history.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            A fitted recommender, or several by name.
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The input cells of each row, of which there are as many as its history is long.
        y : {sparse matrix, sparse array, array-like}, default=None
            The held-out cells of each row, as in `score`.
        metric : str, default="ndcg@10"
            A metric of `score`.
        n_groups : int, default=5
            The number of groups; fewer if many histories have the same length.
        exclude_seen : bool, default=True
            Whether to exclude the items of `X` from the ranking.
        candidates : array-like or sparse, default=None
            Rank only these items, together with the row's held-out ones, as in `score`.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of the rows of `X`, for models that were fitted with user features.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        errorbar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.errorbar`.

        Returns
        -------
        display : HistoryLengthDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import EASE, PopularityRecommender
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import HistoryLengthDisplay
        >>> from sklearn_recsys.model_selection import random_holdout
        >>> R = make_interactions(n_users=60, n_items=40, random_state=0)
        >>> train, test = random_holdout(R, random_state=0)
        >>> models = {"EASE": EASE(l2=10).fit(train), "popular": PopularityRecommender().fit(train)}
        >>> display = HistoryLengthDisplay.from_estimator(models, train, test, n_groups=2)
        >>> display.scores.columns.tolist()
        ['EASE', 'popular']
        """
        parsed = [_scorer.parse_metric(metric)]
        options = {"exclude_seen": exclude_seen, "candidates": candidates}
        found = outcomes(
            named_models(estimator), X, y, parsed, user_features=user_features, **options
        )
        return cls._from_outcomes(found, parsed, n_groups, ax, errorbar_kwargs)

    @classmethod
    def from_predictions(
        cls, y_true, y_pred, X, *, metric="ndcg@10", n_groups=5, ax=None, errorbar_kwargs=None
    ) -> Self:
        """Plot a ranking metric of lists by length of the history.

        Parameters
        ----------
        y_true : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items)
            The held-out items of each row: those of the nonzero cells.
        y_pred : array-like of int of shape (n_rows, n_slots), or dict of str to array-like
            Ranked item ids, best first; -1 is an empty slot. Or those of several models by name.
        X : {sparse matrix, sparse array, array-like} of shape (n_rows, n_items)
            The histories of the rows.
        metric : str, default="ndcg@10"
            A ranking metric of `score`.
        n_groups : int, default=5
            The number of groups; fewer if many histories have the same length.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        errorbar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.errorbar`.

        Returns
        -------
        display : HistoryLengthDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys.inspection import HistoryLengthDisplay
        >>> X = [[1, 0, 0, 0], [1, 1, 0, 0]]
        >>> y_true = [[0, 1, 0, 0], [0, 0, 0, 1]]
        >>> display = HistoryLengthDisplay.from_predictions(
        ...     y_true, [[1, 2], [2, 0]], X, metric="hr@2", n_groups=2
        ... )
        >>> display.scores["recommendations"].to_dict()
        {'1': 1.0, '2': 0.0}
        """
        parsed = [_scorer.parse_metric(metric)]
        (depth,) = (depth for *_, depth in parsed)
        if depth is None:
            raise ValueError(f"metric must be a ranking metric; got {metric!r}.")
        lists = y_pred if isinstance(y_pred, dict) else {"recommendations": y_pred}
        found = {name: list_outcome(y_true, ids, depth, X) for name, ids in lists.items()}
        return cls._from_outcomes(found, parsed, n_groups, ax, errorbar_kwargs)

    @classmethod
    def _from_outcomes(cls, found, parsed, n_groups, ax, errorbar_kwargs):
        """Return the display of some models' `Outcome` by name, with the plot."""
        ((label, *_),) = parsed
        sums = {name: outcome.row_sums(parsed)[label] for name, outcome in found.items()}
        check_scalar(n_groups, "n_groups", Integral, min_val=1)
        first = next(iter(found.values()))
        held_out = np.diff(first.y.indptr) > 0
        groups = _groups(np.diff(first.X.indptr), held_out, n_groups)

        def table(value):
            columns = {
                name: [value(_of_rows(of_model, rows)) for rows in groups.values()]
                for name, of_model in sums.items()
            }
            return pd.DataFrame(columns, index=list(groups))

        display = cls(
            scores=table(lambda one: one.score),
            standard_errors=table(lambda one: one.standard_error),
            n_users=pd.Series({name: len(rows) for name, rows in groups.items()}),
            metric=label,
        )
        return display.plot(ax, errorbar_kwargs=errorbar_kwargs)


def _groups(lengths, held_out, n_groups):
    """Return the rows with something held out in groups, by the lengths of their histories."""
    rows = np.flatnonzero(held_out)
    shares = np.linspace(0, 1, n_groups + 1)[1:-1]
    bounds = np.unique(np.quantile(lengths[rows], shares, method="lower"))
    codes = np.searchsorted(bounds, lengths[rows])  # a length on a bound is in the lower group
    groups = {}
    for code in np.unique(codes):
        members = rows[codes == code]
        low, high = lengths[members].min(), lengths[members].max()
        groups[str(low) if low == high else f"{low}-{high}"] = members
    return groups


def _of_rows(sums, rows):
    """Return the `RowSums` of some rows."""
    return RowSums(sums.name, sums.totals[rows], sums.counts[rows])
