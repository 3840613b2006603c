"""Similarities between the rows of sparse matrices, reduced to the nearest neighbors."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.utils._cells import (
    all_equal,
    cell_rows,
    in_cells,
    support,
    take_cells,
    with_values,
)
from sklearn_recsys.utils._neighbors import is_sparse_enough, similar_rows, unit_rows
from sklearn_recsys.utils._on_disk import by_rows, transposed
from sklearn_recsys.utils._state import Array, Maybe, Number, OneOf, Size, Sparse
from sklearn_recsys.utils._warnings import warn

METRICS = ("cosine", "jaccard", "pearson")
_COMMON = ("pearson", "residual")  # over the cells that both rows store


@by_rows
def _squares(X):
    return X.multiply(X).tocsr()


@by_rows
def _median_centered(X):
    """Subtract each row's median, in float64.

    A shift does not change a correlation, but it reduces rounding errors. A mean would not do: one
    huge value would dominate it and cost all others their precision.
    """
    lengths = np.diff(X.indptr)
    ordered = X.data[np.lexsort((X.data, cell_rows(X)))]
    medians = ordered[(X.indptr[:-1] + (lengths - 1) // 2)[lengths > 0]].astype(np.float64)
    data = X.data - np.repeat(medians, lengths[lengths > 0])
    return with_values(X, data)


def _aligned(product, common):
    """Return the values of a sparse product at the cells of `common`, a superset of its own."""
    product.sort_indices()
    values = np.zeros(common.nnz)
    values[in_cells(common, product)] = product.data  # zero products are not stored
    return values


def _is_constant(X):
    """Return whether all stored values are equal and positive, as for implicit feedback."""
    return X.nnz > 0 and X.data[0] > 0 and all_equal(X.data, X.data[0])


def cosines_of_constants(common, n_p, n_q):
    """Return the cosines of rows whose stored values are equal: n / sqrt(n_p · n_q).

    Parameters
    ----------
    common : csr_array of float32 of shape (n_rows, n_fitted)
        The numbers of common cells, n.
    n_p : ndarray of int of shape (n_rows,)
        The numbers of cells of the rows.
    n_q : ndarray of int of shape (n_fitted,)
        Those of the fitted rows.
    """
    norms = np.sqrt(n_p.astype(np.float64)[cell_rows(common)] * n_q[common.indices])
    return with_values(common, (common.data / norms).astype(np.float32))


def jaccard(common, n_p, n_q):
    """Return the Jaccard indices of rows; parameters as above, `common` may be dense."""
    if sp.issparse(common):
        union = n_p[cell_rows(common)] + n_q[common.indices] - common.data
        return with_values(common, (common.data / union).astype(np.float32))
    return common / np.maximum(n_p[:, None] + n_q - common, 1)


def shrunk(similarity, common, shrinkage):
    """Return similarities multiplied by n / (n + shrinkage), n being numbers of common cells."""
    shrinkage = np.float64(shrinkage)  # may exceed the range of float32
    if not shrinkage:
        return similarity
    if not sp.issparse(common):
        return similarity * (common / (common.astype(np.float64) + shrinkage))
    factors = common.data / (common.data.astype(np.float64) + shrinkage)
    if similarity.nnz == common.nnz:  # the same cells, in the same order
        return with_values(similarity, similarity.data * factors)
    return similarity.multiply(with_values(common, factors)).tocsr()  # without zero products


class RowSimilarity:
    """Similarity of any rows to the rows of a fitted matrix.

    Parameters
    ----------
    Q : csr_array of shape (n_fitted, n_features)
        The rows to search for neighbors.
    metric : {"cosine", "jaccard", "pearson", "residual"}
        Cosine of the rows; Jaccard index of their positive cells; Pearson's correlation over the
        cells that both rows store; the same of residuals, whose mean is taken to be zero.
    shrinkage : float
        Similarities are multiplied by n / (n + shrinkage), where n is the number of common cells.
    """

    def __init__(self, Q, metric, shrinkage):
        self.metric = metric
        self.shrinkage = shrinkage
        self.n_things = Q.shape[0]  # saved in model files under this name
        Q = self._prepare(Q)
        self.support = transposed(support(Q))
        self.n_cells = np.diff(Q.indptr)
        if metric == "cosine":
            self.values = None if _is_constant(Q) else transposed(unit_rows(Q))
        elif metric in _COMMON:
            self.values = transposed(Q)
            self.squares = _squares(self.values)

    def _fitted_state(self):
        by_feature = Sparse("n_items", "n_users", sorted=False)
        rules = {
            "metric": OneOf((*METRICS, "residual")),
            "shrinkage": Number(low=0),
            "n_things": Size("n_users"),
            "n_cells": Array("n_users", kinds="i", low=0),
            "support": by_feature,
        }
        if self.metric == "cosine":
            rules["values"] = Maybe(by_feature)
        if self.metric in _COMMON:
            rules |= {"values": by_feature, "squares": by_feature}
        return rules

    def _prepare(self, X):
        if self.metric == "jaccard":
            return support(take_cells(X, X.data > 0))
        if self.metric == "pearson":
            return _median_centered(X)
        return X

    def _common(self, P):
        """Return the numbers of common cells, sparse."""
        return support(P) @ self.support

    def _similarity(self, P):
        """Return the similarities of the rows of `P`, sparse if most are zero, else dense."""
        P = self._prepare(P)
        if self.metric == "cosine" and not self.shrinkage:
            return self._cosine(P)
        common = self._common(P)
        sparse = is_sparse_enough(common)
        cosines = self._cosine(P, common) if self.metric == "cosine" else None
        if not sparse:
            common = common.toarray()
        elif self.metric in _COMMON:
            common.sort_indices()
        if self.metric == "cosine":
            similarity = cosines if sparse else cosines.toarray()
        elif self.metric == "jaccard":
            similarity = jaccard(common, np.diff(P.indptr), self.n_cells)
        elif sparse:
            values = self._correlation(P, common.data, lambda product: _aligned(product, common))
            similarity = with_values(common, values)
        else:
            similarity = self._correlation(P, common, lambda product: product.toarray())
        return shrunk(similarity, common, self.shrinkage).astype(np.float32, copy=False)

    def _cosine(self, P, common=None):
        """Return the cosines of the rows of `P`, sparse, given their numbers of common cells."""
        if self.values is not None:
            return unit_rows(P) @ self.values
        if _is_constant(P):  # one product for cosine and shrinkage
            common = self._common(P) if common is None else common
            return cosines_of_constants(common, np.diff(P.indptr), self.n_cells)
        product = unit_rows(P) @ self.support
        norms = np.sqrt(self.n_cells[product.indices])
        return with_values(product, (product.data / norms).astype(np.float32))

    def _correlation(self, P, n, at):
        """Return the correlations at cells with `n` common cells; `at` reads a product there."""
        ones = support(P)
        p_squares = at(P.multiply(P).tocsr() @ self.support)
        q_squares = at(ones @ self.squares)
        if self.metric == "residual":
            norms = np.sqrt(p_squares) * np.sqrt(q_squares)
            return at(P @ self.values) / np.where(norms > 0, norms, 1)
        p, q = at(P @ self.support), at(ones @ self.values)
        covariance = n * at(P @ self.values) - p * q
        p_variance, q_variance = n * p_squares - p**2, n * q_squares - q**2
        # if a row is constant over the common cells, its variance is rounding noise rather than 0
        constant = (p_variance <= 1e-10 * n * p_squares) | (q_variance <= 1e-10 * n * q_squares)
        p_norms = np.sqrt(np.where(constant, 1, p_variance))
        q_norms = np.sqrt(np.where(constant, 1, q_variance))
        return np.where(constant, 0, covariance / (p_norms * q_norms))

    def top(self, P, k, skip):
        """Return the `k` fitted rows most similar to each row of `P`; see `similar_rows`."""
        row_bytes = 96 if self.metric in _COMMON else 24
        return similar_rows(P, self.support, self._similarity, k, skip, row_bytes=row_bytes)


def warn_if_constant(X, metric):
    """Warn if all values are equal, so that every correlation is undefined."""
    if metric == "pearson" and all_equal(X.data, X.data[0]):
        warn(
            f"Pearson's correlation needs different values, but all values of X are {X.data[0]:g}: "
            "no two rows are similar. Use cosine or jaccard on implicit feedback.",
            ValuesWarning,
        )
