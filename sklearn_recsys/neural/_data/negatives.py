"""Negative sampling: exact and vectorized, of items that a user has no interaction with."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_recsys.neural._data.random import generator
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils.validation import check_csr

_SAMPLE_BYTES = 64  # temporary memory per sampled item
_BITS = 40  # of the integer weights; fewer if there are very many users


class NegativeSampler:
    """Sample items that users have no interaction with, uniformly or by popularity.

    An item is sampled by inversion of the distribution over the user's free items (those without an
    interaction), with a binary search among the user's own items: no sample is rejected, and none
    is a positive. Weights are integers, so that this is exact.

    Parameters
    ----------
    indptr, indices : Tensor of int64
        Row pointers and item indices of a canonical csr_array of shape (n_users, n_items), on the
        device that samples.
    n_items : int
        The number of items.
    alpha : float, default=0.0
        An item's weight is its number of interactions to this power; 0: all are equally likely.

    See Also
    --------
    sklearn_recsys.model_selection.sample_negatives : Samples negatives for evaluation, as a matrix.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys.neural import NegativeSampler
    >>> sampler = NegativeSampler.from_csr(csr_array([[1, 0, 1, 1], [0, 1, 1, 1]]))
    >>> sampler.sample(torch.tensor([0, 1]), 3).tolist()
    [[1, 1, 1], [0, 0, 0]]
    """

    def __init__(self, indptr, indices, n_items, alpha=0.0):
        device, n_users = indices.device, len(indptr) - 1
        lengths = indptr.diff()
        ends = indptr[[0, -1]].tolist()
        if ends != [0, len(indices)] or (lengths < 0).any():
            raise ValueError(
                f"indptr must rise from 0 to the {len(indices)} indices; it goes from {ends[0]} to "
                f"{ends[1]}."
            )
        if len(indices) and not 0 <= indices.min() <= indices.max() < n_items:
            raise ValueError(f"indices must hold item indices in 0 … {n_items - 1}.")
        users = torch.arange(n_users, device=device).repeat_interleave(
            lengths, output_size=len(indices)
        )
        if alpha:
            popularity = indices.bincount(minlength=n_items).double() ** alpha
            bits = min(_BITS, 62 - n_users.bit_length())
            weights = (popularity / popularity.sum() * 2**bits).round().long()
        else:
            weights = torch.ones(n_items, dtype=torch.int64, device=device)
        ends = weights.cumsum(0)
        # weights of a user's items before each of them, and of the free items before it
        taken = weights[indices]
        before = taken.cumsum(0) - taken
        sums = torch.cat([before, taken.sum()[None]])[indptr]
        before -= sums[users]
        free_before = ends[indices] - taken - before

        self.alpha = alpha
        self.device = device
        self._indptr = indptr
        self._ends = ends
        self._free = ends[-1] - sums.diff()  # (n_users,)
        self._taken = torch.cat([before, before.new_zeros(1)])  # a slot for the last user's end
        self._totals = sums.diff()
        self._span = int(ends[-1]) + 1
        self._keys = users * self._span + free_before  # ascending: one search serves all users

    @classmethod
    def from_csr(cls, X, alpha=0.0, device="cpu"):
        """Return the sampler of a canonical csr_array.

        Parameters
        ----------
        X : csr_array of shape (n_users, n_items)
            The positives.
        alpha : float, default=0.0
            As above.
        device : str or torch.device, default="cpu"
            The device that samples.

        Returns
        -------
        sampler : NegativeSampler
        """
        X = check_csr(X)
        indptr, indices = (
            torch.from_numpy(index.astype(np.int64)).to(device) for index in (X.indptr, X.indices)
        )
        return cls(indptr, indices, X.shape[1], alpha)

    def sample(self, users, n):
        """Sample with replacement, from the generator of the fit or else torch's own.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_queries,)
            Rows of the matrix, with any repetitions.
        n : int
            Items per user.

        Returns
        -------
        items : Tensor of int64 of shape (n_queries, n)
            -1 for users without a free item.
        """
        check_negatives_memory(len(users) * n, n)
        options = {"device": users.device, "generator": generator(users.device)}
        shares = torch.rand(len(users), n, dtype=torch.float64, **options)
        return self.quantiles(users, shares)

    def quantiles(self, users, shares):
        """Return the free items at given quantiles of the users' distributions.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_queries,)
            Rows of the matrix.
        shares : Tensor of float64 of shape (n_queries, n)
            Quantiles in [0, 1).

        Returns
        -------
        items : Tensor of int64 of shape (n_queries, n)
            -1 for users without a free item.
        """
        users, order = users.sort()  # consecutive searches in one row stay in the cache
        users, shares = users[:, None], shares[order]
        free = self._free[users]
        positions = torch.minimum((shares * free).long(), (free - 1).clamp(min=0))
        cells = torch.searchsorted(self._keys, users * self._span + positions, right=True)
        at_end = cells == self._indptr[users + 1]
        positions += torch.where(at_end, self._totals[users], self._taken[cells])
        if self.alpha:
            items = torch.searchsorted(self._ends, positions, right=True)
        else:
            items = positions
        items = torch.where(free > 0, items, -1)
        return torch.empty_like(items).index_copy_(0, order, items)


def check_negatives_memory(n_samples, n, width=0):
    """Raise MemoryError if sampled negatives would not fit, before they are sampled.

    Parameters
    ----------
    n_samples : int
        Number of negatives sampled at once.
    n : int
        Negatives per interaction.
    width : int, default=0
        Additional float64 numbers that are computed for each.
    """
    check_memory(
        n_samples * (_SAMPLE_BYTES + 8 * width),
        f"Sampling {n_samples:,} negatives at once, n_negatives={n} for each interaction,",
        "Use a smaller n_negatives.",
    )
