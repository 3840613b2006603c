"""Cross-validators for held-out cells, compatible with scikit-learn's searches."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral

import numpy as np
import scipy.sparse as sp
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state, check_scalar, indexable

from sklearn_recsys.model_selection._common import (
    check_nonempty,
    check_order,
    older_than_train,
    warn_future_leak,
)
from sklearn_recsys.utils._cells import take_cells
from sklearn_recsys.utils._labels import check_same_labels
from sklearn_recsys.utils._sparse import as_csr


class HoldoutSplit(BaseCrossValidator):
    """One split that trains and scores on all rows: `y` holds the held-out cells.

    For searches under weak generalization, where the same users are in train and validation:
    every candidate is fitted on `X` and scored by ``score(X, y)``.

    See Also
    --------
    leave_last_out : Makes such a pair of `X` and `y`.
    cell_kfold : Makes several such pairs.

    Notes
    -----
    Plain k-fold, ``cv=5`` without `y`, splits users instead (strong generalization) and needs no
    special cross-validator.

    After a search the best candidate is refitted on `X`, without the cells in `y`. Before the final
    test, fit it on both: ``clone(search.best_estimator_).fit(X + y)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.model_selection import HoldoutSplit
    >>> X, y = np.array([[1, 0, 1], [0, 1, 0]]), np.array([[0, 1, 0], [1, 0, 0]])
    >>> next(HoldoutSplit().split(X, y))
    (array([0, 1]), array([0, 1]))
    """

    def split(self, X, y=None, groups=None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield one split whose train and test rows are all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_users, n_items)
            The training cells of each row.
        y : {array-like, sparse matrix} of shape (n_users, n_items) or (n_users,)
            The held-out cells of each row.
        groups : object, default=None
            Ignored.

        Yields
        ------
        train, test : ndarray of shape (n_users,)
            All row indices.
        """
        if y is None:
            raise ValueError(
                "HoldoutSplit scores on held-out cells, but y is None. Pass them as y: "
                "X_fit, X_valid = leave_last_out(X, order); search.fit(X_fit, X_valid)."
            )
        check_same_labels(X, y, "y")
        X, y = indexable(as_csr(X), as_csr(y, "y"))
        rows = np.arange(X.shape[0])
        yield rows, rows.copy()

    def get_n_splits(self, X=None, y=None, groups=None) -> int:
        """Return 1.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored.

        Returns
        -------
        n_splits : int
            Always 1.
        """
        return 1


def cell_kfold(X, n_splits=5, *, order=None, random_state=None):
    """Stack the folds of a k-fold over interactions for ``cross_validate`` or a search.

    The interactions are shuffled and divided into `n_splits` folds, as is usual in papers on rating
    prediction. The stacked matrices have a block for each fold, with a row for each user:
    `X_stacked` holds the interactions outside the fold, `y_stacked` those in it.

    Parameters
    ----------
    X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
        Interactions; zero means *not observed*.
    n_splits : int, default=5
        Number of folds.
    order : {array-like, sparse matrix, sparse array} of shape (n_users, n_items), default=None
        Times or positions of the cells of `X`, if available. They do not change the folds; they are
        only used for a warning.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle.

    Returns
    -------
    X_stacked, y_stacked : csr_array of shape (n_splits * n_users, n_items)
        The training cells and the held-out cells; every interaction is held out in one block.
    cv : list of (ndarray, ndarray)
        For each fold the rows to train on and the rows to score, which are both those of its block.

    Raises
    ------
    ValueError
        If `n_splits` is less than 2 or more than the number of interactions, or if `order` has a
        different shape from `X` or lacks cells of it.

    Warns
    -----
    UserWarning
        If `order` is given and held-out interactions are older than their user's newest training
        interaction: the model is trained on the future. The warning states their share.

    See Also
    --------
    random_holdout : Makes one such fold.

    Notes
    -----
    In a search, pass ``refit=False`` and fit the best candidate on `X`: a refit would train on
    `X_stacked`, where every user occurs `n_splits` times.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.model_selection import cell_kfold
    >>> R = np.arange(1, 13).reshape(3, 4)
    >>> X, y, cv = cell_kfold(R, n_splits=2, random_state=0)
    >>> X.shape, [len(train) for train, _ in cv]
    ((6, 4), [3, 3])
    >>> bool(np.all((y[:3] + y[3:]).toarray() == R))
    True
    """
    X = check_nonempty(X, order)
    check_scalar(n_splits, "n_splits", Integral, min_val=2)
    if n_splits > X.nnz:
        raise ValueError(
            f"n_splits={n_splits} exceeds the {X.nnz} interactions of X; every fold needs one."
        )
    times = None if order is None else check_order(order, X)
    fold = check_random_state(random_state).permutation(X.nnz) % n_splits
    X_stacked = sp.vstack([take_cells(X, fold != i) for i in range(n_splits)], format="csr")
    y_stacked = sp.vstack([take_cells(X, fold == i) for i in range(n_splits)], format="csr")
    if times is not None:
        n_older = sum(older_than_train(X, times, fold == i) for i in range(n_splits))
        warn_future_leak(n_older, X.nnz)
    blocks = np.arange(X_stacked.shape[0]).reshape(n_splits, -1)
    return X_stacked, y_stacked, [(rows, rows.copy()) for rows in blocks]
