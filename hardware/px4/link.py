"""A MAVLink conversation with one autopilot: discovery, filtering, requests with answers, clock."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from control_stack.errors import LinkError
from control_stack.px4.codec import Codec
from hardware.px4.clock import Clock, VehicleTime
from hardware.px4.config import PX4Config
from hardware.px4.dialect import import_mavlink
from hardware.px4.telemetry import Telemetry
from hardware.px4.transport import open_transport

_PX4, _GCS, _QUADROTOR = 12, 6, 2  # MAV_AUTOPILOT_PX4, MAV_TYPE_GCS, MAV_TYPE_QUADROTOR
_AUTOPILOT_COMPONENT = 1  # MAV_COMP_ID_AUTOPILOT1
_MOST_AT_ONCE = 500  # datagrams per poll, so that a flood cannot keep setpoints from being sent
_RESULTS = ("accepted", "temporarily rejected", "denied", "unsupported", "failed", "in progress", "cancelled")


class Link:
    """Opened by ``discover``. ``poll`` reads what came; call it often, or let a thread do it.

    Attributes:
        telemetry: What the vehicle told.
        foreign: Messages of other systems or components, dropped.
        time: The autopilot's clock.
        idle: Called once per poll.
    """

    def __init__(self, uri: str, config: PX4Config, clock: Clock):
        self._uri, self._config, self._clock = uri, config, clock
        self.mavlink = import_mavlink()
        self._transport = open_transport(uri)
        datagrams = self._transport.datagrams
        self.codec = Codec(self.mavlink, config.system, config.component, datagrams, config.signing_key)
        self.telemetry = Telemetry()
        self.time = VehicleTime()
        self.foreign: Counter[str] = Counter()
        self.system: int | None = None
        self.component = _AUTOPILOT_COMPONENT
        self.heard_at = -float("inf")
        self._others: dict[int, str] = {}
        self._acks: dict[int, int] = {}
        self._lock = threading.RLock()
        self._next_beat = self._next_sync = -float("inf")
        self._opened = clock.monotonic()
        self.idle: Callable[[], None] = lambda: None

    def boot_ms(self) -> int:
        """This host's clock as setpoints carry it."""
        return int((self._clock.monotonic() - self._opened) * 1e3) & 0xFFFFFFFF

    def discover(self) -> None:
        """Waits for the vehicle's heartbeat. Raises LinkError with what was heard instead."""
        if not self.wait(lambda: self.system is not None, self._config.connect_timeout):
            wanted = self._config.target_system
            needed = "a PX4 autopilot of a quadrotor" + (f" as system {wanted}" if wanted is not None else "")
            drops = ", ".join(f"{n} dropped by {reason}" for reason, n in self.codec.decoder.drops.items())
            heard = ", ".join([*self._others.values(), *([drops] if drops else [])]) or "nothing"
            waited = self._config.connect_timeout
            raise LinkError(f"{self._uri}: needs a heartbeat of {needed}, heard {heard} in {waited:g} s")

    def send(self, message: Any) -> None:
        """Sends one message."""
        with self._lock:
            self._transport.send(self.codec.encode(message))

    def poll(self, timeout: float = 0.0) -> None:
        """Reads what has arrived, waiting at most timeout s for something, and keeps the link alive."""
        for _ in range(_MOST_AT_ONCE):
            data = self._transport.receive(timeout)
            if data is None:
                break
            timeout = 0.0
            with self._lock:
                for message in self.codec.decode(data):
                    self._take(message)
        self._keep_alive()
        self.idle()

    def wait(self, done: Callable[[], bool], timeout: float, step: float = 0.005) -> bool:
        """Until ``done``, looked at every ``step`` s, or the timeout, s; whether it is done."""
        deadline = self._clock.monotonic() + timeout
        while not done():
            if self._clock.monotonic() >= deadline:
                return False
            self._clock.sleep(step)
            if not self._clock.threaded or self.system is None:
                self.poll()
        return True

    def command(self, number: int, *parameters: float) -> str:
        """COMMAND_LONG until it is answered: "accepted", or the result in words, or "no answer"."""
        values = (*parameters, *(0.0,) * (7 - len(parameters)))
        for attempt in range(self._config.tries):
            with self._lock:
                self._acks.pop(number, None)
            self.send(self.mavlink.MAVLink_command_long_message(self.system, self.component, number, attempt, *values))
            if self.wait(lambda: self._acks.get(number, 5) != 5, self._config.reply_timeout):
                result = self._acks[number]
                return _RESULTS[result] if result < len(_RESULTS) else f"result {result}"
        return "no answer"

    def parameter(self, name: str) -> float | None:
        """Reads a parameter of the autopilot; None if it does not answer."""
        self.telemetry.parameters.pop(name, None)
        self.telemetry.asked.add(name)
        for _ in range(self._config.tries):
            text = name.encode()
            self.send(self.mavlink.MAVLink_param_request_read_message(self.system, self.component, text, -1))
            if self.wait(lambda: name in self.telemetry.parameters, self._config.reply_timeout):
                return self.telemetry.parameters[name]
        return None

    def close(self) -> None:
        """Releases the port."""
        self._transport.close()

    def _take(self, m: Any) -> None:
        source, kind = m.get_srcSystem(), m.get_type()
        if self.system is None and kind == "HEARTBEAT":
            self._consider(source, m)
        if source != self.system or m.get_srcComponent() != self.component:
            self.foreign["system" if source != self.system else "component"] += 1
            return
        now = self._clock.monotonic()
        self._transport.accept()
        self.heard_at = now  # by anything: of one heartbeat a second, a poor link loses three in a row
        if kind == "COMMAND_ACK":
            # An answer to somebody else's command is none of ours; 0 is from before targets were sent.
            if m.target_system in (0, self._config.system):
                self._acks[m.command] = m.result
        elif kind == "TIMESYNC":
            self._synchronise(m, now)
        elif kind == "ATTITUDE_QUATERNION":
            self.time.heard(m.time_boot_ms * 1e-3, now)
        self.telemetry.take(m)

    def _consider(self, source: int, m: Any) -> None:
        wanted = self._config.target_system
        ours = m.autopilot == _PX4 and m.get_srcComponent() == self.component and wanted in (None, source)
        if ours and m.type == _QUADROTOR:
            self.system = source
        elif m.type != _GCS:
            names = (self._name("MAV_AUTOPILOT", m.autopilot), self._name("MAV_TYPE", m.type))
            self._others[source] = f"system {source} ({', '.join(names)})"
        else:
            self._others[source] = f"system {source} (a ground station)"

    def _name(self, enum: str, value: int) -> str:
        entry = self.mavlink.enums[enum].get(value)
        return entry.name if entry else f"{enum} {value}"

    def _synchronise(self, m: Any, now: float) -> None:
        host_ns = int(now * 1e9)
        if m.tc1 == 0:  # the vehicle asks
            self.send(self.mavlink.MAVLink_timesync_message(host_ns, m.ts1))
        else:
            self.time.answered(m.tc1 * 1e-9, m.ts1 * 1e-9, now)

    def _keep_alive(self) -> None:
        now, mav = self._clock.monotonic(), self.mavlink
        if now >= self._next_beat:
            self._next_beat = now + 1.0
            self.send(
                mav.MAVLink_heartbeat_message(mav.MAV_TYPE_ONBOARD_CONTROLLER, mav.MAV_AUTOPILOT_INVALID, 0, 0, 4, 3)
            )
        if self.system is not None and now >= self._next_sync:
            self._next_sync = now + 0.2
            self.send(mav.MAVLink_timesync_message(0, int(now * 1e9)))
