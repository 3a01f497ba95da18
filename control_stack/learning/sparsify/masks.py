"""What methods that take whole ReLUs away share: masks of units, and how much a unit weighs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from control_stack.learning.sparsify.gates import kept_within
from control_stack.learning.sparsify.net import IDENTITY, RELU, ZERO, Net


class Masks:
    """A factor for each hidden ReLU of a net, 1 or 0, that the gradient sees; linear units pass."""

    def __init__(self, net: Net):
        self._fixed = net.fixed_gates()
        self.relu = [gates == RELU for gates in net.gates]
        self.values = [torch.ones(len(gates)) for gates in net.gates]

    def __call__(self, k: int, z: Tensor) -> Tensor:
        """What layer k puts out."""
        return self._fixed(k, z) * self.values[k]

    def set(self, gates: Sequence[Tensor]) -> None:
        """1 for all units but zeros."""
        with torch.no_grad():
            for values, chosen in zip(self.values, gates, strict=True):
                values.copy_((chosen != ZERO).float())

    def slopes(self) -> list[Tensor]:
        """(units,) of each layer: derivative of the loss by its factors, from the last update."""
        return [torch.zeros_like(v) if v.grad is None else v.grad for v in self.values]


def magnitudes(net: Net) -> list[Tensor]:
    """(units,) of each hidden layer: norm of its weights in, times norm of its weights out; S = 1."""
    out = []
    for k, relu in enumerate(gates == RELU for gates in net.gates):
        rows = net.weights[k + 1][0, net.wiring.layers[k + 1].feature_count :]
        into = torch.cat([net.weights[k][0], net.biases[k][0]])
        out.append(into.square().sum(0).sqrt() * rows.square().sum(1).sqrt() * relu)
    return out


def best(net: Net, scores: Sequence[Tensor], budget: float) -> list[Tensor]:
    """Gates that keep the ReLUs with the best scores, and all linear units."""
    otherwise = [torch.where(gates == IDENTITY, IDENTITY, ZERO) for gates in net.gates]
    usable = [s.detach() * (gates == RELU) for s, gates in zip(scores, net.gates, strict=True)]
    return kept_within(otherwise, usable, net.copies, int(budget))
