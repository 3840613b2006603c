"""A cap on the exposure of items or providers over many lists together."""

from __future__ import annotations

from numbers import Real

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_recsys.compose._reranker import take, unit_range
from sklearn_recsys.metrics._hits import check_lists
from sklearn_recsys.utils.validation import check_length


def cap_exposure(
    ids, scores, n=10, *, max_share, providers=None
) -> tuple[NDArray[np.int64], np.ndarray]:
    """Cap the share of all slots of many lists that an item or a provider may have.

    This is a function of a batch of lists, not a reranker: the list of a user depends on the lists
    of the others, and another batch has other lists. Use it where all lists are made at once, such
    as those of a mailing; a cap for each list on its own is the `maximum` of
    :class:`CategoryQuota`.

    Parameters
    ----------
    ids : array-like of int of shape (n_rows, n_candidates)
        The items to choose from, best first, −1 in empty slots, as `recommend` returns them for an
        `n` that is larger than that of the lists.
    scores : array-like of float of shape (n_rows, n_candidates)
        Their scores, −inf in empty slots.
    n : int, default=10
        Items per list.
    max_share : float
        The greatest share of the n_rows × n slots.
    providers : array-like of shape (n_items,), default=None
        The provider of each item: any labels, missing (None or NaN) for items without a cap. None:
        each item is capped by itself.

    Returns
    -------
    ids : ndarray of int64 of shape (n_rows, n)
        The lists, in the order of the candidates, −1 in empty slots at the end.
    scores : ndarray of float of shape (n_rows, n)
        Their scores, −inf in empty slots.

    See Also
    --------
    sklearn_recsys.metrics.provider_share_at_k : The greatest share.

    Notes
    -----
    Deferred acceptance [1]_: each list asks for its first `n` candidates; a provider that is asked
    for more than ``floor(max_share * n_rows * n)`` slots keeps those with the highest scores,
    scaled to [0, 1] over the user's candidates, and refuses the others for good; the lists ask for
    their next candidates instead, until nothing is refused. So the cap is never exceeded, and a
    list lacks a candidate that it would rather have only where the provider is full of higher
    scores. Lists whose candidates run out have empty slots: pass more candidates.

    References
    ----------
    .. [1] D. Gale, L. S. Shapley, "College admissions and the stability of marriage", The American
       Mathematical Monthly 69(1), 1962.

    Examples
    --------
    >>> from sklearn_recsys.compose import cap_exposure
    >>> ids, _ = cap_exposure(
    ...     [[0, 1], [0, 1]], [[0.9, 0.1], [0.9, 0.8]], n=1, max_share=0.5
    ... )
    >>> ids
    array([[0],
           [1]])
    """
    n = check_length(n)
    if not isinstance(max_share, Real) or isinstance(max_share, bool) or not 0 < max_share <= 1:
        raise ValueError(f"max_share must be above 0 and at most 1; got {max_share!r}.")
    ids = np.asarray(ids)
    ids = check_lists(ids, max(1, ids.shape[-1]))
    scores = np.asarray(scores)
    if scores.shape != ids.shape:
        raise ValueError(f"ids and scores must have one shape; got {ids.shape}, {scores.shape}.")
    if providers is None:
        codes = ids
    else:
        codes = pd.factorize(np.asarray(providers, dtype=object))[0]
        if ids.max(initial=-1) >= len(codes):
            raise ValueError(
                f"ids holds the item {ids.max()}, but providers has {len(codes)} items."
            )
        codes = np.append(codes, -1)[ids]
    capacity = int(np.floor(max_share * len(ids) * n * (1 + 1e-12)))  # despite rounding
    is_open = ids >= 0
    priority = unit_range(np.where(is_open, scores, -np.inf))
    while True:
        asked = is_open & (np.cumsum(is_open, axis=1) <= n)
        refused = _beyond(capacity, codes, priority, asked)
        if not len(refused):
            break
        is_open.ravel()[refused] = False
    order = np.argsort(~asked, axis=1, kind="stable")[:, :n]
    order = np.where(np.take_along_axis(asked, order, axis=1), order, -1)
    order = np.pad(order, ((0, 0), (0, n - order.shape[1])), constant_values=-1)
    return take(ids, order, -1), take(scores, order, -np.inf)


def _beyond(capacity, codes, priority, asked):
    """Return the cells that are asked for beyond the capacity of their provider, lowest first."""
    cells = np.flatnonzero(asked & (codes >= 0))
    of_cells = codes.ravel()[cells]
    order = np.lexsort((-priority.ravel()[cells], of_cells))  # stable: ties in the order of rows
    ordered = of_cells[order]
    starts = np.searchsorted(ordered, ordered)
    return cells[order[np.arange(len(order)) - starts >= capacity]]
