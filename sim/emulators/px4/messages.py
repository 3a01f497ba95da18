"""Telemetry of the emulated autopilot, one function per message. ENU and FLU become NED and FRD here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.algebra import rotate_inverse
from control_stack.frames import frd_from_flu, ned_frd_wxyz_from_enu_flu_xyzw, ned_from_enu
from control_stack.types import QuadrotorState
from sim.emulators.px4.autopilot import Autopilot

BOOT = 10.0  # s on the autopilot's clock when the simulation starts: no client may take it for 0
HOME = (47.397742, 8.545594, 488.0)  # deg, deg, m: PX4's own simulations start here (Zurich)
_EARTH = 6371000.0  # m
_ARMED, _CUSTOM = 128, 1  # MAV_MODE_FLAG
_STANDBY, _ACTIVE = 3, 4  # MAV_STATE
_QUADROTOR, _PX4 = 2, 12  # MAV_TYPE, MAV_AUTOPILOT
_PREARM = 0x10000000  # MAV_SYS_STATUS_PREARM_CHECK
_SENSORS = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x200000 | 0x2000000 | _PREARM  # gyro, accel, mag, baro, GPS, AHRS, battery
# MAV_PROTOCOL_CAPABILITY: PARAM_FLOAT, COMMAND_INT, PARAM_ENCODE_BYTEWISE, SET_ATTITUDE_TARGET,
# SET_POSITION_TARGET_LOCAL_NED, FLIGHT_TERMINATION, MAVLINK2. No missions and no FTP here.
CAPABILITIES = 2 | 8 | 16 | 64 | 128 | 2048 | 8192
_VERSION = (1 << 24) | (18 << 16) | (0 << 8) | 255  # v1.18.0, release
_CELLS, _FULL, _EMPTY = 4, 4.05, 3.5  # V a cell, as PX4's BAT1_V_CHARGED and BAT1_V_EMPTY default
_UNKNOWN_COVARIANCE = [math.nan] + [0.0] * 20


def _boot_ms(a: Autopilot) -> int:
    return round((a.quad.time + BOOT) * 1e3)


def _boot_us(a: Autopilot) -> int:
    return round((a.quad.time + BOOT) * 1e6)


def _wxyz(s: QuadrotorState) -> list[float]:
    return ned_frd_wxyz_from_enu_flu_xyzw(s.quat_xyzw).tolist()


def _euler(wxyz: list[float]) -> tuple[float, float, float]:
    w, x, y, z = wxyz
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(min(max(2 * (w * y - z * x), -1.0), 1.0))
    return roll, pitch, math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def _global(s: QuadrotorState, a: Autopilot) -> tuple[int, int, int, int]:
    """(lat, lon in 1e-7 deg, altitude, height over home in mm) on a locally flat earth."""
    north, east, down = (ned_from_enu(s.position_w) - ned_from_enu(a.guidance.home)).tolist()
    lat = HOME[0] + math.degrees(north / _EARTH)
    lon = HOME[1] + math.degrees(east / (_EARTH * math.cos(math.radians(HOME[0]))))
    return round(lat * 1e7), round(lon * 1e7), round((HOME[2] - down) * 1e3), round(-down * 1e3)


def _heartbeat(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    base = _CUSTOM | (_ARMED if a.armed else 0)
    state = _ACTIVE if a.armed else _STANDBY
    return mav.MAVLink_heartbeat_message(_QUADROTOR, _PX4, base, a.mode.custom, state, 3)


def _voltage(a: Autopilot) -> int:
    return round(1e3 * _CELLS * (_EMPTY + (_FULL - _EMPTY) * a.battery))


def _sys_status(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    charge = round(100 * a.battery)
    healthy = _SENSORS if a.armed or not a.check() else _SENSORS & ~_PREARM
    return mav.MAVLink_sys_status_message(_SENSORS, _SENSORS, healthy, 300, _voltage(a), 500, charge, 0, 0, 0, 0, 0, 0)


def _battery_status(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    cells = [_voltage(a)] + [0xFFFF] * 9
    return mav.MAVLink_battery_status_message(0, 0, 1, 0x7FFF, cells, 500, 0, -1, round(100 * a.battery))


def _extended_sys_state(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    if a.landed:
        landed = 1  # MAV_LANDED_STATE: on ground, taking off, landing, in air
    else:
        landed = {"AUTO.TAKEOFF": 3, "AUTO.LAND": 4}.get(a.mode.name, 2)
    return mav.MAVLink_extended_sys_state_message(0, landed)


def _gps_raw_int(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    lat, lon, alt, _ = _global(s, a)
    speed = round(100 * min(float(np.linalg.norm(s.velocity_w[:2])), 655.0))
    return mav.MAVLink_gps_raw_int_message(_boot_us(a), 3, lat, lon, alt, 70, 110, speed, 0, 12)


def _home_position(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    where = (round(HOME[0] * 1e7), round(HOME[1] * 1e7), round(HOME[2] * 1e3))
    home = ned_from_enu(a.guidance.home).tolist()
    return mav.MAVLink_home_position_message(*where, *home, [1.0, 0.0, 0.0, 0.0], 0.0, 0.0, 0.0, _boot_us(a))


def _attitude(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    return mav.MAVLink_attitude_message(_boot_ms(a), *_euler(_wxyz(s)), *frd_from_flu(s.omega_b).tolist())


def _attitude_quaternion(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    rates = frd_from_flu(s.omega_b).tolist()
    return mav.MAVLink_attitude_quaternion_message(round((s.stamp + BOOT) * 1e3), *_wxyz(s), *rates)


def _local_position_ned(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    """None without a position, as from PX4."""
    if not s.valid:
        return None
    parts = (*ned_from_enu(s.position_w).tolist(), *ned_from_enu(s.velocity_w).tolist())
    return mav.MAVLink_local_position_ned_message(round((s.stamp + BOOT) * 1e3), *parts)


def _global_position_int(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    speed = [round(100 * min(max(v, -327.0), 327.0)) for v in ned_from_enu(s.velocity_w).tolist()]
    heading = round(math.degrees(_euler(_wxyz(s))[2]) * 100) % 36000
    return mav.MAVLink_global_position_int_message(_boot_ms(a), *_global(s, a), *speed, heading)


def _odometry(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    """Pose in LOCAL_NED, velocity and rates in BODY_FRD. None without a position."""
    if not s.valid:
        return None
    body = rotate_inverse(tuple(s.quat_xyzw.tolist()), tuple(s.velocity_w.tolist()))  # type: ignore[arg-type]
    return mav.MAVLink_odometry_message(
        round((s.stamp + BOOT) * 1e6),
        mav.MAV_FRAME_LOCAL_NED,
        mav.MAV_FRAME_BODY_FRD,
        *ned_from_enu(s.position_w).tolist(),
        _wxyz(s),
        *frd_from_flu(np.array(body)).tolist(),
        *frd_from_flu(s.omega_b).tolist(),
        _UNKNOWN_COVARIANCE,
        _UNKNOWN_COVARIANCE,
        0,
        mav.MAV_ESTIMATOR_TYPE_AUTOPILOT,
        100,
    )


def _vfr_hud(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    speed, climb = float(np.linalg.norm(s.velocity_w[:2])), float(s.velocity_w[2])
    heading = round(math.degrees(_euler(_wxyz(s))[2])) % 360
    return mav.MAVLink_vfr_hud_message(speed, speed, heading, 0, HOME[2] + float(s.position_w[2]), climb)


def _altitude(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    z = float(s.position_w[2])
    return mav.MAVLink_altitude_message(_boot_us(a), HOME[2] + z, HOME[2] + z, z, z, math.nan, math.nan)


def _autopilot_version(mav: Any, a: Autopilot, s: QuadrotorState) -> Any:
    none = [0] * 8
    return mav.MAVLink_autopilot_version_message(CAPABILITIES, _VERSION, _VERSION, 0, 0, none, none, none, 0, 0, 1)


Builder = Callable[[Any, Autopilot, QuadrotorState], Any]
BUILDERS: dict[str, Builder] = {
    build.__name__[1:].upper(): build
    for build in (
        _heartbeat,
        _sys_status,
        _battery_status,
        _extended_sys_state,
        _gps_raw_int,
        _home_position,
        _attitude,
        _attitude_quaternion,
        _local_position_ned,
        _global_position_int,
        _odometry,
        _vfr_hud,
        _altitude,
        _autopilot_version,
    )
}
# Hz from the start, as PX4 sends to its first peer; ODOMETRY and AUTOPILOT_VERSION come on request.
DEFAULT_RATES = {
    "HEARTBEAT": 1.0,
    "SYS_STATUS": 2.0,
    "BATTERY_STATUS": 0.5,
    "EXTENDED_SYS_STATE": 5.0,
    "GPS_RAW_INT": 2.0,
    "HOME_POSITION": 0.5,
    "ATTITUDE": 20.0,
    "ATTITUDE_QUATERNION": 20.0,
    "LOCAL_POSITION_NED": 30.0,
    "GLOBAL_POSITION_INT": 10.0,
    "VFR_HUD": 5.0,
    "ALTITUDE": 5.0,
}
