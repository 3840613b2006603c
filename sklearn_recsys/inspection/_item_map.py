"""A map of the items of a model in two dimensions."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from sklearn_recsys.inspection._plotting import label_points, new_axes
from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils._labels import item_labels


class ItemMapDisplay:
    """Map of items: similar ones are close to each other.

    It is recommended to use `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    positions : array-like of shape (n_items, 2)
        A point for each item.
    popularity : array-like of shape (n_items,), default=None
        The number of interactions of each item, for the sizes of the points.
    groups : array-like of str of shape (n_items,), default=None
        A group of each item, such as its first genre, for the colors.
    names : array-like of str of shape (n_items,), default=None
        The names of the items, for the labels.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the plot.
    figure_ : matplotlib Figure
        The figure that contains it.
    points_ : list of matplotlib PathCollection
        The points, one collection for each group.
    text_ : list of matplotlib Text
        The labels.

    See Also
    --------
    ItemMapDisplay.from_estimator : The map of a fitted model.

    Examples
    --------
    >>> from sklearn_recsys.inspection import ItemMapDisplay
    >>> display = ItemMapDisplay(
    ...     positions=[[0, 1], [1, 0], [1, 1]], names=["Alien", "Aliens", "Amélie"]
    ... )
    >>> [text.get_text() for text in display.plot(n_labels=2).text_]
    ['Alien', 'Aliens']
    """

    def __init__(self, *, positions, popularity=None, groups=None, names=None):
        self.positions = positions
        self.popularity = popularity
        self.groups = groups
        self.names = names

    def plot(self, ax=None, *, n_labels=10, scatter_kwargs=None) -> Self:
        """Plot the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        n_labels : int, default=10
            How many items are labeled, the most popular ones, if there are names.
        scatter_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : ItemMapDisplay
            The display itself.
        """
        ax = new_axes(ax)  # says which extra is missing
        from matplotlib import colormaps  # imported only here: it is optional

        positions = np.asarray(self.positions, dtype=np.float64)
        n_items = len(positions)
        popularity = np.ones(n_items) if self.popularity is None else np.asarray(self.popularity)
        groups = np.zeros(n_items, dtype=int) if self.groups is None else np.asarray(self.groups)
        sizes = 10 + 90 * popularity / max(popularity.max(), 1)
        self.points_, self.text_ = [], []
        unique = pd.unique(groups)
        for code, group in enumerate(unique):
            of_group = groups == group
            color = f"C{code}" if len(unique) <= 10 else colormaps["tab20"](code % 20)
            options = {"s": sizes[of_group], "alpha": 0.6, "label": group, "color": color}
            points = positions[of_group].T
            self.points_.append(ax.scatter(*points, **{**options, **(scatter_kwargs or {})}))
        ax.set(xticks=[], yticks=[])  # distances mean something, coordinates do not
        if self.groups is not None:
            ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        if self.names is not None:
            popular = np.argsort(-popularity, kind="stable")[:n_labels]
            names = np.asarray(self.names)[popular]
            self.text_ = label_points(ax, positions[popular], names, fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        reducer=None,
        n_items=500,
        groups=None,
        names=None,
        ax=None,
        n_labels=10,
        scatter_kwargs=None,
    ) -> Self:
        """Reduce the item vectors of a fitted model to two dimensions, and plot them.

        The vectors, ``item_factors_``, are scaled to length one first, so that distances follow
        cosines, which `similar_items` ranks by.

        Parameters
        ----------
        estimator : estimator
            A fitted recommender with item vectors, such as `ALS` or `MatrixFactorization`, or a
            pipeline of one.
        reducer : transformer, default=None
            What reduces the vectors, such as ``sklearn.manifold.TSNE()``, which keeps neighbors
            together, and shows groups better. None: PCA, the two directions of largest variance.
        n_items : int, default=500
            How many items are on the map, the most popular ones.
        groups : array-like of str of shape (n_items_of_the_model,) or Series, default=None
            A group of each item of the model, such as its first genre, for the colors. A Series
            is aligned by its index if the model knows its items by labels or raw ids; it may have
            further items.
        names : array-like of str of shape (n_items_of_the_model,) or Series, default=None
            The name of each item of the model, for the labels; a Series like `groups`.
        ax : matplotlib Axes, default=None
            The axes to plot on; None: those of a new figure.
        n_labels : int, default=10
            How many items are labeled, the most popular ones.
        scatter_kwargs : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        display : ItemMapDisplay
            The display, with the plot.

        Examples
        --------
        >>> from sklearn_recsys import ALS
        >>> from sklearn_recsys.datasets import make_interactions
        >>> from sklearn_recsys.inspection import ItemMapDisplay
        >>> R = make_interactions(n_users=60, n_items=40, random_state=0)
        >>> display = ItemMapDisplay.from_estimator(ALS(n_factors=8, random_state=0).fit(R))
        >>> display.positions.shape
        (40, 2)
        """
        model = estimator[-1] if hasattr(estimator, "steps") else estimator
        vectors = getattr(model, "item_factors_", None)
        if vectors is None:
            raise TypeError(
                f"{type(model).__name__} has no item vectors: a map needs a fitted model with "
                "item_factors_, such as ALS or MatrixFactorization."
            )
        groups = _of_items(groups, estimator, len(vectors), "groups")
        names = _of_items(names, estimator, len(vectors), "names")
        popularity = item_counts(estimator.interactions_)
        shown = np.argsort(-popularity, kind="stable")[:n_items]
        reducer = PCA(n_components=2, random_state=0) if reducer is None else clone(reducer)
        display = cls(
            positions=reducer.fit_transform(normalize(np.asarray(vectors)[shown])),
            popularity=popularity[shown],
            groups=None if groups is None else groups[shown],
            names=None if names is None else names[shown],
        )
        return display.plot(ax, n_labels=n_labels, scatter_kwargs=scatter_kwargs)


def _of_items(values, estimator, n_items, name):
    """Return the values of the model's items in its order, an array, or None."""
    if values is None:
        return None
    encoder = getattr(estimator, "encoder", None)
    labels = item_labels(estimator) if encoder is None else encoder.item_ids_
    numbered = isinstance(values, pd.Series) and values.index.equals(pd.RangeIndex(n_items))
    if isinstance(values, pd.Series) and labels is not None and not numbered:
        missing = ~np.isin(labels, values.index)
        if missing.any() or not values.index.is_unique:
            raise ValueError(
                f"The index of {name} must have each item of the model once; "
                f"{missing.sum()} of {n_items} items are missing."
            )
        return values.loc[labels].to_numpy()
    if len(values) != n_items:
        raise ValueError(
            f"{name} must have a value for each of the model's {n_items} items; got {len(values)}."
        )
    return np.asarray(values)
