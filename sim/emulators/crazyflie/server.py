"""Emulated Crazyflies on UDP ports: one datagram is one packet, answers go to whoever asked.

What a vehicle sends by itself goes to the client that spoke last, as over the host build of the real firmware; the
empty packet of a scan is answered but is nobody's first word.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence

from control_stack.crazyflie.wire import decode, is_null
from control_stack.errors import InvalidInput
from sim.emulators.crazyflie.firmware import EmulatedCrazyflie

TICK = 0.002  # s of emulated time between looks at the wire
_LOST_BEHIND = 0.25  # s behind the wall beyond which time is given up rather than caught up


class UdpServer:
    """Serves vehicles on consecutive ports. As a context manager it closes sockets and vehicles.

    Attributes:
        ports: Of the vehicles, in order.
        slipped: Emulated time that was given up because the machine was too slow, s.
    """

    def __init__(self, vehicles: Sequence[EmulatedCrazyflie], host: str = "127.0.0.1", port: int = 0):
        """Binds; port 0 takes free ones. Raises InvalidInput for ports that cannot be had."""
        self.vehicles = tuple(vehicles)
        self._lock = threading.RLock()
        self._sockets: list[socket.socket] = []
        self._peers: list[tuple[str, int] | None] = [None] * len(self.vehicles)
        self.slipped = 0.0
        for i in range(len(self.vehicles)):
            self._sockets.append(_bound(host, port + i if port else 0))
        self.ports = tuple(s.getsockname()[1] for s in self._sockets)
        self._index = {s: i for i, s in enumerate(self._sockets)}

    def __enter__(self) -> UdpServer:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes everything."""
        for s in self._sockets:
            s.close()
        for vehicle in self.vehicles:
            vehicle.close()

    def listen(self, seconds: float) -> None:
        """Answers what comes within the given time, at least what is there already."""
        ready = select.select(self._sockets, [], [], max(seconds, 0.0))[0]
        with self._lock:
            for s in ready:
                self._drain(s, self._index[s])

    def advance(self, dt: float = TICK) -> None:
        """Takes what has arrived, then lets dt seconds pass for all vehicles."""
        with self._lock:
            self.listen(0.0)
            for i, vehicle in enumerate(self.vehicles):
                for datagram in vehicle.step(dt):
                    self._send(i, datagram, self._peers[i])

    def run(self, stop: Callable[[], bool], tick: float = TICK) -> None:
        """Serves with emulated time at the pace of the wall until ``stop`` says so."""
        due = time.monotonic() + tick
        while not stop():
            self.listen(due - time.monotonic())
            now = time.monotonic()
            if now - due > _LOST_BEHIND:
                self.slipped += now - due
                due = now
            while due <= now:
                self.advance(tick)
                due += tick

    def _drain(self, s: socket.socket, i: int) -> None:
        while True:
            try:
                datagram, sender = s.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:  # the last client's port is gone
                continue
            packet = decode(datagram)
            if packet is not None and not is_null(packet):
                self._peers[i] = sender
            for answer in self.vehicles[i].handle(datagram):
                self._send(i, answer, sender)

    def _send(self, i: int, datagram: bytes, peer: tuple[str, int] | None) -> None:
        if peer is not None:
            try:
                self._sockets[i].sendto(datagram, peer)
            except OSError:  # full buffer or no such client: a lost packet, as on the air
                self.vehicles[i].dropped["send"] += 1


def _bound(host: str, port: int) -> socket.socket:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.bind((host, port))
    except (OSError, OverflowError) as error:
        s.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"cannot listen on udp {host}:{port}: {reason}") from None
    s.setblocking(False)
    return s
