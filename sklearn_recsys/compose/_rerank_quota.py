"""Quotas: at least and at most so many items of each category in each list."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral

import numpy as np
import pandas as pd

from sklearn_recsys.compose._reranker import Reranker, first_allowed
from sklearn_recsys.utils._ids import missing_ids
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Array, Labels


class CategoryQuota(Reranker):
    """Keep quotas in each list: at least and at most so many items of each category.

    With providers as categories, `maximum` is a cap on the exposure of each of them.

    Parameters
    ----------
    categories : array-like of shape (n_items,)
        The category of each item: any labels, missing (None or NaN) for an item without one. In a
        pipeline with an encoder a Series is matched to the items by the raw item ids in its index.
    minimum : int or dict, default=0
        The least number of items in a list: of each category, or of those that the dict names.
    maximum : int, dict or None, default=None
        The greatest number, in the same forms. None: any number.

    Attributes
    ----------
    categories_ : ndarray of shape (n_categories,)
        The categories.
    item_categories_ : ndarray of int64 of shape (n_items,)
        The category of each item, as an index of `categories_`; −1 for none.
    minimum_, maximum_ : ndarray of int64 of shape (n_categories,)
        The quotas.
    n_features_in_ : int
        Number of items.

    See Also
    --------
    RerankedRecommender : A recommender whose lists are reranked.
    cap_exposure : A cap over many lists together.
    sklearn_recsys.metrics.provider_share_at_k : The share of the slots that a provider has.

    Notes
    -----
    Of all lists that keep the quotas, this is the one with the least relevance loss, in the order
    of the candidates: it consists of the first `minimum` items of each category, and of the first
    ones of what is left, as far as `maximum` allows. (Such lists are the bases of a matroid, so
    this greedy choice has the greatest sum of scores.)

    A `maximum` is never exceeded: a list has empty slots instead. Where a category has fewer items
    to choose from than its `minimum`, a list has them all, and `is_met` is False.

    An item has one category. For quotas on overlapping ones, such as genres, use a category for
    the question: ``items["genres"].str.contains("Documentary")`` with ``minimum={True: 1}``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.compose import CategoryQuota
    >>> quota = CategoryQuota(["new", "old", "old", "old"], minimum={"new": 1}).fit(np.eye(4))
    >>> quota.rerank([[1, 2, 3, 0]], n=2)
    array([[1, 0]])
    >>> cap = CategoryQuota(["a", "a", "a", "b"], maximum=1).fit(np.eye(4))
    >>> cap.rerank([[0, 1, 2, 3]], n=3)
    array([[ 0,  3, -1]])
    """

    _parameter_constraints: dict = {
        "categories": ["array-like"],
        "minimum": [Interval(Integral, 0, None, closed="left"), dict],
        "maximum": [Interval(Integral, 0, None, closed="left"), dict, None],
    }

    def __init__(self, categories, *, minimum=0, maximum=None):
        self.categories = categories
        self.minimum = minimum
        self.maximum = maximum

    @property
    def comes_last(self):
        """Whether a later reranker could break a quota: if there is a `minimum`."""
        return bool(self.minimum)

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "categories_": Labels("n_categories"),
            "item_categories_": Array("n_items", kinds="i", low=-1, high="n_categories"),
            "minimum_": Array("n_categories", kinds="i", low=0),
            "maximum_": Array("n_categories", kinds="i", low=0),
        }

    def _fit(self, X):
        labels = self._of_items(self.categories, X.shape[1], "categories")
        if np.ndim(labels) != 1:
            raise ValueError(
                f"categories must be 1-D, one for each item; got shape {np.shape(labels)}."
            )
        codes, categories = pd.factorize(np.asarray(labels, dtype=object))
        self.item_categories_ = codes.astype(np.int64)
        self.categories_ = np.asarray(pd.Index(categories, tupleize_cols=False).infer_objects())
        self.minimum_ = self._counts("minimum", 0)
        self.maximum_ = self._counts("maximum", X.shape[1])
        above = self.minimum_ > self.maximum_
        if above.any():
            raise ValueError(
                f"minimum is above maximum for {missing_ids(self.categories_[above])}."
            )

    def _counts(self, name, default):
        """Return a quota for each category."""
        quota = getattr(self, name)
        counts = np.full(len(self.categories_), default, dtype=np.int64)
        if quota is None:
            return counts
        if not isinstance(quota, Mapping):
            counts[:] = quota
            return counts
        index = pd.Index(self.categories_, tupleize_cols=False)
        for category, count in quota.items():
            if not isinstance(count, Integral) or isinstance(count, bool) or count < 0:
                raise ValueError(
                    f"{name}[{category!r}] must be an integer of at least 0; got {count!r}."
                )
            place = index.get_indexer([category])[0]
            if place < 0:
                raise ValueError(
                    f"{name} names {category!r}, which is none of the categories: "
                    f"{missing_ids(self.categories_)}."
                )
            counts[place] = count
        return counts

    def _positions(self, ids, scores, n, histories):
        needed = int(self.minimum_.sum())
        if needed > n:
            raise ValueError(
                f"The minima of CategoryQuota sum to {needed}, more than the n = {n} items of a "
                "list."
            )
        codes = self._codes(ids)
        earlier = _n_earlier(codes, len(self.categories_))  # of the same category
        # the last value is for items without a category, whose code is −1
        minimum = np.append(self.minimum_, 0)[codes]
        maximum = np.append(self.maximum_, self.n_features_in_)[codes]
        return first_allowed((ids >= 0) & (earlier < maximum), earlier < minimum, n)

    def _codes(self, ids):
        """Return the category of each item of lists, −1 for empty slots, too."""
        return np.append(self.item_categories_, -1)[ids]

    def _is_met(self, ids, histories):
        codes, n_categories = self._codes(ids), len(self.categories_)
        rows = np.arange(len(ids))[:, None]
        cells = (rows * (n_categories + 1) + codes + 1).ravel()
        counts = np.bincount(cells, minlength=len(ids) * (n_categories + 1))
        counts = counts.reshape(len(ids), -1)[:, 1:]
        return np.all((counts >= self.minimum_) & (counts <= self.maximum_), axis=1)


def _n_earlier(codes, n_codes):
    """Return the number of earlier columns of each row with the same code."""
    rows = np.arange(len(codes))[:, None]
    keys = (rows * (n_codes + 1) + codes + 1).ravel()
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    places = np.arange(len(keys))
    counts = np.empty(len(keys), dtype=np.int64)
    counts[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return counts.reshape(codes.shape)
