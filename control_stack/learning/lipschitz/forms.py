"""How the weights of a net with a wanted constant are written, so that training may move what it likes (torch).

Every form gives the weights and biases of one multilayer perceptron; training, export and proof are then the same.

sandwich   h_k = sqrt2 A_k' Psi_k s(sqrt2 Psi_k^-1 B_k h_{k-1} + b_k), y = gamma B h_L + b with A A' + B B' = I: layers
           of constant 1 (Wang, Manchester, *Direct parameterization of Lipschitz-bounded deep networks*, ICML 2023)
spectral   every matrix over its largest singular value, times gamma^(1 / layers) (Miyato et al., ICLR 2018)
penalty    free matrices; the loss has max(0, |J| - gamma)^2 at points between data (Gulrajani et al., NeurIPS 2017)
free       free matrices
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from control_stack.errors import UnknownName
from control_stack.learning.lipschitz.certificate import by_norms, by_sandwich
from control_stack.types import Array

METHODS = ("sandwich", "spectral", "penalty", "free")
_PRICE = 1e-3  # of log gamma where it is learned: it stops where e times as much would gain less of the variance
_FIRST, _FIRST_SHARE = 1.5, 0.4  # gamma at first: learned, and given
_PENALTY = 10.0


def cayley(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A (q, q) and B (q, p) with A A' + B B' = I from any X (q, q) and Y (p, q).

    Z = X - X' + Y'Y,  A' = (I + Z)^-1 (I - Z),  B' = -2 Y (I + Z)^-1
    """
    eye = torch.eye(len(x), dtype=x.dtype)
    z = x - x.T + y.T @ y
    inverse = torch.linalg.inv(eye + z)  # its symmetric part is at least I
    return (inverse @ (eye - z)).T, (-2.0 * y @ inverse).T


class Form:
    """Free numbers behind a net.

    Args:
        method: One of METHODS.
        sizes: Inputs, widths of the hidden layers, outputs.
        gamma: Largest of the scaled net; None: it is learned (sandwich, spectral), or not asked for (free).
        generator: Of the first weights.
    """

    def __init__(self, method: str, sizes: Sequence[int], gamma: float | None, generator: torch.Generator):
        if method not in METHODS:
            raise UnknownName("method", method, METHODS)
        self.method, self.sizes, self.gamma = method, tuple(sizes), gamma
        self.parameters: list[Tensor] = []

        def draw(rows: int, columns: int, scale: float) -> None:
            self.parameters.append(scale * torch.randn(rows, columns, dtype=torch.float64, generator=generator))

        for k, (p, q) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), 1):
            if method == "sandwich":
                draw(q, q, (1.0 / q) ** 0.5)
                draw(p, q, (1.0 / max(p, q)) ** 0.5)
                self.parameters.append(torch.zeros(q, dtype=torch.float64))  # log Psi
            else:
                draw(q, p, (2.0 / p) ** 0.5 if k < len(sizes) - 1 else 0.3 / p**0.5)
            spread = 0.5 if k < len(sizes) - 1 else 0.0
            self.parameters.append(spread * torch.randn(q, dtype=torch.float64, generator=generator))
        self.scaled = method in ("sandwich", "spectral")
        if self.scaled:
            # constant() of this is _FIRST, or _FIRST_SHARE of what is given
            first = math.log(_FIRST) if gamma is None else math.log(1.0 / _FIRST_SHARE - 1.0)
            self.parameters.append(torch.full((1,), first, dtype=torch.float64))
        for tensor in self.parameters:
            tensor.requires_grad_(True)

    @property
    def count(self) -> int:
        """Numbers that matter: of a square X only X - X' does."""
        whole = sum(t.numel() for t in self.parameters)
        if self.method == "sandwich":
            whole -= sum(q * (q + 1) // 2 for q in self.sizes[1:]) + self.sizes[-1]  # the output's Psi is not used
        return whole

    def constant(self) -> Tensor:
        """gamma of a scaled form: exp(a) where it is learned, else the given one over 1 + exp(a), so below it."""
        last = self.parameters[-1][0]
        return torch.exp(last) if self.gamma is None else self.gamma * torch.exp(-torch.nn.functional.softplus(last))

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """(W_k, b_k) of the net, differentiable."""
        each = 4 if self.method == "sandwich" else 2
        count = len(self.sizes) - 1
        groups = [self.parameters[each * k : each * (k + 1)] for k in range(count)]
        if self.method in ("penalty", "free"):
            return [(w, b) for w, b in groups]
        if self.method == "spectral":
            part = self.constant() ** (1.0 / count)
            return [(part * w / torch.linalg.matrix_norm(w, 2), b) for w, b in groups]
        out, before = [], None
        for k, (x, y, log_psi, bias) in enumerate(groups):
            a, b = cayley(x, y)
            if k == count - 1:
                rows = self.constant() * b
            else:
                rows = math.sqrt(2.0) * torch.exp(-log_psi)[:, None] * b
            out.append((rows if before is None else rows @ before, bias))
            before = math.sqrt(2.0) * a.T * torch.exp(log_psi)
        return out

    def price(
        self, z: Tensor, layers: list[tuple[Tensor, Tensor]], activation: str, generator: torch.Generator
    ) -> Tensor | float:
        """What is added to the loss; z (B, n) are points of the batch."""
        if self.scaled and self.gamma is None:
            return _PRICE * torch.log(self.constant())
        if self.method != "penalty" or self.gamma is None:
            return 0.0
        part = torch.rand(len(z) // 2, 1, dtype=z.dtype, generator=generator)
        half = len(z) // 2
        between = part * z[:half] + (1.0 - part) * z[half : 2 * half]
        over = torch.linalg.matrix_norm(jacobian(layers, between, activation), 2) - self.gamma
        return _PENALTY * torch.clamp(over, min=0.0).square().mean()

    def proof(self, weights: Sequence[Array]) -> tuple[float, tuple[Array, ...]]:
        """gamma and multipliers that the form itself gives for its weights."""
        if self.method == "sandwich":
            psi = [torch.exp(t).detach().numpy() for t in self.parameters[2 : 4 * len(self.sizes) - 6 : 4]]
            return by_sandwich(psi, float(self.constant().detach()) ** 2)
        return by_norms(weights)


def forward(layers: list[tuple[Tensor, Tensor]], z: Tensor, activation: str) -> Tensor:
    """(B, n) -> (B, m)."""
    for weight, bias in layers[:-1]:
        z = z @ weight.T + bias
        z = torch.tanh(z) if activation == "tanh" else torch.relu(z)
    return z @ layers[-1][0].T + layers[-1][1]


def jacobian(layers: list[tuple[Tensor, Tensor]], z: Tensor, activation: str) -> Tensor:
    """(B, n) -> (B, m, n), the chain rule from the input on."""
    found: Any = None
    for weight, bias in layers[:-1]:
        z = z @ weight.T + bias
        if activation == "tanh":
            z = torch.tanh(z)
            slope = 1.0 - z * z
        else:
            slope = (z > 0.0).to(z.dtype)
            z = torch.relu(z)
        found = slope[:, :, None] * (weight if found is None else weight @ found)
    return layers[-1][0] @ found
