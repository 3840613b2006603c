"""A plot of how recommendations are spread over popular and rare items."""

from __future__ import annotations

from typing import Self

import numpy as np

from sklearn_recsys.inspection._plotting import add_legend, new_axes
from sklearn_recsys.metrics._hits import check_k, check_lists
from sklearn_recsys.model_selection._evaluate import named_models, outcomes
from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils.validation import check_csr


class LongTailDisplay:
    """Plot of the share of recommendations that the most popular items have.

    At x, the share of the items, most popular first, y is the share of all recommendations that
    these items have. A dashed line is the same for the interactions of the training users. A curve
    above it recommends popular items more than users choose them. All parameters are stored as
    attributes.

    Parameters
    ----------
    popularity : ndarray of shape (n_items,)
        The number of interactions of each item.
    exposure : dict of str to ndarray of shape (n_items,)
        For each model, in how many lists each item is.
    k : int
        The length of the lists.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the plot.
    figure_ : matplotlib Figure
        The figure that contains it.
    lines_ : list of matplotlib Line2D
        The curves: a line for each model, and the interactions.

    See Also
    --------
    sklearn_recsys.metrics.popularity_bias_at_k : The mean popularity of lists against histories.
    sklearn_recsys.metrics.gini_at_k : How unequal the items' shares are.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.inspection import LongTailDisplay
    >>> popularity = np.array([5, 3, 1, 1])
    >>> exposure = {"popular": np.array([4, 4, 0, 0]), "random": np.array([2, 2, 2, 2])}
    >>> display = LongTailDisplay(popularity=popularity, exposure=exposure, k=2).plot()
    >>> display.lines_[0].get_ydata()
    array([0. , 0.5, 1. , 1. , 1. ])
    """

    def __init__(self, *, popularity, exposure, k):
        self.popularity = popularity
        self.exposure = exposure
        self.k = k

    def plot(self, ax=None, *, line_kwargs=None) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`, for the models' lines.

        Returns
        -------
        display : LongTailDisplay
            The display itself.
        """
        ax = new_axes(ax)
        order = np.argsort(-np.asarray(self.popularity), kind="stable")
        shares = np.linspace(0, 1, len(order) + 1)

        def cumulative(counts):
            counts = np.append(0, np.cumsum(np.asarray(counts)[order]))
            return counts / max(counts[-1], 1)

        self.lines_ = [
            ax.plot(shares, cumulative(counts), **{"label": name, **(line_kwargs or {})})[0]
            for name, counts in self.exposure.items()
        ]
        self.lines_ += ax.plot(
            shares, cumulative(self.popularity), "--", color="gray", label="interactions"
        )
        ax.set(
            xlabel="Share of the items, most popular first",
            ylabel=f"Share of the top {self.k}",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
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
        k=10,
        exclude_seen=True,
        candidates=None,
        user_features=None,
        ax=None,
        line_kwargs=None,
    ) -> Self:
        """Recommend to users, and plot which items they get.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            A fitted recommender, or several by name, which were fitted on the same interactions:
            the popularity of an item is its number of interactions in those of the first one.
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The input cells of each row.
        y : {sparse matrix, sparse array, array-like}, default=None
            The held-out cells of each row, as in `score`: they only matter in that, without them,
            some of the cells of `X` are held out.
        k : int, default=10
            The length of the lists.
        exclude_seen : bool, default=True
            Whether to exclude the items of `X` from the lists.
        candidates : array-like or sparse, default=None
            Rank only these items, together with the row's held-out ones, as in `score`.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of the rows of `X`, for models that were fitted with user features.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`, for the models' lines.

        Returns
        -------
        display : LongTailDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import EASE
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import LongTailDisplay
        >>> from sklearn_recsys.model_selection import random_holdout
        >>> R = make_interactions(n_users=60, n_items=40, random_state=0)
        >>> train, test = random_holdout(R, random_state=0)
        >>> display = LongTailDisplay.from_estimator(EASE(l2=10).fit(train), train, test, k=5)
        >>> display.ax_.get_ylabel()
        'Share of the top 5'
        """
        parsed = [(f"coverage@{check_k(k)}", "coverage", check_k(k))]
        models = named_models(estimator)
        options = {"exclude_seen": exclude_seen, "candidates": candidates}
        found = outcomes(models, X, y, parsed, user_features=user_features, **options)
        lists = {name: outcome.ids for name, outcome in found.items()}
        first = next(iter(models.values()))
        return cls.from_predictions(lists, first.interactions_, k=k, ax=ax, line_kwargs=line_kwargs)

    @classmethod
    def from_predictions(cls, y_pred, X_train, *, k=10, ax=None, line_kwargs=None) -> Self:
        """Plot which items are in lists.

        Parameters
        ----------
        y_pred : array-like of int of shape (n_rows, n_slots), or dict of str to array-like
            Ranked item ids, best first; -1 is an empty slot. Or those of several models by name.
        X_train : {sparse matrix, sparse array, array-like} of shape (n_users, n_items)
            The interactions that popularity is counted in.
        k : int, default=10
            The length of the lists.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`, for the models' lines.

        Returns
        -------
        display : LongTailDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys.inspection import LongTailDisplay
        >>> X = [[1, 1, 0, 0], [1, 0, 1, 0]]
        >>> LongTailDisplay.from_predictions([[1, 2], [1, 3]], X).exposure
        {'recommendations': array([0, 2, 1, 1])}
        """
        X_train = check_csr(X_train, name="X_train")
        n_items = X_train.shape[1]
        exposure = {}
        lists = y_pred if isinstance(y_pred, dict) else {"recommendations": y_pred}
        for name, ids in lists.items():
            ids = check_lists(ids, min(check_k(k), np.shape(ids)[1]), n_items)
            exposure[name] = np.bincount(ids[ids >= 0], minlength=n_items)
        display = cls(popularity=item_counts(X_train), exposure=exposure, k=k)
        return display.plot(ax, line_kwargs=line_kwargs)
