"""What the simulation of an arm is made of, as frozen dataclasses that are saved with the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from control_stack.errors import InvalidInput
from sim.config import check_rates


@dataclass(frozen=True)
class ArmSensorConfig:
    """White noise on what is measured; all zero gives the truth.

    Attributes:
        position_std, velocity_std, effort_std: rad, rad/s and N m per joint.
    """

    position_std: float = 0.0
    velocity_std: float = 0.0
    effort_std: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0.0):
                raise InvalidInput(f"sensor {name} must be at least 0, got {value:g}")


# Orders of magnitude, chosen here and not identified on an arm: encoders behind gears, velocity by differences
# and a filter, torque by strain gauges.
TYPICAL_SENSORS = ArmSensorConfig(position_std=2e-5, velocity_std=2e-3, effort_std=0.1)


@dataclass(frozen=True)
class ArmSimulationConfig:
    """One arm's simulation.

    Attributes:
        physics_rate_hz: Steps of the physics per second.
        control_rate_hz: Rate at which commands are expected; divides physics_rate_hz.
        seed: Of sensor noise; equal seeds give equal runs.
        sensors: Noise of the measured state.
        position: Joint angles at the start, rad; None for the arm's home.
        friction: Factor on the arm's own friction, for all joints or one each.
    """

    physics_rate_hz: float = 1000.0
    control_rate_hz: float = 50.0
    seed: int = 0
    sensors: ArmSensorConfig = field(default_factory=ArmSensorConfig)
    position: tuple[float, ...] | None = None
    friction: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        check_rates(self.physics_rate_hz, self.control_rate_hz)
        if self.seed < 0:
            raise InvalidInput(f"seed must not be negative, got {self.seed}")
