"""Content hashes of rows, and an index that finds a training row by its content."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._on_disk import row_slice, row_slices


def mix(x):
    """Hash uint64 values with the finalizer of splitmix64."""
    x = np.asarray(x, dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def item_hashes(items):
    """Return a uint64 hash of each item index."""
    return mix(np.asarray(items, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15))


def row_hashes(X):
    """Return a uint64 hash of each row's content (items and values), independent of its position.

    Values are hashed as float64, so that a hash does not depend on the dtype that holds them.
    """
    bits = X.data.astype(np.float64).view(np.uint64)
    hashes = mix(item_hashes(X.indices) + mix(bits))
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(hashes, dtype=np.uint64)])
    return mix(total[X.indptr[1:]] - total[X.indptr[:-1]])


class HistoryIndex:
    """Find rows of a canonical csr_array by content.

    Rows match if they are bit-identical: equal items and equal values. Of equal training rows the
    first is returned.
    """

    def __init__(self, X):
        self.X = X
        self.item_hashes = item_hashes(np.arange(X.shape[1]))
        hashes = self._hashes(X)
        self.order = np.argsort(hashes, kind="stable")  # equal hashes: lowest row first
        self.hashes = hashes[self.order]

    def _hashes(self, X):
        """Return a uint64 hash of each row, in fewer operations than `row_hashes` needs.

        It is the sum of h(i) (2 b + 1) modulo 2⁶⁴ over the row's cells, h(i) being the hash of the
        item and b the bits of the value. An odd factor keeps all bits of h(i).
        """
        if X.shape[0] == 1:
            return self._terms(X).sum(keepdims=True)
        hashes = np.zeros(X.shape[0], dtype=np.uint64)
        for rows in row_slices(X):
            part = row_slice(X, rows)
            total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(self._terms(part))])
            hashes[rows] = total[part.indptr[1:]] - total[part.indptr[:-1]]
        return hashes

    def _terms(self, X):
        bits = X.data.astype(np.float32, copy=False).view(np.uint32).astype(np.uint64)
        return self.item_hashes[X.indices] * (2 * bits + 1)

    def lookup(self, X):
        """Return the training row of each row of `X` as int64, or −1 for new rows."""
        hashes = self._hashes(X)
        if X.shape[0] == 1:
            return np.array([self._find(X, hashes[0])])
        training_rows = np.full(X.shape[0], -1, dtype=np.int64)
        position = np.searchsorted(self.hashes, hashes)
        pending = np.arange(X.shape[0])
        while True:  # more than one round only if hashes collide
            pending = pending[position[pending] < len(self.hashes)]
            pending = pending[self.hashes[position[pending]] == hashes[pending]]
            if not len(pending):
                return training_rows
            candidates = self.order[position[pending]]
            equal = self._equal_rows(X, pending, candidates)
            training_rows[pending[equal]] = candidates[equal]
            pending = pending[~equal]
            position[pending] += 1

    def _find(self, X, row_hash):
        """Return the training row that equals the only row of `X`, or −1: `lookup` for one user."""
        for position in range(self.hashes.searchsorted(row_hash), len(self.hashes)):
            if self.hashes[position] != row_hash:
                break
            row = self.order[position]
            cells = slice(self.X.indptr[row], self.X.indptr[row + 1])
            same_items = np.array_equal(X.indices, self.X.indices[cells])
            if same_items and np.array_equal(X.data, self.X.data[cells]):
                return row
        return -1

    def _equal_rows(self, X, rows, candidates):
        """Return whether each of the `rows` of `X` equals its candidate training row."""
        A, B = X[rows], self.X[candidates]
        equal = np.diff(A.indptr) == np.diff(B.indptr)
        A, B = A[equal], B[equal]  # rows of equal lengths: their cells line up
        unequal = (A.indices != B.indices) | (A.data != B.data)
        equal[np.flatnonzero(equal)[cell_rows(A)[unequal]]] = False
        return equal
