"""Negatives: items that a user has no interaction with, drawn exactly and all at once."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_recsys.neural._data.random import generator
from sklearn_recsys.utils.validation import check_csr, check_memory

_DRAW_BYTES = 64  # while an item is drawn
_BITS = 40  # of the integers that stand for weights, fewer where users are very many


class NegativeSampler:
    """Draw items that users have no interaction with, uniformly or by popularity.

    A draw is the inverse of the distribution over the items that are free to the user, found by a
    binary search among the user's items: no draw is rejected, and none is ever a positive. Weights
    are integers, so that this holds to the last bit.

    Parameters
    ----------
    indptr, indices : Tensor of int64
        The parts of a canonical csr_array of shape (n_users, n_items), on the device where draws
        are to be made.
    n_items : int
        The number of items.
    alpha : float, default=0.0
        An item's weight is its number of interactions to this power; 0: all are drawn alike.

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
        self._keys = users * self._span + free_before  # rising: one search finds all

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
            Where draws are made.

        Returns
        -------
        sampler : NegativeSampler
        """
        X = check_csr(X)
        parts = (
            torch.from_numpy(part.astype(np.int64)).to(device) for part in (X.indptr, X.indices)
        )
        return cls(*parts, X.shape[1], alpha)

    def sample(self, users, n):
        """Draw with replacement, from torch's generator.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_asked,)
            Rows of the matrix; one may be asked for any number of times.
        n : int
            Items for each.

        Returns
        -------
        items : Tensor of int64 of shape (n_asked, n)
            -1 for users to whom no item is free.
        """
        check_negatives_memory(len(users) * n, n)
        draws = {"device": users.device, "generator": generator(users.device)}
        shares = torch.rand(len(users), n, dtype=torch.float64, **draws)
        return self.at(users, shares)

    def at(self, users, shares):
        """Return the free items at given places of the users' distributions.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_asked,)
            Rows of the matrix.
        shares : Tensor of float64 of shape (n_asked, n)
            Places in [0, 1).

        Returns
        -------
        items : Tensor of int64 of shape (n_asked, n)
            -1 for users to whom no item is free.
        """
        users, order = users.sort()  # searches one after the other in one row stay in the cache
        users, shares = users[:, None], shares[order]
        free = self._free[users]
        places = torch.minimum((shares * free).long(), (free - 1).clamp(min=0))
        found = torch.searchsorted(self._keys, users * self._span + places, right=True)
        at_end = found == self._indptr[users + 1]
        places += torch.where(at_end, self._totals[users], self._taken[found])
        if self.alpha:
            items = torch.searchsorted(self._ends, places, right=True)
        else:
            items = places
        items = torch.where(free > 0, items, -1)
        return torch.empty_like(items).index_copy_(0, order, items)


def check_negatives_memory(n_draws, n, width=0):
    """Raise MemoryError before negatives are drawn that cannot fit.

    Parameters
    ----------
    n_draws : int
        Drawn at once.
    n : int
        Of each interaction.
    width : int, default=0
        Numbers that are computed of each in float64, on top of what drawing takes.
    """
    check_memory(
        n_draws * (_DRAW_BYTES + 8 * width),
        f"Drawing {n_draws:,} negatives at once, n_negatives={n} for each interaction,",
        "Use a smaller n_negatives.",
    )
