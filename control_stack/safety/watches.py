"""What is watched over several periods: attitude, battery, and how old the state is that commands are computed from."""

from __future__ import annotations

import math

import numpy as np

from control_stack.algebra import body_axes
from control_stack.quadrotor.parameters import BatteryLimits, FlightLimits
from control_stack.types import QuadrotorState

UPRIGHT_COS = 0.9  # 25 degrees
_RATE_FACTOR = 2.0  # of the vehicle's limits, which every command is clipped to
_MEASURED = 1.0  # V a cell: below that nothing is measured (the Crazyflie firmware's host build says 0)
_AGE_PERIODS = 20.0  # over which the state's age is smoothed


def cos_tilt(state: QuadrotorState) -> float:
    """Of the angle between body z and world z: 1 upright, -1 on its back."""
    return float(body_axes(tuple(state.quat_xyzw.tolist()))[2][2])  # type: ignore[arg-type]


def untrusted(t: float, state: QuadrotorState, limit: float) -> str | None:
    """Why a state is nothing to fly by at t, s; None where it is. ``limit``: of its age, s."""
    if not state.valid:
        return "refused: the state estimate is not valid: the vehicle does not know where it is"
    if not state.is_finite():
        return "refused: the state estimate is not finite"
    age = t - state.stamp
    if math.isnan(age):
        return "refused: the state's stamp is not finite"
    if age > limit:
        return (
            f"refused: the newest state is {1e3 * age:.0f} ms old (at most {1e3 * limit:.0f}): this computer or the "
            "link is too slow"
        )
    return None


class AttitudeWatch:
    """Tells of tilt or body rates beyond their limits for longer than a time."""

    def __init__(self, limits: FlightLimits, tilt_limit: float, tilt_time: float):
        """``tilt_limit``: rad. ``tilt_time``: s. Rates may reach twice the vehicle's limits."""
        self._cos, self._time = math.cos(tilt_limit), tilt_time
        self._rates = _RATE_FACTOR * np.asarray(limits.body_rate, dtype=float)
        self._since: float | None = None

    def beyond(self, state: QuadrotorState) -> str | None:
        """What is beyond its limits now, in words."""
        up = cos_tilt(state)
        if up < self._cos:
            return f"tilted {math.degrees(math.acos(max(up, -1.0))):.0f} degrees"
        if np.any(np.abs(state.omega_b) > self._rates):
            return f"turning at {float(np.abs(state.omega_b).max()):.1f} rad/s"
        return None

    def update(self, state: QuadrotorState) -> str | None:
        """The same, once it has been so for long enough on the state's own clock."""
        what = self.beyond(state)
        if what is None:
            self._since = None
            return None
        if self._since is None:
            self._since = state.stamp
        return what if state.stamp - self._since > self._time else None

    def calm(self, state: QuadrotorState) -> bool:
        """Upright, and turning no faster than the vehicle's limits."""
        return cos_tilt(state) > UPRIGHT_COS and bool(np.all(np.abs(state.omega_b) < self._rates / _RATE_FACTOR))


class BatteryWatch:
    """Judges a voltage by the thresholds of the vehicle file, per cell."""

    def __init__(self, limits: BatteryLimits | None, battery_time: float):
        """``battery_time``: s below a threshold until it counts: voltage sags for moments."""
        self._limits, self._time = limits, battery_time
        self._since: dict[str, float] = {}

    def cell(self, voltage: float) -> float:
        """Voltage of one cell, V; NaN where nothing is measured or no thresholds are known."""
        volts = voltage / self._limits.cells if self._limits is not None else math.nan
        return volts if volts > _MEASURED else math.nan

    def too_low_to_arm(self, voltage: float) -> str | None:
        """Why not to take off with this voltage, V."""
        cell = self.cell(voltage)
        if self._limits is not None and cell < self._limits.low:
            return f"battery is low: {cell:.2f} V a cell, take-off needs {self._limits.low:g} V"
        return None

    def update(self, t: float, voltage: float) -> str | None:
        """``critical``, ``low`` or None, by what the voltage has been for long enough at t, s."""
        cell, found = self.cell(voltage), None
        for name in ("low", "critical"):
            if self._limits is None or not cell < getattr(self._limits, name):
                self._since.pop(name, None)
            elif t - self._since.setdefault(name, t) > self._time:
                found = name
        return found


class AgeWatch:
    """The age of the state at the time of acting, smoothed over some periods."""

    def __init__(self) -> None:
        self.age = 0.0

    def update(self, age: float) -> float:
        """Takes the age of one period, s; returns the smoothed one."""
        self.age += (age - self.age) / _AGE_PERIODS
        return self.age
