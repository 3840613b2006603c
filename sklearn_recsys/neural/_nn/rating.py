"""The base of modules that predict observed ratings."""

from __future__ import annotations

from torch import nn

from sklearn_recsys.neural._nn.layers import ACTIVATIONS


class RatingModule(nn.Module):
    """Hidden layers and an output layer, which training evaluates at observed cells only.

    A module implements ``hidden(rows)``, which returns the input of the output layer, of shape
    (n_rows, width), and ``output_layer()``, which returns its weight of shape (n_inputs, width) and
    its bias.

    Parameters
    ----------
    output_activation : str
        Activation after the output layer.
    """

    def __init__(self, output_activation):
        super().__init__()
        self.output_activation = output_activation

    def forward(self, rows):
        """Return every output, of shape (n_rows, n_inputs)."""
        return self.outputs(self.hidden(rows))

    def loss(self, inputs, targets):
        """Return the squared error over the target cells, per row."""
        return self.squared_error(self.hidden(inputs), targets) / len(targets)

    def outputs(self, hidden):
        """Return every output, given the hidden vectors of rows."""
        weight, bias = self.output_layer()
        return ACTIVATIONS[self.output_activation](hidden @ weight.T + bias)

    def squared_error(self, hidden, targets):
        """Return the sum of squared errors over the target cells."""
        weight, bias = self.output_layer()
        outputs = targets.sample(hidden, weight) + bias[targets.indices]
        outputs = ACTIVATIONS[self.output_activation](outputs)
        return (targets.values - outputs).square().sum()
