"""What recommenders learn from the scores of their members: cells held out of the members' fits."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier

from sklearn_recsys.compose._normalize import min_max
from sklearn_recsys.utils._cells import cell_rows, in_cells, take_cells
from sklearn_recsys.utils._content_split import hold_out_by_content
from sklearn_recsys.utils._history_index import item_hashes, mix, row_hashes
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._topk import top_n

# values of the parameter `holdout`
HOLDOUT = [Interval(Real, 0, 1, closed="neither"), Interval(Integral, 1, None, closed="left")]
_SHARE_OF_USERS = 0.2  # if the interactions to hold out are counted
_STEP = 2.0**10  # standardized scores are rounded to its inverse


@dataclass(eq=False, slots=True)
class HeldOut:
    """Interactions that the members are not fitted to.

    Parameters
    ----------
    fit_rows : ndarray of int64 of shape (n_fit_users,)
        The users that the members are fitted to.
    X_fit : csr_array of shape (n_fit_users, n_items)
        Their interactions, without those held out.
    rows : ndarray of int64 of shape (n_rows,)
        The users with interactions held out.
    X_input, y : csr_array of shape (n_rows, n_items)
        Their histories, without the held-out cells, and these.
    """

    fit_rows: np.ndarray
    X_fit: sp.csr_array
    rows: np.ndarray
    X_input: sp.csr_array
    y: sp.csr_array


def hold_out(X, size, *, of, latest, name):
    """Hold out some of the interactions; raise ValueError if there are none to hold out.

    Both the users and the cells are sampled by a hash of the contents of a row.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The training matrix.
    size : float or int
        The share to hold out of each row, at least one cell, and of the users; or the number of
        cells of each row, and a fifth of the users.
    of : {"cells", "users"}
        Whether to fit to the other cells of all users, or to the other users.
    latest : bool
        Whether to hold out the cells with the largest values, which are positions then.
    name : str
        The class that learns from the held-out cells, for the message.

    Returns
    -------
    held_out : HeldOut
    """
    counted = isinstance(size, Integral)
    rows = np.flatnonzero(np.diff(X.indptr) > (size if counted else 1))
    all_rows = fit_rows = np.arange(X.shape[0])
    if of == "users":
        n_users = max(1, int((_SHARE_OF_USERS if counted else size) * len(rows)))
        rows = np.sort(rows[np.argsort(row_hashes(X[rows]), kind="stable")[:n_users]])
        fit_rows = np.setdiff1d(all_rows, rows)
    X_input, y = hold_out_by_content(X[rows], size, latest=latest)
    if not y.nnz or not len(fit_rows):
        raise ValueError(
            f"{name} learns from interactions that it holds out of X: it needs two users, one of "
            f"them with {size + 1 if counted else 2} interactions. Got n_samples = {X.shape[0]}, "
            f"n_features = {X.shape[1]} and {X.nnz} interactions."
        )
    if of == "users":
        X_fit = X[fit_rows]
    else:
        X_fit = take_cells(X, ~in_cells(X, _with_rows(y, rows, X.shape)))
    return HeldOut(fit_rows, X_fit, rows, X_input, y)


def _with_rows(y, rows, shape):
    """Return a matrix with the rows of `y` at `rows`, and no cells in the others."""
    lengths = np.zeros(shape[0], dtype=y.indptr.dtype)
    lengths[rows] = np.diff(y.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sp.csr_array((y.data, y.indices, indptr), shape=shape)


def retrieved(scores, seen, n):
    """Return a mask of the items that any member ranks among its `n` best.

    Parameters
    ----------
    scores : list of ndarray of float32 of shape (n_rows, n_items)
        Those of each member.
    seen : csr_array of shape (n_rows, n_items)
        Cells that are not ranked.
    n : int
        Number of items of each member.

    Returns
    -------
    mask : ndarray of bool of shape (n_rows, n_items)
    """
    mask = np.zeros(seen.shape, dtype=bool)
    for own in scores:
        own = own.copy()
        own[cell_rows(seen), seen.indices] = -np.inf
        ids, values = top_n(own, min(n, own.shape[1]))
        rows, slots = np.nonzero(values > -np.inf)
        mask[rows, ids[rows, slots]] = True
    return mask


def sampled(eligible, X, n):
    """Return a mask of about `n` items of each row, sampled from the eligible ones by a hash.

    The sample depends on a row's contents alone, not on its position or a random state.

    Parameters
    ----------
    eligible : ndarray of bool of shape (n_rows, n_items)
        The items to sample from.
    X : csr_array of shape (n_rows, n_items)
        The rows that are hashed.
    n : int or ndarray of int of shape (n_rows,)
        Number of items: the expected one, as each is sampled on its own.

    Returns
    -------
    mask : ndarray of bool of shape (n_rows, n_items)
    """
    share = np.minimum(n / np.maximum(eligible.sum(axis=1), 1), 1)
    hashes = mix(row_hashes(X)[:, None] + item_hashes(np.arange(X.shape[1])))
    return eligible & (hashes < (share * 2.0**64)[:, None])


def candidate_pairs(histories, y, scores_of, n_candidates, n_negatives=None):
    """Yield the pairs to learn from, block by block of users.

    These are the candidates of the users of whom a candidate is held out. A held-out item that is
    no candidate is none of them: it would never be ranked.

    Parameters
    ----------
    histories : Histories
        Those of the users with interactions held out, without these.
    y : csr_array of shape (n_rows, n_items)
        The held-out cells.
    scores_of : callable
        Returns the members' scores of histories, a list.
    n_candidates : int
        Number of candidates of each member.
    n_negatives : int, default=None
        Number of pairs with the target 0 for each with the target 1; None: all.

    Yields
    ------
    block : slice of int
        Rows of `histories`.
    part : Histories
        Theirs.
    scores : list of ndarray of float32 of shape (n_block, n_items)
        The members' scores.
    rows, items : ndarray of int64 of shape (n_pairs,)
        The pairs of the block, row by row.
    target : ndarray of float64 of shape (n_pairs,)
        1 for the held-out cells, 0 for the others.

    Raises
    ------
    ValueError
        If there is no pair.
    """
    n_pairs = 0
    for block, part in histories.blocks():
        scores = scores_of(part)
        candidates = retrieved(scores, part.X, n_candidates)
        is_held_out = np.zeros(candidates.shape, dtype=bool)
        held_out = y[block]
        is_held_out[cell_rows(held_out), held_out.indices] = True
        is_held_out &= candidates
        found = is_held_out.sum(axis=1)
        negatives = candidates & ~is_held_out & (found > 0)[:, None]
        if n_negatives is not None:
            negatives = sampled(negatives, part.X, n_negatives * found)
        rows, items = np.nonzero(is_held_out | negatives)
        n_pairs += len(rows)
        if len(rows):
            yield block, part, scores, rows, items, is_held_out[rows, items].astype(np.float64)
    if not n_pairs:
        raise ValueError(
            f"No held-out interaction is among the {n_candidates} best items of any recommender, "
            "so there is nothing to learn from: raise n_candidates."
        )


def fitted_to_pairs(estimator, features, target, **params):
    """Fit an estimator to pairs, in place, and return it; classifiers and rankers get integers."""
    if is_classifier(estimator) or params:
        target = target.astype(np.int64)
    return estimator.fit(features, target, **params)


def check_can_predict(estimator):
    """Raise ValueError unless a value predicts; CatBoost's models are no BaseEstimator."""
    if not callable(getattr(estimator, "predict", None)):
        raise ValueError(f"is a {type(estimator).__name__}, which does not predict")


def pair_scores(estimator, features):
    """Return the scores of pairs: greater is better, for classifiers that of class 1.

    Parameters
    ----------
    estimator : classifier or regressor
        A fitted one.
    features : ndarray of float32 of shape (n_pairs, n_features)
        Those of each pair.

    Returns
    -------
    scores : ndarray of float32 of shape (n_pairs,)
    """
    if not len(features):
        return np.empty(0, dtype=np.float32)
    if is_classifier(estimator) and hasattr(estimator, "decision_function"):
        scores = estimator.decision_function(features)
    elif is_classifier(estimator) and hasattr(estimator, "predict_proba"):
        scores = estimator.predict_proba(features)[:, -1]
    else:
        scores = estimator.predict(features)
    return np.asarray(scores, dtype=np.float32).reshape(len(features))


def ranked_first(rest, rows, items, ranked):
    """Return the scores of all items when some of them are ranked before the others.

    Parameters
    ----------
    rest : ndarray of float32 of shape (n_rows, n_items)
        Scores that order the others; overwritten.
    rows, items : ndarray of int64 of shape (n_pairs,)
        The pairs to rank first, row by row.
    ranked : ndarray of float32 of shape (n_pairs,)
        Their scores.

    Returns
    -------
    scores : ndarray of float32 of shape (n_rows, n_items)
        From 1 to 2 for the given pairs, from 0 to ½ for the others.
    """
    scores = min_max(rest) / 2
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    lengths = np.diff(starts, append=len(rows))
    low = np.repeat(np.minimum.reduceat(ranked, starts), lengths)
    span = np.repeat(np.maximum.reduceat(ranked, starts), lengths) - low
    scores[rows, items] = 1 + (ranked - low) / np.where(span > 0, span, 1)
    return scores


def standardized_pairs(scores, rows, items):
    """Return columns of scores with mean 0 and standard deviation 1 over the pairs of each row.

    How far the scores of different users go is no matter of which items they want.

    Parameters
    ----------
    scores : list of ndarray of float32 of shape (n_rows, n_items)
        Those of each member.
    rows, items : ndarray of int64 of shape (n_pairs,)
        The pairs, row by row.

    Returns
    -------
    columns : ndarray of float32 of shape (n_pairs, n_members)
        Rounded, so that rounding errors of the scores hardly ever move one past a split of a tree.
    """
    columns = np.column_stack([own[rows, items] for own in scores]).astype(np.float64)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    lengths = np.diff(starts, append=len(rows))[:, None]
    rounding = 1e-6 * np.maximum.reduceat(np.abs(columns), starts)  # of float32
    columns -= np.repeat(np.add.reduceat(columns, starts) / lengths, lengths[:, 0], axis=0)
    deviations = np.sqrt(np.add.reduceat(columns**2, starts) / lengths)
    deviations = np.where(deviations > rounding, deviations, np.inf)  # all equal: 0
    columns /= np.repeat(deviations, lengths[:, 0], axis=0)
    return (np.rint(columns * _STEP) / _STEP).astype(np.float32)


def group_params(estimator, rows):
    """Return the arguments of `fit` that tell a learning-to-rank model which pairs go together.

    Parameters
    ----------
    estimator : classifier, regressor or ranker
        One whose `fit` has a parameter ``qid`` (XGBoost), ``group_id`` (CatBoost) or ``group``
        (LightGBM).
    rows : ndarray of int of shape (n_pairs,)
        The user of each pair, in ascending order.

    Returns
    -------
    params : dict
        {} for all other estimators.
    """
    accepted = signature(estimator.fit).parameters
    for name in ("qid", "group_id"):
        if name in accepted:
            return {name: rows}
    return {"group": np.unique(rows, return_counts=True)[1]} if "group" in accepted else {}
