"""A bar plot of the items of a history that explain a score."""

from __future__ import annotations

from typing import Self

from sklearn.utils import get_tags

from sklearn_recsys.inspection._plotting import new_axes
from sklearn_recsys.utils.validation import check_length


class ExplanationDisplay:
    """Bar plot of what the items of a history contribute to a score.

    It is recommended to use `from_estimator`, which calls `explain`. All parameters are stored as
    attributes.

    Parameters
    ----------
    contributions : DataFrame
        What a recommender's `explain` returns for one user and one item.
    additive : bool, default=False
        Whether the contributions sum to the score. Then the bars that are not shown are added up in
        one.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the plot.
    figure_ : matplotlib Figure
        The figure that contains it.
    bars_ : matplotlib BarContainer
        The bars, the largest contribution first.

    See Also
    --------
    ExplanationDisplay.from_estimator : Explain a score, and plot the explanation.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.datasets import make_interactions
    >>> from sklearn_recsys.inspection import ExplanationDisplay
    >>> R = make_interactions(n_users=100, n_items=40, random_state=0)
    >>> model = EASE(l2=10).fit(R)
    >>> display = ExplanationDisplay(contributions=model.explain(0, 7), additive=True)
    >>> display.plot(n=3).ax_.get_xlabel()
    'Contribution to the score'
    """

    def __init__(self, *, contributions, additive=False):
        self.contributions = contributions
        self.additive = additive

    def plot(self, ax=None, *, n=10, names=None, bar_kwargs=None) -> Self:
        """Plot the contributions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        n : int, default=10
            The number of items to show, those with the largest absolute contributions.
        names : dict or Series, default=None
            The names of items by the ids in `contributions`, for the labels; None: the ids.
        bar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.barh`.

        Returns
        -------
        display : ExplanationDisplay
            The display itself.
        """
        user, item, history_item = self.contributions.columns[:3]
        pairs = self.contributions[[user, item]].drop_duplicates()
        if len(pairs) != 1:
            raise ValueError(
                "contributions must be those to the score of one item for one user, who has a "
                f"history; got those of {len(pairs)} pairs."
            )
        if names is None:
            names = {}
        elif not hasattr(names, "items"):
            raise TypeError(
                "names must be a dict or a Series by item id, such as dict(enumerate(titles)) for "
                f"columns; got {type(names).__name__}."
            )
        names = dict(names)
        values = self.contributions["contribution"]
        largest = values.abs().sort_values(ascending=False, kind="stable").index
        shown = self.contributions.loc[largest[: check_length(n)]]
        shown = shown.sort_values("contribution", ascending=False, kind="stable")
        labels = [str(names.get(key, key)) for key in shown[history_item]]
        widths = shown["contribution"].tolist()
        n_others = len(values) - len(shown)
        if self.additive and n_others:
            labels.append(f"{n_others} other item{'s' if n_others > 1 else ''}")
            widths.append(values.sum() - sum(widths))
        ax = new_axes(ax)
        colors = ["tab:blue" if width >= 0 else "tab:red" for width in widths]
        options = {"color": colors, **(bar_kwargs or {})}
        positions = range(len(widths))  # items may have the same name
        self.bars_ = ax.barh(positions, widths, **options)
        ax.set_yticks(positions, labels)
        ax.invert_yaxis()  # the largest one is at the top
        ax.axvline(0, color="black", linewidth=0.8)
        ((user_id, item_id),) = pairs.itertuples(index=False)
        ax.set(
            xlabel="Contribution to the score" if self.additive else "Loss of score without it",
            ylabel="Item of the history",
            title=f"{names.get(item_id, f'{item} {item_id}')} for {user} {user_id}",
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        user,
        item,
        *,
        user_features=None,
        ax=None,
        n=10,
        names=None,
        bar_kwargs=None,
    ) -> Self:
        """Explain the score of an item, and plot the explanation.

        Parameters
        ----------
        estimator : recommender
            A fitted recommender, or a pipeline of one.
        user : int, raw id, or matrix of shape (1, n_items)
            The user, as in the estimator's `explain`.
        item : int or raw id
            The item.
        user_features : array-like of shape (1, n_user_features), default=None
            The features of the user, if the estimator was fitted with some.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        n : int, default=10
            The number of items to show, those with the largest absolute contributions.
        names : dict or Series, default=None
            The names of items by their ids, for the labels; None: the ids.
        bar_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.barh`.

        Returns
        -------
        display : ExplanationDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import ItemKNN
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import ExplanationDisplay
        >>> R = make_interactions(n_users=100, n_items=40, random_state=0)
        >>> model = ItemKNN().fit(R)
        >>> display = ExplanationDisplay.from_estimator(model, user=0, item=7)
        >>> display.ax_.get_title()
        'item 7 for user 0'
        """
        features = {} if user_features is None else {"user_features": user_features}
        display = cls(
            contributions=estimator.explain(user, item, **features),
            additive=get_tags(estimator).recommender_tags.additive,
        )
        return display.plot(ax, n=n, names=names, bar_kwargs=bar_kwargs)
