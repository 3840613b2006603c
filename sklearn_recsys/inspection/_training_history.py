"""A plot of losses and validation metrics by epoch."""

from __future__ import annotations

import re
from typing import Self

from sklearn_recsys.inspection._plotting import new_axes


class TrainingHistoryDisplay:
    """Plot of the training loss, and of what is validated, after each epoch of a fit.

    It is recommended to use `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    history : DataFrame
        The `history_` of a neural model: a row for each epoch, with a column ``train_loss`` and,
        with early stopping, a column such as ``valid_ndcg`` or ``valid_loss``.
    name : str, default=None
        The name of the model, for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the training loss.
    valid_ax_ : matplotlib Axes or None
        The axes of what is validated, which share the x axis; None if nothing is.
    figure_ : matplotlib Figure
        The figure that contains them.
    lines_ : list of matplotlib Line2D
        The curves, that of the training loss first.

    See Also
    --------
    TrainingHistoryDisplay.from_estimator : Plot the curves of a fitted model.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.inspection import TrainingHistoryDisplay
    >>> history = pd.DataFrame({"train_loss": [2.0, 1.5], "valid_ndcg": [0.2, 0.3]})
    >>> history.index = pd.Index([1, 2], name="epoch")
    >>> display = TrainingHistoryDisplay(history=history).plot()
    >>> display.ax_.get_ylabel(), display.valid_ax_.get_ylabel()
    ('Training loss', 'Validation NDCG')
    """

    def __init__(self, *, history, name=None):
        self.history = history
        self.name = name

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
        display : TrainingHistoryDisplay
            The display itself.
        """
        ax = new_axes(ax)
        epochs, options = self.history.index, line_kwargs or {}
        loss = {"color": "tab:blue", "label": "training", **options}
        self.lines_ = ax.plot(epochs, self.history["train_loss"], **loss)
        ax.set(xlabel="Epoch", ylabel="Training loss", title=self.name or "")
        ax.xaxis.get_major_locator().set_params(integer=True)
        self.valid_ax_ = None
        measured = [c for c in self.history.columns if re.fullmatch("valid_[a-z]+", c)]
        if measured:
            # next to a metric, the loss is its negative, which early stopping minimizes
            column = next((c for c in measured if c != "valid_loss"), "valid_loss")
            metric = column.removeprefix("valid_")
            label = f"Validation {metric if metric == 'loss' else metric.upper()}"
            self.valid_ax_ = ax.twinx()
            values = self.history[column]
            valid = {"color": "tab:orange", "label": "validation", **options}
            self.lines_ += self.valid_ax_.plot(epochs, values, **valid)
            best = values.idxmin() if metric == "loss" else values.idxmax()
            self.valid_ax_.plot(best, values[best], "o", color="tab:orange")
            self.valid_ax_.set_ylabel(label)
            ax.legend(handles=self.lines_, loc="center right")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, name=None, line_kwargs=None) -> Self:
        """Plot the curves of a fitted model.

        Parameters
        ----------
        estimator : estimator
            A fitted neural model, or a pipeline of one.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        name : str, default=None
            The title; None: the name of the class.
        line_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import MultVAE
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import TrainingHistoryDisplay
        >>> R = make_interactions(n_users=60, n_items=40, random_state=0)
        >>> model = MultVAE(max_epochs=3, random_state=0).fit(R)
        >>> display = TrainingHistoryDisplay.from_estimator(model)
        >>> display.lines_[0].get_xdata().tolist()
        [1, 2, 3]
        """
        model = estimator[-1] if hasattr(estimator, "steps") else estimator
        if not hasattr(model, "history_"):
            raise TypeError(
                f"{type(model).__name__} has no training history: only a fitted neural model has "
                "an attribute history_."
            )
        display = cls(history=model.history_, name=name or type(model).__name__)
        return display.plot(ax, line_kwargs=line_kwargs)
