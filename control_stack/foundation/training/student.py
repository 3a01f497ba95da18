"""The recurrent student in torch, columns first: 22 -> 16 ReLU -> GRU 16 -> 4, 2,084 numbers.

    a = relu(W0 o + b0)
    r, z = sigmoid(Wi a + bi + Wh h + bh)        n = tanh(Wi a + bi + r (Wh h + bh))
    h+ = (1 - z) n + z h                         action = W1 h+ + b1, not squashed

Architecture of RAPTOR (Eschmann, Albani, Loianno 2025); gates in torch's order r, z, n (Cho et al. 2014). Tensor
names are those of the weights file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from control_stack.foundation.training.policy_gradient import Weights
from control_stack.foundation.weights import shapes

HIDDEN_SIZE = 16


def initial_weights(generator: torch.Generator, hidden: int = HIDDEN_SIZE) -> Weights:
    """Normal random weights of unit gain; a small output layer at mid thrust; update gates biased to remember."""
    weights: Weights = {}
    for name, shape in shapes(hidden).items():
        if name.endswith(("weight", "weight_ih", "weight_hh")):
            weights[name] = torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])
        else:
            weights[name] = torch.zeros(shape)
    weights["output.weight"] *= 0.1
    weights["gru.bias_ih"][hidden : 2 * hidden] = torch.linspace(-1.0, 4.0, hidden)
    return weights


class Student:
    """The student as an ``Architecture``; its width is read from the weights."""

    policies = 1

    def act(
        self, weights: Mapping[str, Tensor], observation: Tensor, privileged: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step; what is privileged it never sees."""
        return act(weights, observation, hidden)

    def initial_hidden(self, weights: Mapping[str, Tensor], count: int) -> Tensor:
        """(H, N) the trained initial hidden state."""
        return initial_hidden(weights, count)


def act(weights: Mapping[str, Tensor], observation: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """One step.

    Args:
        observation: (22, N). hidden: (H, N).

    Returns:
        Raw action (4, N) and the next hidden state (H, N).
    """
    n = hidden.shape[0]
    a = torch.relu(weights["input.weight"] @ observation + weights["input.bias"][:, None])
    x = weights["gru.weight_ih"] @ a + weights["gru.bias_ih"][:, None]
    y = weights["gru.weight_hh"] @ hidden + weights["gru.bias_hh"][:, None]
    r = torch.sigmoid(x[:n] + y[:n])
    z = torch.sigmoid(x[n : 2 * n] + y[n : 2 * n])
    candidate = torch.tanh(x[2 * n :] + r * y[2 * n :])
    hidden = (1.0 - z) * candidate + z * hidden
    return weights["output.weight"] @ hidden + weights["output.bias"][:, None], hidden


def initial_hidden(weights: Mapping[str, Tensor], count: int) -> Tensor:
    """(H, N) the trained initial hidden state."""
    return weights["gru.initial_hidden"][:, None].expand(-1, count)
