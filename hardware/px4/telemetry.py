"""What an autopilot tells: estimate, mode, arming, battery, parameters, texts. Its frames end here."""

from __future__ import annotations

import math
import struct
from collections import Counter, deque
from typing import Any

import numpy as np

from control_stack.algebra import rotate
from control_stack.boundary import finite, unit_quaternion
from control_stack.errors import InputRejected
from control_stack.frames import enu_flu_xyzw_from_ned_frd_wxyz, enu_from_ned, flu_from_frd
from control_stack.px4.modes import Mode
from control_stack.types import Array, QuadrotorState

_ARMED = 128  # MAV_MODE_FLAG_SAFETY_ARMED
_GRACE = 0.1  # s that ODOMETRY may be behind the others
_ON_GROUND = 1  # MAV_LANDED_STATE_ON_GROUND
_INTEGERS = {1: "<B3x", 2: "<b3x", 3: "<H2x", 4: "<h2x", 5: "<I", 6: "<i"}  # MAV_PARAM_TYPE, sent bytewise by PX4


class Telemetry:
    """The newest of everything; ``take`` refuses what is not finite and counts it in ``rejected``.

    Attributes:
        mode, armed, landed: From HEARTBEAT and EXTENDED_SYS_STATE, None before the first.
        voltage: V. battery: share left, 0 to 1. nan where unknown.
        parameters: Those asked for, as received. asked: Their names; others are passed over, they have no bound.
        texts: (count, severity, text), newest last; the count rises by one per text.
    """

    def __init__(self) -> None:
        self.mode: Mode | None = None
        self.armed: bool | None = None
        self.landed: bool | None = None
        self.voltage = self.battery = math.nan
        self.parameters: dict[str, float] = {}
        self.asked: set[str] = set()
        self.texts: deque[tuple[int, int, str]] = deque(maxlen=50)
        self.text_count = 0
        self._last_text = (0, 0)
        self.firmware: tuple[int, int, int] | None = None
        self.capabilities: int | None = None
        self.rejected: Counter[str] = Counter()
        self._position: tuple[float, Array, Array] | None = None
        self._attitude: tuple[float, Array, Array] | None = None
        self._odometry: QuadrotorState | None = None
        self._takers = {
            "HEARTBEAT": self._heartbeat,
            "EXTENDED_SYS_STATE": self._landed_state,
            "SYS_STATUS": self._system,
            "LOCAL_POSITION_NED": self._local_position,
            "ATTITUDE_QUATERNION": self._quaternion,
            "ODOMETRY": self._whole_state,
            "PARAM_VALUE": self._parameter,
            "STATUSTEXT": self._text,
            "AUTOPILOT_VERSION": self._version,
        }

    def take(self, message: Any) -> None:
        """Learns from one message of the vehicle."""
        taker = self._takers.get(message.get_type())
        if taker is None:
            return
        try:
            taker(message)
        except InputRejected as error:
            self.rejected[f"{message.get_type()}/{error.reason}"] += 1

    def state(self) -> QuadrotorState | None:
        """Newest whole estimate, ENU and FLU, stamped with the autopilot's time since boot; None before one.

        ODOMETRY as long as it comes. Its phase is not that of the others: with both, a loop that runs on new
        states would run twice a period.
        """
        parts = None
        if self._position is not None and self._attitude is not None:
            (when, position, velocity), (also, quat, omega) = self._position, self._attitude
            parts = QuadrotorState(position, velocity, quat, omega, stamp=min(when, also))
        if self._odometry is None or (parts is not None and parts.stamp > self._odometry.stamp + _GRACE):
            return parts
        return self._odometry

    def texts_since(self, count: int) -> list[str]:
        """Warnings and worse that came after ``text_count`` was this."""
        return [text for number, severity, text in self.texts if number > count and severity <= 4]

    def _heartbeat(self, m: Any) -> None:
        self.mode, self.armed = Mode.of(m.custom_mode), bool(m.base_mode & _ARMED)

    def _landed_state(self, m: Any) -> None:
        self.landed = m.landed_state == _ON_GROUND

    def _system(self, m: Any) -> None:
        self.voltage = m.voltage_battery * 1e-3 if m.voltage_battery != 0xFFFF else math.nan
        self.battery = m.battery_remaining * 0.01 if m.battery_remaining >= 0 else math.nan

    def _local_position(self, m: Any) -> None:
        position, velocity = finite((m.x, m.y, m.z), "position"), finite((m.vx, m.vy, m.vz), "velocity")
        self._position = (m.time_boot_ms * 1e-3, enu_from_ned(position), enu_from_ned(velocity))

    def _quaternion(self, m: Any) -> None:
        q, omega = _attitude((m.q1, m.q2, m.q3, m.q4)), finite((m.rollspeed, m.pitchspeed, m.yawspeed), "rates")
        self._attitude = (m.time_boot_ms * 1e-3, q, flu_from_frd(omega))

    def _whole_state(self, m: Any) -> None:
        if m.frame_id != 1 or m.child_frame_id not in (1, 12):  # MAV_FRAME_LOCAL_NED; velocity in NED or body FRD
            raise InputRejected("frame_id", f"{m.frame_id}, {m.child_frame_id}")
        q = _attitude(m.q)
        position, v = finite((m.x, m.y, m.z), "position"), finite((m.vx, m.vy, m.vz), "velocity")
        if m.child_frame_id == 12:
            velocity = np.array(rotate(tuple(q), tuple(flu_from_frd(v))))  # type: ignore[arg-type]
        else:
            velocity = enu_from_ned(v)
        omega = flu_from_frd(finite((m.rollspeed, m.pitchspeed, m.yawspeed), "rates"))
        self._odometry = QuadrotorState(enu_from_ned(position), velocity, q, omega, stamp=m.time_usec * 1e-6)

    def _parameter(self, m: Any) -> None:
        if m.param_id not in self.asked:
            return
        form = _INTEGERS.get(m.param_type)
        value = m.param_value
        if form is not None:
            value = struct.unpack(form, struct.pack("<f", value))[0]
        self.parameters[m.param_id] = float(finite(value, m.param_id))

    def _text(self, m: Any) -> None:
        """A long text comes in parts of 50 bytes with one id; each makes it longer."""
        last = self._last_text
        if m.id and self.texts and last == (m.id, m.chunk_seq - 1):
            number, severity, text = self.texts.pop()
            self.texts.append((number, severity, text + m.text))
        else:
            self.text_count += 1
            self.texts.append((self.text_count, m.severity, m.text))
        self._last_text = (m.id, m.chunk_seq)

    def _version(self, m: Any) -> None:
        v = m.flight_sw_version
        self.firmware, self.capabilities = ((v >> 24) & 0xFF, (v >> 16) & 0xFF, (v >> 8) & 0xFF), m.capabilities


def _attitude(wxyz: Any) -> Array:
    return enu_flu_xyzw_from_ned_frd_wxyz(unit_quaternion(wxyz, "attitude"))
