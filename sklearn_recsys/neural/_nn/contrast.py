"""Cosines of users and items, and losses that contrast each interaction with many negatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import softplus

from sklearn_recsys.neural._nn.layers import unrounded

_SMALLEST = 1e-12  # length of a vector that has a direction
_NEVER = -1e9  # the logit of an item that is no negative of a user; its exponential is zero


def unit_vectors(vectors):
    """Scale vectors to unit length; zeros stay zeros."""
    lengths = vectors.norm(dim=1, keepdim=True)
    lengths = lengths.masked_fill(lengths.isinf(), torch.nan)  # not zero: diverged
    return vectors / lengths.clamp(min=_SMALLEST)


@dataclass
class Cosines:
    """Cosines of users with the items of their histories, and with negatives that they share.

    A negative is compared with a user once, for all interactions of that user.

    Parameters
    ----------
    owners : Tensor of int64 of shape (n_cells,)
        The user of each interaction.
    positives : Tensor of shape (n_cells,)
        The cosine of each interaction.
    negatives : Tensor of shape (n_users, n_negatives)
        The cosines of all users and negatives.
    is_own : Tensor of bool of shape (n_users, n_negatives)
        Whether a user has an interaction with a negative, which then is none.
    """

    owners: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor
    is_own: torch.Tensor

    @classmethod
    def of(cls, rows, users, items, negatives):
        """Compute the cosines of a batch.

        Parameters
        ----------
        rows : SparseRows of shape (n_users, n_items)
            The interactions.
        users, items : Tensor of shape (n_users, n_factors) and (n_items, n_factors)
            Unit vectors.
        negatives : Tensor of int64 of shape (n_negatives,)
            Distinct items.

        Returns
        -------
        cosines : Cosines
        """
        owners = rows.rows
        cosines = unrounded(users @ items[negatives].T)
        slots = negatives.new_full((len(items),), -1)
        slots[negatives] = torch.arange(len(negatives), device=negatives.device)
        slots = slots[rows.indices]
        shared = slots >= 0
        is_own = torch.zeros_like(cosines, dtype=torch.bool)
        is_own[owners[shared], slots[shared]] = True
        return cls(owners, rows.sample(users, items), cosines, is_own)

    def softmax(self, temperature):
        """Return the loss of a softmax over each interaction and the user's negatives.

        Parameters
        ----------
        temperature : float
            What cosines are divided by.

        Returns
        -------
        losses : Tensor of shape (n_cells,)
        """
        logits = (self.negatives / temperature).masked_fill(self.is_own, _NEVER)
        return softplus(logits.logsumexp(dim=1)[self.owners] - self.positives / temperature)

    def hinge(self, margin, weight):
        """Return the cosine contrastive loss of SimpleX (eq. 1).

        Parameters
        ----------
        margin : float
            The cosine above which a negative counts.
        weight : float
            The weight of the mean over the negatives.

        Returns
        -------
        losses : Tensor of shape (n_cells,)
        """
        excess = (self.negatives - margin).relu().masked_fill(self.is_own, 0)
        return 1 - self.positives + weight * excess.mean(dim=1)[self.owners]
