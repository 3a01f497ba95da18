"""What a simulation is made of, as frozen dataclasses that are saved with the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from control_stack.errors import InvalidInput
from sim.air import check_air
from sim.sensors import SensorConfig
from sim.wind import WindConfig


def check_rates(physics_rate_hz: float, control_rate_hz: float) -> None:
    """Raises InvalidInput unless both are positive and the first is a whole multiple of the second."""
    for name, rate in (("physics_rate_hz", physics_rate_hz), ("control_rate_hz", control_rate_hz)):
        if not (math.isfinite(rate) and rate > 0.0):
            raise InvalidInput(f"{name} must be positive, got {rate:g}")
    ratio = physics_rate_hz / control_rate_hz
    if ratio < 1.0 or abs(ratio - round(ratio)) > 1e-9:
        raise InvalidInput(
            f"physics_rate_hz must be a whole multiple of control_rate_hz, "
            f"got {physics_rate_hz:g} and {control_rate_hz:g}"
        )


@dataclass(frozen=True)
class SimulationConfig:
    """One vehicle's simulation.

    Attributes:
        physics_rate_hz: Steps of the physics and of the vehicle's inner loops per second.
        control_rate_hz: Rate at which commands are expected; divides physics_rate_hz.
        seed: Of gusts and sensor noise; equal seeds give equal flights.
        wind, sensors: See ``sim.wind`` and ``sim.sensors``.
        air: "linear": the vehicle file's drag. "full": also what it leaves out, see ``sim.air``.
        position_w: (3,) start of the centre of mass, m; None stands on the ground at the origin.
        yaw: Heading at the start, rad.
        pose_source: "internal" measures the pose by itself; "external" takes it from ``external_pose``.
    """

    physics_rate_hz: float = 1000.0
    control_rate_hz: float = 100.0
    seed: int = 0
    wind: WindConfig = field(default_factory=WindConfig)
    sensors: SensorConfig = field(default_factory=SensorConfig)
    position_w: tuple[float, float, float] | None = None
    yaw: float = 0.0
    pose_source: Literal["internal", "external"] = "internal"
    air: str = "linear"

    def __post_init__(self) -> None:
        check_rates(self.physics_rate_hz, self.control_rate_hz)
        if self.pose_source not in ("internal", "external"):
            raise InvalidInput(f"pose_source must be 'internal' or 'external', got '{self.pose_source}'")
        check_air(self.air)
        start = (self.yaw, *(self.position_w or ()))
        if not all(math.isfinite(v) for v in start) or len(start) not in (1, 4):
            raise InvalidInput(f"position_w needs three finite values and yaw one, got {self.position_w}, {self.yaw}")
        if self.seed < 0:
            raise InvalidInput(f"seed must not be negative, got {self.seed}")
