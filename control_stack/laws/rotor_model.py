"""A controller's own idea of the rotor speeds, for vehicles that do not measure them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from control_stack.algebra import clip, where
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import QuadrotorState

Columns = tuple[Any, ...]

# Per call, of the difference between measured and modelled speed. Lead compensation multiplies the noise of
# what it acts on, so less is smoother; but hand-over from another controller leaves the model wrong, so none
# is too little.
_CORRECTION = 0.2


class RotorModel:
    """First-order lags driven by the controller's own commands, corrected slowly where speeds are measured.

    Over one period T under a held command u the lag is exact: W+ = u + (W - u) exp(-T / tau), tau by
    direction.

    Attributes:
        speed: Present estimate, rad/s, four components.
    """

    def __init__(self, parameters: QuadrotorParameters, period: float):
        airframe = parameters.airframe
        self._hover = parameters.hover_rotor_speed
        self._low, self._high = airframe.rotor_speed_min, airframe.rotor_speed_max
        self._rise = tuple(math.exp(-period / tau) for tau in airframe.rise_time)
        self._fall = tuple(math.exp(-period / tau) for tau in airframe.fall_time)
        self._fresh = True
        self.speed: Columns = (self._hover,) * 4

    def reset(self) -> None:
        """Back to hover speed; the next measurement is believed at once."""
        self._fresh = True
        self.speed = (self._hover,) * 4

    def observe(self, state: QuadrotorState) -> Columns:
        """The estimate for this state: the measurement at first, later the model drawn towards it."""
        fresh, self._fresh = self._fresh, False
        if state.rotor_speed is None or not np.isfinite(state.rotor_speed).all():
            return self.speed
        values = np.asarray(state.rotor_speed, dtype=float)  # floats are the fast path of one vehicle
        measured = tuple(values.tolist()) if values.ndim == 1 else tuple(np.moveaxis(values, -1, 0))
        gain = 1.0 if fresh else _CORRECTION
        self.speed = tuple(w + gain * (m - w) for w, m in zip(self.speed, measured, strict=True))
        return self.speed

    def advance(self, command: Columns) -> None:
        """Moves the estimate one period ahead under the command."""
        out = []
        for w, u, rise, fall in zip(self.speed, command, self._rise, self._fall, strict=True):
            out.append(u + (w - u) * where(u > w, rise, fall))
        self.speed = tuple(out)

    def command_for(self, wanted: Columns, response: float) -> Columns:
        """Commands after which, one period on, each rotor has gone the part ``response`` of its way to
        wanted.

        W+ = W + response (W_d - W) if u = W + response (W_d - W) / (1 - exp(-T / tau)), clipped to the range:
        inside it, rotors with different rise and fall times act as one linear lag.
        """
        out = []
        for i, (goal, now) in enumerate(zip(wanted, self.speed, strict=True)):
            step = response * (goal - now)
            u = now + step / (1.0 - where(step > 0.0, self._rise[i], self._fall[i]))
            out.append(clip(u, self._low[i], self._high[i]))
        return tuple(out)
