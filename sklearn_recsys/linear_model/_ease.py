"""EASE: a linear autoencoder in closed form, and its relatives.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019; Steck, "Autoencoders that
don't overfit towards the identity", NeurIPS 2020; Moon, Kim and Lee, "It's enough: relaxing
diagonal constraints in linear autoencoders for recommendation", SIGIR 2023; Jeunen, Van Balen and
Goethals, "Closed-form models for collaborative filtering with side-information", RecSys 2020;
Steck, "Markov random fields for collaborative filtering", NeurIPS 2019, on sparse weights.
"""

from __future__ import annotations

from numbers import Real

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from sklearn_recsys.linear_model._gram import Gram, inverse_gram, is_inverse
from sklearn_recsys.linear_model._low_pass import LowPassMixin
from sklearn_recsys.linear_model._new_users import (
    NewUsers,
    bounded_diagonal,
    can_change,
    column_factors,
)
from sklearn_recsys.linear_model._sparse_inverse import sparse_weights
from sklearn_recsys.preprocessing._feature_matrix import feature_matrix
from sklearn_recsys.utils._cells import normalized
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._sklearn import HasMethods, Interval
from sklearn_recsys.utils._state import Array, Maybe, Number, Optional
from sklearn_recsys.utils._threads import deferred_interrupt

_DENSE = 0.05  # features with a larger share of nonzeros are multiplied as a dense array


class EASE(LowPassMixin, BaseEstimator):
    r"""Embarrassingly shallow autoencoder and its relatives: EDLAE, RLAE, RDLAE and ridge.

    Learns an item-item weight matrix W that reconstructs histories, ``X ≈ X W``: the closed-form
    solution of a ridge regression of every item on all others [1]_. Scoring a new user is one
    matrix product. With the default parameters it is EASE, whose one hyperparameter is `l2`;
    `dropout`, `max_diagonal` and the normalizations make it denoise, relax the constraint of the
    diagonal, and weight users and items by their activity; each can be more accurate.

    Parameters
    ----------
    l2 : float, default=500.0
        The ridge penalty λ, in units of squared values of `X`: it is added to the diagonal of XᵀX,
        which holds the items' user counts if all values are ones. Good values lie between 100 and
        2000 on most data, and are lower with the normalizations, which make the values smaller;
        choose it on held-out interactions.
    dropout : float, default=0.0
        The share p of each history that is dropped at random while it is reconstructed [2]_, in
        [0, 1). In expectation that is a further penalty p / (1 − p) of the diagonal of XᵀX, greater
        for popular items. Tune it together with `l2`.
    max_diagonal : float, default=0.0
        The upper bound ξ of the diagonal of W, in [0, 1] [3]_. 0: an item must not predict itself,
        as in EASE; 1: there is no constraint, which is plain ridge regression.
    user_normalization, item_normalization : float, default=0.0
        Before the weights are learned, cells are divided by these powers of the sums of the
        absolute values in their row and in their column. 0: not at all; ½ and ½: the normalized
        adjacency matrix of graph models. Histories are scored as they are.
    item_features : {DataFrame, array-like, sparse matrix}, default=None
        Of shape (n_items, n_columns): a row for each item, in the order of the columns of `X`. In a
        pipeline with an encoder, the rows of a frame are matched to the items by the raw item ids
        in its index. Each feature is one more history to reconstruct, that of all items with it
        [4]_: so items without users are recommended for what they have in common with others. A
        frame is encoded by `encoder`; an array or a sparse matrix must hold numbers.
    feature_weight : float, default=1.0
        The features are multiplied by it. The larger it is, the more they count relative to the
        interactions.
    encoder : transformer, default=None
        Converts the features to numbers; a clone of it is fitted. None: frames are encoded by a
        :class:`~sklearn_recsys.preprocessing.FeatureEncoder` with default parameters; its parameter
        `kinds` selects the columns and how they are read.
    density : float, default=None
        The share of the items × items weights that are kept, in (0, 1], for catalogs whose dense
        matrix does not fit [5]_: of all items, each has weights from this share. ``coef_`` is then
        sparse, and an approximation, see Notes. None: W is dense.
    low_pass : float, default=0.0
        Weight of an ideal low-pass filter that is added to W: the projection of histories on the
        first singular vectors of the matrix of interactions, see Notes. 0: none.
    n_factors : int, default=64
        Singular vectors of the low-pass filter; unused without one.
    random_state : int, RandomState instance or None, default=None
        Seed of their randomized decomposition.
    device : str, default="cpu"
        Where `fit` inverts the items × items matrix: ``"cpu"``, or, if torch is installed,
        ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, which uses a GPU if there is one.

    Attributes
    ----------
    coef_ : ndarray or csr_array of float32 of shape (n_items, n_items)
        The weights W: ``coef_[i, j]`` is what item i in a history adds to the score of item j. A
        csr_array if `density` is given.
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
        In `fit`, before anything is allocated, if a float32 items × items matrix does not fit, or,
        with `density`, the weights.
    ValueError
        If `density` is less than one weight per item, or given with a `device` other than the CPU.

    See Also
    --------
    sklearn_recsys.neighbors.ItemKNN : Sparse item weights, for catalogs whose items × items matrix
        does not fit in memory.

    Notes
    -----
    The weights minimize
    :math:`\lVert X - XW \rVert_F^2 + \lVert \Lambda^{1/2} W \rVert_F^2` subject to
    :math:`\operatorname{diag} W \le \xi`. With :math:`G = X^\top X`,

    .. math::

        \Lambda &= \lambda I + \tfrac{p}{1 - p} \operatorname{diagMat}(\operatorname{diag} G),
        \qquad P = (G + \Lambda)^{-1}, \\
        W &= I - P\,(\Lambda + \operatorname{diagMat} \mu), \qquad
        \mu = \max\left(0, (1 - \xi) \oslash \operatorname{diag} P - \operatorname{diag}
        \Lambda\right).

    The choices of the parameters that have names of their own are:

    =========  ==============  ==================================================================
    `dropout`  `max_diagonal`  model
    =========  ==============  ==================================================================
    0          0               EASE, :math:`W = I - P \operatorname{diagMat}(1 \oslash
                               \operatorname{diag} P)`, eq. 8 of [1]_
    p          0               EDLAE, up to the factor 1 − p, which no ranking depends on [2]_
    0          ξ               RLAE [3]_
    p          ξ               RDLAE [3]_
    0          1               ridge regression, :math:`W = I - \lambda P`
    =========  ==============  ==================================================================

    With the normalizations a and b, :math:`D_u^{-a} X D_i^{-b}` stands for X above, and features F
    of weight α are the further rows :math:`\alpha F^\top` of it. A single items × items matrix is
    built, inverted and turned into W in place. If float32 is not precise enough for a small
    penalty, the inverse is computed in float64.

    An item without users is an item that every user passed over: its scores are lower than those of
    other items. Rank such items among themselves, with `candidates`, or raise `feature_weight`.

    **New users.** `partial_fit` with few new users changes W instead of inverting again, in
    O(n_items² · n_new_users): W and the diagonal of P, which the model keeps, determine P, to which
    the formula of Sherman, Morrison and Woodbury applies. That is exact, and float32 rounding does
    not add up noticeably. ``coef_`` is changed in place once nothing can fail any more, so do not
    predict in another thread meanwhile; an interrupt is raised after it. If anything else refers to
    the array, such as a copy of the model or a variable, or if it is read-only, the model gets a
    new array instead, and whoever holds the former one keeps it as it was. With dropout,
    normalization, a low-pass filter or item features, which depend on all rows, after a change of
    parameters, for models saved by earlier versions and for more than an eighth as many new users
    as items it fits to all rows instead.

    **Sparse weights.** With a `density` ρ no items × items array is made [5]_. Item j has weights
    from the ⌊ρ · n_items⌋ items i that are most correlated with it, by :math:`|G_{ij}| /
    \sqrt{(G + \Lambda)_{ii} (G + \Lambda)_{jj}}`, ties by index; the penalty in it lowers the
    correlations of items with few users. An item and these neighbors are a block. The formulas
    above, with G and Λ of the block only, are the solution for its items (section 3.2 of [5]_),
    and the weights of the closest half of the block are taken from it. Blocks are solved, the most
    popular item first, until there are weights for all items; weights from several blocks are
    averaged. They are the dense ones if a block holds all items that its items are connected with,
    and for `density` 1. The paper has one threshold for all correlations; the same number of
    weights for each item gave higher accuracy in our experiments, and blocks of equal size. It
    takes O(ρ³ n_items³) operations per block and O(ρ n_items²) memory. `partial_fit` fits to all
    rows. Dense item features are slow, as they make all items correlated.

    **Low-pass filter.** With `low_pass` α, scores are :math:`x (W + \alpha D_i^{-1/2} V V^\top
    D_i^{1/2})`, where V holds the first right singular vectors of :math:`D_u^{-1/2} X D_i^{-1/2}`
    and :math:`D_u`, :math:`D_i` the degrees: the filter of GF-CF [6]_. ``coef_`` is W alone.

    References
    ----------
    .. [1] Harald Steck. "Embarrassingly Shallow Autoencoders for Sparse Data". WWW 2019.
       https://arxiv.org/abs/1905.03375
    .. [2] Harald Steck. "Autoencoders that don't overfit towards the Identity". NeurIPS 2020.
    .. [3] Jaewan Moon, Hye-young Kim, Jongwuk Lee. "It's Enough: Relaxing Diagonal Constraints in
       Linear Autoencoders for Recommendation". SIGIR 2023. https://arxiv.org/abs/2305.12922
    .. [4] Olivier Jeunen, Jan Van Balen, Bart Goethals. "Closed-Form Models for Collaborative
       Filtering with Side-Information". RecSys 2020.
    .. [5] Harald Steck. "Markov Random Fields for Collaborative Filtering". NeurIPS 2019.
       https://arxiv.org/abs/1910.09645
    .. [6] Yifei Shen, Yongji Wu, Yao Zhang, Caihua Shan, Jun Zhang, Khaled B. Letaief, Dongsheng
       Li. "How Powerful is Graph Convolution for Recommendation?". CIKM 2021.
       https://arxiv.org/abs/2108.07567

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import EASE
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = EASE(l2=1.0).fit(R)
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)  # a new user
    array([[2]])

    A relative, RDLAE, in which items predict themselves to some extent:

    >>> relative = EASE(l2=1.0, dropout=0.3, max_diagonal=0.25).fit(R)
    >>> relative.coef_.diagonal()
    array([0.25, 0.25, 0.25, 0.25], dtype=float32)

    Half of the weights, as a sparse matrix:

    >>> sparse = EASE(l2=1.0, density=0.5).fit(R)
    >>> sparse.coef_.shape, sparse.coef_.nnz
    ((4, 4), 6)
    """

    _parameter_constraints: dict = {
        **LowPassMixin._parameter_constraints,
        "l2": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_diagonal": [Interval(Real, 0, 1, closed="both")],
        "user_normalization": [Interval(Real, 0, None, closed="left")],
        "item_normalization": [Interval(Real, 0, None, closed="left")],
        "item_features": ["array-like", "sparse matrix", None],
        "feature_weight": [Interval(Real, 0, None, closed="left")],
        "encoder": [HasMethods(["fit", "transform"]), None],
        "density": [Interval(Real, 0, 1, closed="right"), None],
        "device": [str],
    }

    def __init__(
        self,
        l2=500.0,
        *,
        dropout=0.0,
        max_diagonal=0.0,
        user_normalization=0.0,
        item_normalization=0.0,
        item_features=None,
        feature_weight=1.0,
        encoder=None,
        density=None,
        low_pass=0.0,
        n_factors=64,
        random_state=None,
        device="cpu",
    ):
        self.l2 = l2
        self.dropout = dropout
        self.max_diagonal = max_diagonal
        self.user_normalization = user_normalization
        self.item_normalization = item_normalization
        self.item_features = item_features
        self.feature_weight = feature_weight
        self.encoder = encoder
        self.density = density
        self.low_pass = low_pass
        self.n_factors = n_factors
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # which of equal correlations are kept depends on the order of the items
        tags.recommender_tags.exact = self.density is None and not self.low_pass
        return tags

    @property
    def _sparse_coef(self):
        return sp.issparse(getattr(self, "coef_", None))

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            # of a fit that `partial_fit` can update: the diagonal of the inverse, and what the
            # weights depend on besides
            "_inverse_diagonal_": Optional(Maybe(Array("n_items", low=0))),
            "_fitted_l2_": Optional(Number(low=0)),
            "_fitted_max_diagonal_": Optional(Number(low=0, high=1)),
        }

    def _add_users(self, X):
        if not self.__sklearn_is_fitted__():
            return self._fit_matrix(X)
        X = self._checked(X)
        fitted = self._own_interactions()
        return self._refit(sp.vstack([fitted, X], format="csr"), n_fitted=fitted.shape[0])

    def _fit(self, X, n_fitted=None):
        if n_fitted is None or not self._update(X, n_fitted):
            self._solve(X)
            self._fit_low_pass(X)

    def _solve(self, X):
        """Set the weights by inverting."""
        n_neighbors = self._n_neighbors(X.shape[1])
        A, dense = self._rows(X)
        gram = Gram(A, dense)
        if n_neighbors < X.shape[1] - 1:
            if dense is not None:
                A = sp.vstack([A, sp.csr_array(dense)], format="csr")
            self.coef_ = sparse_weights(A, self._penalty(gram), n_neighbors, self.max_diagonal)
            self._inverse_diagonal_ = None
            return
        self._solve_gram(gram)

    def _penalty(self, gram):
        """Return the diagonal of Λ, which is a number without dropout."""
        if self.dropout == 0:
            return self.l2
        return self.l2 + self.dropout / (1 - self.dropout) * gram.diagonal()

    def _solve_gram(self, gram):
        """Set the weights, given the Gram matrix of the rows that are reconstructed."""
        penalty = self._penalty(gram)
        P = inverse_gram(gram, penalty, self.device)
        d = P.diagonal().copy()
        if self.max_diagonal == 0:  # divide, as multiplying by 1 / d would round once more
            P /= -d
        else:
            P *= -column_factors(d, penalty, self.max_diagonal).astype(P.dtype)
        d = d.astype(np.float64)
        np.fill_diagonal(P, bounded_diagonal(d, penalty, self.max_diagonal))
        P = P.astype(np.float32, copy=False)
        self.coef_ = P if self.density is None else sp.csr_array(P)
        self._inverse_diagonal_ = d if self._is_updatable() else None
        self._fitted_l2_ = float(self.l2)
        self._fitted_max_diagonal_ = float(self.max_diagonal)

    def _n_neighbors(self, n_items):
        """Return how many weights each item may have, without its own."""
        if self.density is None:
            return n_items - 1
        if self.device not in ("cpu", "auto"):
            raise ValueError(
                f'density={self.density:g} is computed on the CPU, but device="{self.device}". '
                'Set device="cpu", or density=None.'
            )
        n_neighbors = int(self.density * n_items * (1 + 1e-12))  # 0.29 × 100 is 28.999…
        if n_neighbors == 0:
            raise ValueError(
                f"density={self.density:g} leaves {n_items:,} items less than one weight each. "
                f"Raise it to at least {1 / n_items:.3g}."
            )
        return min(n_neighbors, n_items - 1)

    def _rows(self, X):
        """Return what is reconstructed: normalized histories and features, sparse and dense."""
        X = normalized(X, self.user_normalization, self.item_normalization)
        features, dense = self._feature_rows()
        if features is not None:
            X = sp.vstack([X, features], format="csr")
        return X, dense

    def _feature_rows(self):
        """Return the features as rows, sparse or dense, whichever is faster, and None."""
        if self.item_features is None:
            return None, None
        features, _ = feature_matrix(self._ordered_item_features(), self.encoder)
        features = (features * np.float32(self.feature_weight)).T.tocsr()
        if features.nnz > _DENSE * features.shape[0] * features.shape[1]:
            return None, features.toarray()
        return features, None

    def _update(self, X, n_fitted):
        """Set the weights by an update to new users; return False where that is not possible."""
        new = X[n_fitted:]
        changed = (self.l2, self.max_diagonal) != (
            getattr(self, "_fitted_l2_", None),
            getattr(self, "_fitted_max_diagonal_", None),
        )
        d = getattr(self, "_inverse_diagonal_", None)
        if d is None or changed or not self._is_updatable() or 8 * new.shape[0] > X.shape[1]:
            return False
        in_place = can_change(vars(self))
        if not in_place:
            check_memory(
                self.coef_.nbytes,
                f"EASE's new matrix of {X.shape[1]:,} × {X.shape[1]:,} weights",
                "Delete whatever else holds `coef_`, such as a copy of the model.",
            )
        with np.errstate(all="ignore"):  # what is not accurate is refused
            try:
                users = NewUsers(self.coef_, d, new, self.l2, self.max_diagonal)
            except np.linalg.LinAlgError:
                return False
            if not is_inverse(users.times_inverse, Gram(X), self.l2):
                return False
        if in_place:
            self._pending = users  # until nothing can fail any more
        else:
            self.coef_ = self.coef_.copy()
            users.add_to(self.coef_)
        self._inverse_diagonal_ = users.inverse_diagonal
        return True

    def _become(self, new):
        users = vars(new).pop("_pending", None)
        with deferred_interrupt():
            if users is not None:
                users.add_to(new.coef_)
            super()._become(new)

    def _is_updatable(self):
        """Return whether W is dense, and the penalty and the rows depend on `X` and `l2` only."""
        normalization = (self.user_normalization, self.item_normalization)
        settings = (self.dropout, *normalization, self.low_pass)
        return not any(settings) and self.item_features is None and self.density is None
