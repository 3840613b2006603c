"""RP3beta on a Dask cluster."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.dask._base import DaskMixin
from sklearn_recsys.dask._blocks import n_products, nearest_items
from sklearn_recsys.linear_model import RP3beta
from sklearn_recsys.linear_model._rp3beta import from_items, from_users
from sklearn_recsys.utils._cells import item_degrees
from sklearn_recsys.utils._neighbors import nearest


class DaskRP3beta(DaskMixin, RP3beta):
    """RP3beta, fitted to a matrix on a Dask cluster.

    The probabilities of walks from item to item are sums over users: the workers add them up over
    the blocks of rows, for some items at a time, and store the largest ones of each item only. So
    no items × items matrix is made. The weights are those of
    :class:`~sklearn_recsys.linear_model.RP3beta`, to float accuracy.

    Parameters
    ----------
    alpha, beta : float
        As in RP3beta.
    n_neighbors : int or None, default=100
        As in RP3beta.
    normalize : bool, default=True
        As in RP3beta.
    low_pass, n_factors, random_state : object
        As in RP3beta, but only the default ``low_pass=0`` can be fitted on a cluster.
    client : distributed.Client, default=None
        The cluster. None: the client that was started last.

    Attributes
    ----------
    coef_ : csr_array of float32 of shape (n_items, n_items)
        The weights, as in RP3beta.
    interactions_ : csr_array of shape (0, n_items)
        No rows: the training matrix stays on the cluster.
    n_features_in_ : int
        Number of items.

    Raises
    ------
    ValueError
        In `fit`, if `X` holds negative values, `low_pass` is given, or no client is found.

    See Also
    --------
    sklearn_recsys.linear_model.RP3beta : The local model, with the equations.

    Examples
    --------
    >>> import dask
    >>> from distributed import Client
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.dask import DaskRP3beta
    >>> client = Client(processes=False, n_workers=2, dashboard_address=":0")
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> blocks = [dask.delayed(R[:3]), dask.delayed(R[3:])]
    >>> model = DaskRP3beta().fit(blocks).to_local()
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=2)
    array([[2, 0]])
    >>> client.close()
    """

    def _refuse(self):
        self._refuse_if(self.low_pass != 0, "low_pass")

    def _fit_blocks(self, blocks, counts):
        bounds = n_products(blocks)
        blocks = blocks.map(_steps, self.alpha, blocks.sum(item_degrees))
        k = self.n_neighbors or len(counts)
        self._set_weights(nearest_items(blocks, bounds, [_walks], _best, k), counts)
        self._low_pass_in_ = self._low_pass_out_ = None


def _steps(X, alpha, degrees):
    return from_users(X, alpha).T.tocsr(), from_items(X, alpha, degrees)


def _walks(steps, items):
    to_items, from_items = steps
    return to_items[items] @ from_items


def _best(items, totals, k):
    return nearest(totals[0], k, np.arange(items.start, items.stop))
