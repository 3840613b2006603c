"""ItemKNN on a Dask cluster."""

from __future__ import annotations

import numpy as np

from sklearn_recsys.dask._base import DaskMixin
from sklearn_recsys.dask._blocks import n_products, nearest_items
from sklearn_recsys.neighbors import ItemKNN
from sklearn_recsys.neighbors._similarity import cosines_of_constants, jaccard, shrunk
from sklearn_recsys.utils._cells import (
    item_counts,
    item_squares,
    support,
    take_cells,
    with_values,
)
from sklearn_recsys.utils._neighbors import nearest


class DaskItemKNN(DaskMixin, ItemKNN):
    """ItemKNN, fitted to a matrix on a Dask cluster.

    Dot products and numbers of common users are sums over users: the workers add them up over the
    blocks of rows, for some items at a time, and store the neighbors of each item only. So no
    items × items matrix is made. The similarities are those of
    :class:`~sklearn_recsys.neighbors.ItemKNN`, to float accuracy.

    Parameters
    ----------
    n_neighbors : int, default=100
        As in ItemKNN.
    metric : {"cosine", "jaccard", "pearson"}, default="cosine"
        As in ItemKNN, but only "cosine" and "jaccard" can be fitted on a cluster.
    shrinkage : float, default=5.0
        As in ItemKNN.
    client : distributed.Client, default=None
        The cluster. None: the client that was started last.

    Attributes
    ----------
    similarity_ : csr_array of float32 of shape (n_items, n_items)
        Row i holds the similarities of the neighbors of item i.
    interactions_ : csr_array of shape (0, n_items)
        No rows: the training matrix stays on the cluster.
    n_features_in_ : int
        Number of items.

    Raises
    ------
    ValueError
        In `fit`, if `metric` is "pearson", or no client is found.

    See Also
    --------
    sklearn_recsys.neighbors.ItemKNN : The local model.

    Examples
    --------
    >>> import dask
    >>> from distributed import Client
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.dask import DaskItemKNN
    >>> client = Client(processes=False, n_workers=2, dashboard_address=":0")
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> blocks = [dask.delayed(R[:3]), dask.delayed(R[3:])]
    >>> model = DaskItemKNN(n_neighbors=2).fit(blocks).to_local()
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=2)
    array([[2, 0]])
    >>> client.close()
    """

    def _refuse(self):
        self._refuse_if(self.metric == "pearson", "metric")

    def _fit_blocks(self, blocks, counts):
        if self.metric == "jaccard":
            blocks = blocks.map(_positive)
            counts = blocks.sum(item_counts).result()
        elif not self._is_constant(blocks):
            counts = None  # the columns are divided by their norms instead
            blocks = blocks.map(_unit_columns, blocks.sum(item_squares))
        products = [_common_users] if self.shrinkage or counts is not None else []
        if counts is None:
            products.append(_products)
        settings = (self.metric, self.shrinkage, self.n_neighbors, counts)
        bounds, blocks = n_products(blocks), blocks.map(_with_transposed)
        self.similarity_ = nearest_items(blocks, bounds, products, _best, *settings)
        self._weights_ = self.similarity_.T.tocsr()

    @staticmethod
    def _is_constant(blocks):
        """Return whether all stored values are equal and positive, as for implicit feedback."""
        ranges = [bounds for bounds in blocks.gather(_range) if bounds is not None]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        return 0 < low == high


def _range(X):
    return (X.data.min(), X.data.max()) if X.nnz else None


def _positive(X):
    return support(take_cells(X, X.data > 0))


def _unit_columns(X, squares):
    return with_values(X, (X.data / np.sqrt(squares)[X.indices]).astype(np.float32))


def _with_transposed(X):
    return X.T.tocsr(), X


def _common_users(block, items):
    by_item, by_user = block
    return support(by_item[items]) @ support(by_user)


def _products(block, items):
    by_item, by_user = block
    return by_item[items] @ by_user


def _best(items, totals, metric, shrinkage, n_neighbors, counts):
    for total in totals:
        total.sort_indices()
    similarity, common = totals[-1], totals[0]
    own = np.arange(items.start, items.stop)
    if counts is not None:
        formula = jaccard if metric == "jaccard" else cosines_of_constants
        similarity = formula(common, counts[own], counts)
    similarity = shrunk(similarity, common, shrinkage).astype(np.float32, copy=False)
    return nearest(similarity, n_neighbors, own)
