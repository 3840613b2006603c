"""Blocks of columns of SLIM's problem, with all items or a few candidates per column.

The items are in descending order of their number of users: the rows of the Gram matrix that most
columns need then lie next to each other in memory, which makes the solver more than twice as fast.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.linear_model._gram import lower_gram, mirror_lower
from sklearn_recsys.utils._cells import cell_rows, item_squares, shared_cells, take_cells
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._on_disk import some_columns, transposed
from sklearn_recsys.utils._threads import batches, even_blocks, map_blocks, rows_per_block
from sklearn_recsys.utils._topk import top_n
from sklearn_recsys.utils.progress import length, progress

_SPARSE = 4  # cost of a product of two sparse matrices, in units of one with a dense matrix
_DENSE = 2**14  # items whose Gram matrix is always dense


def dense_gram(X):
    """Return XᵀX as a dense array of float32, both triangles filled."""
    return mirror_lower(lower_gram(X))


class AllItems:
    """A block of columns, each regressed on all other items.

    Parameters
    ----------
    gram : ndarray of float32 of shape (n_items, n_items)
        XᵀX.
    X : csr_array of float32 of shape (n_users, n_items) or None
        The matrix, with which some products are faster than with the Gram matrix.
    Xt : csr_array of float32 of shape (n_items, n_users) or None
        Its transpose.
    columns : slice
        The columns.
    """

    def __init__(self, gram, X, Xt, columns):
        self.gram, self.X, self.Xt = gram, X, Xt
        self.columns = np.arange(columns.start, columns.stop)
        self.q = gram[columns].copy()
        self.q[np.arange(len(self.q)), self.columns] = 0

    def products(self, rows, members, weights):
        n_items = len(self.gram)
        is_member = members < n_items
        indptr = np.concatenate([[0], np.cumsum(is_member.sum(axis=1))])
        cells = (weights[is_member].astype(np.float32), members[is_member], indptr)
        W = sp.csr_array(cells, shape=(len(rows), n_items))
        if self.X is None or W.nnz * n_items < _SPARSE * len(rows) * self.X.nnz:
            products = W @ self.gram
        else:  # few interactions, many weights
            products = (self.Xt @ (W @ self.Xt).toarray().T).T
        products[np.arange(len(rows)), self.columns[rows]] = 0  # an item is not its own candidate
        return products

    def systems(self, rows, members):
        n_items = len(self.gram)
        members = np.minimum(members, n_items - 1)
        return self.gram.reshape(-1).take(members[:, :, None] * n_items + members[:, None, :])

    def items(self, members):
        """Return the items that candidates stand for."""
        return members


class ScreenedItems(AllItems):
    """A block of columns of nonnegative values, for nonnegative weights.

    With these the derivative of an item is at most q − l1, whatever the weights: an item with
    q ≤ l1 never has a weight. On sparse data these are nearly all.

    Parameters
    ----------
    gram, X, Xt, columns
        As for AllItems.
    l1 : float
        The penalty.
    """

    def __init__(self, gram, X, Xt, columns, l1):
        super().__init__(gram, X, Xt, columns)
        is_candidate = self.q > np.float32(l1)
        counts = is_candidate.sum(axis=1)
        # the last slot stands for the empty slots of members
        self.candidates = np.full((len(counts), max(1, counts.max()) + 1), len(gram))
        slots = np.arange(self.candidates.shape[1]) < counts[:, None]
        self.candidates[slots] = np.nonzero(is_candidate)[1]
        q = self.q[is_candidate]
        self.q = np.zeros((len(counts), self.candidates.shape[1] - 1), dtype=np.float32)
        self.q[slots[:, :-1]] = q

    def products(self, rows, members, weights):
        products = super().products(rows, self._items(rows, members), weights)
        at = np.minimum(self.candidates[rows, :-1], len(self.gram) - 1)
        return np.take_along_axis(products, at, axis=1)

    def systems(self, rows, members):
        return super().systems(rows, self._items(rows, members))

    def items(self, members):
        return self._items(slice(None), members)

    def _items(self, rows, members):
        return np.take_along_axis(self.candidates[rows], members, axis=1)


class Candidates:
    """A block of columns, each regressed on a few candidates.

    Parameters
    ----------
    gram : HybridGram or DenseGram
        XᵀX.
    columns : slice
        The columns.
    n_candidates : int
        The maximum number of candidates per column.
    l1, l2 : float
        The penalties. The candidates of a column are the items that, each on its own, lower its
        objective most: by (|q| − l1)² / 2(G + l2), where G is the item's diagonal value. Items that
        cannot lower it are excluded.
    positive : bool
        Whether weights must not be negative.
    """

    def __init__(self, gram, columns, n_candidates, l1, l2, positive):
        n_items = len(gram.diagonal)
        q = gram.dense_rows(columns)
        q[np.arange(len(q)), np.arange(columns.start, columns.stop)] = 0
        gains = (q if positive else np.abs(q)) - np.float32(l1)
        np.maximum(gains, 0, out=gains)
        # the square roots of the gains, which do not overflow; the least number is for empty items
        gains /= np.sqrt(gram.diagonal + np.float32(l2) + np.finfo(np.float32).tiny)
        ids, gains = top_n(gains, min(n_candidates, n_items))
        self.candidates = np.sort(np.where(gains > 0, ids, n_items), axis=1)
        self.candidates = self.candidates[:, : max(1, int((gains > 0).sum(axis=1).max()))]
        is_candidate = self.candidates < n_items
        slots = np.minimum(self.candidates, n_items - 1)
        self.q = np.where(is_candidate, np.take_along_axis(q, slots, axis=1), 0)
        self.G = gram.pairs(slots)
        self.G *= is_candidate[:, :, None]
        self.G *= is_candidate[:, None, :]

    def products(self, rows, members, weights):
        dense = np.zeros((len(rows), self.q.shape[1] + 1), dtype=np.float32)  # + 1: empty slots
        np.put_along_axis(dense, members, weights.astype(np.float32), axis=1)
        return np.matmul(dense[:, None, :-1], self.G[rows])[:, 0]

    def systems(self, rows, members):
        members = np.minimum(members, self.q.shape[1] - 1)
        return self.G[rows[:, None, None], members[:, :, None], members[:, None, :]]

    def items(self, members):
        """Return the items that candidates stand for."""
        slots = np.minimum(members, self.q.shape[1] - 1)
        return np.take_along_axis(self.candidates, slots, axis=1)


class DenseGram:
    """XᵀX, as `Candidates` reads it.

    Parameters
    ----------
    gram : ndarray of float32 of shape (n_items, n_items)
        The matrix.
    """

    def __init__(self, gram):
        self.gram = gram
        self.diagonal = gram.diagonal()

    def dense_rows(self, items):
        """Return a copy of the rows of some items."""
        return self.gram[items].copy()

    def pairs(self, items):
        """Return the values of all pairs of each row of items, of shape (n_rows, k, k)."""
        return _taken(self.gram, items)


def _taken(gram, items):
    at = items[:, :, None] * np.int64(len(gram)) + items[:, None, :]
    return gram.reshape(-1).take(at)


class HybridGram:
    """XᵀX, dense among the items with the most users and sparse for the others.

    Parameters
    ----------
    X : csr_array of float32 of shape (n_users, n_items)
        The matrix, its items in descending order of their number of users.
    n_dense : int, default=None
        Number of items whose Gram matrix is dense; by default the number that needs the least
        memory, or 16,384 if that is more.
    """

    def __init__(self, X, n_dense=None):
        n_items = X.shape[1]
        self.X, self.Xt = X, transposed(X)
        # an item's row has at most as many values as its users have items
        bounds = shared_cells(X)
        sparse = np.cumsum(np.minimum(bounds, np.arange(1, n_items + 1))[::-1])[::-1]
        sparse = np.append(sparse, 0)
        n_bytes = 4.0 * np.arange(n_items + 1) ** 2 + 8.0 * sparse
        self.n_dense = n_dense
        if n_dense is None:
            self.n_dense = min(n_items, max(_DENSE, int(n_bytes.argmin())))
        check_memory(
            n_bytes[self.n_dense],
            f"SLIM's Gram matrix of {n_items:,} items",
            "filter_k_core drops rare items.",
        )
        self.dense = dense_gram(some_columns(X, slice(self.n_dense)))
        self.diagonal = item_squares(X).astype(np.float32)
        self._make_sparse(bounds[self.n_dense :], int(sparse[self.n_dense]))

    def _make_sparse(self, bounds, size):
        """Compute the rows of the items that are not dense, up to the diagonal.

        They are written to arrays of the maximum `size`, a few blocks at a time: what is not
        written takes no memory, and to collect all blocks first would take twice the memory.
        """
        self.indices, self.data = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.float32)
        self.indptr = np.zeros(len(bounds) + 1, dtype=np.int64)
        blocks = list(even_blocks(bounds, rows_per_block(24)))

        def lower(run, one):
            rows = run[one.start]
            items = np.arange(rows.start, rows.stop) + self.n_dense
            products = self.rows(items)
            products = take_cells(products, products.indices <= items[cell_rows(products)])
            products.sort_indices()
            return products

        groups = batches(len(blocks), 16)
        for group in progress(groups, "Gram matrix", len(blocks), size=length):
            run = blocks[group]
            parts = map_blocks(partial(lower, run), len(run), 1)
            for rows, part in zip(run, parts, strict=True):
                start = self.indptr[rows.start]
                self.indices[start : start + part.nnz] = part.indices
                self.data[start : start + part.nnz] = part.data
                self.indptr[rows.start + 1 : rows.stop + 1] = start + part.indptr[1:]

    def rows(self, items):
        """Return the rows of some items as a csr_array."""
        return self.Xt[items] @ self.X

    def dense_rows(self, items):
        """Return the rows of some items as a dense array."""
        return self.rows(items).toarray()

    def pairs(self, items):
        """Return the values of all pairs of each row of items, of shape (n_rows, k, k)."""
        if items.max(initial=0) < self.n_dense:
            return _taken(self.dense, items)
        first, second = np.tril_indices(items.shape[1])  # each pair once
        lower = np.minimum(items[:, first], items[:, second])
        upper = np.maximum(items[:, first], items[:, second])
        is_dense = upper < self.n_dense
        values = np.empty(upper.shape, dtype=np.float32)
        at = upper[is_dense] * np.int64(self.n_dense) + lower[is_dense]
        values[is_dense] = self.dense.reshape(-1).take(at)
        values[~is_dense] = self._lookup(upper[~is_dense] - self.n_dense, lower[~is_dense])
        pairs = np.empty((*items.shape, items.shape[1]), dtype=np.float32)
        pairs[:, first, second] = values
        pairs[:, second, first] = values
        return pairs

    def _lookup(self, rows, columns):
        """Return values of the sparse part: a binary search in all rows at once."""
        if not len(self.data):
            return np.zeros(len(rows), dtype=np.float32)
        low, end = self.indptr[rows], self.indptr[rows + 1]
        high = end
        while (searching := low < high).any():
            middle = (low + high) // 2
            right = searching & (self.indices[np.minimum(middle, end - 1)] < columns)
            low = np.where(right, middle + 1, low)
            high = np.where(searching & ~right, middle, high)
        last = np.minimum(low, end - 1)
        return np.where((low < end) & (self.indices[last] == columns), self.data[last], 0)
