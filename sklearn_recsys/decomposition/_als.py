"""ALS: matrix factorization of implicit feedback by alternating least squares.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008; Rendle,
Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation Benchmarks",
RecSys 2022.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import check_non_negative

from sklearn_recsys.base import ExplainMixin, FactorsMixin, RecommenderMixin
from sklearn_recsys.base._checkpoint import CheckpointMixin
from sklearn_recsys.decomposition._contributions import contributions
from sklearn_recsys.decomposition._weighted_rows import WeightedRows
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.utils._cells import products_at
from sklearn_recsys.utils._device import check_device
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._on_disk import transposed
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Array, Number
from sklearn_recsys.utils._warnings import warn

_INIT_NORM = 0.1  # typical norm of an initial item vector; the users are solved for first


class ALS(CheckpointMixin, FactorsMixin, ExplainMixin, RecommenderMixin, BaseEstimator):
    r"""Alternating least squares for implicit feedback.

    Every user and every item has a vector, and a score is the dot product of the two. It is fitted
    to be near 1 for observed cells and near 0 for all others, which have a small weight [1]_, [2]_.
    Given the vectors of the items, those of the users are the exact solutions of ridge regressions,
    and vice versa: `fit` alternates between the two. A new user takes one such regression.

    The values of `X` are weights of the interactions in the loss. Unchanged ratings therefore mean
    that users like all items that they rated, some with more certainty.

    Parameters
    ----------
    n_factors : int, default=64
        Length of the vectors. Larger values are more accurate up to a point, and slower.
    l2 : float, default=0.007
        The ridge penalty λ per cell of a user or an item, see `reg_exponent`. Good values lie
        between 0.001 and 0.02 on most data; choose it on held-out interactions, together with
        `unobserved_weight`.
    unobserved_weight : float, default=0.2
        The weight α₀ of an unobserved cell; the weight of an observed cell is its value in `X`. If
        all values are ones, α₀ corresponds to 1/α in [1]_, where the weights are 1 + α r and 1.
    reg_exponent : float, default=1.0
        The exponent ν: a user with n_u interactions has the penalty λ (n_u + α₀ n_items)^ν, and
        similarly for items. With 0 all users and items have the penalty λ, as in [1]_, and λ must
        be much larger.
    max_iter : int, default=16
        Number of iterations, each of which solves for all users and then for all items.
    solver : {"cholesky", "cg"}, default="cholesky"
        How training solves for the vectors: exactly, or by a few conjugate gradient steps from the
        vectors of the previous iteration, which is faster but needs a few more iterations.
    cg_steps : int, default=3
        Conjugate gradient steps per half iteration with ``solver="cg"``.
    device : str, default="cpu"
        Where `fit` computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, which
        uses a GPU if there is one. Predictions do not use it.
    init : array-like of shape (n_items, n_factors), default=None
        Initial item vectors. With the `item_factors_` of a saved model, `fit` continues its
        training. None: random ones.
    checkpoint : str or path-like, default=None
        Folder to save the progress of `fit` in: the same call goes on from there if the process was
        killed.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial item vectors.
    verbose : int, default=0
        Whether to show the progress of `fit`, with the time left.

    Attributes
    ----------
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors of the items; zeros for items without an interaction.
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors of the training users, which `transform` returns for them.
    n_iter_ : int
        Number of iterations: `max_iter`, unless a callback of scikit-learn ended them.
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
    ValueError
        If `X` holds negative values, or `l2` is too small for the floating-point precision.

    See Also
    --------
    sklearn_recsys.linear_model.EASE : More accurate on catalogs whose items × items matrix fits in
        memory.
    sklearn_recsys.neural.ImplicitMatrixFactorization : A logistic or pairwise loss, by gradient
        descent.

    Notes
    -----
    The loss is that of [2]_ (section 2), with a weight for each observed cell,

    .. math:: \sum_{u, i\ \text{observed}} x_{ui} (1 - v_u \cdot y_i)^2
              + \alpha_0 \sum_{u, i} (v_u \cdot y_i)^2
              + \lambda \sum_u (n_u + \alpha_0 n_\text{items})^\nu \lVert v_u \rVert^2
              + \lambda \sum_i (n_i + \alpha_0 n_\text{users})^\nu \lVert y_i \rVert^2.

    In eq. 3 of [1]_ an observed cell has weight 1 + α r and an unobserved one 1. If all values are
    ones, that is the same loss up to constant factors in the scores and in λ.

    Given the items, a user's vector is (eq. 4 of [1]_)

    .. math:: v_u = \Bigl(\alpha_0 Y^\top Y + \sum_i x_{ui} y_i y_i^\top + \lambda_u I\Bigr)^{-1}
              \sum_i x_{ui} y_i.

    so the score of an item is a sum over the history (section 5 of [1]_), which `explain` returns.
    :math:`Y^\top Y` is computed once for all users, so the cost of an iteration is linear in the
    number of interactions. Training is in float32. `fit` ends with the exact solution for the users
    in float64. Training rows use these vectors and new rows are solved for in the same way, so
    recommendations to a user depend only on the history.

    References
    ----------
    .. [1] Yifan Hu, Yehuda Koren, Chris Volinsky. "Collaborative Filtering for Implicit Feedback
       Datasets". ICDM 2008.
    .. [2] Steffen Rendle, Walid Krichene, Li Zhang, Yehuda Koren. "Revisiting the Performance of
       iALS on Item Recommendation Benchmarks". RecSys 2022. https://arxiv.org/abs/2110.14037

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import ALS
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = ALS(n_factors=2, random_state=0).fit(R)
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)  # a new user
    array([[2]])
    >>> ids, cosines = model.similar_items([0, 3], n=1)
    >>> ids
    array([[1],
           [2]])
    """

    _parameter_constraints: dict = {
        **CheckpointMixin._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "l2": [Interval(Real, 0, None, closed="neither")],
        "unobserved_weight": [Interval(Real, 0, None, closed="left")],
        "reg_exponent": [Interval(Real, None, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"cholesky", "cg"})],
        "cg_steps": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "init": ["array-like", None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _has_tasks = True

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "n_iter_": Number(low=1, type=Integral),
            "_gram_": Array("n_factors", "n_factors"),
        }

    def __init__(
        self,
        n_factors=64,
        *,
        l2=0.007,
        unobserved_weight=0.2,
        reg_exponent=1.0,
        max_iter=16,
        solver="cholesky",
        cg_steps=3,
        device="cpu",
        init=None,
        checkpoint=None,
        random_state=None,
        verbose=0,
    ):
        self.n_factors = n_factors
        self.l2 = l2
        self.unobserved_weight = unobserved_weight
        self.reg_exponent = reg_exponent
        self.max_iter = max_iter
        self.solver = solver
        self.cg_steps = cg_steps
        self.device = device
        self.init = init
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def _read(self, X):
        check_non_negative(X, type(self).__name__)
        return super()._read(X)

    # ---------------------------------------------------------------- fitting

    def _fit(self, X):
        n_users, n_items = X.shape
        check_memory(
            # float64 samples and their cast; factors, their products, the solver's k × k matrices
            (12 * n_items + 12 * (n_items + n_users) + 24 * self.n_factors) * self.n_factors,
            f"Factors of {n_users:,} users and {n_items:,} items with n_factors={self.n_factors:,}",
            "Use fewer factors.",
        )
        with self._open_checkpoint(X) as checkpoint:
            by_user, by_item = self._weighted_rows(X), self._weighted_rows(transposed(X))

            def finish(model, state):
                model._set_items(by_item.numpy(state["items"]), state["n_iter"])
                exact = by_user.solves_in_float64
                rows = by_user if exact else WeightedRows(X, self.n_factors)
                model.user_factors_ = model._solved_users(rows)

            finish(self, self._train(by_user, by_item, checkpoint, finish))
        self._warn_if_diverged()

    def _set_items(self, factors, n_iter):
        """Set the vectors of the items, and what the users are solved for with."""
        self.n_iter_ = n_iter
        self.item_factors_ = factors
        self._gram_ = WeightedRows.gram(factors.astype(np.float64))

    def _warn_if_diverged(self):
        if not (np.isfinite(self.item_factors_).all() and np.isfinite(self.user_factors_).all()):
            warn(
                f"{type(self).__name__} diverged within {self.max_iter} iterations: its vectors "
                "are not finite, so predictions will raise an error. Use smaller values "
                "(BM25Transformer, for example) or a larger l2.",
                ConvergenceWarning,
            )

    def _train(self, by_user, by_item, checkpoint, finish):
        """Return the state after all iterations: the vectors where `fit` computes, and `n_iter`.

        ``finish(copy, state)`` sets the fitted attributes of a copy of the model.
        """
        shape = len(by_user.lengths), self.n_factors
        state = {
            "n_iter": 0,
            "users": np.zeros(shape, dtype=np.float32),  # read by solver="cg" alone
            "items": self._initial_vectors(len(by_item.lengths), checkpoint.random_state),
        }
        part = checkpoint.part("iterations")
        state |= part.load() or {}
        state |= {"users": by_user.array(state["users"]), "items": by_item.array(state["items"])}
        left = range(state["n_iter"] + 1, self.max_iter + 1)
        options = {"finish": lambda model: finish(model, state), "show": self.verbose}
        for n_iter in self._progress.loop(left, "iteration", **options):
            users = self._half_step(by_user, state["users"], state["items"])
            items = self._half_step(by_item, state["items"], users)
            state |= {"n_iter": n_iter, "users": users, "items": items}
            if part.is_due:
                saved = {"n_iter": n_iter, "items": by_item.numpy(items)}
                if self.solver == "cg":
                    saved["users"] = by_user.numpy(users)
                part.save(saved)
        return state

    def _weighted_rows(self, X):
        """Return the rows of `X` where `fit` computes, and as its solver needs them."""
        # torch is imported late: it is slow to import, and exact solutions on a CPU do without it
        device = None if self.device == "cpu" else check_device(self.device)
        if device is not None and device.type != "cpu":
            from sklearn_recsys.decomposition._torch_rows import TorchRows

            return TorchRows(X, self.n_factors, device)
        if self.solver == "cg":
            from sklearn_recsys.decomposition._sparse_rows import SparseRows

            return SparseRows(X)
        return WeightedRows(X, self.n_factors)

    def _initial_vectors(self, n_items, rng):
        """Return the initial item vectors as a new float32 array."""
        shape = (n_items, self.n_factors)
        if self.init is None:
            scale = _INIT_NORM / np.sqrt(self.n_factors)
            return rng.normal(scale=scale, size=shape).astype(np.float32)
        with np.errstate(over="ignore"):  # check_array refuses values too large for float32
            items = check_array(self.init, dtype=np.float32, copy=True, input_name="init")
        if items.shape != shape:
            raise ValueError(
                f"init must have the shape (n_items, n_factors) = {shape}; got {items.shape}."
            )
        return items

    def _ridge(self, lengths, n_others):
        """Return the penalty λ (n_u + α₀ n_items)^ν of each user, or the same of each item."""
        cells = lengths + float(self.unobserved_weight) * n_others  # may exceed integers
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            ridge = self.l2 * cells**self.reg_exponent
        if not ridge.max(initial=0) <= np.finfo(np.float32).max:
            raise ValueError(
                f"With l2={self.l2}, unobserved_weight={self.unobserved_weight} and "
                f"reg_exponent={self.reg_exponent}, penalties are too large for float32."
            )
        return ridge

    def _half_step(self, rows, vectors, others, gram=None):
        """Return new vectors of the users, given those of the items, or vice versa.

        `gram` is that of the others, if it is known already.
        """
        prior = float(self.unobserved_weight) * (rows.gram(others) if gram is None else gram)
        ridge = self._ridge(rows.lengths, len(others))
        if self.solver == "cg":
            return rows.improve(vectors, others, prior, ridge, self.cg_steps)
        return self._solve(rows.solve, others, prior, ridge, "float32")

    def _solve(self, solve, others, prior, ridge, precision):
        try:
            return solve(others, prior, ridge)
        except np.linalg.LinAlgError:
            raise ValueError(
                f"l2={self.l2} is too small: the equations for a row are singular in {precision}."
            ) from None

    # ---------------------------------------------------------------- users

    def _user_factors(self, X):
        """Return the vectors of canonical histories."""
        training_rows = self._training_rows(X)
        new = np.flatnonzero(training_rows < 0)
        if len(new) == len(training_rows):  # and the model may have no training rows
            vectors = np.empty((len(new), self.item_factors_.shape[1]), dtype=np.float32)
        else:
            vectors = self.user_factors_[training_rows]
        if len(new):
            X = X if len(new) == X.shape[0] else X[new]
            vectors[new] = self._solved_users(WeightedRows(X, self.n_factors))
        return vectors

    def _solved_users(self, rows):
        """Return the vectors of the users with some `WeightedRows`, given those of the items.

        Solved in float64, because in float32 rounding would depend on how the rows are grouped.
        """
        prior = rows.array(self.unobserved_weight * self._gram_)
        ridge = self._ridge(rows.lengths, len(self.item_factors_))
        items = rows.array(self.item_factors_)
        vectors = self._solve(rows.solve, items, prior, ridge, "float64")
        return rows.numpy(vectors).astype(np.float32)

    def _score_items(self, X):
        return self._user_factors(X) @ self.item_factors_.T

    def _score_pairs(self, X, rows, items):
        return products_at(self._user_factors(X), self.item_factors_, rows, items)

    def _contributions(self, X, rows, items):
        prior = self.unobserved_weight * self._gram_
        ridge = self._ridge(np.diff(X.indptr), X.shape[1])
        return contributions(X, rows, items, self.item_factors_, prior, ridge)
