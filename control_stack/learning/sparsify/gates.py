"""Thinning by gates that are learnt with the weights: each unit draws relu, identity or zero (Liu et al., 2023).

    g = one-hot(argmax_i (l_i + e_i)),  e_i Gumbel,  dg/dl as of softmax((l + e) / tau)          h = g_1 relu(z) + g_2 z

Jang, Gu, Poole, 2017. The draw is made anew for each update and each of several parts of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from control_stack.learning.sparsify.linear import affine_fit
from control_stack.learning.sparsify.net import IDENTITY, RELU, ZERO, Net


@dataclass(frozen=True)
class GateSettings:
    """Of the search for gates.

    Attributes:
        temperature: tau.
        rate: Of Adam on the logits.
        draws: Parts of a batch with gates of their own.
    """

    temperature: float = 0.5
    rate: float = 5e-2
    draws: int = 16


class DrawnGates:
    """Gates of every hidden ReLU of a net, as logits that are trained; linear units stay what they are.

    Not quite as published: an identity passes the best affine fit of its ReLU and a zero the mean (``affine_fit`` of
    the batch), which folds into the weights all the same; and instead of a fixed price of a ReLU one shift of all
    logits of ReLUs keeps their expected number at a target, which falls to the budget.
    """

    def __init__(self, net: Net, settings: GateSettings, budget: int, updates: int, generator: torch.Generator):
        self._settings, self._generator = settings, generator
        self._budget, self._updates, self._first = budget, updates, net.count(RELU)
        self._copies = net.copies
        self._relu = [gates == RELU for gates in net.gates]
        self.logits = [torch.full((len(gates), 3), math.log(1.0 / 3.0)) for gates in net.gates]
        self._drawn: list[Tensor] = []

    def draw(self, update: int) -> None:
        """New gates for the next rollout; the expected number of ReLUs reaches the budget after 3/4 of the updates."""
        part = min(1.0, (update + 1) / (0.75 * self._updates))
        self.shift(self._first * (self._budget / self._first) ** part)
        self._drawn = []
        for logits, relu in zip(self.logits, self._relu, strict=True):
            uniform = torch.rand(self._settings.draws, *logits.shape, generator=self._generator).clamp_(1e-10, 1 - 1e-7)
            noisy = logits - torch.log(-torch.log(uniform))
            soft = torch.softmax(noisy / self._settings.temperature, -1)
            hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
            drawn = hard - soft.detach() + soft
            self._drawn.append(torch.where(relu[:, None], drawn, torch.eye(3)[IDENTITY]))

    def __call__(self, k: int, z: Tensor) -> Tensor:
        """What layer k puts out; rows are split into equal parts, each with gates of its own."""
        drawn, relu = self._drawn[k], self._relu[k]
        slope, offset = affine_fit(z.detach())
        slope, offset = torch.where(relu, slope, 1.0), torch.where(relu, offset, 0.0)
        active = torch.relu(z)
        parts = (active, slope[:, None] * z + offset[:, None], active.detach().mean(-2, keepdim=True))
        shape = (z.shape[0], len(drawn), -1, z.shape[-1])
        out = sum(
            drawn[:, None, :, gate] * part.expand(z.shape).reshape(shape)
            for gate, part in zip((RELU, IDENTITY, ZERO), parts, strict=True)
        )
        return torch.as_tensor(out).view(z.shape)

    def probabilities(self) -> list[Tensor]:
        """(units, 3) of each layer; zeros for linear units."""
        return [torch.softmax(logits, -1) * relu[:, None] for logits, relu in zip(self.logits, self._relu, strict=True)]

    def expected(self) -> float:
        """ReLUs in all copies."""
        return float(sum(c * p[:, RELU].sum() for c, p in zip(self._copies, self.probabilities(), strict=True)))

    def shift(self, target: float) -> None:
        """Adds one number to all logits of ReLUs, so that the target is expected; found by bisection."""
        low, high = -20.0, 20.0
        with torch.no_grad():
            before = [logits[:, RELU].clone() for logits in self.logits]
            for _ in range(20):
                middle = 0.5 * (low + high)
                for logits, column in zip(self.logits, before, strict=True):
                    logits[:, RELU] = column + middle
                low, high = (middle, high) if self.expected() < target else (low, middle)

    def decided(self) -> list[Tensor]:
        """Gates within the budget: ReLUs are the units that are so most surely, others what they rather are."""
        chances = self.probabilities()
        gates = [
            torch.where(~relu | (p[:, IDENTITY] > p[:, ZERO]), IDENTITY, ZERO)
            for p, relu in zip(chances, self._relu, strict=True)
        ]
        return kept_within(gates, [p[:, RELU] for p in chances], self._copies, self._budget)


def kept_within(
    otherwise: Sequence[Tensor], scores: Sequence[Tensor], copies: Sequence[int], budget: int
) -> list[Tensor]:
    """Gates with at most ``budget`` ReLUs in all copies: best scores first, other units as in ``otherwise``.

    Units with a score of 0 or below are never ReLUs.
    """
    gates = [g.clone() for g in otherwise]
    ranked = sorted(
        ((float(s), k, i) for k, layer in enumerate(scores) for i, s in enumerate(layer.tolist()) if s > 0.0),
        key=lambda entry: -entry[0],
    )
    left = budget
    for _, k, i in ranked:
        if copies[k] <= left:
            gates[k][i] = RELU
            left -= copies[k]
    return gates
