"""Setpoints as they come over the wire, decoded to SI and FLU (firmware, crtp_commander_rpyt.c and _generic.c).

A setpoint says for each axis what is controlled: nothing, a value or its rate. All legacy attitude fields have the
pitch sign reversed; of the yaw rates only those of the oldest types are reversed too.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from control_stack.algebra import yaw_of
from control_stack.crazyflie.quaternion import decompress
from control_stack.crazyflie.wire import RPYT_MAX_THRUST, RPYT_MIN_THRUST
from control_stack.frames import rpy_from_crazyflie_degrees
from sim.emulators.crazyflie.parameters import Parameters

Triple = tuple[float, float, float]
_ZERO: Triple = (0.0, 0.0, 0.0)
_FARTHEST = 1e4  # m, m/s: what lies beyond is noise, not a setpoint


class Mode(IntEnum):
    """What a setpoint controls on an axis."""

    OFF = 0
    VALUE = 1
    RATE = 2


@dataclass(frozen=True)
class Setpoint:
    """One setpoint; the default stops the motors.

    Attributes:
        xy, z, roll, pitch, yaw: What is controlled.
        position, velocity: m, m/s; world, but velocity along the heading where ``heading_frame``.
        rpy: rad. rates: rad/s.
        thrust: Command of 16 bits, in force where z is not controlled.
    """

    xy: Mode = Mode.OFF
    z: Mode = Mode.OFF
    roll: Mode = Mode.OFF
    pitch: Mode = Mode.OFF
    yaw: Mode = Mode.OFF
    position: Triple = _ZERO
    velocity: Triple = _ZERO
    heading_frame: bool = False
    rpy: Triple = _ZERO
    rates: Triple = _ZERO
    thrust: int = 0

    @classmethod
    def tracking(cls, position: Triple, velocity: Triple, yaw: float) -> Setpoint:
        """Position, velocity and heading held together."""
        on = Mode.VALUE
        return cls(xy=on, z=on, yaw=on, position=position, velocity=velocity, rpy=(0.0, 0.0, yaw))

    @property
    def stops(self) -> bool:
        """Whether it leaves the motors off."""
        return not (self.xy or self.z or self.thrust)


STOP = Setpoint()


def without_thrust(setpoint: Setpoint) -> Setpoint:
    """The same, while thrust is locked."""
    return replace(setpoint, thrust=0)


def _triple(values: np.ndarray) -> Triple:
    x, y, z = values.tolist()
    return x, y, z


def rpyt(data: bytes, modes: Parameters) -> tuple[Setpoint, bool] | None:
    """A legacy roll-pitch-yaw-thrust packet; with it, whether its thrust is zero, which unlocks. None if malformed."""
    if len(data) != 14:
        return None
    *angles, thrust = struct.unpack("<fffH", data)
    if not _fits(angles, 1e6):
        return None
    by_name = [
        Mode.VALUE if modes.get(f"flightmode.stabMode{axis}", default) else Mode.RATE
        for axis, default in (("Roll", 1), ("Pitch", 1), ("Yaw", 0))
    ]
    values = rpy_from_crazyflie_degrees(angles)
    rates = values * np.array([1.0, 1.0, -1.0])  # the yaw rate of this packet is positive clockwise
    cut = 0 if thrust < RPYT_MIN_THRUST else min(thrust, RPYT_MAX_THRUST)
    roll, pitch, yaw = by_name
    setpoint = Setpoint(roll=roll, pitch=pitch, yaw=yaw, rpy=_triple(values), rates=_triple(rates), thrust=cut)
    return setpoint, thrust == 0


def generic(data: bytes) -> Setpoint | None:
    """A packet of the generic commander; None if it is malformed, not finite or of an unknown type."""
    if not data:
        return None
    kind, rest = data[0], data[1:]
    if kind == 0:
        return STOP
    if kind == 6:
        return _full_state(rest)
    if kind == 11:
        return _manual(rest)
    if kind not in (1, 2, 4, 5, 7, 8, 9, 10) or len(rest) != 16:
        return None
    a, b, c, d = struct.unpack("<ffff", rest)
    if not (_fits((a, b, c, d), _FARTHEST)):
        return None
    if kind == 7:
        return Setpoint(
            xy=Mode.VALUE, z=Mode.VALUE, yaw=Mode.VALUE, position=(a, b, c), rpy=(0.0, 0.0, math.radians(d))
        )
    if kind in (1, 8):
        rates = (0.0, 0.0, math.radians(-d if kind == 1 else d))
        return Setpoint(xy=Mode.RATE, z=Mode.RATE, yaw=Mode.RATE, velocity=(a, b, c), rates=rates)
    rates = (0.0, 0.0, math.radians(-c if kind in (2, 5) else c))
    if kind in (5, 10):
        return Setpoint(
            xy=Mode.RATE,
            z=Mode.VALUE,
            yaw=Mode.RATE,
            position=(0.0, 0.0, d),
            velocity=(a, b, 0.0),
            heading_frame=True,
            rates=rates,
        )
    tilted = Setpoint(
        roll=Mode.VALUE,
        pitch=Mode.VALUE,
        yaw=Mode.RATE,
        rpy=_triple(rpy_from_crazyflie_degrees((a, b, 0.0))),
        rates=rates,
    )
    if kind == 4:
        return replace(tilted, z=Mode.RATE, velocity=(0.0, 0.0, d))
    return replace(tilted, z=Mode.VALUE, position=(0.0, 0.0, d))


def _full_state(rest: bytes) -> Setpoint | None:
    if len(rest) != 28:
        return None
    *numbers, quat, _, _, _ = struct.unpack("<9hI3h", rest)
    x, y, z, vx, vy, vz = (1e-3 * n for n in numbers[:6])
    yaw = float(yaw_of(tuple(decompress(quat).tolist())))  # type: ignore[arg-type]
    # Accelerations and rates are left out: the firmware's default controller does not use them either.
    return Setpoint.tracking((x, y, z), (vx, vy, vz), yaw)


def _manual(rest: bytes) -> Setpoint | None:
    if len(rest) != 15:
        return None
    roll, pitch, yaw_rate, thrust, rate = struct.unpack("<fffHB", rest)
    if not _fits((roll, pitch, yaw_rate), 1e6):
        return None
    values = _triple(rpy_from_crazyflie_degrees((roll, pitch, yaw_rate)))
    mode = Mode.RATE if rate else Mode.VALUE
    return Setpoint(roll=mode, pitch=mode, yaw=Mode.RATE, rpy=values, rates=values, thrust=thrust)


def _fits(values: tuple[float, ...] | list[float], bound: float) -> bool:
    return all(abs(value) <= bound for value in values)  # a NaN is no number within any bound
