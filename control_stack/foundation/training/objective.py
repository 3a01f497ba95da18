"""What a step of flight costs, and how gradients through many steps are kept tame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from control_stack.algebra import body_axes


@dataclass(frozen=True)
class Cost:
    """Weights of the cost of a step, for errors e_p m, e_v m/s, rate w rad/s, clamped action a.

        |e_p| + fine log(1 + |e_p| / scale) + finest log(1 + |e_p| / finest_scale) + velocity |e_v| + rate |w|
        + tilt (1 - R_zz) + yaw (1 - R_xx) + change |da| + change_square |da|^2 + excess (|a_raw| - 1)_+^2

    The logarithms keep a slope at the last centimetres and millimetres; |da| (not its square) is what makes a
    hover still. Position and |da| count in full only ``settle`` seconds after the start.
    """

    fine: float = 0.15
    scale: float = 0.05
    finest: float = 0.01
    finest_scale: float = 0.002
    velocity: float = 0.15
    rate: float = 0.02
    tilt: float = 0.3
    yaw: float = 0.05
    change: float = 0.05
    change_square: float = 0.1
    excess: float = 0.1
    settle: float = 1.0

    def of_step(self, x: Tensor, reference: Tensor, raw: Tensor, previous: Tensor, age: Tensor) -> Tensor:
        """(N,) cost.

        Args:
            x: (17, N) state after the step. reference: (6, N). raw, previous: (4, N) actions. age: (N,) s.
        """
        error = x[0:6] - reference
        distance = _length(error[0:3], 1e-4)
        ramp = 0.1 + 0.9 * (age / self.settle).clamp(max=1.0)
        near = (
            distance
            + self.fine * torch.log1p(distance / self.scale)
            + self.finest * torch.log1p(distance / self.finest_scale)
        )
        bx, _, bz = body_axes(tuple(x[6:10].unbind(0)))  # type: ignore[arg-type]
        action, before = raw.clamp(-1.0, 1.0), previous.clamp(-1.0, 1.0)
        change = action - before
        return (
            ramp * near
            + self.velocity * _length(error[3:6], 1e-3)
            + self.rate * _length(x[10:13], 1e-2)
            + self.tilt * (1.0 - bz[2])
            + self.yaw * (1.0 - bx[0])
            + ramp * self.change * _length(change, 1e-4)
            + self.change_square * change.square().sum(0)
            + self.excess * (raw.abs() - 1.0).clamp_min(0.0).square().sum(0)
        )


def _length(v: Tensor, softness: float) -> Tensor:
    """Norm of the columns, smooth within ``softness`` of zero."""
    return (v.square().sum(0) + softness * softness).sqrt() - softness


class _Tame(torch.autograd.Function):
    """Identity whose gradient is shrunk by ``keep`` and, vehicle by vehicle, limited to a length."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: float, limit: float) -> Tensor:
        ctx.keep, ctx.limit = keep, limit
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        gradient = torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
        length = gradient.square().sum(0, keepdim=True).sqrt()
        return gradient * (ctx.keep * torch.clamp(ctx.limit / (length + 1e-12), max=1.0)), None, None


def tame(x: Tensor, keep: float, limit: float) -> Tensor:
    """x, whose gradient is scaled by ``keep`` and limited to ``limit`` in each column.

    Flight is unstable, so gradients through many steps grow without bound for the few vehicles about to be
    lost, and one of them would drown the rest of the batch. Limited one by one, each keeps its direction.
    """
    return _Tame.apply(x, keep, limit)  # type: ignore[no-any-return]
