"""Commands as packets of cflib, and what they need of the vehicle: flight modes and unlocked thrust.

Legacy roll-pitch-yaw-thrust carries both attitude and body rates; the parameters flightmode.stabMode* say which.
They are changed when the first command of a level comes, and put back at the end.

The packet has no place for the body rates that go with an attitude. The on-board law is rates = k (error of attitude),
so an attitude turned ahead by rates / k asks for the same; k is read from the vehicle.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from control_stack.algebra import quat_multiply, yaw_of
from control_stack.crazyflie.quaternion import compress
from control_stack.crazyflie.thrust import NOMINAL_SUPPLY, CrazyflieThrust
from control_stack.crazyflie.wire import LEVEL_OUT_AFTER, RPYT_MAX_THRUST, Port
from control_stack.frames import crazyflie_degrees_from_rpy, wrap_angle
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    PositionCommand,
    RatesThrustCommand,
    VelocityCommand,
)
from hardware.crazyflie.link import Link

FLIGHT_MODES = ("flightmode.stabModeRoll", "flightmode.stabModePitch", "flightmode.stabModeYaw")
ATTITUDE_GAINS = ("pid_attitude.roll_kp", "pid_attitude.pitch_kp", "pid_attitude.yaw_kp")  # 1/s
_MAX_LEAD = 0.5  # rad
_RATES, _ANGLES = 0, 1
_FULL_STATE = 6
_INT16 = 32.767  # m, m/s: beyond it a full-state setpoint has no room
_MODE_PATIENCE = 0.05  # s that a change of mode may hold a command up
_UNLOCKS = 5  # commands after arming that are led by a zero thrust: one may be lost


class Setpoints:
    """Sends commands. One thread."""

    def __init__(self, link: Link, thrust: CrazyflieThrust, attitude_gain: Array):
        """attitude_gain: (3,) 1/s, believed of a firmware that does not tell its own."""
        self._link, self._thrust, self._gain = link, thrust, np.array(attitude_gain, dtype=float)
        self._original: dict[str, int] = {}
        self._mode: int | None = None
        self._touched = False
        self._to_unlock = _UNLOCKS
        self._last = -math.inf
        self._attitude_before = False

    def learn(self) -> None:
        """Reads the flight modes as they are, to put them back, and the gains of the on-board attitude law."""
        self._original = {name: int(self._link.read(name)) for name in FLIGHT_MODES}
        if all(self._link.has_parameter(name) for name in ATTITUDE_GAINS):
            gains = np.array([self._link.read(name) for name in ATTITUDE_GAINS])
            if np.isfinite(gains).all() and (gains > 0.0).all():
                self._gain = gains
        self._mode, self._touched = None, False

    def begin(self) -> None:
        """After arming: thrust is to be unlocked anew."""
        self._to_unlock, self._attitude_before = _UNLOCKS, False

    def restore(self, patience: float = 0.3) -> bool:
        """Puts the flight modes back; whether the vehicle has confirmed that."""
        if not self._touched:
            return True
        self._mode, self._touched = None, False
        confirmed = [self._link.write(name, value, patience) for name, value in self._original.items()]
        return all(confirmed)  # every one is tried

    def max_thrust(self, supply: float | None) -> float:
        """The most that a command can ask for at a battery voltage, N."""
        return self._thrust.thrust(RPYT_MAX_THRUST, supply or NOMINAL_SUPPLY)

    def send(self, command: Command, yaw: float, supply: float | None) -> bool:
        """Sends a command, already limited. False if the vehicle has not confirmed the mode that it needs.

        Args:
            command: At a level that the driver lists.
            yaw: Heading of the newest state, rad.
            supply: Battery voltage, V, if known.
        """
        match command:
            case RatesThrustCommand():
                if not self._want(_RATES):
                    return False
                rates = np.degrees(command.omega_b)
                # This packet's pitch is reversed (cflib reverses it) and so is its yaw rate.
                self._rpyt(rates[0], rates[1], -rates[2], float(command.thrust), supply)
            case AttitudeThrustCommand():
                if not self._want(_ANGLES):
                    return False
                ahead = turned(command.quat_xyzw, np.asarray(command.omega_b) / self._gain)
                roll, pitch, heading = crazyflie_degrees_from_rpy(_rpy(ahead))
                self._rpyt(roll, -pitch, heading, float(command.thrust), supply)
            case VelocityCommand():
                turn = float(command.yaw_rate) + float(self._gain[2]) * float(wrap_angle(float(command.yaw) - yaw))
                self._lead()
                self._commander.send_velocity_world_setpoint(*command.velocity_w.tolist(), math.degrees(turn))
            case PositionCommand():
                self._lead()
                self._position(command)
        self._attitude_before = isinstance(command, RatesThrustCommand | AttitudeThrustCommand)
        self._last = time.monotonic()
        return True

    def zero(self) -> None:
        """A legacy setpoint without thrust: unlocks thrust, turns nothing."""
        self._commander.send_setpoint(0.0, 0.0, 0.0, 0)

    @property
    def _commander(self) -> Any:
        return self._link.cf.commander

    def _want(self, mode: int) -> bool:
        """Sees to it that the vehicle takes angles or rates. What flies meanwhile is the setpoint before."""
        if self._mode == mode:
            return True
        self._mode, self._touched = None, True
        deadline = time.monotonic() + _MODE_PATIENCE
        for name in FLIGHT_MODES:
            if not self._link.write(name, mode, max(deadline - time.monotonic(), 0.0)):
                return False
        self._mode = mode
        return True

    def _lead(self) -> None:
        if self._to_unlock > 0:
            self._to_unlock -= 1
            self.zero()

    def _rpyt(self, roll: float, pitch: float, yaw: float, thrust: float, supply: float | None) -> None:
        # The lock closes when setpoints have stopped for a while; a zero just before costs nothing.
        if self._to_unlock > 0 or not self._attitude_before or time.monotonic() - self._last > LEVEL_OUT_AFTER:
            self._to_unlock = max(self._to_unlock - 1, 0)
            self.zero()
        number = min(self._thrust.command(thrust, supply or NOMINAL_SUPPLY), RPYT_MAX_THRUST)
        self._commander.send_setpoint(float(roll), float(pitch), float(yaw), number)

    def _position(self, command: PositionCommand) -> None:
        position, velocity = np.asarray(command.position_w), np.asarray(command.velocity_w)
        numbers = np.concatenate([position, velocity])
        if not velocity.any() or np.abs(numbers).max() > _INT16:
            x, y, z = position.tolist()
            self._commander.send_position_setpoint(x, y, z, math.degrees(float(command.yaw)))
            return
        half = 0.5 * float(command.yaw)
        millimetres = np.rint(1e3 * numbers).astype("<i2").tobytes()
        level = compress([0.0, 0.0, math.sin(half), math.cos(half)]).to_bytes(4, "little")
        # Accelerations and body rates are zero. cflib's own encoder truncates towards zero and is slower.
        payload = bytes((_FULL_STATE,)) + millimetres + bytes(6) + level + bytes(6)
        self._link.send(Port.GENERIC, 0, payload)


def turned(quat_xyzw: Array, turn_b: Array) -> Array:
    """(4,) an attitude turned about a body vector (rad), by half a radian at most: q * exp(turn / 2)."""
    angle = float(np.linalg.norm(turn_b))
    if angle < 1e-9:
        return np.asarray(quat_xyzw, dtype=float)
    half = 0.5 * min(angle, _MAX_LEAD)
    step = (*(math.sin(half) / angle * turn_b).tolist(), math.cos(half))
    return np.array(quat_multiply(tuple(np.asarray(quat_xyzw).tolist()), step))  # type: ignore[arg-type]


def _rpy(quat_xyzw: Array) -> list[float]:
    """Roll, pitch and yaw of R_z(yaw) R_y(pitch) R_x(roll), rad."""
    x, y, z, w = np.asarray(quat_xyzw).tolist()
    pitch = math.asin(min(max(2.0 * (w * y - z * x), -1.0), 1.0))
    return [math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)), pitch, float(yaw_of((x, y, z, w)))]
