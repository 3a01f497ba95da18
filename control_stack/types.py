"""States, commands and references. Arrays are batch-first: leading dimensions broadcast, the last axis holds the
components. Frames are in the names: ``_w`` world ENU, ``_b`` body FLU; quaternions are xyzw, body to world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _zeros(n: int) -> Array:
    return np.zeros(n)


class CommandLevel(str, Enum):
    """What a controller emits and a vehicle accepts, from most to least inner."""

    ROTORS = "rotors"
    CTBR = "ctbr"
    ATTITUDE = "attitude"
    VELOCITY = "velocity"
    POSITION = "position"
    JOINTS = "joints"


@dataclass(frozen=True)
class QuadrotorState:
    """What is known of a quadrotor at one instant.

    Attributes:
        position_w: (..., 3) centre of mass, m.
        velocity_w: (..., 3) m/s.
        quat_xyzw: (..., 4) attitude, body to world, unit norm.
        omega_b: (..., 3) body rates, rad/s.
        rotor_speed: (..., 4) rad/s, or None where the vehicle does not measure it.
        stamp: Time of validity on the vehicle's clock, s.
        valid: False while the estimator has nothing trustworthy to say.
    """

    position_w: Array
    velocity_w: Array
    quat_xyzw: Array
    omega_b: Array
    rotor_speed: Array | None = None
    stamp: float = 0.0
    valid: bool = True

    def is_finite(self) -> bool:
        """Whether pose and twist hold no NaN and no infinity."""
        parts = (self.position_w, self.velocity_w, self.quat_xyzw, self.omega_b)
        return all(bool(np.isfinite(part).all()) for part in parts)


@dataclass(frozen=True)
class RotorCommand:
    """rotor_speed: (..., 4) rad/s, rotors in the order of the vehicle file."""

    level: ClassVar[CommandLevel] = CommandLevel.ROTORS
    rotor_speed: Array
    stamp: float = 0.0


@dataclass(frozen=True)
class RatesThrustCommand:
    """CTBR. omega_b: (..., 3) rad/s, FLU; thrust: (...) collective along body z, N."""

    level: ClassVar[CommandLevel] = CommandLevel.CTBR
    omega_b: Array
    thrust: float | Array
    stamp: float = 0.0


@dataclass(frozen=True)
class AttitudeThrustCommand:
    """quat_xyzw: (..., 4) body to world; thrust: (...) N; omega_b: (..., 3) feed-forward body rates, rad/s."""

    level: ClassVar[CommandLevel] = CommandLevel.ATTITUDE
    quat_xyzw: Array
    thrust: float | Array
    omega_b: Array = field(default_factory=lambda: _zeros(3))
    stamp: float = 0.0


@dataclass(frozen=True)
class VelocityCommand:
    """velocity_w: (..., 3) m/s; yaw: (...) rad; yaw_rate: (...) rad/s."""

    level: ClassVar[CommandLevel] = CommandLevel.VELOCITY
    velocity_w: Array
    yaw: float | Array = 0.0
    yaw_rate: float | Array = 0.0
    stamp: float = 0.0


@dataclass(frozen=True)
class PositionCommand:
    """position_w: (..., 3) m; velocity_w: (..., 3) feed-forward, m/s; yaw: (...) rad."""

    level: ClassVar[CommandLevel] = CommandLevel.POSITION
    position_w: Array
    velocity_w: Array = field(default_factory=lambda: _zeros(3))
    yaw: float | Array = 0.0
    stamp: float = 0.0


Command = RotorCommand | RatesThrustCommand | AttitudeThrustCommand | VelocityCommand | PositionCommand


@dataclass(frozen=True)
class ArmState:
    """What is known of an arm of n joints at one instant, in the order of the arm's file.

    Attributes:
        position: (..., n) joint angles, rad.
        velocity: (..., n) rad/s.
        effort: (..., n) torque that the motors put on the joints before friction, N m; None where not measured.
        stamp: Time of validity on the arm's clock, s.
        valid: False while there is nothing trustworthy to say.
    """

    position: Array
    velocity: Array
    effort: Array | None = None
    stamp: float = 0.0
    valid: bool = True

    def is_finite(self) -> bool:
        """Whether what was measured holds no NaN and no infinity."""
        parts = [part for part in (self.position, self.velocity, self.effort) if part is not None]
        return all(bool(np.isfinite(part).all()) for part in parts)


@dataclass(frozen=True)
class JointCommand:
    """effort: (..., n) joint torques, N m, in the order of the arm's file."""

    level: ClassVar[CommandLevel] = CommandLevel.JOINTS
    effort: Array
    stamp: float = 0.0


@dataclass(frozen=True)
class JointReference:
    """Where an arm should be.

    Attributes:
        position, velocity, acceleration: (..., n) rad, rad/s, rad/s^2.
        ahead: The reference a given number of seconds (...) later, where that is known.
    """

    position: Array
    velocity: Array
    acceleration: Array
    ahead: Callable[[float | Array], JointReference] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Reference:
    """Where a quadrotor should be: the flat outputs and their derivatives at one instant.

    Attributes:
        position_w, velocity_w, acceleration_w, jerk_w: (..., 3) m, m/s, m/s^2, m/s^3.
        yaw, yaw_rate: rad, rad/s.
        ahead: The reference a given number of seconds later, where that is known: what a predictive controller
            tracks.
    """

    position_w: Array
    velocity_w: Array = field(default_factory=lambda: _zeros(3))
    acceleration_w: Array = field(default_factory=lambda: _zeros(3))
    jerk_w: Array = field(default_factory=lambda: _zeros(3))
    yaw: float | Array = 0.0
    yaw_rate: float | Array = 0.0
    ahead: Callable[[float], Reference] | None = field(default=None, repr=False, compare=False)
