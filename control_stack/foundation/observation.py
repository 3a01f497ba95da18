"""What the policy sees: 22 numbers, errors seen from the setpoint's heading, and the wrapper around them.

    0:3    position error        m      measured minus setpoint, turned by minus the setpoint's yaw
    3:12   rotation matrix       1      row-major, body FLU to the setpoint's yaw frame
    12:15  velocity error        m/s    as the position
    15:18  body rates            rad/s  body FLU
    18:22  previous action       1      raw output of the network at its previous 100 Hz step

The layout is RAPTOR's (Eschmann, Albani, Loianno 2025), clipping and yaw frame are those of PX4's mc_raptor,
so that weights fly there unchanged. ``features`` runs on floats (one vehicle, the fast path of a node) and on
NumPy or torch columns; ``assemble`` is for whoever has arrays of errors already, as a training loop does.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

from control_stack.algebra import Vector, body_axes, cos, sin, where
from control_stack.errors import InvalidInput

OBSERVATION = (
    ("position_error", 3, "m", "measured minus setpoint, in the setpoint's yaw frame"),
    ("rotation", 9, "1", "row-major, body FLU to the setpoint's yaw frame"),
    ("velocity_error", 3, "m/s", "measured minus setpoint, in the setpoint's yaw frame"),
    ("omega_b", 3, "rad/s", "body FLU"),
    ("previous_action", 4, "1", "raw network output of the previous step"),
)
OBSERVATION_SIZE, ACTION_SIZE = 22, 4
FEATURES = OBSERVATION_SIZE - ACTION_SIZE  # without the previous action


class Lead(NamedTuple):
    """What is added to the setpoint that the network is shown, from the motion that it does not see.

        p + position_velocity v + position_acceleration a + position_jerk j,    v + velocity_acceleration a

    The network has no look-ahead, and of the setpoint it knows position and velocity only. The first number makes up
    for a lag (or, below zero, for a run ahead), the others for an acceleration that it does not see and its change.

    Attributes:
        position_velocity, velocity_acceleration: s. position_acceleration: s^2. position_jerk: s^3.
    """

    position_velocity: float = 0.0
    position_acceleration: float = 0.0
    position_jerk: float = 0.0
    velocity_acceleration: float = 0.0


NO_LEAD = Lead()
LONGEST_LEAD = 1.0  # s, s^2, s^3: of each number's size


@dataclass(frozen=True)
class Wrapper:
    """What stands between setpoints and the network.

    Attributes:
        position_limit, velocity_limit: per axis in the yaw frame, m and m/s; infinity for no limit. PX4's mc_raptor
            takes 0.5 and 1; beyond 1 m/s the shipped policy then does not see how fast it moves, and a few are lost.
        lead: By which the setpoint is extrapolated.
    """

    position_limit: float = 0.5
    velocity_limit: float = 2.0
    lead: Lead = NO_LEAD

    def __post_init__(self) -> None:
        if not (self.position_limit > 0.0 and self.velocity_limit > 0.0):
            raise InvalidInput("limits of position and velocity error must be positive")
        for name, value in self.lead._asdict().items():
            if not abs(value) <= LONGEST_LEAD:
                raise InvalidInput(f"the lead's {name} must lie within +-{LONGEST_LEAD:g}, got {value:g}")


BARE = Wrapper(math.inf, math.inf)


def features(
    x: Any, position: Vector, velocity: Vector, acceleration: Vector, jerk: Vector, yaw: Any, wrapper: Wrapper = BARE
) -> tuple[Any, ...]:
    """The first 18 entries of the observation, as columns.

    Args:
        x: position_w, velocity_w, quat_xyzw, omega_b: 13 columns, SI units.
        position, velocity, acceleration, jerk: of the setpoint, world, m, m/s, m/s^2, m/s^3.
        yaw: of the setpoint, rad.
        wrapper: Clipping and lead.
    """
    position, velocity = shown(position, velocity, acceleration, jerk, wrapper.lead)
    c, s = cos(yaw), sin(yaw)
    bx, by, bz = body_axes(x[6:10])
    return (
        *_seen(x[0], x[1], x[2], position, c, s, wrapper.position_limit),
        *(c * bx[0] + s * bx[1], c * by[0] + s * by[1], c * bz[0] + s * bz[1]),
        *(c * bx[1] - s * bx[0], c * by[1] - s * by[0], c * bz[1] - s * bz[0]),
        *(bx[2], by[2], bz[2]),
        *_seen(x[3], x[4], x[5], velocity, c, s, wrapper.velocity_limit),
        *x[10:13],
    )


def shown(position: Vector, velocity: Vector, acceleration: Vector, jerk: Vector, lead: Lead) -> tuple[Vector, Vector]:
    """Position and velocity of the setpoint as the network sees it, by component."""
    if lead == NO_LEAD:
        return position, velocity
    lag, bend, twist, push = lead
    moved = zip(position, velocity, acceleration, jerk, strict=True)
    return (
        tuple(p + lag * v + bend * a + twist * j for p, v, a, j in moved),  # type: ignore[return-value]
        tuple(v + push * a for v, a in zip(velocity, acceleration, strict=True)),
    )


def assemble(position_error: Any, rotation: Any, velocity_error: Any, omega_b: Any, previous_action: Any) -> Any:
    """(..., 22) from arrays or tensors of (..., 3), (..., 3, 3) or (..., 9), (..., 3), (..., 3), (..., 4)."""
    if rotation.shape[-1] == 3:
        rotation = rotation.reshape(*rotation.shape[:-2], 9)
    parts = (position_error, rotation, velocity_error, omega_b, previous_action)
    namespace = sys.modules[type(rotation).__module__.partition(".")[0]]
    if namespace.__name__ == "torch":
        return namespace.cat(parts, dim=-1)
    return namespace.concatenate(parts, axis=-1)


def _seen(x: Any, y: Any, z: Any, setpoint: Vector, c: Any, s: Any, limit: float) -> Vector:
    """(x, y, z) - setpoint in the yaw frame, each within +-limit; NaN stays NaN, so that it is noticed."""
    dx, dy, dz = x - setpoint[0], y - setpoint[1], z - setpoint[2]
    error = (c * dx + s * dy, c * dy - s * dx, dz)
    if limit == math.inf:
        return error
    return tuple(where(e > limit, limit, where(e < -limit, -limit, e)) for e in error)  # type: ignore[return-value]
