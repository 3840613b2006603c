"""Splits of the users: strong generalization."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.utils import Bunch, check_random_state, check_scalar

from sklearn_recsys.model_selection._common import (
    check_nonempty,
    check_order,
    check_size,
    held_out_counts,
)
from sklearn_recsys.utils._cells import item_counts, last_cells, take_cells, with_values


def user_split(
    X,
    *,
    test_size=0.1,
    valid_size: float | None = 0.1,
    holdout=0.2,
    order=None,
    min_interactions=2,
    drop_unseen_items=False,
    random_state=None,
) -> Bunch:
    """Split users into train, validation and test users: strong generalization.

    The model is not fitted on the validation and test users; it then gets most of their history
    and has to predict the rest [1]_.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
        Interactions; zero means *not observed*.
    test_size : float or int, default=0.1
        Share (of all rows) or number of test users.
    valid_size : float, int or None, default=0.1
        Share (of all rows) or number of validation users; None: no validation users.
    holdout : float or int, default=0.2
        Share or number of interactions held out of every validation and test row. The share is
        rounded down to at least one interaction. Nothing is held out of a row with fewer than two
        interactions, or with no more than an int `holdout`.
    order : {array-like, sparse matrix, sparse array} of shape (n_users, n_items), default=None
        Times or positions of the cells of `X`: the last interactions of a row are held out (among
        equal times the higher item index is later). None: random ones are.
    min_interactions : int, default=2
        Rows with fewer interactions are always train users.
    drop_unseen_items : bool, default=False
        Whether to remove interactions with items without train users from the validation and test
        rows before holding out, as in [1]_. The columns stay.
    random_state : int, RandomState instance or None, default=None
        Seed of the sampling.

    Returns
    -------
    split : :class:`~sklearn.utils.Bunch`
        With the attributes

        train, valid, test : ndarray of shape (n_train,), (n_valid,), (n_test,)
            Row indices into `X`, ascending.
        X_train : csr_array of shape (n_train, n_items)
            Complete rows of the train users.
        X_valid, y_valid : csr_array of shape (n_valid, n_items)
            The input cells and the held-out cells of the validation users.
        X_test, y_test : csr_array of shape (n_test, n_items)
            The same for the test users.

    Raises
    ------
    ValueError
        If sizes are out of range or leave no train user, or if `order` has a different shape from
        `X` or lacks cells of it.

    See Also
    --------
    leave_last_out : Weak generalization, the same users in train and test.

    Notes
    -----
    With `order`, no held-out interaction is older than the input interactions of its user. Train
    users are complete, so the model is trained on their later interactions; to avoid that, first
    apply :func:`temporal_split` to `X`.

    References
    ----------
    .. [1] D. Liang, R. G. Krishnan, M. D. Hoffman, T. Jebara (2018). Variational Autoencoders for
       Collaborative Filtering. WWW 2018, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.model_selection import user_split
    >>> R = np.ones((10, 6))
    >>> split = user_split(R, test_size=2, valid_size=2, random_state=0)
    >>> split.X_train.shape, split.X_test.shape
    ((6, 6), (2, 6))
    >>> split.y_test.sum(axis=1)
    array([1., 1.])
    """
    X = check_nonempty(X, order)
    min_interactions = check_scalar(min_interactions, "min_interactions", Integral, min_val=0)
    check_size(holdout, "holdout")
    n_users = X.shape[0]
    n_test = check_size(test_size, "test_size", n_users)
    n_valid = 0 if valid_size is None else check_size(valid_size, "valid_size", n_users)
    times = None if order is None else check_order(order, X)
    rng = check_random_state(random_state)

    eligible = np.flatnonzero(np.diff(X.indptr) >= min_interactions)
    if n_test + n_valid > len(eligible) or n_test + n_valid >= n_users:
        raise ValueError(
            f"test_size={test_size!r} and valid_size={valid_size!r} ask for {n_test} + {n_valid} "
            f"users, but {len(eligible)} of the {n_users} have at least min_interactions="
            f"{min_interactions} interactions, and at least one user must remain for training."
        )
    shuffled = rng.permutation(eligible)
    test, valid = np.sort(shuffled[:n_test]), np.sort(shuffled[n_test : n_test + n_valid])
    train = np.setdiff1d(np.arange(n_users), np.concatenate((test, valid)))
    X_train = X[train]
    if X_train.nnz == 0:
        raise ValueError("No train user has an interaction; lower test_size and valid_size.")

    if order is not None:  # with the cells of X, so that taking rows keeps both aligned
        times = with_values(X, times)
    in_train = item_counts(X_train) > 0
    split = Bunch(train=train, valid=valid, test=test, X_train=X_train)
    for name, rows in (("valid", valid), ("test", test)):
        histories = X[rows]
        keys = rng.permutation(histories.nnz) if order is None else times[rows].data
        if drop_unseen_items:
            seen = in_train[histories.indices]
            histories, keys = take_cells(histories, seen), keys[seen]
        counts = held_out_counts(np.diff(histories.indptr), holdout, 1)
        held_out = last_cells(histories, keys, counts)
        if len(rows) and not held_out.any():
            raise ValueError(
                f"None of the {len(rows)} {name} users has enough interactions to hold out "
                f"holdout={holdout!r}; raise min_interactions={min_interactions} or lower holdout."
            )
        split[f"X_{name}"] = take_cells(histories, ~held_out)
        split[f"y_{name}"] = take_cells(histories, held_out)
    return split
