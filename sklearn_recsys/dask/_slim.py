"""SLIM on a Dask cluster."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.dask._base import DaskMixin
from sklearn_recsys.dask._blocks import BlockGram, itself
from sklearn_recsys.linear_model import SLIM
from sklearn_recsys.linear_model._slim import reordered, scaled, unit_exponent
from sklearn_recsys.linear_model._slim_columns import (
    AllItems,
    Candidates,
    DenseGram,
    ScreenedItems,
)
from sklearn_recsys.utils._cells import item_degrees, normalized
from sklearn_recsys.utils._threads import batches, map_blas_blocks


class DaskSLIM(DaskMixin, SLIM):
    """SLIM, fitted to a matrix on a Dask cluster.

    The workers sum up the Gram matrix of the interactions, block of rows by block of rows. Given
    that, the regressions of the items are independent of each other: a task solves those of up to
    256 items. The weights are those of :class:`~sklearn_recsys.linear_model.SLIM`, to the accuracy
    of `tol`.

    Parameters
    ----------
    alpha, l1_ratio : float
        As in SLIM.
    positive : bool, default=True
        As in SLIM.
    max_neighbors : int, default=None
        As in SLIM; but the whole Gram matrix is made, whatever its value.
    user_normalization, item_normalization : float
        As in SLIM.
    low_pass, n_factors, random_state : object
        As in SLIM, but only the default ``low_pass=0`` can be fitted on a cluster.
    tol, max_iter : float and int
        As in SLIM.
    checkpoint : None
        As in SLIM, but only the default can be fitted on a cluster.
    verbose : int, default=0
        Not used: the dashboard of Dask shows the progress.
    client : distributed.Client, default=None
        The cluster. None: the client that was started last.

    Attributes
    ----------
    coef_ : csr_array of float32 of shape (n_items, n_items)
        The weights, as in SLIM.
    objective_ : float
        The value of the objective, summed over all items.
    n_iter_ : int
        Number of rounds of the solver, the maximum over all items.
    interactions_ : csr_array of shape (0, n_items)
        No rows: the training matrix stays on the cluster.
    n_features_in_ : int
        Number of items.

    Raises
    ------
    ValueError
        In `fit`, if `low_pass` or `checkpoint` is given, or no client is found.
    MemoryError
        In `fit`, before it is summed up, if a worker may not hold the Gram matrix.

    Warns
    -----
    ConvergenceWarning
        If the weights of some items are not optimal after `max_iter` rounds.

    See Also
    --------
    sklearn_recsys.linear_model.SLIM : The local model, with the equations.

    Notes
    -----
    Worker memory: the blocks, as CSR matrices of float32, 8 bytes per interaction, twice, which
    Dask spills to disk if they do not fit, and the dense Gram matrix, 4 · n_items² bytes, on each
    worker; the one where it is put together needs half as much again. The caller receives the
    weights only.

    Examples
    --------
    >>> import dask
    >>> from distributed import Client
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.dask import DaskSLIM
    >>> client = Client(processes=False, n_workers=2, dashboard_address=":0")
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> blocks = [dask.delayed(R[:3]), dask.delayed(R[3:])]
    >>> model = DaskSLIM(alpha=0.01).fit(blocks).to_local()
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)
    array([[2]])
    >>> client.close()
    """

    def _refuse(self):
        self._refuse_if(self.low_pass != 0, "low_pass")
        self._refuse_checkpoint()

    def _fit_blocks(self, blocks, counts):
        client, (n_users, n_items) = blocks.client, blocks.shape
        powers = (self.user_normalization, self.item_normalization)
        if any(powers):
            blocks = blocks.map(normalized, *powers, blocks.sum(item_degrees))
        lows, highs = np.transpose(blocks.gather(_range))
        exponent = unit_exponent(lows.min(), highs.max())
        order = np.argsort(-counts, kind="stable")  # popular items first
        gram = BlockGram(blocks.map(_prepared, exponent, order), counts[order])
        whole = gram.on_workers()
        model = client.submit(itself, self._local(**self._local_params()))
        penalties = self._penalties(n_users, exponent)
        tasks = [
            client.submit(_solved, whole, model, items, bool(lows.min() >= 0), *penalties)
            for items in batches(n_items, self._block_size(n_items))
        ]
        squares = gram.diagonal().sum()
        self._set_columns(client.gather(tasks), order, n_users, squares, exponent)
        self._low_pass_in_ = self._low_pass_out_ = None


def _range(X):
    """Return the least and the greatest value of a block, which may have none."""
    return X.data.min(initial=np.inf), X.data.max(initial=-np.inf)


def _prepared(X, exponent, order):
    return reordered(scaled(X, exponent), order)


def _solved(gram, model, items, nonnegative, l1, l2):
    """Return the solution of a block of columns."""
    if model.max_neighbors is not None:
        dense = DenseGram(gram)
        problem = Candidates(dense, items, model.max_neighbors, l1, l2, model.positive)
    elif model.positive and nonnegative:
        problem = ScreenedItems(gram, None, None, items, l1)
    else:
        problem = AllItems(gram, None, None, items)
    # one thread of BLAS, as in the local model
    (solved,) = map_blas_blocks(lambda _: model._solve(problem, l1, l2), 1, 1)
    return solved
