"""The discriminator of a stack: what it learns from, what holds its slope back, and the reward that it gives.

    D(s, a) = sigmoid(l(s, a)),   l a leaky-ReLU network, D -> 1 on the expert's pairs
    loss = BCE(D(expert), y) + BCE(D(own), 0) - 1e-3 H(D) + 10 E max(0, |grad l| - 1)^2,   y ~ U(0.7, 1.2)
    reward = -log(1 - D + 1e-8)

The penalty is taken at points between an expert's pair and an own one. The sampled penalty certifies nothing; the
spectral norm (power iteration, one step an update; Miyato et al. 2018) bounds every layer, up to that iteration.
Source of the constants: Blonde, Strasser, Kalousis 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from control_stack.learning.imitation.networks import Layers, forward

PENALTY, ENTROPY = 10.0, 1e-3
LABELS = (0.7, 1.2)
_SMALL = 1e-8


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.1 below zero; its own slope never exceeds 1."""
    return torch.nn.functional.leaky_relu(x, 0.1)


def logits(stack: Layers, pairs: Tensor) -> Tensor:
    """(M, B) l of pairs (M, B, n + m)."""
    return forward(stack, pairs, leaky).squeeze(-1)


def reward(logit: Tensor) -> Tensor:
    """-log(1 - D + 1e-8): positive, at most 18.4."""
    return -(torch.sigmoid(-logit) + _SMALL).log()


def losses(expert: Tensor, own: Tensor, labels: Tensor) -> Tensor:
    """(M,) cross entropy against smoothed labels, less the entropy of the decisions.

    Args:
        expert, own: (M, B) logits. labels: (M, B) of the expert's pairs, around 1.
    """
    softplus = torch.nn.functional.softplus
    cross = (softplus(expert) - labels * expert).mean(1) + softplus(own).mean(1)
    both = torch.cat([expert, own], dim=1)
    entropy = (softplus(both) - torch.sigmoid(both) * both).mean(1)
    return cross - ENTROPY * entropy


def between(expert: Tensor, own: Tensor, share: Tensor) -> Tensor:
    """Points on the lines from own pairs (share 0) to the expert's (share 1); share is (M, B)."""
    return torch.lerp(own, expert, share.unsqueeze(-1))


def one_sided(slopes: Tensor) -> Tensor:
    """(M,) 10 E max(0, slope - 1)^2 of slopes (M, B): nothing for slopes up to 1."""
    return PENALTY * (slopes - 1.0).clamp_min(0.0).square().mean(-1)


def slopes(stack: Layers, points: Tensor) -> Tensor:
    """(M, B) |grad l| at points (M, B, n + m), with their graph."""
    points = points.detach().requires_grad_()
    value = logits(stack, points).sum()
    (gradient,) = torch.autograd.grad(value, points, create_graph=True)
    return (gradient.square().sum(-1) + 1e-12).sqrt()


class Spectral:
    """Divides the weights of chosen members by their spectral norms.

    Attributes:
        chosen: (M,) which.
        vectors: Per layer (M, outputs, 1) the current guess of the leading direction, kept between updates.
    """

    def __init__(self, chosen: Sequence[bool], sizes: Sequence[int]):
        self.chosen = torch.tensor(list(chosen)).view(-1, 1, 1)
        self.vectors = [torch.ones(len(chosen), b, 1) / b**0.5 for b in sizes[1:]]

    @torch.no_grad()
    def turn(self, stack: Layers, steps: int = 1) -> None:
        """Power iterations on W W^T of every layer."""
        for _ in range(steps):
            for k, (weight, _bias) in enumerate(stack):
                left = torch.nn.functional.normalize(torch.bmm(weight, self.vectors[k]), dim=1)
                self.vectors[k] = torch.nn.functional.normalize(torch.bmm(weight.transpose(1, 2), left), dim=1)

    def __call__(self, stack: Layers) -> Layers:
        """The stack with the chosen members' weights divided: |W v| is their norm once v has settled."""
        if not bool(self.chosen.any()):
            return stack
        out = []
        for (weight, bias), vector in zip(stack, self.vectors, strict=True):
            norm = torch.bmm(weight, vector).square().sum((1, 2), keepdim=True).sqrt()
            out.append((weight / torch.where(self.chosen, norm, torch.ones_like(norm)), bias))
        return out
