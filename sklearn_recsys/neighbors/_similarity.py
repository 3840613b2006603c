"""Similarities between the rows of sparse matrices, of which only the best are kept."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.utils._cells import cell_rows, take_cells
from sklearn_recsys.utils._threads import map_blocks, rows_per_block
from sklearn_recsys.utils._topk import top_n, top_n_cells
from sklearn_recsys.utils._warnings import warn

METRICS = ("cosine", "jaccard", "pearson")


def _unit_rows(X):
    norms = np.sqrt(X.multiply(X).sum(axis=1, dtype=np.float64))
    norms[norms == 0] = 1
    return sp.diags_array((1 / norms).astype(X.dtype)) @ X


def _support(X):
    ones = X.copy()
    ones.data = np.ones_like(X.data)
    return ones


def _is_thin(X):
    """Return whether so few cells are stored that ranking them beats ranking everything."""
    return X.nnz < 0.1 * X.shape[0] * X.shape[1]


class RowSimilarity:
    """Similarity of any rows to the rows of a fitted matrix.

    Parameters
    ----------
    Q : csr_array of shape (n_things, n_features)
        The rows to be found.
    metric : {"cosine", "jaccard", "pearson"}
        Cosine of the rows; Jaccard index of their positive cells; Pearson's correlation over the
        cells that both rows store.
    shrinkage : float
        Similarities are multiplied by n / (n + shrinkage), n the number of common cells.
    """

    def __init__(self, Q, metric, shrinkage):
        self.metric = metric
        self.shrinkage = shrinkage
        self.n_things = Q.shape[0]
        Q = self._prepare(Q)
        self.support = _support(Q).T.tocsr()
        self.n_cells = np.diff(Q.indptr)
        if metric == "cosine":
            self.values = _unit_rows(Q).T.tocsr()
        elif metric == "pearson":
            self.values = Q.T.tocsr()
            self.squares = self.values.multiply(self.values).tocsr()

    def _prepare(self, X):
        if self.metric == "jaccard":
            return _support(take_cells(X, X.data > 0))
        if self.metric == "pearson":  # which does not see a shift, but rounding does
            X = X.astype(np.float64)
            means = X.sum(axis=1) / np.maximum(np.diff(X.indptr), 1)
            X.data -= np.repeat(means, np.diff(X.indptr))
        return X

    def _common(self, P):
        """Return the numbers of common cells, sparse."""
        return _support(P) @ self.support

    def _similarity(self, P):
        """Return the similarities of the rows of `P`, dense or, where they are few, sparse."""
        P = self._prepare(P)
        if self.metric == "cosine" and not self.shrinkage:
            similarity = _unit_rows(P) @ self.values
            return similarity if _is_thin(similarity) else similarity.toarray()
        common = self._common(P)
        thin = _is_thin(common) and self.metric != "pearson"
        if not thin:
            common = common.toarray()
        if self.metric == "cosine":
            similarity = _unit_rows(P) @ self.values
            similarity = similarity if thin else similarity.toarray()
        elif self.metric == "jaccard":
            lengths = np.diff(P.indptr)
            if thin:
                similarity = common.copy()
                similarity.data /= (
                    lengths[cell_rows(common)] + self.n_cells[common.indices] - common.data
                )
            else:
                union = lengths[:, None] + self.n_cells - common
                similarity = common / np.maximum(union, 1)
        else:
            similarity = self._pearson(P, common)
        if self.shrinkage and thin:
            common.data /= common.data + self.shrinkage
            similarity = similarity.multiply(common).tocsr()
        elif self.shrinkage:
            similarity *= common / (common + self.shrinkage)
        return similarity.astype(np.float32, copy=False)

    def _pearson(self, P, common):
        p, p_squared = (P @ self.support).toarray(), (P.multiply(P) @ self.support).toarray()
        ones = _support(P)
        q, q_squared = (ones @ self.values).toarray(), (ones @ self.squares).toarray()
        covariance = common * (P @ self.values).toarray() - p * q
        variances = (common * p_squared - p**2) * (common * q_squared - q**2)
        # rounding leaves noise where a row is constant over the common cells
        defined = variances > 1e-10 * (common**2) * p_squared * q_squared
        return np.where(defined, covariance / np.sqrt(np.where(defined, variances, 1)), 0)

    def top(self, P, k, skip):
        """Return the `k` most similar things of each row, positive similarities only.

        Parameters
        ----------
        P : csr_array of shape (n_rows, n_features)
            The rows to find neighbours for.
        k : int
            Neighbours per row.
        skip : ndarray of int64 of shape (n_rows,)
            The thing that is no neighbour of the row (itself), or −1.

        Returns
        -------
        neighbors : csr_array of float32 of shape (n_rows, n_things)
            The similarities that were kept, at most `k` in a row.
        """

        def block(rows):
            similarity, own = self._similarity(P[rows]), skip[rows]
            if sp.issparse(similarity):
                kept = (similarity.data > 0) & (similarity.indices != own[cell_rows(similarity)])
                similarity = take_cells(similarity, kept)
                ids, values = top_n_cells(similarity, similarity.data, min(k, self.n_things))
            else:
                known = np.flatnonzero(own >= 0)
                similarity[known, own[known]] = 0
                similarity[similarity <= 0] = -np.inf
                ids, values = top_n(similarity, min(k, self.n_things))
            kept = ids >= 0
            indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
            shape = (len(ids), self.n_things)
            return sp.csr_array((values[kept], ids[kept].astype(np.int32), indptr), shape=shape)

        row_bytes = (96 if self.metric == "pearson" else 24) * self.n_things  # with temporaries
        size = min(256, rows_per_block(row_bytes))
        neighbors = sp.vstack(map_blocks(block, P.shape[0], size), format="csr")
        neighbors.sort_indices()
        return neighbors


def warn_if_constant(X, metric):
    """Warn if nothing can correlate."""
    if metric == "pearson" and np.all(X.data == X.data[0]):
        warn(
            f"Pearson's correlation needs values that differ, but all of X's are {X.data[0]:g}: "
            "no two rows are similar. Use cosine or jaccard on implicit interactions.",
            ValuesWarning,
        )
