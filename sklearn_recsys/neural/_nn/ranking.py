"""The base of modules that score every item."""

from __future__ import annotations

import torch

from sklearn_recsys.neural._nn.losses import ndcg


class RankingModule(torch.nn.Module):
    """Base of the modules that score every item of a history, as `InductiveRanker` trains them.

    A module implements ``forward(rows)``, which returns scores of shape (n_rows, n_items) for
    :class:`~sklearn_recsys.neural.SparseRows`, and ``loss(inputs, targets)``, which returns the
    loss of a minibatch as a mean over its rows.

    See Also
    --------
    InductiveRanker : The estimator of such a module.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.neural import RankingModule, SparseRows
    >>> class LinearModule(RankingModule):
    ...     def __init__(self, n_items):
    ...         super().__init__()
    ...         self.weight = torch.nn.Parameter(torch.ones(n_items, n_items))
    ...
    ...     def forward(self, rows):
    ...         return rows.matmul(self.weight)
    >>> rows = SparseRows.from_csr(csr_array([[1.0, 0.0, 1.0]]))
    >>> LinearModule(3)(rows).tolist()
    [[2.0, 2.0, 2.0]]
    """

    def __init__(self):
        super().__init__()

    def validate(self, inputs, held_out):
        """Return NDCG@100 of the held-out items, as Liang et al. (2018) do.

        Parameters
        ----------
        inputs : SparseRows
            The interactions of each row that the module reads.
        held_out : SparseRows
            The other interactions of the same rows.

        Returns
        -------
        ndcg : Tensor
            The mean over the rows.
        """
        return ndcg(self(inputs), inputs, held_out)
