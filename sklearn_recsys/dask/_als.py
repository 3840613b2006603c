"""ALS on a Dask cluster."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from sklearn_recsys.dask._base import DaskMixin
from sklearn_recsys.dask._blocks import Blocks, itself
from sklearn_recsys.decomposition import ALS
from sklearn_recsys.decomposition._weighted_rows import WeightedRows
from sklearn_recsys.utils._threads import even_blocks


class DaskALS(DaskMixin, ALS):
    """ALS, fitted to a matrix on a Dask cluster.

    Given the vectors of the items, those of users are independent of each other, and vice versa: a
    half step is a task for each block of rows, and one for each block of columns. The vectors are
    those of :class:`~sklearn_recsys.decomposition.ALS`, to float accuracy, if it starts from the
    same seed.

    Parameters
    ----------
    n_factors, l2, unobserved_weight, reg_exponent : int or float
        As in ALS.
    max_iter, solver, cg_steps : object
        As in ALS.
    device : str, default="cpu"
        As in ALS, but only the default can be fitted on a cluster.
    init : array-like of shape (n_items, n_factors), default=None
        As in ALS.
    checkpoint : None
        As in ALS, but only the default can be fitted on a cluster.
    random_state : int, RandomState instance or None, default=None
        As in ALS.
    verbose : int, default=0
        Not used: the dashboard of Dask shows the progress.
    client : distributed.Client, default=None
        The cluster. None: the client that was started last.

    Attributes
    ----------
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors of the items; zeros for items without an interaction.
    user_factors_ : ndarray of float32 of shape (0, n_factors)
        No rows: users are solved for from their histories, as new users are.
    n_iter_ : int
        Number of iterations, always `max_iter`.
    interactions_ : csr_array of shape (0, n_items)
        No rows: the training matrix stays on the cluster.
    n_features_in_ : int
        Number of items.

    Raises
    ------
    ValueError
        In `fit`, if `X` holds negative values, `l2` is too small for the floating-point precision,
        `device` is not "cpu", `checkpoint` is given, or no client is found.

    See Also
    --------
    sklearn_recsys.decomposition.ALS : The local model, with the equations.

    Notes
    -----
    Worker memory: its share of the interactions, by user and by item, about 16 bytes each and more
    where rows differ in length; and the vectors of all users and all items, 4 · `n_factors` bytes
    each, which every worker gets once per iteration.

    Examples
    --------
    >>> import dask
    >>> from distributed import Client
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.dask import DaskALS
    >>> client = Client(processes=False, n_workers=2, dashboard_address=":0")
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> blocks = [dask.delayed(R[:3]), dask.delayed(R[3:])]
    >>> model = DaskALS(n_factors=2, random_state=0).fit(blocks).to_local()
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)
    array([[2]])
    >>> client.close()
    """

    def _refuse(self):
        if self.device != "cpu":
            raise ValueError(
                f'DaskALS computes on the CPUs of the workers; got device="{self.device}". Fit ALS '
                "on a GPU."
            )
        self._refuse_checkpoint()

    def _fit_blocks(self, blocks, counts):
        client = blocks.client
        model = client.submit(itself, self._local(**{**self._local_params(), "init": None}))
        by_user = blocks.map(_weighted_rows, model)
        by_item = _transposed(blocks, counts).map(_weighted_rows, model)
        users = by_user.map(_zeros, self.n_factors).futures
        initial = self._initial_vectors(blocks.shape[1], check_random_state(self.random_state))
        items = [client.submit(itself, initial[rows]) for rows in _item_blocks(blocks, counts)]
        for _ in range(self.max_iter):
            users = _half_step(model, by_user, users, items)
            items = _half_step(model, by_item, items, users)
        self._set_items(np.concatenate(client.gather(items)), self.max_iter)
        self.user_factors_ = np.empty((0, self.n_factors), dtype=np.float32)
        self._warn_if_diverged()


def _half_step(model, rows, vectors, others):
    """Return futures of new vectors of the users, given those of the items, or vice versa."""
    client = rows.client
    others = client.submit(_stacked, others)
    gram = client.submit(WeightedRows.gram, others)
    return [
        client.submit(_solved, model, *block, others, gram)
        for block in zip(rows.futures, vectors, strict=True)
    ]


def _solved(model, rows, vectors, others, gram):
    arrays = (rows.array(array) for array in (vectors, others, gram))
    return rows.numpy(model._half_step(rows, *arrays))


def _weighted_rows(X, model):
    return model._weighted_rows(X)


def _zeros(rows, n_factors):
    return np.zeros((len(rows.lengths), n_factors), dtype=np.float32)


def _stacked(vectors):
    return np.concatenate(vectors)


def _item_blocks(blocks, counts):
    """Return slices of items with about as many cells as the blocks have on average."""
    return list(even_blocks(counts, max(1, counts.sum() // len(blocks.futures))))


def _transposed(blocks, counts):
    """Return the transposed matrix, in blocks of items."""
    items = _item_blocks(blocks, counts)
    futures = []
    for columns in items:
        pieces = blocks.map(_columns, columns).futures
        futures.append(blocks.client.submit(sp.hstack, pieces, format="csr"))
    return Blocks(blocks.client, futures, blocks.shape[::-1])


def _columns(X, items):
    return X[:, items].T.tocsr()
