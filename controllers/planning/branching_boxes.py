"""What branch and bound computes with: subproblems, rows, and relaxations of ReLUs, as batches of float64 tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch

from control_stack.bounds.arrays import Tensor
from control_stack.bounds.rounding import EPS, TINY


@dataclass
class Boxes:
    """Subproblems; the first dimension is the batch.

    Attributes:
        lower, upper: (B, n) of the inputs.
        lo, hi: (B, m) enclosures of z, where the cost is not above the cut known at the time.
        alpha, beta: (B, m). pi: (B, q). nu: (B, p). Multipliers.
        enforced: (B, p) whether v <= 0 is known to be needed.
        bound: (B,) proven, of the cost; inf where nothing is left.
        gap: (B, m) what each ReLU's relaxation seems to cost.
        corner: (B, n) a point where the relaxation is low.
    """

    lower: Tensor
    upper: Tensor
    lo: Tensor
    hi: Tensor
    alpha: Tensor
    beta: Tensor
    pi: Tensor
    nu: Tensor
    enforced: Tensor
    bound: Tensor
    gap: Tensor
    corner: Tensor

    def __len__(self) -> int:
        return len(self.bound)

    def __getitem__(self, index: Any) -> Boxes:
        return Boxes(*(getattr(self, f.name)[index] for f in fields(self)))

    @staticmethod
    def joined(parts: list[Boxes]) -> Boxes:
        """All of them."""
        return Boxes(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Boxes)))

    def repeated(self, times: int) -> Boxes:
        """Each so many times, one after another; copies."""
        return Boxes(*(getattr(self, f.name).repeat_interleave(times, 0) for f in fields(self)))


class Affine(NamedTuple):
    """Rows as tensors, with the sum of their terms' largest absolute values and their slack."""

    on_u: Tensor
    on_h: Tensor
    constant: Tensor
    terms: Tensor
    slack: Tensor

    def __getitem__(self, index: Any) -> Affine:  # type: ignore[override]
        return Affine(*(tuple.__getitem__(self, k)[index] for k in range(5)))


class Dual(NamedTuple):
    """Bounds at some multipliers and the relaxation's own point there."""

    value: Tensor
    corner: Tensor
    z: Tensor
    h: Tensor
    s: Tensor
    v: Tensor
    kappa: Tensor
    mixed: Tensor


class Ascent:
    """Adam (Kingma and Ba, ICLR 2015) uphill, with a step of its own size for each variable."""

    MEAN, SQUARE = 0.5, 0.9

    def __init__(self, values: list[Tensor]):
        self.values = list(values)
        self._mean = [torch.zeros_like(value) for value in values]
        self._square = [torch.zeros_like(value) for value in values]
        self._count = 0

    def step(self, gradient: list[Tensor], scale: list[Tensor], share: Tensor | float) -> None:
        """Moves each variable by up to ``share`` of its scale."""
        self._count += 1
        a, b = 1.0 - self.MEAN**self._count, 1.0 - self.SQUARE**self._count
        for k, (g, size) in enumerate(zip(gradient, scale, strict=True)):
            self._mean[k] = self.MEAN * self._mean[k] + (1.0 - self.MEAN) * g
            self._square[k] = self.SQUARE * self._square[k] + (1.0 - self.SQUARE) * g * g
            move = (self._mean[k] / a) / ((self._square[k] / b).sqrt() + 1e-12)
            self.values[k] = self.values[k] + share * size * move


def chord(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slope and intercept of a line above max(z, 0), and where the sign of z is open; slope 0 or 1 elsewhere."""
    mixed = (lo < 0.0) & (hi > 0.0)
    slope = torch.where(mixed, hi / torch.where(mixed, hi - lo, 1.0), (lo >= 0.0).to(lo.dtype))
    margin = 4.0 * EPS * (slope * torch.maximum(-lo, hi) + hi.abs()) + TINY
    above = torch.where(mixed, torch.maximum(-slope * lo, hi - slope * hi) + margin, 0.0)
    return slope, above, mixed


def centre_radius(boxes: Boxes) -> tuple[Tensor, Tensor]:
    """(B, n) middle and half of the width, which covers the box in exact arithmetic."""
    centre = 0.5 * (boxes.lower + boxes.upper)
    return centre, torch.maximum(boxes.upper - centre, centre - boxes.lower) * (1.0 + 4.0 * EPS) + TINY
