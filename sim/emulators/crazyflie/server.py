"""Emulated Crazyflies on UDP ports: one datagram is one packet, answers go to whoever asked.

Each vehicle has one client at a time (see ``door``). The empty packet of a scan is answered, whoever sends it.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence

from control_stack.crazyflie.wire import decode, is_null
from control_stack.errors import InvalidInput
from sim.emulators.crazyflie.door import Address, Door
from sim.emulators.crazyflie.firmware import EmulatedCrazyflie
from sim.emulators.slowness import Slowness

TICK = 0.002  # s of emulated time between looks at the wire
_LOST_BEHIND = 0.25  # s behind the wall beyond which time is given up rather than caught up


class UdpServer:
    """Serves vehicles on consecutive ports. As a context manager it closes sockets and vehicles.

    Attributes:
        ports: Of the vehicles, in order.
        slowness: Emulated time that was given up because the machine was too slow.
    """

    def __init__(
        self,
        vehicles: Sequence[EmulatedCrazyflie],
        host: str = "127.0.0.1",
        port: int = 0,
        say: Callable[[str], None] = lambda line: None,
    ):
        """Binds; port 0 takes free ones; ``say`` takes lines for whoever serves. Raises InvalidInput for ports that
        cannot be had."""
        self.vehicles = tuple(vehicles)
        self._lock = threading.RLock()
        self._say, self.slowness = say, Slowness(say)
        self._refused: set[Address] = set()  # clients that were told of
        self._doors: list[Door] = []
        try:
            for i in range(len(self.vehicles)):
                self._doors.append(Door(host, port + i if port else 0))
        except InvalidInput:
            self.close()
            raise
        self.ports = tuple(door.socket.getsockname()[1] for door in self._doors)
        self._index = {door.socket: i for i, door in enumerate(self._doors)}

    def __enter__(self) -> UdpServer:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes everything."""
        for door in self._doors:
            door.close()
        for vehicle in self.vehicles:
            vehicle.close()

    def listen(self, seconds: float) -> None:
        """Answers what comes within the given time, at least what is there already."""
        ready = select.select(list(self._index), [], [], max(seconds, 0.0))[0]
        with self._lock:
            for s in ready:
                self._drain(self._index[s])

    def advance(self, dt: float = TICK) -> None:
        """Takes what has arrived, then lets dt seconds pass for all vehicles."""
        with self._lock:
            self.listen(0.0)
            for i, vehicle in enumerate(self.vehicles):
                for datagram in vehicle.step(dt):
                    self._send(i, datagram, self._doors[i].peer)

    def run(self, stop: Callable[[], bool], tick: float = TICK) -> None:
        """Serves with emulated time at the pace of the wall until ``stop`` says so."""
        due = time.monotonic() + tick
        while not stop():
            self.listen(due - time.monotonic())
            now = time.monotonic()
            if now - due > _LOST_BEHIND:
                self.slowness.give_up(now - due, now)
                due = now
            while due <= now:
                self.advance(tick)
                due += tick

    def _drain(self, i: int) -> None:
        door, vehicle = self._doors[i], self.vehicles[i]
        while (received := door.receive()) is not None:
            datagram, sender = received
            packet = decode(datagram)
            if packet is not None and not is_null(packet) and not door.admit(sender):
                vehicle.dropped["second client"] += 1
                self._tell_refused(i, sender)
                continue
            for answer in vehicle.handle(datagram):
                self._send(i, answer, sender)

    def _send(self, i: int, datagram: bytes, to: Address | None) -> None:
        if not self._doors[i].send(datagram, to):
            self.vehicles[i].dropped["send"] += 1

    def _tell_refused(self, i: int, sender: Address) -> None:
        if sender not in self._refused:
            self._refused.add(sender)
            host, port = self._doors[i].peer or ("", 0)
            self._say(
                f"port {self.ports[i]}: a second client ({sender[0]}:{sender[1]}) is not answered while the first "
                f"({host}:{port}) is connected"
            )
