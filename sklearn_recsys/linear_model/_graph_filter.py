"""Graph filters: smoothing and sharpening of histories over the graph of users and items.

Shen, Wu, Zhang, Shan, Zhang, Letaief and Li, "How powerful is graph convolution for
recommendation?", CIKM 2021; Choi, Hong, Park and Cho, "Blurring-sharpening process models for
collaborative filtering", SIGIR 2023; Park, Shin and Shin, "Turbo-CF: matrix decomposition-free
graph filtering for fast recommendation", SIGIR 2024.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_recsys.base import ExplainMixin, RecommenderMixin
from sklearn_recsys.base._onnx import LinearOnnxMixin
from sklearn_recsys.linear_model._low_pass import of_unit_size, singular_vectors
from sklearn_recsys.utils._cells import item_degrees, normalized, with_values
from sklearn_recsys.utils._neighbors import is_sparse_enough
from sklearn_recsys.utils._on_disk import transposed
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Array, Sparse
from sklearn_recsys.utils._threads import map_blocks, n_threads, rows_per_block, sparse_dot


class GraphFilter(LinearOnnxMixin, ExplainMixin, RecommenderMixin, BaseEstimator):
    r"""Filter of histories over the graph of users and items.

    A history is a signal on the items of a graph, and its scores are the signal after a low-pass
    filter: what is likely to come next is what similar histories hold. There is no training: the
    model is the normalized matrix itself and, for the ideal low-pass filter, some of its singular
    vectors. GF-CF [1]_, BSPM [2]_ and Turbo-CF [3]_ are settings of its parameters, see Notes.

    Parameters
    ----------
    n_factors : int, default=64
        Singular vectors of the ideal low-pass filter: the fewer, the smoother. Large, sparse data
        want more of them.
    low_pass : float, default=0.2
        Weight α of the ideal low-pass filter. With 0 there is none, nothing is random, and the fit
        only normalizes a matrix.
    sharpening : float, default=0.8
        How far the smoothed scores are sharpened again, T: it takes away what all histories have in
        common, such as popularity. 0 for none; above 1 is rarely useful.
    user_normalization : float, default=0.5
        Exponent a of the users' degrees, by which the matrix is divided, from 0 to 1; that of the
        items' degrees is 1 − a. A higher one is kinder to popular items.
    random_state : int, RandomState instance or None, default=None
        Seed of the randomized singular value decomposition.

    Attributes
    ----------
    adjacency_ : csr_array of float32 of shape (n_users, n_items)
        The normalized matrix R̃.
    components_ : ndarray of float32 of shape (n_items, n_components)
        The right singular vectors V of R̃ with the largest singular values, in columns:
        `n_factors`, or as many as R̃ has; none if `low_pass` is 0.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    Raises
    ------
    MemoryError
        In `fit`, before anything is allocated, if the singular vectors do not fit.

    See Also
    --------
    RP3beta : A random walk on the same graph, with sparse weights.
    EASE : Item weights in closed form, dense.

    Notes
    -----
    With the degrees :math:`D_U` and :math:`D_I`, which are the sums of the absolute values of rows
    and of columns, and

    .. math:: \tilde R = D_U^{-a} X D_I^{a-1}, \quad P = \tilde R^\top \tilde R,

    the scores of a history x are

    .. math:: x (P + \alpha D_I^{a-1} V V^\top D_I^{1-a}) (I - T P).

    - GF-CF: ``sharpening=0, low_pass=0.3``, or 0 for its linear filter alone.
    - BSPM: one Euler step of blurring and one of sharpening, early merge (BSPM-EM), is
      ``sharpening`` T; the mean of the scores before and after the latter is T / 2.
    - Turbo-CF: its second-order filter 2P − P² is ``low_pass=0, sharpening=0.5`` up to a factor of
      2, the first-order filter ``low_pass=0, sharpening=0``. Its exponent α is
      `user_normalization`; the power of single entries of P is omitted.

    P is never formed. Scores are products with R̃ and V, so a model takes the memory of the
    interactions and of items × `n_factors`, and one user's scores a few milliseconds per million
    interactions.

    References
    ----------
    .. [1] Yifei Shen, Yongji Wu, Yao Zhang, Caihua Shan, Jun Zhang, Khaled B. Letaief, Dongsheng
       Li. "How Powerful is Graph Convolution for Recommendation?". CIKM 2021.
       https://arxiv.org/abs/2108.07567
    .. [2] Jeongwhan Choi, Seoyoung Hong, Noseong Park, Sung-Bae Cho. "Blurring-Sharpening Process
       Models for Collaborative Filtering". SIGIR 2023. https://arxiv.org/abs/2211.09324
    .. [3] Jin-Duk Park, Yong-Min Shin, Won-Yong Shin. "Turbo-CF: Matrix Decomposition-Free Graph
       Filtering for Fast Recommendation". SIGIR 2024. https://arxiv.org/abs/2404.14243

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import GraphFilter
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = GraphFilter(n_factors=2, random_state=0).fit(R)
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)  # a new user
    array([[2]])
    """

    _parameter_constraints: dict = {
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "low_pass": [Interval(Real, 0, None, closed="left")],
        "sharpening": [Interval(Real, 0, None, closed="left")],
        "user_normalization": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_factors=64,
        *,
        low_pass=0.2,
        sharpening=0.8,
        user_normalization=0.5,
        random_state=None,
    ):
        self.n_factors = n_factors
        self.low_pass = low_pass
        self.sharpening = sharpening
        self.user_normalization = user_normalization
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # randomized singular vectors depend on the order of rows and columns
        tags.recommender_tags.exact = not self.low_pass
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "adjacency_": Sparse("n_users", "n_items"),
            "_item_scale_": Array("n_items", low=0),
            "components_": Array("n_items", "n_components"),
        }

    def _fit(self, X):
        unit = of_unit_size(X)
        by_items = 1 - float(self.user_normalization)
        degrees = item_degrees(unit)
        self.adjacency_ = normalized(unit, 1 - by_items, by_items, degrees)
        self._item_scale_ = np.where(degrees > 0, degrees, 1) ** by_items
        if self.low_pass:
            self.components_ = singular_vectors(self.adjacency_, self.n_factors, self.random_state)
        else:
            self.components_ = np.empty((X.shape[1], 0), dtype=np.float32)

    def _transposed(self):
        """Return R̃ᵀ, which is made when it is first needed, and never saved."""
        R, cache = self.adjacency_, self._cache_
        of_R, transposed_R = cache.get("transposed", (None, None))
        if of_R is not R:
            transposed_R = transposed(R)
            cache["transposed"] = R, transposed_R
        return transposed_R

    def _score_items(self, X):
        near = X @ self._transposed()
        if is_sparse_enough(near):
            scores = sparse_dot(near, self.adjacency_)
        else:
            scores = self._from_users(X.shape[0], lambda rows: near[rows].T.toarray())
        if self.low_pass:
            data = (X.data / self._item_scale_[X.indices]).astype(np.float32)
            ideal = (with_values(X, data) @ self.components_) @ self.components_.T
            ideal *= (self.low_pass * self._item_scale_).astype(np.float32)
            scores += ideal
        if self.sharpening:
            smoothed = self._from_users(
                X.shape[0], lambda rows: self.adjacency_ @ np.ascontiguousarray(scores[rows].T)
            )
            scores -= np.float32(self.sharpening) * smoothed
        return scores

    def _from_users(self, n_rows, signals):
        """Move signals on users to the items: the product of R̃ᵀ with blocks of columns.

        Parameters
        ----------
        n_rows : int
            The number of signals.
        signals : callable
            ``signals(rows)`` returns a dense array of shape (n_users, n_rows_of_the_slice).
        """
        out = np.empty((n_rows, self.adjacency_.shape[1]), dtype=np.float32)
        transposed = self._transposed()

        def block(rows):
            out[rows] = (transposed @ signals(rows)).T

        size = min(rows_per_block(8 * sum(self.adjacency_.shape)), -(-n_rows // n_threads()))
        map_blocks(block, n_rows, max(1, size))
        return out
