"""One control period of a simulated flight, with the controller's compute delay counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from control_stack.errors import InvalidInput
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import SimulatedVehicle


@dataclass(frozen=True)
class ComputeDelay:
    """When a command computed from the state at t acts.

    Attributes:
        kind: "none" acts at t; "fixed" at t + ``fixed``; "measured" at t + the wall time the controller took.
        fixed: s.
    """

    kind: str = "none"
    fixed: float = 0.01

    def __post_init__(self) -> None:
        if self.kind not in ("none", "fixed", "measured"):
            raise InvalidInput(f"compute_delay is none, fixed or measured, got '{self.kind}'")
        if not 0.0 <= self.fixed < math.inf:
            raise InvalidInput(f"a compute delay is at least 0 s, got {self.fixed:g}")

    def seconds(self, measured: float) -> float:
        """The delay of one command, s, whose computation took ``measured`` s of wall time."""
        return {"none": 0.0, "fixed": self.fixed, "measured": measured}[self.kind]


def advance(side: VehicleSide, vehicle: SimulatedVehicle, t: float, dt: float, physics_dt: float, delay: float) -> None:
    """Acts at t + delay (the old command flies until then) and brings the vehicle to t + dt.

    The delay is rounded to whole physics steps and capped at one period: a controller slower than its rate
    loses the next state as well, which the caller counts.
    """
    early = min(round(delay / physics_dt), round(dt / physics_dt)) * physics_dt
    if early > 0.0:
        vehicle.step(early)
    side.act(t)
    if dt - early > 0.5 * physics_dt:
        vehicle.step(dt - early)
