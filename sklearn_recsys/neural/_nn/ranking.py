"""The base of modules that score every item."""

from __future__ import annotations

import torch

from sklearn_recsys.neural._nn.losses import ndcg


class RankingModule(torch.nn.Module):
    """A module whose output for rows is a score for every item."""

    def validate(self, known, held_out):
        """Return NDCG@100 on what was held out of the rows, as Liang et al. (2018) do."""
        return ndcg(self(known), known, held_out)
