"""A UDP relay between a client and a vehicle that loses, delays, reorders or withholds datagrams on purpose.

It knows no protocol: a datagram passes whole or not at all, as over a radio. Faults apply to both directions alike.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from control_stack.errors import InvalidInput, LinkError

_HOST = "127.0.0.1"
_LOOK = 0.001  # s of wall time between looks at what has become due
_MOST_AT_ONCE = 1000  # datagrams per direction and look


@dataclass(frozen=True)
class Faults:
    """What the relay does to each datagram, in either direction.

    Attributes:
        loss: Share that is lost.
        latency: s until one is passed on.
        jitter: s at most on top, evenly spread. The order stays, as in a queue.
        reorder: Share that is held back ``hold`` s longer, so that later ones overtake it.
        hold: s.
        cut: Nothing passes; what was under way is lost.
    """

    loss: float = 0.0
    latency: float = 0.0
    jitter: float = 0.0
    reorder: float = 0.0
    hold: float = 0.025
    cut: bool = False

    def __post_init__(self) -> None:
        for name in ("loss", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} is a share from 0 to 1, got {getattr(self, name):g}")
        for name in ("latency", "jitter", "hold"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise InvalidInput(f"{name} is at least 0 s, got {getattr(self, name):g}")


class _Direction:
    """From one socket to whoever is at the other end: datagrams under way, by the time they are due."""

    def __init__(self, source: socket.socket, target: socket.socket, peer: Any, seed: str):
        self.source, self.target, self.peer = source, target, peer
        self.random = random.Random(seed)  # of its own, so that what happens here does not depend on the other
        self.under_way: list[tuple[float, int, bytes]] = []
        self.newest = 0.0  # latest due time of those in order
        self.counts: Counter[str] = Counter(passed=0, lost=0)


class FaultyLink:
    """Stands between a client and a vehicle on this machine, one end of which must be given.

    A vehicle that listens (Crazyflie) is given by its port: the client connects to ``port``. A client that listens
    (of PX4) is given by its port: the vehicle sends to ``port``. Who speaks first at ``port`` is the other end.

    Attributes:
        faults: In force now; may be replaced at any time.
        port: To connect or send to.
        to_vehicle, to_client: Counts of datagrams, passed and lost.
    """

    def __init__(
        self,
        vehicle: int | None = None,
        client: int | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 0,
    ):
        """``clock``: of latencies, s; ``port`` 0 takes a free one. Raises LinkError for a port that is taken."""
        if (vehicle is None) == (client is None):
            raise InvalidInput("a faulty link needs the port of the vehicle or of the client, and not both")
        self.faults = Faults()
        self._clock, self._lock = clock, threading.Lock()
        near, far = _bound(port), _bound(0)  # near: at ``port``; far: towards the end that was given
        self.port = int(near.getsockname()[1])
        given = (_HOST, vehicle if vehicle is not None else client)
        onward, back = _Direction(near, far, given, f"{seed} onward"), _Direction(far, near, None, f"{seed} back")
        self._onward, self._back, self._number = onward, back, 0
        directions = (onward, back) if vehicle is not None else (back, onward)
        self.to_vehicle, self.to_client = (d.counts for d in directions)
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def pump(self) -> None:
        """Takes what has arrived and passes on what is due now."""
        with self._lock:
            now = self._clock()
            for direction in (self._onward, self._back):
                self._take(direction, now)
                self._pass_on(direction, now)

    def start(self) -> None:
        """Pumps in a thread until ``close``."""
        self._thread = threading.Thread(target=self._run, name="faulty link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and releases the ports."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        self._onward.source.close()
        self._onward.target.close()

    def _run(self) -> None:
        sockets = [self._onward.source, self._back.source]
        while not self._end.is_set():
            waiting = self._onward.under_way or self._back.under_way
            select.select(sockets, [], [], _LOOK if waiting else 0.02)
            self.pump()

    def _take(self, d: _Direction, now: float) -> None:
        for _ in range(_MOST_AT_ONCE):
            try:
                datagram, sender = d.source.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:  # the port of an earlier send is gone
                continue
            if d is self._onward:
                self._back.peer = sender
            faults, chance = self.faults, d.random
            if faults.cut or chance.random() < faults.loss:
                d.counts["lost"] += 1
                continue
            d.newest = max(d.newest, now + faults.latency + faults.jitter * chance.random())
            due = d.newest + (faults.hold if chance.random() < faults.reorder else 0.0)
            self._number += 1
            heapq.heappush(d.under_way, (due, self._number, datagram))

    def _pass_on(self, d: _Direction, now: float) -> None:
        if self.faults.cut:
            d.counts["lost"] += len(d.under_way)
            d.under_way.clear()
        while d.under_way and d.under_way[0][0] <= now:
            datagram = heapq.heappop(d.under_way)[2]
            d.counts["passed"] += 1  # before it goes: who has received it may look
            try:
                if d.peer is None:
                    raise ConnectionError("nobody has spoken yet")
                d.target.sendto(datagram, d.peer)
            except OSError:  # nobody there, or a full buffer
                d.counts.update(passed=-1, lost=1)


def _bound(port: int) -> socket.socket:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.bind((_HOST, port))
    except OSError as error:
        s.close()
        raise LinkError(f"{_HOST}:{port} cannot be had: {error.strerror}") from None
    s.setblocking(False)
    return s
