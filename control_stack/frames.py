"""Named converters between this stack's frames and those of PX4/MAVLink and the Crazyflie.

Here: world ENU (x east, y north, z up), body FLU (x forward, y left, z up), quaternions xyzw that rotate body
to world, radians. MAVLink: world NED, body FRD, quaternions wxyz. Crazyflie: world ENU-like, body FLU,
degrees in logs and a reversed pitch sign in the legacy attitude. All functions are batch-first NumPy; the
last axis holds the components. Only ``hardware/`` and the link emulators may call them: everywhere else
frames never change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_SQRT_HALF = np.sqrt(0.5)
# NED axes seen from ENU: half a turn about (1, 1, 0)/sqrt(2). FRD seen from FLU: half a turn about x.
_Q_NED_ENU_WXYZ = np.array([0.0, _SQRT_HALF, _SQRT_HALF, 0.0])
_Q_FLU_FRD_WXYZ = np.array([0.0, 1.0, 0.0, 0.0])

# rotor_0..3 here: front right, back right, back left, front left (clockwise from above).
# Value k at place i: our rotor i is the vendor's motor k (from 0).
PX4_MOTOR_OF_ROTOR = (0, 3, 1, 2)  # PX4 quad x: front right, back left, front left, back right
CRAZYFLIE_MOTOR_OF_ROTOR = (0, 1, 2, 3)  # M1 front right, M2 back right, M3 back left, M4 front left


def _components(v: ArrayLike, size: int) -> Array:
    array = np.asarray(v, dtype=float)
    if array.shape[-1:] != (size,):
        raise ValueError(f"expected {size} components on the last axis, got shape {array.shape}")
    return array


def ned_from_enu(v: ArrayLike) -> Array:
    """(e, n, u) -> (n, e, -u)."""
    v = _components(v, 3)
    return np.stack([v[..., 1], v[..., 0], -v[..., 2]], axis=-1)


enu_from_ned = ned_from_enu  # an involution; two names so that a call site says what it holds


def frd_from_flu(v: ArrayLike) -> Array:
    """(forward, left, up) -> (forward, -left, -up): vectors and body rates alike."""
    return _components(v, 3) * np.array([1.0, -1.0, -1.0])


flu_from_frd = frd_from_flu


def wxyz_from_xyzw(q: ArrayLike) -> Array:
    """Quaternion with its scalar last -> scalar first."""
    return np.roll(_components(q, 4), 1, axis=-1)


def xyzw_from_wxyz(q: ArrayLike) -> Array:
    """Quaternion with its scalar first -> scalar last."""
    return np.roll(_components(q, 4), -1, axis=-1)


def _multiply_wxyz(p: Array, q: Array) -> Array:
    pw, px, py, pz = np.moveaxis(p, -1, 0)
    qw, qx, qy, qz = np.moveaxis(q, -1, 0)
    return np.stack(
        [
            pw * qw - px * qx - py * qy - pz * qz,
            pw * qx + px * qw + py * qz - pz * qy,
            pw * qy - px * qz + py * qw + pz * qx,
            pw * qz + px * qy - py * qx + pz * qw,
        ],
        axis=-1,
    )


def ned_frd_wxyz_from_enu_flu_xyzw(q: ArrayLike) -> Array:
    """Attitude (FLU to ENU, xyzw) -> attitude (FRD to NED, wxyz), with w >= 0.

    R_ned_frd = R_ned_enu R_enu_flu R_flu_frd: the world and the body both change, so two products.
    """
    out = _multiply_wxyz(_multiply_wxyz(_Q_NED_ENU_WXYZ, wxyz_from_xyzw(q)), _Q_FLU_FRD_WXYZ)
    return np.where(out[..., :1] < 0.0, -out, out)


def enu_flu_xyzw_from_ned_frd_wxyz(q: ArrayLike) -> Array:
    """Attitude (FRD to NED, wxyz) -> attitude (FLU to ENU, xyzw), with w >= 0."""
    out = _multiply_wxyz(_multiply_wxyz(_Q_NED_ENU_WXYZ, _components(q, 4)), _Q_FLU_FRD_WXYZ)
    return xyzw_from_wxyz(np.where(out[..., :1] < 0.0, -out, out))


def wrap_angle(angle: ArrayLike) -> Array:
    """Angle in (-pi, pi]."""
    angle = np.asarray(angle, dtype=float)
    return np.pi - np.mod(np.pi - angle, 2.0 * np.pi)


def ned_yaw_from_enu_yaw(yaw: ArrayLike) -> Array:
    """Heading from north, clockwise <- heading from east, counter-clockwise: pi/2 - yaw."""
    return wrap_angle(np.pi / 2 - np.asarray(yaw, dtype=float))


enu_yaw_from_ned_yaw = ned_yaw_from_enu_yaw


def crazyflie_degrees_from_rpy(rpy: ArrayLike) -> Array:
    """Roll, pitch, yaw in rad (FLU) -> the Crazyflie's legacy degrees, whose pitch is positive nose up."""
    return np.degrees(_components(rpy, 3)) * np.array([1.0, -1.0, 1.0])


def rpy_from_crazyflie_degrees(degrees: ArrayLike) -> Array:
    """The Crazyflie's legacy degrees -> roll, pitch, yaw in rad (FLU)."""
    return np.radians(_components(degrees, 3) * np.array([1.0, -1.0, 1.0]))


def px4_motors_from_rotors(values: ArrayLike) -> Array:
    """Values by our rotor number -> by PX4 motor number (from 0), last axis 4."""
    out = np.empty_like(_components(values, 4))
    out[..., list(PX4_MOTOR_OF_ROTOR)] = values
    return out


def rotors_from_px4_motors(values: ArrayLike) -> Array:
    """Values by PX4 motor number (from 0) -> by our rotor number, last axis 4."""
    return _components(values, 4)[..., list(PX4_MOTOR_OF_ROTOR)]


def crazyflie_motors_from_rotors(values: ArrayLike) -> Array:
    """Values by our rotor number -> M1..M4, last axis 4 (the orders agree; the name says what is held)."""
    return _components(values, 4)[..., list(CRAZYFLIE_MOTOR_OF_ROTOR)]


rotors_from_crazyflie_motors = crazyflie_motors_from_rotors
