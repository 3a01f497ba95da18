"""Log variables of the emulated Crazyflie and their values at one instant, in the firmware's units and signs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from control_stack.algebra import rotate_inverse, yaw_of
from control_stack.crazyflie.quaternion import compress
from control_stack.frames import crazyflie_degrees_from_rpy, crazyflie_motors_from_rotors
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import QuadrotorState


@dataclass
class Snapshot:
    """What log variables read from.

    Attributes:
        state: As the estimator has it. acceleration_w: m/s^2. supply: V. info: supervisor bits. thrust: 16 bits.
        rotor_share: (4,) rotor speeds over their maximum, by rotor.
    """

    state: QuadrotorState
    acceleration_w: np.ndarray
    supply: float
    info: int
    thrust: int
    rotor_share: np.ndarray

    @cached_property
    def degrees(self) -> np.ndarray:
        """Roll, pitch (sign reversed), yaw, degrees."""
        x, y, z, w = self.state.quat_xyzw.tolist()
        roll = math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
        pitch = math.asin(min(max(2.0 * (w * y - z * x), -1.0), 1.0))
        return crazyflie_degrees_from_rpy([roll, pitch, float(yaw_of((x, y, z, w)))])

    @cached_property
    def accelerometer(self) -> tuple[float, ...]:
        """Specific force in the body, in g."""
        force = (self.acceleration_w + np.array([0.0, 0.0, GRAVITY])) / GRAVITY
        return rotate_inverse(tuple(self.state.quat_xyzw.tolist()), tuple(force.tolist()))  # type: ignore[arg-type]

    @cached_property
    def motors(self) -> np.ndarray:
        """(4,) duty of M1..M4, 16 bits."""
        return crazyflie_motors_from_rotors(65535.0 * self.rotor_share)


Reader = Callable[[Snapshot], float]


def _axes(group: str, kind: str, names: str, read: Callable[[Snapshot, int], float]) -> dict[str, tuple[str, Reader]]:
    def reader(i: int) -> Reader:
        return lambda snapshot: read(snapshot, i)

    return {f"{group}.{name}": (kind, reader(i)) for i, name in enumerate(names.split())}


def _charge(supply: float) -> float:
    """Percent, on a straight line from 3.0 V to 4.2 V."""
    return min(max((supply - 3.0) / 1.2, 0.0), 1.0) * 100.0


VARIABLES: dict[str, tuple[str, Reader]] = {
    **_axes("stateEstimate", "float", "x y z", lambda s, i: float(s.state.position_w[i])),
    **_axes("stateEstimate", "float", "vx vy vz", lambda s, i: float(s.state.velocity_w[i])),
    **_axes("stateEstimate", "float", "ax ay az", lambda s, i: float(s.acceleration_w[i]) / GRAVITY),
    **_axes("stateEstimate", "float", "roll pitch yaw", lambda s, i: float(s.degrees[i])),
    **_axes("stateEstimate", "float", "qx qy qz qw", lambda s, i: float(s.state.quat_xyzw[i])),
    **_axes("stateEstimateZ", "int16", "x y z", lambda s, i: round(1e3 * float(s.state.position_w[i]))),
    **_axes("stateEstimateZ", "int16", "vx vy vz", lambda s, i: round(1e3 * float(s.state.velocity_w[i]))),
    **_axes("stateEstimateZ", "int16", "ax ay az", lambda s, i: round(1e3 * float(s.acceleration_w[i]))),
    "stateEstimateZ.quat": ("uint32", lambda s: compress(s.state.quat_xyzw)),
    **_axes(
        "stateEstimateZ", "int16", "rateRoll ratePitch rateYaw", lambda s, i: round(1e3 * float(s.state.omega_b[i]))
    ),
    **_axes("gyro", "float", "x y z", lambda s, i: math.degrees(float(s.state.omega_b[i]))),
    **_axes("acc", "float", "x y z", lambda s, i: s.accelerometer[i]),
    **_axes("stabilizer", "float", "roll pitch yaw", lambda s, i: float(s.degrees[i])),
    "stabilizer.thrust": ("float", lambda s: s.thrust),
    **_axes("motor", "uint16", "m1 m2 m3 m4", lambda s, i: float(s.motors[i])),
    "pm.vbat": ("float", lambda s: s.supply),
    "pm.vbatMV": ("uint16", lambda s: round(1e3 * s.supply)),
    "pm.batteryLevel": ("uint8", lambda s: _charge(s.supply)),
    "pm.state": ("int8", lambda s: 3 if s.supply < 3.2 else 0),
    "supervisor.info": ("uint16", lambda s: s.info),
    "sys.canfly": ("uint8", lambda s: s.info >> 3 & 1),
    "sys.isFlying": ("uint8", lambda s: s.info >> 4 & 1),
    "sys.isTumbled": ("uint8", lambda s: s.info >> 5 & 1),
    **_axes("kalman", "float", "stateX stateY stateZ", lambda s, i: float(s.state.position_w[i])),
    # The variance of an estimator that has settled, or of one that knows nothing.
    **_axes("kalman", "float", "varPX varPY varPZ", lambda s, i: 1e-6 if s.state.valid else 100.0),
    "radio.rssi": ("uint8", lambda s: 50),
}
