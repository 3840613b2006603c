"""The ideal low-pass filter of the graph of users and items, alone and as a term of linear models.

Shen, Wu, Zhang, Shan, Zhang, Letaief and Li, "How powerful is graph convolution for
recommendation?", CIKM 2021.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.utils.extmath import randomized_svd

from sklearn_recsys.linear_model._base import LinearMixin
from sklearn_recsys.utils._cells import (
    cell_rows,
    item_degrees,
    normalized,
    products_at,
    take_rows,
    with_values,
)
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._on_disk import by_rows
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Array, Maybe, Optional


def singular_vectors(R, n_factors, random_state):
    """Return the right singular vectors of R with the largest singular values, in columns.

    Parameters
    ----------
    R : csr_array of float32 of shape (n_users, n_items)
        The matrix.
    n_factors : int
        How many; fewer are returned if R has a lower rank.
    random_state : int, RandomState instance or None
        Seed of the randomized decomposition.

    Raises
    ------
    MemoryError
        Before anything is allocated, if they do not fit.
    """
    n_factors = min(n_factors, *R.shape)
    check_memory(
        12 * sum(R.shape) * (n_factors + 10),  # the vectors, a sample and its factorization
        f"{n_factors:,} singular vectors of {R.shape[0]:,} users and {R.shape[1]:,} items",
        "Use fewer factors, or low_pass=0.",
    )
    _, values, components = randomized_svd(R, n_factors, n_iter=4, random_state=random_state)
    # those of a zero singular value are arbitrary
    in_space = values > values[0] * max(R.shape) * np.finfo(R.dtype).eps
    return np.ascontiguousarray(components[in_space].T, dtype=np.float32)


def of_unit_size(X):
    """Return a csr_array divided by its largest absolute value."""
    return _divided(X, max(-X.data.min(), X.data.max()))


@by_rows
def _divided(X, peak):
    return with_values(X, X.data / peak)


class LowPassMixin(LinearMixin):
    """Mixin for linear models that may add an ideal low-pass filter to their weights W.

    W + α D_i^(−½) V Vᵀ D_i^½ scores, where α is `low_pass`, D_i holds the degrees of the items and
    V the `n_factors` first right singular vectors of the matrix X̃ normalized by the square roots
    of both degrees. `_fit` of a model ends with `_fit_low_pass`.
    """

    _parameter_constraints: dict = {
        "low_pass": [Interval(Real, 0, None, closed="left")],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def _fitted_state(self):
        factors = Optional(Maybe(Array("n_items", "n_components")))
        return {**super()._fitted_state(), "_low_pass_in_": factors, "_low_pass_out_": factors}

    def _fit_low_pass(self, X, random_state=None):
        """Set the filter; `random_state` replaces the parameter of that name."""
        self._low_pass_in_ = self._low_pass_out_ = None
        if not self.low_pass:
            return
        unit = of_unit_size(X)
        degrees = item_degrees(unit)
        R = normalized(unit, 0.5, 0.5, degrees)
        random_state = self.random_state if random_state is None else random_state
        V = singular_vectors(R, self.n_factors, random_state)
        scale = np.sqrt(np.where(degrees > 0, degrees, 1)).astype(np.float32)[:, None]
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            self._low_pass_in_, self._low_pass_out_ = V / scale, V * (self.low_pass * scale)
        if not np.isfinite(self._low_pass_out_).all():
            raise ValueError(f"low_pass={self.low_pass} is too large for float32.")

    def _score_items(self, X):
        scores = super()._score_items(X)
        if getattr(self, "_low_pass_in_", None) is not None:
            scores += (X @ self._low_pass_in_) @ self._low_pass_out_.T
        return scores

    def _contributions(self, X, rows, items):
        contributions = super()._contributions(X, rows, items)
        if getattr(self, "_low_pass_in_", None) is not None:
            histories = take_rows(X, rows)
            weights = products_at(
                self._low_pass_in_,
                self._low_pass_out_,
                histories.indices,
                items[cell_rows(histories)],
            )
            contributions += histories.data * weights
        return contributions
