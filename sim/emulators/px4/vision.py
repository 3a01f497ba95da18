"""A pose from outside, as MAVLink ODOMETRY."""

from __future__ import annotations

from typing import Any

from control_stack.boundary import finite, unit_quaternion
from control_stack.errors import InputRejected
from control_stack.frames import enu_flu_xyzw_from_ned_frd_wxyz, enu_from_ned
from sim.quadrotor import SimulatedQuadrotor

_LOCAL_NED, _LOCAL_FRD = 1, 20  # MAV_FRAME: PX4 takes poses in these two


def take_pose(m: Any, quad: SimulatedQuadrotor) -> None:
    """Gives the pose to the estimator, stamped with its arrival. Raises InputRejected."""
    if m.frame_id not in (_LOCAL_NED, _LOCAL_FRD):
        raise InputRejected("frame_id", f"MAV_FRAME {m.frame_id}")
    quat = enu_flu_xyzw_from_ned_frd_wxyz(unit_quaternion(m.q, "attitude"))
    quad.external_pose(enu_from_ned(finite((m.x, m.y, m.z), "position")), quat, quad.time)
