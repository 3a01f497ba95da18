"""A measured pose as MAVLink ODOMETRY."""

from __future__ import annotations

import math
from typing import Any

from control_stack.frames import ned_frd_wxyz_from_enu_flu_xyzw, ned_from_enu
from control_stack.types import Array

_LOCAL_NED, _BODY_FRD, _VISION = 1, 12, 2  # MAV_FRAME, MAV_FRAME, MAV_ESTIMATOR_TYPE (common.xml)
_NAN = math.nan  # "unknown" of a velocity, and in the first place of a covariance


def pose_message(mavlink: Any, position_w: Array, quat_xyzw: Array, stamp: float) -> Any:
    """ODOMETRY with a pose and nothing else; stamp on the sender's clock, s."""
    position = ned_from_enu(position_w).tolist()
    quat = ned_frd_wxyz_from_enu_flu_xyzw(quat_xyzw).tolist()
    unknown = [_NAN] + [0.0] * 20
    return mavlink.MAVLink_odometry_message(
        int(stamp * 1e6), _LOCAL_NED, _BODY_FRD, *position, quat, *(_NAN,) * 6, unknown, unknown, 0, _VISION, 0
    )
