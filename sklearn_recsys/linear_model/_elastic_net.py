"""Elastic nets of many columns on the items of a Gram matrix, solved together by active sets.

For q = Xᵀx of a column x and G = XᵀX, the solver minimizes

    f(w) = ½ wᵀGw − qᵀw + l1‖w‖₁ + ½ l2‖w‖²,

optionally with w ≥ 0. A round computes the residuals q − Gw of a block of columns in one product.
Then the candidates that violate the optimality condition most enter the active set of their column,
the linear system of the active set is solved, and members whose weight has the wrong sign leave.
Columns of recommender data have a few dozen weights, so these systems are small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_recsys.utils._lapack import cholesky, cholesky_solve

_ENTERING = 60  # candidates that may enter a small active set in one round; a large one may double
_CELLS = 2**20  # cells of the systems that are solved at once, so that they stay in cache
_CHOLESKY = 128  # least size of systems that Cholesky solves faster than LU
_RIDGE = 1e-9  # least l2, times the mean diagonal: systems with duplicate items have a solution


@dataclass
class Solution:
    """Weights of a block of columns.

    Parameters
    ----------
    members : ndarray of int64 of shape (n_columns, n_slots)
        The candidates with a weight, ascending; empty slots at the end hold the number of
        candidates.
    weights : ndarray of float64 of shape (n_columns, n_slots)
        Their weights.
    values : ndarray of float64 of shape (n_columns,)
        f(w).
    violations : ndarray of float64 of shape (n_columns,)
        How far each column is from the optimality condition, in units of max |q|.
    n_iter : int
        Number of rounds.
    """

    members: np.ndarray
    weights: np.ndarray
    values: np.ndarray
    violations: np.ndarray
    n_iter: int


class ElasticNets:
    """Elastic nets of a block of columns.

    Parameters
    ----------
    problem : object
        The columns, with an attribute ``q``, an array of float32 of shape (n_columns,
        n_candidates), and two methods: ``products(rows, members, weights)`` returns Gw of some
        columns, and ``systems(rows, members)`` returns G at all pairs of members, of shape
        (n_rows, n_slots, n_slots). Empty slots hold n_candidates; what `systems` returns for them
        does not matter.
    l1, l2 : float
        The penalties; their sum is greater than zero.
    positive : bool
        Whether weights must not be negative.
    """

    def __init__(self, problem, l1, l2, positive):
        self.problem = problem
        self.l1, self.l2 = l1, l2
        self.positive = positive
        self.n_columns, self.empty = problem.q.shape
        self.signed = positive or l1 > 0  # whether f has a kink at zero

    def solve(self, tol, max_iter):
        """Return the Solution.

        Parameters
        ----------
        tol : float
            A column is solved when no derivative of f violates the optimality condition by more
            than `tol` times max |q|.
        max_iter : int
            Maximum number of rounds.
        """
        scale = np.abs(self.problem.q).max(axis=1, initial=0)
        out = Solution(
            members=np.full((self.n_columns, 0), self.empty),
            weights=np.zeros((self.n_columns, 0)),
            values=np.zeros(self.n_columns),
            violations=np.zeros(self.n_columns),
            n_iter=0,
        )
        rows = np.arange(self.n_columns)  # those not solved yet
        while True:
            members, weights = _trim(out.members[rows], out.weights[rows], self.empty)
            residuals = self.problem.q[rows] - self.problem.products(rows, members, weights)
            excess = self._excess(residuals, members, weights)
            worst = excess.max(axis=1, initial=0)
            out.violations[rows] = worst / np.where(scale[rows] > 0, scale[rows], 1)
            going = worst > tol * scale[rows]
            rows = rows[going]
            if not len(rows) or out.n_iter == max_iter:
                return out
            out.n_iter += 1
            state = members[going], weights[going], out.values[rows]
            trial = self._round(rows, *state, residuals[going], excess[going], tol * scale[rows])
            members, weights, values = trial
            width = max(out.members.shape[1], members.shape[1])
            out.members = _widen(out.members, width, self.empty)
            out.weights = _widen(out.weights, width, 0)
            out.members[rows] = _widen(members, width, self.empty)
            out.weights[rows] = _widen(weights, width, 0)
            moved = values < out.values[rows]
            out.values[rows] = values
            rows = rows[moved]  # the others are at their optimum, up to rounding

    def _excess(self, residuals, members, weights):
        """Return by how much each derivative violates the optimality condition."""
        excess = (residuals if self.positive else np.abs(residuals)) - np.float32(self.l1)
        rows, slots = np.nonzero(members < self.empty)
        items, weights = members[rows, slots], weights[rows, slots]
        excess[rows, items] = np.abs(
            residuals[rows, items] - self.l1 * np.sign(weights) - self.l2 * weights
        )
        return excess

    def _round(self, rows, members, weights, values, residuals, excess, limit):
        """Return members, weights and values of columns after one round."""
        n_entering = min(max(_ENTERING, members.shape[1]), self.empty)
        entering = np.argpartition(excess, self.empty - n_entering, axis=1)[:, -n_entering:]
        amounts = np.take_along_axis(excess, entering, axis=1)
        is_new = amounts > limit[:, None]
        is_member = np.zeros((len(members), self.empty + 1), dtype=bool)  # + 1: empty slots
        np.put_along_axis(is_member, members, True, axis=1)
        is_new &= ~np.take_along_axis(is_member, entering, axis=1)
        signs = np.sign(np.take_along_axis(residuals, entering, axis=1))
        merged = np.concatenate([members, np.where(is_new, entering, self.empty)], axis=1)
        signs = np.concatenate([np.sign(weights), signs], axis=1)
        before = np.concatenate([weights, np.zeros(entering.shape)], axis=1)
        merged, signs, before = _trim(merged, signs, self.empty, before)
        new_members, new_weights, new_values = self._stationary(rows, merged, signs)
        for row in np.flatnonzero(new_values >= values):  # too many signs were wrong
            chosen = merged[row] < self.empty
            state = (array[row, chosen] for array in (merged, signs, before))
            step = self._careful_step(rows[row], *state, values[row])
            new_members[row], new_weights[row] = self.empty, 0
            new_members[row, : len(step[0])], new_weights[row, : len(step[0])] = step[:2]
            new_values[row] = step[2]
        return new_members, new_weights, new_values

    def _stationary(self, rows, members, signs):
        """Return the members whose weights have the given signs where f is stationary."""
        stationary = np.full(members.shape, self.empty)
        weights = np.zeros(members.shape)
        values = np.zeros(len(rows))
        sizes = (members < self.empty).sum(axis=1)
        for group in _groups(sizes):
            at, sign = (array[group, : sizes[group].max()] for array in (members, signs))
            A, b = self._system(rows[group], at, sign)
            while len(group):
                width = at.shape[1]
                z = _solve(A, b)
                values[group] = -0.5 * (b * z).sum(axis=1)
                stationary[group, :width], stationary[group, width:] = at, self.empty
                weights[group, :width], weights[group, width:] = z, 0
                if not self.signed:
                    break
                wrong = (at < self.empty) & (z * sign <= 0)
                failed = wrong.any(axis=1)
                group, at = group[failed], np.where(wrong, self.empty, at)[failed]
                at, order = _packed(at, self.empty)
                sign = np.take_along_axis(sign[failed], order, axis=1)
                b = np.take_along_axis(b[failed], order, axis=1)
                A = A[np.flatnonzero(failed)[:, None, None], order[:, :, None], order[:, None, :]]
                _isolate(A, b, at == self.empty)
        return stationary, weights, values

    def _system(self, rows, members, signs):
        """Return G + l2 I and q − l1 s of padded active sets, in float64."""
        is_empty = members == self.empty
        A = self.problem.systems(rows, members).astype(np.float64)
        q = np.take_along_axis(self.problem.q[rows], np.where(is_empty, 0, members), axis=1)
        b = q - self.l1 * signs
        diagonal = np.einsum("nii->ni", A)  # a view
        diagonal[is_empty] = 0
        floor = _RIDGE * diagonal.sum(axis=1) / np.maximum(1, (~is_empty).sum(axis=1))
        diagonal += np.maximum(self.l2, floor)[:, None]
        _isolate(A, b, is_empty)
        return A, b

    def _careful_step(self, row, members, signs, weights, value):
        """Return members, weights and f of one column after a step that lowers f.

        It is Lawson and Hanson's: toward the stationary point, until the first weight is zero,
        which then leaves (Solving Least Squares Problems, 1974, chapter 23). They let one candidate
        enter, which always lowers f; here all do, if that lowers it, too.
        """
        A, b = self._system(np.array([row]), members[None], signs[None])
        A, b = A[0], b[0]
        is_member = weights != 0
        first = np.where(is_member, -np.inf, np.abs(b - A @ weights)).argmax()
        for entering in (~is_member, np.arange(len(members)) == first):
            active = np.flatnonzero(is_member | entering)
            w = weights.copy()
            while True:
                z = np.linalg.solve(A[np.ix_(active, active)], b[active])
                wrong = self.signed & (z * signs[active] <= 0)
                if not wrong.any():
                    break
                at = w[active]
                steps = np.where(wrong, at / np.where(at == z, 1, at - z), np.inf)
                w[active] = at + steps.min() * (z - at)
                active = active[steps > steps.min()]
            new_value = -0.5 * b[active] @ z
            if new_value < value:
                break
        return members[active], z, new_value


def _trim(members, values, empty, *others):
    """Sort the members of each row, with their values, and cut off the slots empty in all."""
    members, order = _packed(members, empty)
    return members, *(np.take_along_axis(array, order, axis=1) for array in (values, *others))


def _packed(members, empty):
    """Return the sorted members of each row without the slots empty in all, and their order."""
    order = np.argsort(members, axis=1, kind="stable")
    order = order[:, : int((members < empty).sum(axis=1).max(initial=0))]
    return np.take_along_axis(members, order, axis=1), order


def _widen(array, width, fill):
    """Return an array with more columns, filled with a value."""
    missing = ((0, 0), (0, width - array.shape[1]))
    return np.pad(array, missing, constant_values=fill)


def _groups(sizes):
    """Yield indices of systems of similar size, few enough to stay in cache."""
    order = np.argsort(sizes, kind="stable")
    start = 0
    while start < len(order):
        counts = np.arange(1, len(order) - start + 1)
        fits = counts * sizes[order[start:]] ** 2 <= _CELLS  # ascending in size: a prefix
        stop = start + max(1, int(fits.sum()))
        yield order[start:stop]
        start = stop


def _isolate(A, b, is_empty):
    """Overwrite the equations of empty slots, in place, so that their weights are zero."""
    A[is_empty] = 0
    A.swapaxes(1, 2)[is_empty] = 0
    np.einsum("nii->ni", A)[is_empty] = 1
    b[is_empty] = 0


def _solve(A, b):
    """Return the solutions of symmetric systems."""
    if A.shape[-1] >= _CHOLESKY:
        factors, solved = A.astype(np.float64), b.astype(np.float64)
        if not cholesky(factors).any():
            cholesky_solve(factors, solved)
            return solved
        # else the rounding of float32 makes one singular
    return np.linalg.solve(A, b[:, :, None])[:, :, 0]
