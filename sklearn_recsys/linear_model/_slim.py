"""SLIM: an elastic net of every item on all others.

Ning and Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011.
"""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from sklearn_recsys.base._checkpoint import CheckpointMixin
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.linear_model._elastic_net import ElasticNets
from sklearn_recsys.linear_model._low_pass import LowPassMixin
from sklearn_recsys.linear_model._slim_columns import (
    AllItems,
    Candidates,
    HybridGram,
    ScreenedItems,
    dense_gram,
)
from sklearn_recsys.utils._cells import item_counts, item_squares, normalized, with_values
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._on_disk import by_rows, transposed
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Number
from sklearn_recsys.utils._threads import map_blas_blocks
from sklearn_recsys.utils._warnings import warn

_COLUMNS = 256  # columns solved together
_CELLS = 2**24  # cells of a block's arrays


def unit_exponent(low, high):
    """Return e, where 2ᵉ is the unit in which values from `low` to `high` are about one."""
    return int(np.frexp(max(-low, high))[1]) - 1


@by_rows
def scaled(X, exponent):
    """Return a csr_array divided by a power of two, which is exact, so that no square overflows."""
    return with_values(X, np.ldexp(X.data, -exponent))


@by_rows
def reordered(X, order):
    """Return the columns of a csr_array in another order."""
    return X.T.tocsr()[order].T.tocsr()


class SLIM(CheckpointMixin, LowPassMixin, BaseEstimator):
    """Sparse linear method: an elastic net of every item on all others.

    Learns a sparse, by default nonnegative item-item weight matrix W with a zero diagonal that
    reconstructs histories, ``X ≈ X W`` [1]_.

    Parameters
    ----------
    alpha : float, default=0.001
        Strength of both penalties, as in :class:`sklearn.linear_model.ElasticNet`, see the notes.
        It is relative to the mean squared error over all users, in units of squared values of `X`.
    l1_ratio : float, default=0.1
        Share of the L1 penalty, which makes W sparse: 0 is ridge regression, 1 is the lasso.
    positive : bool, default=True
        Whether weights must not be negative, as in the paper.
    max_neighbors : int, default=None
        Maximum number of weights per item. Each item is then regressed on that many others only:
        those that, each on its own, lower its objective most. This is the feature selection of the
        paper's section IV-B, with penalties. It saves time and memory on large catalogs, where the
        Gram matrix of all items does not fit. None regresses on all items.
    user_normalization, item_normalization : float, default=0
        W is learned on the matrix whose cells are divided by the sum of the absolute values of
        their row to the power `user_normalization`, and by that of their column to the power
        `item_normalization`; histories are scored as they are. Values up to 0.5 make active users
        and popular items count less. They change the size of the values, so choose `alpha` with
        them.
    low_pass : float, default=0.0
        Weight of an ideal low-pass filter that is added to W: the projection of histories on the
        first singular vectors of the matrix of interactions, see Notes. 0: none.
    n_factors : int, default=64
        Singular vectors of the low-pass filter; unused without one.
    random_state : int, RandomState instance or None, default=None
        Seed of their randomized decomposition.
    tol : float, default=1e-5
        When an item's weights are optimal: no derivative of its objective violates the optimality
        condition by more than `tol` times the largest derivative at W = 0. In (0, 1]; values below
        1e-6 are beyond the precision of float32.
    max_iter : int, default=100
        Maximum number of rounds of the solver. Most items need fewer than 10.
    checkpoint : str or path-like, default=None
        Folder to save the progress of `fit` in: the same call goes on from there if the process was
        killed.
    verbose : int, default=0
        Whether to show the progress of `fit`, with the time left.

    Attributes
    ----------
    coef_ : csr_array of float32 of shape (n_items, n_items)
        The weights W: ``coef_[i, j]`` is what item i in a history adds to the score of item j.
    objective_ : float
        The value of the objective, summed over all items.
    n_iter_ : int
        Number of rounds of the solver, the maximum over all items.
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
        In `fit`, before anything is allocated, if the Gram matrix does not fit.

    Warns
    -----
    ConvergenceWarning
        If the weights of some items are not optimal after `max_iter` rounds. The message names the
        first of them.

    See Also
    --------
    EASE : The same regression with a ridge penalty only: dense weights in closed form.
    sklearn_recsys.neighbors.ItemKNN : Sparse item weights that are similarities, not learned.

    Notes
    -----
    For each item j, with its column xⱼ of the matrix of n users, SLIM minimizes the objective of
    :class:`sklearn.linear_model.ElasticNet` without an intercept,

        1/(2n) ‖xⱼ − Xw‖² + `alpha` · `l1_ratio` · ‖w‖₁ + ½ `alpha` · (1 − `l1_ratio`) · ‖w‖²,

    over w ≥ 0 with wⱼ = 0. The paper's eq. 4, ½‖xⱼ − Xw‖² + ½β‖w‖² + λ‖w‖₁, is n times that, with

        β = n · `alpha` · (1 − `l1_ratio`),  λ = n · `alpha` · `l1_ratio`;

    conversely `alpha` = (β + λ) / n and `l1_ratio` = λ / (β + λ).

    The solver keeps an active set of items for each column: the worst violators of the optimality
    condition enter it, the linear system of its members is solved, and those whose weight has the
    wrong sign leave. The objective decreases in each round. If values and weights are nonnegative,
    items with xᵢᵀxⱼ ≤ λ are skipped: their weight is zero. All computations are deterministic,
    whatever the number of threads.

    **Low-pass filter.** With `low_pass` α, scores are x (W + α D_i^(−½) V Vᵀ D_i^½), where V holds
    the first right singular vectors of D_u^(−½) X D_i^(−½) and D_u, D_i the degrees: the filter of
    GF-CF [2]_. ``coef_`` is W alone.

    References
    ----------
    .. [1] Xia Ning, George Karypis. "SLIM: Sparse Linear Methods for Top-N Recommender Systems".
       ICDM 2011. https://doi.org/10.1109/ICDM.2011.134
    .. [2] Yifei Shen, Yongji Wu, Yao Zhang, Caihua Shan, Jun Zhang, Khaled B. Letaief, Dongsheng
       Li. "How Powerful is Graph Convolution for Recommendation?". CIKM 2021.
       https://arxiv.org/abs/2108.07567

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import SLIM
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = SLIM(alpha=0.01).fit(R)
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)  # a new user
    array([[2]])
    """

    _sparse_coef = True
    _has_tasks = True
    _parameter_constraints: dict = {
        **LowPassMixin._parameter_constraints,
        **CheckpointMixin._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "positive": ["boolean"],
        "max_neighbors": [Interval(Integral, 1, None, closed="left"), None],
        "user_normalization": [Interval(Real, 0, None, closed="left")],
        "item_normalization": [Interval(Real, 0, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="right")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        alpha=0.001,
        l1_ratio=0.1,
        *,
        positive=True,
        max_neighbors=None,
        user_normalization=0,
        item_normalization=0,
        low_pass=0.0,
        n_factors=64,
        random_state=None,
        tol=1e-5,
        max_iter=100,
        checkpoint=None,
        verbose=0,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.positive = positive
        self.max_neighbors = max_neighbors
        self.user_normalization = user_normalization
        self.item_normalization = item_normalization
        self.low_pass = low_pass
        self.n_factors = n_factors
        self.random_state = random_state
        self.tol = tol
        self.max_iter = max_iter
        self.checkpoint = checkpoint
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.exact = not self.low_pass
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "objective_": Number(),
            "n_iter_": Number(low=0, type=Integral),
        }

    def _fit(self, X):
        with self._open_checkpoint(X) as checkpoint:
            self._fit_low_pass(X, checkpoint.random_state)
            X = normalized(X, self.user_normalization, self.item_normalization)
            self._fit_columns(X, checkpoint)

    def _fit_columns(self, X, checkpoint):
        exponent = unit_exponent(X.data.min(), X.data.max())
        X = scaled(X, exponent)
        order = np.argsort(-item_counts(X), kind="stable")  # popular items first
        penalties = self._penalties(X.shape[0], exponent)
        columns = self._columns(reordered(X, order), *penalties)

        def block(items):
            progress = checkpoint.part(f"columns-{items.start}")
            solved = progress.load()
            if solved is None:
                solved = self._solve(columns(items), *penalties)
                progress.save(solved)
            return solved

        options = {"can_stop": False, "show": self.verbose}  # all columns are needed
        report = partial(self._progress.loop, name="columns", **options)
        results = map_blas_blocks(block, X.shape[1], self._block_size(X.shape[1]), report)
        self._set_columns(results, order, X.shape[0], item_squares(X).sum(), exponent)

    def _penalties(self, n_users, exponent):
        """Return the penalties l1 and l2 of `ElasticNets`, where 2ᵉ is the unit of the values."""
        penalties = self.alpha * n_users * np.array([self.l1_ratio, 1 - self.l1_ratio])
        # next to values of about one, a larger penalty changes nothing but leaves float32
        return np.minimum(np.ldexp(penalties, -2 * exponent), 1e30)

    def _block_size(self, n_items):
        """Return how many columns are solved together."""
        width = max(n_items, min(self.max_neighbors or 0, n_items) ** 2)
        return max(1, min(_COLUMNS, _CELLS // width))

    def _columns(self, X, l1, l2):
        """Return a function from a slice of columns to their problem."""
        if self.max_neighbors is not None:
            gram = HybridGram(X)
            return lambda items: Candidates(gram, items, self.max_neighbors, l1, l2, self.positive)
        check_memory(
            4 * X.shape[1] ** 2,
            f"SLIM's Gram matrix of {X.shape[1]:,} × {X.shape[1]:,} items",
            "Set max_neighbors, which needs only a part of it.",
        )
        matrices = dense_gram(X), X, transposed(X)
        if self.positive and X.data.min() >= 0:
            return lambda items: ScreenedItems(*matrices, items, l1)
        return lambda items: AllItems(*matrices, items)

    def _solve(self, problem, l1, l2):
        """Return the solution of a block of columns, as a dict of arrays and numbers."""
        nets = ElasticNets(problem, l1, l2, self.positive)
        solution = nets.solve(self.tol, self.max_iter)
        mask = solution.members < nets.empty
        return {
            "lengths": mask.sum(axis=1),
            "neighbors": problem.items(solution.members)[mask],
            "weights": solution.weights[mask].astype(np.float32),
            "values": solution.values,
            "violations": solution.violations,
            "n_iter": solution.n_iter,
        }

    def _set_columns(self, results, order, n_users, squares, exponent):
        """Set the fitted attributes, given all blocks of columns, in the given order of the items.

        `squares` is the sum of the squared values, whose unit is 2ᵉ.
        """
        self.n_iter_ = max(result["n_iter"] for result in results)
        lengths, neighbors, weights, values, violations = (
            np.concatenate([result[name] for result in results])
            for name in ("lengths", "neighbors", "weights", "values", "violations")
        )
        cells = (order[neighbors], np.repeat(order, lengths))
        coef = sp.csr_array((weights, cells), shape=(len(order),) * 2)
        coef.sort_indices()
        self.coef_ = coef
        objective = (squares / 2 + values.sum()) / n_users
        self.objective_ = float(np.ldexp(objective, 2 * exponent))
        self._warn_if_not_optimal(order, violations)

    def _warn_if_not_optimal(self, order, violations):
        failed = np.flatnonzero(violations > self.tol)
        if len(failed):
            items = np.sort(order[failed])
            first = ", ".join(map(str, items[:5])) + (", …" if len(items) > 5 else "")
            warn(
                f"The weights of {len(items):,} of {len(order):,} items ({first}) are not optimal: "
                f"the largest violation is {violations.max():.1e}, tol={self.tol:g}. Raise "
                f"max_iter={self.max_iter} or tol; a larger alpha converges faster.",
                ConvergenceWarning,
            )
