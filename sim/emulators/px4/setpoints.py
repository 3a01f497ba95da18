"""MAVLink setpoints as the core's commands. Anything not finite or not offered is refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.algebra import yaw_of
from control_stack.boundary import finite, unit_quaternion
from control_stack.errors import InputRejected
from control_stack.frames import enu_flu_xyzw_from_ned_frd_wxyz, enu_from_ned, enu_yaw_from_ned_yaw, flu_from_frd
from control_stack.px4.thrust import PX4Thrust
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    PositionCommand,
    QuadrotorState,
    RatesThrustCommand,
    VelocityCommand,
)

# POSITION_TARGET_TYPEMASK, ATTITUDE_TARGET_TYPEMASK, MAV_FRAME (common.xml); a set bit means "ignore".
_POSITION, _VELOCITY, _ACCELERATION, _FORCE = 0b111, 0b111 << 3, 0b111 << 6, 1 << 9
_YAW, _YAW_RATE = 1 << 10, 1 << 11
_ROLL_PITCH_RATE, _BODY_YAW_RATE, _THROTTLE, _ATTITUDE = 0b011, 1 << 2, 1 << 6, 1 << 7
_LOCAL_NED, _BODY_NED = 1, 8


def local_command(m: Any, state: QuadrotorState) -> Command:
    """SET_POSITION_TARGET_LOCAL_NED as a position or velocity command. Raises InputRejected."""
    mask, heading = int(m.type_mask), float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]
    if m.coordinate_frame not in (_LOCAL_NED, _BODY_NED):
        raise InputRejected("frame_id", f"MAV_FRAME {m.coordinate_frame}")
    body = m.coordinate_frame == _BODY_NED
    if mask & _FORCE or mask & _ACCELERATION != _ACCELERATION:
        raise InputRejected("level", "acceleration and force setpoints are not offered")
    yaw = heading if mask & _YAW else float(enu_yaw_from_ned_yaw(finite(m.yaw, "yaw")))
    if body and not mask & _YAW:
        yaw = heading - float(finite(m.yaw, "yaw"))
    yaw_rate = 0.0 if mask & _YAW_RATE else -float(finite(m.yaw_rate, "yaw_rate"))
    velocity = np.zeros(3)
    if mask & _VELOCITY != _VELOCITY:
        velocity = finite((m.vx, m.vy, m.vz), "velocity")
        velocity = _level(velocity, heading) if body else enu_from_ned(velocity)
    if mask & _POSITION != _POSITION:
        if mask & _POSITION or body:
            raise InputRejected("level", "a position needs all of x, y, z in LOCAL_NED")
        return PositionCommand(enu_from_ned(finite((m.x, m.y, m.z), "position")), velocity, yaw)
    if mask & _VELOCITY:
        raise InputRejected("level", "neither a whole position nor a whole velocity")
    return VelocityCommand(velocity, yaw, yaw_rate)


def _level(v: Array, heading: float) -> Array:
    """Forward, right, down in the level frame of a heading -> ENU."""
    c, s = np.cos(heading), np.sin(heading)
    return np.array([c * v[0] + s * v[1], s * v[0] - c * v[1], -v[2]])


def attitude_command(m: Any, thrust: PX4Thrust, parameters: QuadrotorParameters) -> Command:
    """SET_ATTITUDE_TARGET as an attitude or rates command with thrust in N. Raises InputRejected."""
    mask = int(m.type_mask)
    if mask & _THROTTLE:
        raise InputRejected("level", "an attitude or rates setpoint needs a throttle")
    share = float(finite(m.thrust, "thrust"))
    newtons = thrust.newtons(share, float(parameters.mass) * GRAVITY)
    rates = flu_from_frd(finite((m.body_roll_rate, m.body_pitch_rate, m.body_yaw_rate), "body rates"))
    if not mask & _ATTITUDE:
        quat = enu_flu_xyzw_from_ned_frd_wxyz(unit_quaternion(m.q, "attitude"))
        turn = 0.0 if mask & _BODY_YAW_RATE else float(rates[2])
        return AttitudeThrustCommand(quat, newtons, np.array([0.0, 0.0, turn]))
    if mask & (_ROLL_PITCH_RATE | _BODY_YAW_RATE):
        raise InputRejected("level", "neither an attitude nor all body rates")
    return RatesThrustCommand(rates, newtons)
