"""Plans of low cost, many at once: gradient steps on the network itself, within the inputs' limits."""

from __future__ import annotations

from collections.abc import Callable

import torch

from control_stack.bounds.arrays import Tensor
from controllers.planning.branching_bounds import Bounder
from controllers.planning.branching_form import SQUARE, SUM

_PENALTY = (
    10.0  # on violation, in units of the whole cost's weight: any plan within the limits is better than one beyond
)
_MEAN, _VARIANCE = 0.8, 0.95  # of Adam
_LEAST = 1e-2  # of the first step is left in the last


class Descent:
    """Adam on cost and penalty, with steps that shrink by a constant factor.

    Args:
        bounder: Whose form is searched.
    """

    def __init__(self, bounder: Bounder):
        self._of = bounder
        self._choices = {
            i: torch.as_tensor(values, device=bounder.lower.device) for i, values in bounder.form.choices.items()
        }
        self._price = _PENALTY * float(bounder.weight.sum() + 1.0) / bounder.v.terms.clamp(min=1e-9)

    def allowed(self, u: Tensor) -> Tensor:
        """Points (N, n) moved into the limits and to the nearest choices."""
        u = torch.minimum(torch.maximum(u, self._of.lower), self._of.upper)
        for i, values in self._choices.items():
            u[:, i] = values[(u[:, i, None] - values).abs().argmin(-1)]
        return u

    def cost(self, u: Tensor) -> Tensor:
        """(N,) cost of points (N, n) with the penalty of what they violate."""
        return self._value(u)[0]

    def improved(
        self, u: Tensor, iterations: int, step: float, over: Callable[[], bool] = lambda: False
    ) -> Tensor:  # fmt: skip
        """The best allowed point met from each of u (N, n).

        Args:
            step: The first one, a part of the inputs' range. over: Asked before each iteration; True ends them.
        """
        of = self._of
        size = step * (of.upper - of.lower)
        u = torch.minimum(torch.maximum(u, of.lower), of.upper)
        best, lowest = self.allowed(u.clone()), None
        mean, square = torch.zeros_like(u), torch.zeros_like(u)
        for i in range(iterations):
            if over():
                break
            value, gradient = self._value(u)
            if not self._choices:
                better = value < lowest if lowest is not None else torch.ones_like(value, dtype=torch.bool)
                best = torch.where(better[:, None], u, best)
                lowest = value if lowest is None else torch.minimum(value, lowest)
            mean = _MEAN * mean + (1.0 - _MEAN) * gradient
            square = _VARIANCE * square + (1.0 - _VARIANCE) * gradient**2
            move = mean / (1.0 - _MEAN ** (i + 1)) / ((square / (1.0 - _VARIANCE ** (i + 1))).sqrt() + 1e-9)
            u = u - size * _LEAST ** (i / iterations) * move
            u = torch.minimum(torch.maximum(u, of.lower), of.upper)
        ends = self.allowed(u.clone())
        worse = (self.cost(ends) > self.cost(best))[:, None]
        return torch.where(worse, best, ends)

    def _value(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Cost and penalty (N,), and their gradient (N, n), one-sided at kinks."""
        of = self._of
        z, s, v = of.forward(u)
        s = s.clamp(min=0.0)
        kind = torch.as_tensor(of.form.kind, device=u.device)
        value = (torch.where(kind == SUM, s, torch.where(kind == SQUARE, s * s, 0.0)) * of.weight).sum(-1)
        pi = torch.where(kind == SUM, (s > 0.0) * of.weight, torch.where(kind == SQUARE, 2.0 * s * of.weight, 0.0))
        if bool(of.max.any()):
            for step in range(of.steps):
                rows = torch.nonzero(of.max & (of.step == step))[:, 0]
                if len(rows):
                    top, at = s[:, rows].max(-1)
                    value = value + top * of.weight[rows[0]]
                    pi[:, rows] += torch.nn.functional.one_hot(at, len(rows)) * (top > 0.0)[:, None] * of.weight[rows]
        on, kappa = pi @ of.s.on_u, pi @ of.s.on_h
        if len(of.v.terms):
            broken = self._broken(v)
            value = value + broken @ self._price
            price = (broken > 0.0) * self._price
            on, kappa = on + price @ of.v.on_u, kappa + price @ of.v.on_h
        mu = torch.zeros_like(kappa)
        for where in reversed(of.layers):
            mu[:, where] = kappa[:, where] * (z[:, where] > 0.0)
            if where.start:
                kappa[:, : where.start] += mu[:, where] @ of.z.on_h[where, : where.start]
        return value, on + mu @ of.z.on_u

    def _broken(self, v: Tensor) -> Tensor:
        """(N, p) how far each row is violated; of an obstacle's faces only the nearest counts, if none holds."""
        of = self._of
        broken = v.clamp(min=0.0)
        for group in range(of.groups):
            rows = torch.nonzero(of.face == group)[:, 0]
            least, at = v[:, rows].min(-1)
            broken[:, rows] = torch.nn.functional.one_hot(at, len(rows)) * least.clamp(min=0.0)[:, None]
        return broken
