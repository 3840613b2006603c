"""Top-n lists: the eligible items, and their ranking in blocks of bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sklearn_recsys.utils._cells import cell_rows, in_cells, take_cells, union_cells
from sklearn_recsys.utils._items import check_item_sets
from sklearn_recsys.utils._labels import check_item_labels, check_same_rows
from sklearn_recsys.utils._memory import check_list_memory
from sklearn_recsys.utils._topk import top_n, top_n_cells
from sklearn_recsys.utils.validation import check_length


@dataclass(eq=False, slots=True)  # frozen would be slower to construct
class EligibleItems:
    """The items that may be recommended; a slice of rows takes those of some users.

    Parameters
    ----------
    exclude_seen : bool, default=True
        Whether the items of the user's own history are excluded.
    candidates : ndarray of bool of shape (n_items,) or csr_array, default=None
        The items to choose from: the same for all users, or a row for each user.
    exclude : ndarray of bool of shape (n_items,) or csr_array, default=None
        Items to exclude, in the same forms.
    held_out : csr_array of shape (n_rows, n_items), default=None
        Items that are added to the candidates of each user.
    seen : csr_array of shape (n_rows, n_items), default=None
        The user's own history, if a model ranks for histories in another form.
    """

    exclude_seen: bool = True
    candidates: np.ndarray | sp.csr_array | None = None
    exclude: np.ndarray | sp.csr_array | None = None
    held_out: sp.csr_array | None = None
    seen: sp.csr_array | None = None

    def __getitem__(self, rows):
        values = (self.candidates, self.exclude, self.held_out, self.seen)
        return EligibleItems(
            self.exclude_seen, *(value[rows] if sp.issparse(value) else value for value in values)
        )

    @property
    def are_cells(self):
        """Whether each user has their own candidates, which are scored instead of all items."""
        return sp.issparse(self.candidates)

    def cells(self, X):
        """Return the eligible items of users with histories `X` as cells of a csr_array."""
        X = X if self.seen is None else self.seen
        cells = self.candidates
        if self.held_out is not None:
            cells = union_cells(cells, self.held_out)
        if self.exclude_seen:
            cells = take_cells(cells, ~in_cells(cells, X))
        if sp.issparse(self.exclude):
            cells = take_cells(cells, ~in_cells(cells, self.exclude))
        elif self.exclude is not None:
            cells = take_cells(cells, ~self.exclude[cells.indices])
        return cells

    def why_not(self, X, item):
        """Return why an item is not eligible for one user with history `X`; None if it is."""
        if self.exclude_seen and item in X.indices:
            return "seen"
        if self.exclude is not None and _holds(self.exclude, item):
            return "excluded"
        if self.candidates is not None and not _holds(self.candidates, item):
            return "not a candidate"
        return None

    def resolved(self, X, item=None):
        """Return the items of one user with history `X` as candidates alone, `item` among them."""
        if self.are_cells:
            mask = np.zeros(X.shape[1], dtype=bool)
            mask[self.cells(X).indices] = True
        else:
            mask = self.masked(np.zeros(X.shape, dtype=np.float32), X)[0] > -np.inf
        if item is not None:
            mask[item] = True
        candidates = sp.csr_array(mask[None]) if self.are_cells else mask
        return EligibleItems(exclude_seen=False, candidates=candidates)

    def masked(self, scores, X):
        """Return scores of all items by users with histories `X`, −inf where not eligible."""
        X = X if self.seen is None else self.seen
        if self.candidates is not None:
            eligible = self.candidates
            if self.held_out is not None:
                eligible = np.broadcast_to(eligible, X.shape).copy()
                eligible[cell_rows(self.held_out), self.held_out.indices] = True
            scores = np.where(eligible, scores, np.float32(-np.inf))
        if self.exclude_seen and len(scores) == 1:  # in a third of the time
            scores[0][X.indices] = -np.inf
        elif self.exclude_seen:
            scores[cell_rows(X), X.indices] = -np.inf
        if sp.issparse(self.exclude):
            scores[cell_rows(self.exclude), self.exclude.indices] = -np.inf
        elif self.exclude is not None:
            scores[:, self.exclude] = -np.inf
        return scores


def _holds(items, item):
    """Return whether a set of items, a mask or a csr_array of one row, holds an item."""
    return item in items.indices if sp.issparse(items) else bool(items[item])


class RankingMixin:
    """The part of `RecommenderMixin` that ranks items."""

    # the third is for a variable, which mypy does not try as either of its values
    @overload
    def recommend(
        self,
        users=...,
        n=...,
        *,
        exclude_seen=...,
        candidates=...,
        exclude=...,
        return_scores: Literal[False] = ...,
    ) -> NDArray[np.int64]: ...

    @overload
    def recommend(
        self,
        users=...,
        n=...,
        *,
        exclude_seen=...,
        candidates=...,
        exclude=...,
        return_scores: Literal[True],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...

    @overload
    def recommend(
        self,
        users=...,
        n=...,
        *,
        exclude_seen=...,
        candidates=...,
        exclude=...,
        return_scores: bool,
    ) -> NDArray[np.int64] | tuple[NDArray[np.int64], NDArray[np.float32]]: ...

    def recommend(
        self,
        users=None,
        n=10,
        *,
        exclude_seen=True,
        candidates=None,
        exclude=None,
        return_scores=False,
    ):
        """Recommend items, best first.

        Parameters
        ----------
        users : None, int, 1-D array-like of int or bool, or matrix, default=None
            None: every training user. An integer, or a 1-D array of integers: rows of the training
            matrix; a 1-D boolean array: a mask over them. Anything 2-D, or a 1-D *sparse* array:
            the histories of any users, known or new, with a column per item.
        n : int, default=10
            Items per row.
        exclude_seen : bool, default=True
            Whether to exclude the items of the row's own history.
        candidates : array-like or sparse, default=None
            Recommend nothing but these items. 1-D item indices (or a boolean mask over the items)
            for all users; or a row for each user: 2-D item indices, −1 for an empty slot, or a
            sparse or boolean matrix of shape (n_rows, n_items).
        exclude : array-like or sparse, default=None
            Never recommend these items; forms as in `candidates`.
        return_scores : bool, default=False
            Whether to return the scores, too.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            Item indices by descending score, ties by index; −1 in empty slots at the end.
        scores : ndarray of float32 of shape (n_rows, n)
            Their scores, not clipped, −inf in empty slots. Only if `return_scores`.
        """
        items = {"exclude_seen": exclude_seen, "candidates": candidates, "exclude": exclude}
        ids, scores = self._recommend(users, self._histories(users), n, **items)
        return (ids, scores) if return_scores else ids

    def _recommend(self, users, histories, n, **items):
        """Return ids and scores for checked histories; `users` is what the caller passed."""
        n = check_length(n)
        return self._rank(histories, n, self._eligible(users, histories, **items))

    def _eligible(self, users, histories, *, exclude_seen, candidates, exclude):
        """Return the items that may be recommended; `users` is what the caller passed."""
        shape = histories.X.shape
        candidates = self._checked_sets(candidates, shape, "candidates", users)
        exclude = self._checked_sets(exclude, shape, "exclude", users)
        return EligibleItems(exclude_seen, candidates, exclude)

    def _checked_sets(self, items, shape, name, users=None):
        """Return checked `candidates` or `exclude`; a frame has a row for each of `users`."""
        if items is None:
            return None
        if hasattr(items, "columns"):
            check_item_labels(self, items, name)
            if hasattr(users, "columns"):  # a Series holds training rows
                check_same_rows(users, items, name, "users")
        elif hasattr(items, "to_frame") and items.dtype == bool:  # a Series: a mask over the items
            check_item_labels(self, items.to_frame().T, name)
        return check_item_sets(items, shape, name=name)

    def _rank(self, histories, n, eligible):
        """Return the ids and the scores of the `n` best eligible items of each user."""
        n_rows, n_items = histories.X.shape
        width = min(n, n_items)
        check_list_memory(n_rows, n, n_items)
        if n_rows == 1:  # the lists of the block as they are
            ids, scores = self._rank_block(histories, n, eligible)
            return ids, scores.astype(np.float32, copy=False)
        ids = np.full((n_rows, n), -1, dtype=np.int64)
        scores = np.full((n_rows, n), -np.inf, dtype=np.float32)
        for rows, block in histories.shown_blocks("Ranking"):
            items = eligible if block is histories else eligible[rows]
            ids[rows, :width], scores[rows, :width] = self._rank_block(block, width, items)
        return ids, scores

    def _rank_block(self, histories, n, eligible):
        """Return the ids and the scores of a block of users, with at most as many slots as items.

        A model whose lists are not the `n` best scores overrides this.
        """
        if eligible.are_cells:
            cells = eligible.cells(histories.X)
            return top_n_cells(
                cells, self._scores_at(histories, cell_rows(cells), cells.indices), n
            )
        return top_n(eligible.masked(self._scores(histories), histories.X), n)
