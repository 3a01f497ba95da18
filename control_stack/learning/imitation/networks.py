"""Stacks of small networks: one flat tensor of weights (M, P), one batched product a layer for all members."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]  # (weight (M, inputs, outputs), bias (M, 1, outputs)) of each layer
Activation = Callable[[Tensor], Tensor]


def count(sizes: Sequence[int]) -> int:
    """Numbers in one network of these layer sizes."""
    return sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


def initial(sizes: Sequence[int], seeds: Sequence[int], tag: int, gain: float = 1.0) -> Tensor:
    """(M, P) random weights, a member's from its own seed: uniform in +-1/sqrt(inputs), biases zero.

    Args:
        sizes: Of the layers, input first. seeds: Of the members. tag: Tells the networks of a member apart.
        gain: On the last layer.
    """
    flat = []
    for seed in seeds:
        random, parts = np.random.default_rng([seed, tag]), []
        for k, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            bound = (gain if k == len(sizes) - 2 else 1.0) / math.sqrt(a)
            parts += [random.uniform(-bound, bound, size=a * b), np.zeros(b)]
        flat.append(np.concatenate(parts))
    return torch.from_numpy(np.stack(flat).astype(np.float32))


def layers(flat: Tensor, sizes: Sequence[int]) -> Layers:
    """The layers of a stack, as views of its flat weights (M, P)."""
    pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
    parts = flat.split([n for a, b in pairs for n in (a * b, b)], dim=1)
    return [
        (parts[2 * k].view(-1, a, b), parts[2 * k + 1].view(-1, 1, b)) for k, (a, b) in enumerate(pairs)
    ]  # fmt: skip


def forward(stack: Layers, x: Tensor, activation: Activation = torch.relu) -> Tensor:
    """(M, B, outputs) of the inputs (M, B, inputs); the last layer is linear."""
    for k, (weight, bias) in enumerate(stack):
        x = torch.baddbmm(bias, x, weight)
        if k < len(stack) - 1:
            x = activation(x)
    return x


class Adam:
    """Adam (Kingma, Ba 2015) on one flat tensor; members never meet in it, so a stack is as many separate runs."""

    def __init__(self, weights: Tensor, rate: float):
        self.rate, self.done = rate, 0
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)

    @torch.no_grad()
    def step(self, weights: Tensor, gradient: Tensor) -> None:
        """Changes the weights in place."""
        self.done += 1
        self.mean.lerp_(gradient, 0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = math.sqrt(1.0 - 0.999**self.done)
        spread = self.square.sqrt().add_(1e-8 * scale)
        weights.addcdiv_(self.mean, spread, value=-self.rate * scale / (1.0 - 0.9**self.done))
