"""Dense rows in place of sparse ones, so that a module can be traced and written to a file."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch


@dataclass
class DenseRows:
    """What a forward pass asks of `SparseRows`, for rows in a dense tensor.

    Parameters
    ----------
    values : Tensor of float32 of shape (n_rows, n_columns)
        Zero where a row has no cell.
    """

    values: torch.Tensor

    def normalized(self):
        """Return the rows scaled to a Euclidean norm of one; empty rows stay empty."""
        squares = self.values.square().sum(dim=1, keepdim=True)
        return DenseRows(self.values * squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt())

    def matmul(self, weight):
        """Return the product with a dense matrix."""
        return self.values @ weight


class OfDenseRows(torch.nn.Module):
    """A copy, on the CPU, of a module over `SparseRows`, which takes dense rows instead.

    Parameters
    ----------
    module : Module
        One that needs nothing but the methods of `DenseRows`.
    """

    def __init__(self, module):
        super().__init__()
        self.module = copy.deepcopy(module).cpu()

    def forward(self, rows):
        """Return the module's output for a tensor of shape (n_rows, n_columns)."""
        return self.module(DenseRows(rows))
