"""EASE on a Dask cluster."""

from __future__ import annotations

import scipy.sparse as sp

from sklearn_recsys.dask._base import DaskMixin
from sklearn_recsys.dask._blocks import BlockGram
from sklearn_recsys.linear_model import EASE
from sklearn_recsys.utils._cells import item_degrees, normalized


class DaskEASE(DaskMixin, EASE):
    """EASE, fitted to a matrix on a Dask cluster.

    The workers sum up the Gram matrix of the interactions, block of rows by block of rows. The
    process that calls `fit` receives the sum, of items × items, and solves for the weights as
    :class:`~sklearn_recsys.linear_model.EASE` does: they are its weights, to float accuracy.

    Parameters
    ----------
    l2, dropout, max_diagonal, user_normalization, item_normalization : float
        As in EASE.
    item_features, feature_weight, encoder : object
        As in EASE; the features are in the memory of the caller.
    density, low_pass, n_factors, random_state : object
        As in EASE, but only the defaults ``density=None`` and ``low_pass=0`` can be fitted on a
        cluster.
    device : str, default="cpu"
        As in EASE: where the caller inverts the matrix.
    client : distributed.Client, default=None
        The cluster. None: the client that was started last.

    Attributes
    ----------
    coef_ : ndarray of float32 of shape (n_items, n_items)
        The weights, as in EASE.
    interactions_ : csr_array of shape (0, n_items)
        No rows: the training matrix stays on the cluster.
    n_features_in_ : int
        Number of items.

    Raises
    ------
    ValueError
        In `fit`, if `density` or `low_pass` is given, or no client is found.
    MemoryError
        In `fit`, before anything is allocated, if a float32 items × items matrix does not fit into
        the memory of the caller.

    See Also
    --------
    sklearn_recsys.linear_model.EASE : The local model, with the equations.

    Notes
    -----
    Worker memory: the blocks, as CSR matrices of float32, 8 bytes per interaction, which Dask
    spills to disk if they do not fit, and a few tiles of the Gram matrix of 64 MiB. The sum is
    gathered tile by tile.

    Examples
    --------
    >>> import dask
    >>> from distributed import Client
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.dask import DaskEASE
    >>> client = Client(processes=False, n_workers=2, dashboard_address=":0")
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> blocks = [dask.delayed(R[:3]), dask.delayed(R[3:])]
    >>> model = DaskEASE(l2=1.0).fit(blocks).to_local()
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)
    array([[2]])
    >>> client.close()
    """

    def _refuse(self):
        self._refuse_if(self.density is not None, "density")
        self._refuse_if(self.low_pass != 0, "low_pass")

    def _fit_blocks(self, blocks, counts):
        powers = (self.user_normalization, self.item_normalization)
        if any(powers):
            blocks = blocks.map(normalized, *powers, blocks.sum(item_degrees))
        features = next((rows for rows in self._feature_rows() if rows is not None), None)
        if features is not None:
            blocks = blocks.with_rows(sp.csr_array(features))
        self._solve_gram(BlockGram(blocks, counts))
        self._low_pass_in_ = self._low_pass_out_ = None
