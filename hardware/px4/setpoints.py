"""Commands as MAVLink setpoints. World and body frames change here, and newtons become normalised thrust."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.algebra import quat_multiply, quat_normalize
from control_stack.frames import frd_from_flu, ned_frd_wxyz_from_enu_flu_xyzw, ned_from_enu, ned_yaw_from_enu_yaw
from control_stack.px4.thrust import PX4Thrust
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    PositionCommand,
    RatesThrustCommand,
    VelocityCommand,
)

# POSITION_TARGET_TYPEMASK and ATTITUDE_TARGET_TYPEMASK (common.xml): a set bit means "ignore".
NO_POSITION, NO_ACCELERATION, NO_YAW_RATE = 0b111, 0b111 << 6, 1 << 11
NO_ROLL_PITCH_RATE, NO_ATTITUDE = 0b011, 1 << 7
LOCAL_NED = 1  # MAV_FRAME_LOCAL_NED


class SetpointEncoder:
    """Setpoints for one vehicle.

    Attributes:
        tilt_gain: MC_ROLL_P and MC_PITCH_P of its attitude loop, 1/s. With them the roll and pitch rates of a
            feed-forward, for which MAVLink has a place but PX4's attitude loop has none, become a lead in attitude:
            the loop makes P * error of the error, so w / P more of it makes w.
    """

    def __init__(self, mavlink: Any, thrust: PX4Thrust, weight: float, system: int, component: int):
        """weight: N."""
        self._mavlink, self._thrust, self._weight = mavlink, thrust, weight
        self.tilt_gain: tuple[float, float] | None = None
        self._target = (system, component)

    def encode(self, command: Command, boot_ms: int) -> Any:
        """The message for a command that PX4 takes over MAVLink; ``boot_ms``: the sender's clock."""
        match command:
            case PositionCommand():
                mask = NO_ACCELERATION | NO_YAW_RATE
                velocity = ned_from_enu(command.velocity_w)
                return self._local(boot_ms, mask, ned_from_enu(command.position_w), velocity, command.yaw, 0.0)
            case VelocityCommand():
                mask = NO_POSITION | NO_ACCELERATION
                velocity, turn = ned_from_enu(command.velocity_w), -float(command.yaw_rate)
                return self._local(boot_ms, mask, np.zeros(3), velocity, command.yaw, turn)
            case AttitudeThrustCommand():
                q = ned_frd_wxyz_from_enu_flu_xyzw(self._led(command))
                return self._attitude(boot_ms, NO_ROLL_PITCH_RATE, q, command.omega_b, command.thrust)
            case RatesThrustCommand():
                return self._attitude(boot_ms, NO_ATTITUDE, np.eye(4)[0], command.omega_b, command.thrust)
        raise TypeError(f"PX4 takes no {type(command).__name__} over MAVLink")

    def _led(self, command: AttitudeThrustCommand) -> Array:
        """The attitude turned ahead about its own roll and pitch axes."""
        if self.tilt_gain is None:
            return command.quat_xyzw
        half = 0.5 * command.omega_b[:2] / np.array(self.tilt_gain)
        lead = quat_normalize((*half.tolist(), 0.0, 1.0))
        return np.array(quat_multiply(tuple(command.quat_xyzw.tolist()), lead))  # type: ignore[arg-type]

    def _local(self, boot_ms: int, mask: int, p: Array, v: Array, yaw: Any, turn: float) -> Any:
        heading = float(ned_yaw_from_enu_yaw(yaw))
        return self._mavlink.MAVLink_set_position_target_local_ned_message(
            boot_ms, *self._target, LOCAL_NED, mask, *p.tolist(), *v.tolist(), 0.0, 0.0, 0.0, heading, turn
        )

    def _attitude(self, boot_ms: int, mask: int, q: Array, omega_b: Array, thrust: Any) -> Any:
        rates = frd_from_flu(omega_b).tolist()
        share = self._thrust.normalised(float(thrust), self._weight)
        return self._mavlink.MAVLink_set_attitude_target_message(
            boot_ms, *self._target, mask, q.tolist(), *rates, share
        )
