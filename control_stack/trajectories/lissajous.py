"""The figure eight of the benchmarks: a Lissajous curve that starts and ends at rest at its centre."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.trajectories.polynomial import finite
from control_stack.types import Reference


class Lissajous:
    """x = a sin(phi), y = b sin(2 phi) about a centre, at constant height and yaw.

    The phase rate rises from 0 to 2 pi / lap along a quintic step that takes ``ramp`` s and falls the same
    way, so phi is three times continuously differentiable and jerk is continuous. Between the ramps the eight
    is flown at full rate for at least ``laps`` laps, and as much longer as it takes to stop at the centre.

    Attributes:
        duration: s.
        steady_interval: (t0, t1) s, exactly ``laps`` laps at full rate: where tracking errors are measured.
    """

    def __init__(
        self,
        centre: ArrayLike = (0.0, 0.0, 1.0),
        size: ArrayLike = (1.0, 0.5),
        lap: float = 5.5,
        laps: int = 3,
        ramp: float = 3.0,
        yaw: float = 0.0,
    ):
        self._centre = finite(centre, (3,), "centre").tolist()
        self._a, self._b = finite(size, (2,), "size").tolist()
        if not (math.isfinite(lap) and lap > 0.0 and math.isfinite(ramp) and ramp > 0.0 and laps >= 1):
            raise InvalidInput("an eight needs lap > 0 s, ramp > 0 s and at least one lap")
        self._yaw = float(finite(yaw, (), "yaw"))
        self._rate, self._ramp = 2.0 * math.pi / lap, ramp
        # Both ramps together turn the phase by ramp / lap laps; the centre is passed every half lap.
        turns = math.ceil(2.0 * (laps + ramp / lap) - 1e-9) / 2.0
        self.duration = turns * lap + ramp
        self.steady_interval = (ramp, ramp + laps * lap)

    def _phase(self, t: float) -> tuple[float, float, float, float]:
        return tuple(self._rate * value for value in ramped(t, self.duration, self._ramp))  # type: ignore[return-value]

    def __call__(self, t: float) -> Reference:
        """The reference at t, s."""
        phi, d1, d2, d3 = self._phase(min(max(t, 0.0), self.duration))
        x = sine(self._a, phi, d1, d2, d3)
        y = sine(self._b, 2.0 * phi, 2.0 * d1, 2.0 * d2, 2.0 * d3)
        cx, cy, cz = self._centre
        return Reference(
            np.array([cx + x[0], cy + y[0], cz]),
            np.array([x[1], y[1], 0.0]),
            np.array([x[2], y[2], 0.0]),
            np.array([x[3], y[3], 0.0]),
            self._yaw,
            0.0,
        )


def ramped(t: float, duration: float, ramp: float) -> tuple[float, float, float, float]:
    """Time along a path, s, and its first three derivatives: the rate rises from 0 to 1 within ``ramp`` s by a quintic
    step and falls the same way before ``duration``; it ends at duration - ramp."""
    if t > duration - ramp:
        s, d1, d2, d3 = ramped(duration - t, math.inf, ramp)
        return duration - ramp - s, d1, -d2, d3
    if t >= ramp:
        return t - 0.5 * ramp, 1.0, 0.0, 0.0
    s = t / ramp
    return (
        ramp * s**4 * (2.5 - 3.0 * s + s * s),
        s**3 * (10.0 - 15.0 * s + 6.0 * s * s),
        30.0 / ramp * s * s * (1.0 - s) ** 2,
        60.0 / ramp**2 * s * (1.0 - s) * (1.0 - 2.0 * s),
    )


def sine(a: float, phi: float, d1: float, d2: float, d3: float) -> tuple[float, float, float, float]:
    """a sin(phi(t)) and its first three derivatives by the chain rule."""
    s, c = a * math.sin(phi), a * math.cos(phi)
    return s, c * d1, c * d2 - s * d1 * d1, c * (d3 - d1**3) - 3.0 * s * d1 * d2
