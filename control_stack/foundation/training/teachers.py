"""Teachers: one small network for each airframe, all of them one stacked tensor program.

    a = tanh(W0 (o, s) + b0)    b = tanh(W1 a + b1)    action = W2 b + b2

o is the student's observation, s what only a teacher sees: rotor speeds and the constant force. Every teacher has
its own weights and flies only its own airframe; they start from one shared net that was trained on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from control_stack.foundation.training.policy_gradient import Weights

INPUT_SIZE, ACTION_SIZE = 22 + 7, 4


class Teachers:
    """A stack of ``policies`` networks of the given width; vehicle k belongs to policy k // (N / policies)."""

    def __init__(self, policies: int, width: int = 32):
        self.policies, self.width = policies, width

    def initial_weights(self, generator: torch.Generator) -> Weights:
        """Random weights for a single network, stacked once."""
        sizes = (INPUT_SIZE, self.width, self.width, ACTION_SIZE)
        weights: Weights = {}
        for k, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            gain = 1.0 if k < 2 else 0.1
            weights[f"{k}.weight"] = gain * torch.randn(1, outputs, inputs, generator=generator) / math.sqrt(inputs)
            weights[f"{k}.bias"] = torch.zeros(1, outputs, 1)
        return weights

    def stacked(self, shared: Mapping[str, Tensor]) -> Weights:
        """The shared net's weights, once for each policy."""
        return {name: w.expand(self.policies, -1, -1).clone() for name, w in shared.items()}

    def act(
        self, weights: Mapping[str, Tensor], observation: Tensor, privileged: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step of N vehicles, N a multiple of the number of policies; the hidden state is empty."""
        inputs = torch.cat([observation, privileged])
        count = inputs.shape[1]
        y = inputs.view(INPUT_SIZE, self.policies, count // self.policies).transpose(0, 1)
        for k in range(3):
            y = torch.baddbmm(weights[f"{k}.bias"], weights[f"{k}.weight"], y)
            if k < 2:
                y = torch.tanh(y)
        return y.transpose(0, 1).reshape(ACTION_SIZE, count), hidden

    def initial_hidden(self, weights: Mapping[str, Tensor], count: int) -> Tensor:
        """(0, N): teachers see enough to need no memory."""
        return weights["0.weight"].new_zeros(0, count)
