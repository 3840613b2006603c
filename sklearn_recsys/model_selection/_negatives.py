"""Sampled negatives: items to rank together with the held-out ones."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state, check_scalar

from sklearn_recsys.model_selection._common import check_nonempty
from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils._items import check_held_out
from sklearn_recsys.utils._labels import check_same_labels
from sklearn_recsys.utils._memory import check_list_memory

_BLOCK_CELLS = 2**24  # cells of a block's dense mask
_MAX_ROUNDS = 6  # of rejection sampling, before the unfinished rows are sampled exactly


def sample_negatives(
    X, n=99, *, exclude=None, weights=None, random_state=None
) -> NDArray[np.int64]:
    """Sample items that a user has not interacted with, without replacement.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
        Interactions; a row's own items are not sampled.
    n : int, default=99
        Number of items for each row; He et al. [1]_ rank 99 with one held-out item.
    exclude : matrix or list of matrices of shape (n_users, n_items), default=None
        More cells that are not sampled, such as the test cells; an ndarray of shape (n_users,) is
        one held-out item for each row.
    weights : {None, "popularity"} or array-like of shape (n_items,), default=None
        Relative sampling probabilities of the items: uniform, their numbers of interactions in `X`,
        or the given values. Items of weight 0 are never sampled.
    random_state : int, RandomState instance or None, default=None
        Seed of the sampling.

    Returns
    -------
    negatives : ndarray of shape (n_users, n) of int64
        Distinct items for each row, in the order in which they were sampled. Rows with fewer than
        `n` items to sample from end with -1: empty slots, as in the `candidates` of ``recommend``
        and ``score``.

    Raises
    ------
    ValueError
        If `n` is less than 1, `exclude` or `weights` has the wrong shape, or weights are negative
        or all zero.

    See Also
    --------
    leave_last_out : Makes the held-out items.

    Notes
    -----
    Weighted sampling is successive: after each item, the remaining ones keep their relative
    probabilities.

    References
    ----------
    .. [1] X. He, L. Liao, H. Zhang, L. Nie, X. Hu, T.-S. Chua (2017). Neural Collaborative
       Filtering. WWW 2017, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.model_selection import sample_negatives
    >>> R = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 1, 1]])
    >>> np.sort(sample_negatives(R, n=2, random_state=0))
    array([[ 2,  3],
           [-1,  0]])
    """
    exclude = [] if exclude is None else exclude
    exclude = exclude if isinstance(exclude, (list, tuple)) else [exclude]
    for cells in exclude:
        check_same_labels(X, cells, "exclude")
    X = check_nonempty(X)
    check_scalar(n, "n", Integral, min_val=1)
    excluded = [X, *(check_held_out(cells, X.shape, name="exclude") for cells in exclude)]
    weights = _check_weights(weights, X)
    rng = check_random_state(random_state)
    n_users, n_items = X.shape
    check_list_memory(n_users, n, n_items, slot_bytes=8)
    return _sample(excluded, n, weights, rng)


def _sample(excluded, n, weights, rng, block_cells=_BLOCK_CELLS, max_rounds=_MAX_ROUNDS):
    """Sample `n` items for each row that none of the `excluded` matrices stores in that row."""
    n_users, n_items = excluded[0].shape
    negatives = np.full((n_users, n), -1, dtype=np.int64)
    step = max(1, block_cells // n_items)
    for start in range(0, n_users, step):
        out = negatives[start : start + step]
        taken = np.zeros((len(out), n_items), dtype=bool)
        if weights is not None:
            taken[:, weights == 0] = True
        for cells in excluded:
            indptr = cells.indptr[start : start + len(out) + 1]
            rows = np.repeat(np.arange(len(out)), np.diff(indptr))
            taken[rows, cells.indices[indptr[0] : indptr[-1]]] = True
        _fill_block(out, taken, weights, rng, block_cells, max_rounds)
    return negatives


def _check_weights(weights, X):
    """Return None or float64 weights of the items that sum to 1."""
    if weights is None:
        return None
    n_items = X.shape[1]
    if isinstance(weights, str):
        if weights != "popularity":
            raise ValueError(
                f'weights must be None, "popularity" or one weight for each item; got {weights!r}.'
            )
        weights = item_counts(X)
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (n_items,):
        raise ValueError(
            f"weights must hold one weight for each of the {n_items} items; got shape "
            f"{weights.shape}."
        )
    if not np.all(np.isfinite(weights)) or weights.min() < 0 or weights.sum() == 0:
        raise ValueError(
            "weights must be finite, nonnegative and not all zero; got values from "
            f"{weights.min()} to {weights.max()}."
        )
    return weights / weights.sum()


def _fill_block(out, taken, weights, rng, block_cells, max_rounds):
    """Fill the rows of `out` with items that are not in the mask `taken`, which is overwritten.

    Rejecting items that are taken or were sampled before is sampling without replacement only if
    the samples of a row are accepted in the order in which they were generated.
    """
    n_items = taken.shape[1]
    n_wanted = np.minimum(n_items - np.count_nonzero(taken, axis=1), out.shape[1])
    n_filled = np.zeros(len(out), dtype=np.int64)
    cumulative = None if weights is None else np.cumsum(weights)
    unfinished = np.flatnonzero(n_wanted > 0)
    for _ in range(max_rounds):
        if unfinished.size == 0:
            return
        width = (n_wanted - n_filled).max()
        width += width // 8 + 1
        samples = _sample_with_replacement(n_items, cumulative, (len(unfinished), width), rng)
        keys = (unfinished[:, None] * n_items + samples).ravel()
        keys = keys[~taken.ravel()[keys]]
        keys = keys[np.sort(np.unique(keys, return_index=True)[1])]
        _accept(out, taken, n_wanted, n_filled, keys)
        unfinished = unfinished[n_filled[unfinished] < n_wanted[unfinished]]
    step = max(1, block_cells // (8 * n_items))  # exact sampling takes a float64 for each cell
    for start in range(0, len(unfinished), step):
        rows = unfinished[start : start + step]
        keys = _sample_exactly(rows, taken, n_wanted - n_filled, weights, rng)
        _accept(out, taken, n_wanted, n_filled, keys)


def _sample_with_replacement(n_items, cumulative, shape, rng):
    if cumulative is None:
        return rng.randint(n_items, size=shape)
    samples = np.searchsorted(cumulative, rng.uniform(size=shape) * cumulative[-1], side="right")
    return np.minimum(samples, n_items - 1)


def _sample_exactly(rows, taken, n_missing, weights, rng):
    """Return sampled cells of `rows` in the order of sampling, at once and without rejection.

    The items with the smallest times E / weight, where E is standard exponential, are a successive
    sample.
    """
    n_items = taken.shape[1]
    times = rng.exponential(size=(len(rows), n_items))
    if weights is not None:
        np.divide(times, weights, out=times, where=weights > 0)
    times[taken[rows]] = np.inf
    width = n_missing[rows].max()
    items = np.argpartition(times, width - 1, axis=1)[:, :width]
    items = np.take_along_axis(items, np.argsort(np.take_along_axis(times, items, 1), axis=1), 1)
    wanted = np.arange(width) < n_missing[rows, None]
    return (rows[:, None] * n_items + items)[wanted]


def _accept(out, taken, n_wanted, n_filled, keys):
    """Write sampled cells, distinct and grouped by row, to the next empty slots of `out`."""
    n_items = taken.shape[1]
    rows, items = np.divmod(keys, n_items)
    n_sampled = np.bincount(rows, minlength=len(out))
    columns = n_filled[rows] + np.arange(len(rows)) - (np.cumsum(n_sampled) - n_sampled)[rows]
    fits = columns < n_wanted[rows]
    out[rows[fits], columns[fits]] = items[fits]
    taken.ravel()[keys[fits]] = True
    n_filled += np.bincount(rows[fits], minlength=len(out))
