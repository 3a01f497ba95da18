"""States from log blocks, each packet accounted for: received, missing, late, out of order or refused.

By default attitude and motion come in two blocks of floats, 100 times a second each; ``compressed`` asks for one
block of integers instead (1 mm, 1 mm/s, 1 mrad/s, attitude in 32 bits), for many vehicles on one radio.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.algebra import quat_multiply, quat_normalize
from control_stack.boundary import finite, unit_quaternion
from control_stack.crazyflie.quaternion import decompress
from control_stack.crazyflie.wire import Info
from control_stack.errors import InputRejected
from control_stack.types import Array, QuadrotorState

_POSITION = ("stateEstimate.x", "stateEstimate.y", "stateEstimate.z")
_VELOCITY = ("stateEstimate.vx", "stateEstimate.vy", "stateEstimate.vz")
_QUAT = ("stateEstimate.qx", "stateEstimate.qy", "stateEstimate.qz", "stateEstimate.qw")
_GYRO = ("gyro.x", "gyro.y", "gyro.z")
_Z = tuple(f"stateEstimateZ.{name}" for name in ("x", "y", "z", "vx", "vy", "vz"))
_Z_RATES = tuple(f"stateEstimateZ.{name}" for name in ("rateRoll", "ratePitch", "rateYaw"))
_Z_QUAT = "stateEstimateZ.quat"
_VOLTAGE, _MILLIVOLTS, _INFO = "pm.vbat", "pm.vbatMV", "supervisor.info"
_MAX_JUMP = 1.0  # s: a stamp further away is believed only when the next one agrees
_HEALTH_PERIOD = 100  # ms
_BATTERY, _SUPERVISOR = "battery", "supervisor"  # what health is made of
_NO_BATTERY = 1.0  # V: nothing runs on less, so it is not measured (the firmware's host build)
_WRAP = 1 << 24  # ms stamps have 24 bits


def needed(compressed: bool) -> tuple[str, ...]:
    """Log variables without which there is no state."""
    return (*_Z, _Z_QUAT, *_Z_RATES) if compressed else (*_POSITION, *_VELOCITY, *_QUAT, *_GYRO)


class Clock:
    """Maps the vehicle's stamps to this machine's steady clock by the fastest packets of the last seconds."""

    def __init__(self) -> None:
        self._minima: deque[tuple[int, float]] = deque(maxlen=10)

    def heard(self, stamp: float, now: float) -> float:
        """Takes a packet; returns how much later than the fastest it came, s."""
        offset, second = now - stamp, int(now)
        if self._minima and self._minima[-1][0] == second:
            self._minima[-1] = (second, min(self._minima[-1][1], offset))
        else:
            self._minima.append((second, offset))
        return offset - self.offset

    @property
    def offset(self) -> float:
        """This machine's steady clock minus the vehicle's, s; 0 before the first packet."""
        return min((offset for _, offset in self._minima), default=0.0)


class Block:
    """Stamps and counts of one log block."""

    def __init__(self, period: float):
        self.period = period
        self.stamp: float | None = None
        self.counts: Counter[str] = Counter(received=0, missing=0, late=0, out_of_order=0, refused=0)
        self._raw = 0
        self._doubted: int | None = None

    def take(self, raw: int) -> float | None:
        """The unwrapped stamp of a packet, s; None for one that is to be dropped.

        One that is not later than the last is out of order or doubled. A jump, ahead or back, is believed when the
        next packet follows on it: wrong stamps must not make all the right ones look old, or for ever.
        """
        if self.stamp is None:
            self._raw, self.stamp = raw, 1e-3 * raw
            self.counts["received"] += 1
            return self.stamp
        step = (raw - self._raw + _WRAP // 2) % _WRAP - _WRAP // 2
        if -_MAX_JUMP <= 1e-3 * step <= 0.0:
            self.counts["out_of_order"] += 1
            return None
        if abs(1e-3 * step) > _MAX_JUMP:
            follows = self._doubted is not None and 0 < (raw - self._doubted) % _WRAP <= 1e3 * _MAX_JUMP
            self._doubted = raw
            if not follows:
                self.counts["refused"] += 1
                return None
        self._doubted = None
        self._raw, self.stamp = raw, self.stamp + 1e-3 * step
        self.counts["received"] += 1
        self.counts["missing"] += max(round(1e-3 * step / self.period) - 1, 0)
        return self.stamp


class Telemetry:
    """The newest state, battery and supervisor bits. Callbacks come on cflib's thread, reads on any.

    Attributes:
        clock: From the vehicle's stamps to this machine's steady clock.
        voltage: Of the battery, V. info: Supervisor bits; None where the firmware does not tell or measure them.
        infos: How often ``info`` was told.
        told: Which of "battery" and "supervisor" the firmware has a variable for.
        blocks: Stamps and counts by block.
    """

    def __init__(self, period: float = 0.01, compressed: bool = False):
        self.compressed = compressed
        self.clock = Clock()
        self.voltage: float | None = None
        self.info: Info | None = None
        self.infos = 0
        self.blocks = {"attitude": Block(period), "motion": Block(period)}
        if compressed:
            del self.blocks["attitude"]
        self.told: frozenset[str] = frozenset()
        self._health = Block(period if compressed else 1e-3 * _HEALTH_PERIOD)
        self._lock = threading.Condition()
        self._state: QuadrotorState | None = None
        self._attitude: tuple[float, Array, Array] | None = None  # stamp, quaternion, body rates

    def subscribe(self, cf: Any, has: Callable[[str], bool]) -> None:
        """Asks for the blocks. Attitude goes first, so that the motion of the same instant finds it."""
        from cflib.crazyflie.log import LogConfig

        def add(name: str, period: int, variables: list[tuple[str, str]], take: Callable[..., None]) -> None:
            block = LogConfig(name, period)
            for variable, fetched in variables:
                block.add_variable(variable, fetched)
            cf.log.add_config(block)
            block.data_received_cb.add_callback(lambda stamp, data, config: take(stamp, data))
            block.start()

        fast = round(1e3 * self.blocks["motion"].period)
        typed = {_VOLTAGE: "float", _MILLIVOLTS: "uint16_t", _INFO: "uint16_t"}
        names = {_BATTERY: _MILLIVOLTS if self.compressed else _VOLTAGE, _SUPERVISOR: _INFO}
        self.told = frozenset(what for what, name in names.items() if has(name))
        health = [(name, typed[name]) for what, name in names.items() if what in self.told]
        if self.compressed:
            whole = [(n, "int16_t") for n in _Z] + [(_Z_QUAT, "uint32_t")] + [(n, "int16_t") for n in _Z_RATES]
            add("state", fast, [*whole, *health], self.take_compressed)
            return
        attitude = [(name, "float") for name in _QUAT] + [(name, "FP16") for name in _GYRO]
        add("attitude", fast, attitude, self.take_attitude)
        add("motion", fast, [(name, "float") for name in (*_POSITION, *_VELOCITY)], self.take_motion)
        if health:
            add("health", _HEALTH_PERIOD, health, self.take_health)

    @property
    def state(self) -> QuadrotorState | None:
        """The newest; None before the first."""
        return self._state

    def wait(self, newer_than: float, patience: float) -> bool:
        """Waits for a state with a later stamp, s; whether one came within ``patience`` s."""
        with self._lock:
            return self._lock.wait_for(
                lambda: self._state is not None and self._state.stamp > newer_than, timeout=patience
            )

    def wait_for_health(self, patience: float) -> bool:
        """Waits for battery and supervisor where the firmware tells them; whether they came within ``patience`` s."""
        with self._lock:
            return self._lock.wait_for(lambda: self._health.stamp is not None or not self.told, timeout=patience)

    def health_age(self) -> float:
        """How much older what was heard of battery and supervisor is than the newest state, s; inf before the first."""
        with self._lock:
            heard, state = self._health.stamp, self._state
        return math.inf if heard is None else max((state.stamp if state is not None else heard) - heard, 0.0)

    def take_attitude(self, raw_stamp: int, data: dict[str, float]) -> None:
        """A packet of the attitude block: quaternion and gyro in degrees/s."""
        block = self.blocks["attitude"]
        stamp = block.take(raw_stamp)
        if stamp is not None:
            self._guarded(block, lambda: self._set_attitude(stamp, data))

    def take_motion(self, raw_stamp: int, data: dict[str, float]) -> None:
        """A packet of the motion block: position and velocity. Makes a state with the newest attitude."""
        block = self.blocks["motion"]
        stamp = self._stamped(block, raw_stamp)
        if stamp is not None:
            self._guarded(block, lambda: self._set_motion(stamp, data))

    def take_compressed(self, raw_stamp: int, data: dict[str, float]) -> None:
        """A packet of the one compressed block."""
        block = self.blocks["motion"]
        stamp = self._stamped(block, raw_stamp)
        if stamp is not None:
            motion = 1e-3 * np.array([data[name] for name in _Z])
            rates = 1e-3 * np.array([data[name] for name in _Z_RATES])
            self._publish(QuadrotorState(motion[:3], motion[3:], decompress(int(data[_Z_QUAT])), rates, stamp=stamp))
            self.take_health(raw_stamp, data)

    def take_health(self, raw_stamp: int, data: dict[str, float]) -> None:
        """Battery and supervisor, where the firmware tells them."""
        if self._health.take(raw_stamp) is None:
            return
        voltage = data.get(_VOLTAGE, 1e-3 * data[_MILLIVOLTS] if _MILLIVOLTS in data else math.nan)
        if voltage > _NO_BATTERY:
            self.voltage = float(voltage)
        if _INFO in data:
            self.info, self.infos = Info(int(data[_INFO]) & 0x7FF), self.infos + 1
        with self._lock:
            self._lock.notify_all()

    def _stamped(self, block: Block, raw: int) -> float | None:
        stamp = block.take(raw)
        if stamp is not None and self.clock.heard(stamp, time.monotonic()) > block.period:
            block.counts["late"] += 1
        return stamp

    def _guarded(self, block: Block, act: Callable[[], None]) -> None:
        try:
            act()
        except InputRejected:
            block.counts["refused"] += 1

    def _set_attitude(self, stamp: float, data: dict[str, float]) -> None:
        quat = unit_quaternion([data[name] for name in _QUAT])
        self._attitude = (stamp, quat, np.radians(finite([data[name] for name in _GYRO], "gyro")))

    def _set_motion(self, stamp: float, data: dict[str, float]) -> None:
        motion = finite([data[name] for name in (*_POSITION, *_VELOCITY)], "motion")
        if self._attitude is not None:
            when, quat, omega = self._attitude
            self._publish(
                QuadrotorState(motion[:3], motion[3:], _turned(quat, omega, stamp - when), omega, stamp=stamp)
            )

    def _publish(self, state: QuadrotorState) -> None:
        with self._lock:
            self._state = state
            self._lock.notify_all()


def _turned(quat: Array, omega_b: Array, dt: float) -> Array:
    """The attitude dt seconds on at constant body rates: q * exp(omega dt / 2).

    The two blocks have the same period but not the same phase; this brings one to the other's time.
    """
    if dt == 0.0 or abs(dt) > 0.1:  # one that has stopped coming is not carried on
        return quat
    turn = 0.5 * dt * omega_b
    angle = float(np.linalg.norm(turn))
    share = math.sin(angle) / angle if angle > 1e-9 else 1.0
    step = (*(share * turn).tolist(), math.cos(angle))
    return np.array(quat_normalize(quat_multiply(tuple(quat.tolist()), step)))  # type: ignore[arg-type]
