"""What a vehicle's limits leave of a command. Every driver clips with this, so all report the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)


def limit_command(command: Command, parameters: QuadrotorParameters) -> Command:
    """One vehicle's command as its file allows it; the input is not changed.

    Rotor speeds are clipped to [min, max], body rates and the yaw rate to +-max_body_rate per axis, thrust to
    [0, max_thrust]; velocities keep their direction at max_speed; quaternions are scaled to unit norm.
    """
    limits = parameters.limits
    match command:
        case RotorCommand():
            low, high = parameters.rotor_speed_min, parameters.rotor_speed_max
            return replace(command, rotor_speed=np.clip(np.asarray(command.rotor_speed, float), low, high))
        case RatesThrustCommand():
            return replace(
                command,
                omega_b=_clip(command.omega_b, limits.body_rate),
                thrust=_thrust(command.thrust, parameters),
            )
        case AttitudeThrustCommand():
            quat = np.asarray(command.quat_xyzw, dtype=float)
            return replace(
                command,
                quat_xyzw=quat / np.linalg.norm(quat),
                thrust=_thrust(command.thrust, parameters),
                omega_b=_clip(command.omega_b, limits.body_rate),
            )
        case VelocityCommand():
            turn = float(limits.body_rate[2])
            return replace(
                command,
                velocity_w=_shorten(command.velocity_w, limits.speed),
                yaw_rate=min(max(float(command.yaw_rate), -turn), turn),
            )
        case PositionCommand():
            return replace(
                command,
                position_w=np.array(command.position_w, dtype=float),
                velocity_w=_shorten(command.velocity_w, limits.speed),
            )


def _clip(values: Any, bound: Array) -> Array:
    return np.clip(np.asarray(values, dtype=float), -bound, bound)


def _thrust(thrust: Any, parameters: QuadrotorParameters) -> float:
    return min(max(float(thrust), 0.0), parameters.max_thrust)


def _shorten(velocity: Any, speed: float) -> Array:
    array = np.array(velocity, dtype=float)
    norm = float(np.linalg.norm(array))
    return array * (speed / norm) if norm > speed else array
