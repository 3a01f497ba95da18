"""Newtons to PX4's normalised collective thrust and back.

PX4 takes a thrust setpoint s in [0, 1] and turns it into a motor signal u that solves

    f u^2 + (1 - f) u = s,        f = THR_MDL_FAC        (PX4 parameter reference, THR_MDL_FAC)

A motor then gives thrust in proportion to ``k u^2 + (1 - k) u`` =: g(u), where k is the quadratic share of its real
curve (1: speed in proportion to the signal). With h the setpoint that hovers (MPC_THR_HOVER)

    T = m g_0 g(u(s)) / g(u(h))

so thrust is linear in s where f = k: a vehicle whose THR_MDL_FAC is tuned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from control_stack.errors import InvalidInput


@dataclass(frozen=True)
class PX4Thrust:
    """Scale of one vehicle's normalised thrust; the ``px4:`` block of its file.

    Attributes:
        hover_thrust: Setpoint at which thrust equals weight, in (0, 1): MPC_THR_HOVER.
        model_factor: THR_MDL_FAC as set on the autopilot, in [0, 1].
        motor_factor: Quadratic share of the motors' real thrust over their signal, in [0, 1].
    """

    hover_thrust: float
    model_factor: float
    motor_factor: float

    def __post_init__(self) -> None:
        if not 0.0 < self.hover_thrust < 1.0:
            raise InvalidInput(f"px4 hover_thrust must be between 0 and 1, got {self.hover_thrust:g}")
        for name in ("model_factor", "motor_factor"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InvalidInput(f"px4 {name} must be from 0 to 1, got {value:g}")

    def normalised(self, thrust: float, weight: float) -> float:
        """Setpoint in [0, 1] for a collective thrust (N) of a vehicle of this weight (N)."""
        share = max(thrust, 0.0) / weight * _rise(self._signal(self.hover_thrust), self.motor_factor)
        signal = min(_solve(share, self.motor_factor), 1.0)
        return min(_rise(signal, self.model_factor), 1.0)

    def newtons(self, setpoint: float, weight: float) -> float:
        """Collective thrust (N) that a setpoint gives on a vehicle of this weight (N); clipped to [0, 1] first."""
        signal = self._signal(min(max(setpoint, 0.0), 1.0))
        return weight * _rise(signal, self.motor_factor) / _rise(self._signal(self.hover_thrust), self.motor_factor)

    def _signal(self, setpoint: float) -> float:
        return _solve(setpoint, self.model_factor)


def _rise(signal: float, factor: float) -> float:
    """f u^2 + (1 - f) u."""
    return factor * signal * signal + (1.0 - factor) * signal


def _solve(value: float, factor: float) -> float:
    """The u >= 0 with f u^2 + (1 - f) u = value, in the form that stays exact as f goes to 0."""
    linear = 1.0 - factor
    return 2.0 * value / (linear + math.sqrt(linear * linear + 4.0 * factor * value)) if value > 0.0 else 0.0
