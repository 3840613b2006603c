"""A plot of two figures of several models against each other."""

from __future__ import annotations

from typing import Self

from sklearn_recsys.inspection._plotting import label_points, new_axes
from sklearn_recsys.model_selection import evaluate
from sklearn_recsys.utils._suggest import did_you_mean


class TradeOffDisplay:
    """Plot of one figure of several models against another, such as accuracy against coverage.

    All parameters are stored as attributes.

    Parameters
    ----------
    table : DataFrame
        A row for each model, its name in the index, and a column for each figure: what
        :func:`~sklearn_recsys.model_selection.evaluate` or `Comparison.to_frame` returns, or any
        other frame, with columns for seconds or memory.
    x, y : str
        The columns for the two axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the plot.
    figure_ : matplotlib Figure
        The figure that contains it.
    line_ : matplotlib Line2D
        The points, in the order of the table.
    text_ : list of matplotlib Text
        The names at the points.

    See Also
    --------
    TradeOffDisplay.from_estimator : Evaluate models, and plot two of their metrics.
    sklearn_recsys.model_selection.evaluate : Make the table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.inspection import TradeOffDisplay
    >>> table = pd.DataFrame({"ndcg@10": [0.336, 0.298], "seconds": [2.1, 0.6]})
    >>> table.index = ["EASE", "UserKNN"]
    >>> display = TradeOffDisplay(table=table, x="seconds", y="ndcg@10").plot(log_x=True)
    >>> [text.get_text() for text in display.text_]
    ['EASE', 'UserKNN']
    """

    def __init__(self, *, table, x, y):
        self.table = table
        self.x = x
        self.y = y

    def plot(self, ax=None, *, connect=False, log_x=False, label=None, line_kwargs=None) -> Self:
        """Plot a point for each model.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        connect : bool, default=False
            Whether to connect the points by a line, in the order of the table: for rows that are
            values of one hyperparameter.
        log_x : bool, default=False
            Whether the x axis is logarithmic: for seconds.
        label : str, default=None
            The name of all points in the legend.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : TradeOffDisplay
            The display itself.
        """
        for name in (self.x, self.y):
            if name not in self.table.columns:
                columns = [str(column) for column in self.table.columns]
                raise ValueError(
                    f"The table has no column {name!r}; it has {', '.join(columns)}."
                    f"{did_you_mean(name, columns)}"
                )
        ax = new_axes(ax)
        options = {"marker": "o", "linestyle": "-" if connect else "none", "label": label}
        x, y = self.table[self.x], self.table[self.y]
        (self.line_,) = ax.plot(x, y, **{**options, **(line_kwargs or {})})
        if log_x:
            ax.set_xscale("log")
        if label is not None:
            ax.legend()
        ax.set(xlabel=self.x, ylabel=self.y)
        ax.margins(x=0.15, y=0.1)  # the names at the points need some room
        self.text_ = label_points(ax, list(zip(x, y, strict=True)), self.table.index)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        metrics=("coverage", "ndcg"),
        k=10,
        exclude_seen=True,
        candidates=None,
        user_features=None,
        ax=None,
        connect=False,
        log_x=False,
        label=None,
        line_kwargs=None,
    ) -> Self:
        """Evaluate fitted models on held-out interactions, and plot two metrics of them.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            A fitted recommender, or several by name.
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The input cells of each row.
        y : {sparse matrix, sparse array, array-like}, default=None
            The held-out cells of each row, as in `score`.
        metrics : (str, str), default=("coverage", "ndcg")
            The metrics of the x axis and of the y axis, as in
            :func:`~sklearn_recsys.model_selection.evaluate`.
        k : int, default=10
            Length of the list for metrics that do not include one.
        exclude_seen : bool, default=True
            Whether to exclude the items of `X` from the ranking.
        candidates : array-like or sparse, default=None
            Rank only these items, together with the row's held-out ones, as in `score`.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of the rows of `X`, for models that were fitted with user features.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        connect : bool, default=False
            Whether to connect the points by a line, in the order of the models.
        log_x : bool, default=False
            Whether the x axis is logarithmic.
        label : str, default=None
            The name of all points in the legend.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : TradeOffDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import EASE, PopularityRecommender
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import TradeOffDisplay
        >>> from sklearn_recsys.model_selection import random_holdout
        >>> R = make_interactions(n_users=60, n_items=40, random_state=0)
        >>> train, test = random_holdout(R, random_state=0)
        >>> models = {"EASE": EASE(l2=10).fit(train), "popular": PopularityRecommender().fit(train)}
        >>> display = TradeOffDisplay.from_estimator(models, train, test)
        >>> display.ax_.get_xlabel(), display.ax_.get_ylabel()
        ('coverage@10', 'ndcg@10')
        """
        if isinstance(metrics, str) or len(metrics) != 2:
            raise ValueError(f"metrics must be two names, for x and for y; got {metrics!r}.")
        table = evaluate(
            estimator,
            X,
            y,
            metrics,
            k,
            exclude_seen=exclude_seen,
            candidates=candidates,
            user_features=user_features,
        )
        display = cls(table=table, x=table.columns[0], y=table.columns[1])
        return display.plot(ax, connect=connect, log_x=log_x, label=label, line_kwargs=line_kwargs)
