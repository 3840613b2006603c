"""Hold-out for early stopping: of users, of ratings, or of one interaction of many users.

Each function returns the training data and the held-out data, None if there is too little.
"""

from __future__ import annotations

import numpy as np

from sklearn_recsys.model_selection import random_holdout, sample_negatives
from sklearn_recsys.neural._data.pair_batches import CandidateDataset
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.utils._cells import last_cells, take_cells
from sklearn_recsys.utils._content_split import hold_out_by_content
from sklearn_recsys.utils._on_disk import some_rows

_MIN_USERS = 20  # with fewer held-out users the metric is too noisy
_MAX_USERS = 10_000  # more users don't improve the decision, and take as long as an epoch
_N_NEGATIVES = 99  # sampled items that a held-out item is ranked among


def hold_out_users(X, share, rng, *, latest=False):
    """Hold out users, and 20 % of the interactions of each to predict from their other ones.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The interactions.
    share : float
        The share of the users; at most 10,000 are held out.
    rng : RandomState
        Samples the users.
    latest : bool, default=False
        Whether the latest interactions are to be predicted: the values are positions.

    Returns
    -------
    train, valid : RowDataset
        The other users, and those held out. `valid` is None, and `train` holds all users, if
        fewer than 20 could be held out.
    """
    eligible = rng.permutation(np.flatnonzero(np.diff(X.indptr) > 1))
    users = np.sort(eligible[: min(round(share * X.shape[0]), _MAX_USERS)])
    rest = np.setdiff1d(np.arange(X.shape[0]), users)
    others = some_rows(X, rest) if len(users) >= _MIN_USERS else None
    if others is None or not others.nnz:
        return RowDataset(X), None
    train = RowDataset(others)
    train.training_rows = rest
    valid = RowDataset(*hold_out_by_content(X[users], latest=latest))
    valid.training_rows = users
    return train, valid


def hold_out_latest(X, share, rng):
    """Hold out the latest interaction of a share of the users, whose other ones are trained on.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The interactions; their values are positions.
    share : float
        The share of the users; at most 10,000 have one held out.
    rng : RandomState
        Samples the users.

    Returns
    -------
    train, valid : RowDataset
        The other interactions of all users, and those held out, with the histories before them.
        `valid` is None, and `train` holds all interactions, if fewer than 20 could be held out.
    """
    lengths = np.diff(X.indptr)
    eligible = rng.permutation(np.flatnonzero(lengths > 1))
    users = np.sort(eligible[: min(round(share * X.shape[0]), _MAX_USERS)])
    if len(users) < _MIN_USERS:
        return RowDataset(X), None
    held_out = last_cells(X, X.data, np.isin(np.arange(X.shape[0]), users).astype(np.int64))
    train, rest = take_cells(X, ~held_out), take_cells(X, held_out)
    valid = RowDataset(train[users], rest[users])
    valid.training_rows = users
    return RowDataset(train), valid


def hold_out_cells(X, share, rng):
    """Hold out a random share of the ratings.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The ratings.
    share : float
        The share of the ratings.
    rng : RandomState
        Samples them.

    Returns
    -------
    train, valid : csr_array of shape (n_users, n_items)
        The other ratings, and those held out. `valid` is None if there is a single rating.
    """
    if X.nnz < 2:
        return X, None
    return random_holdout(X, share, random_state=rng)


def hold_out_one_each(X, share, rng):
    """Hold out one interaction each of many users, to be ranked with 99 sampled items.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The interactions.
    share : float
        The share of the interactions; at most 10,000 users have one held out.
    rng : RandomState
        Samples the users, the interactions and the negatives.

    Returns
    -------
    train : csr_array of shape (n_users, n_items)
        The other interactions.
    valid : CandidateDataset
        The held-out items and those sampled. None if no user has two interactions and an item left.
    """
    lengths = np.diff(X.indptr)
    eligible = rng.permutation(np.flatnonzero((lengths > 1) & (lengths < X.shape[1])))
    users = np.sort(eligible[: min(round(share * X.nnz), _MAX_USERS)])
    if not len(users):
        return X, None
    cells = X.indptr[users] + (rng.uniform(size=len(users)) * lengths[users]).astype(np.int64)
    held_out = X.indices[cells].astype(np.int64)
    negatives = sample_negatives(X[users], _N_NEGATIVES, random_state=rng)
    in_train = np.ones(X.nnz, dtype=bool)
    in_train[cells] = False
    candidates = np.hstack([held_out[:, None], negatives])
    return take_cells(X, in_train), CandidateDataset(users, candidates)
