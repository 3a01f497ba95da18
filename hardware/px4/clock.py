"""The host's steady clock, and the autopilot's clock seen from it."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Protocol

_KEPT = 30  # samples: the least delayed of them is believed
_RESTARTED = 1.0  # s back in the autopilot's time


class Clock(Protocol):
    """Time of the host. Tests put an emulator's time in its place."""

    threaded: bool

    def monotonic(self) -> float:
        """Steady time, s."""

    def sleep(self, seconds: float) -> None:
        """Lets time pass."""


class SteadyClock:
    """The machine's own; with it a driver reads its link in a thread."""

    threaded = True

    def monotonic(self) -> float:
        """Steady time, s."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Lets time pass."""
        time.sleep(seconds)


class VehicleTime:
    """Offset between the autopilot's time since boot and the host's clock, s.

    From TIMESYNC round trips: the autopilot's answer ``tc1`` was made between our ``ts1`` and now, so offset = tc1 -
    (ts1 + now) / 2 to within half the round trip; of the recent ones the shortest counts (MAVLink time
    synchronisation protocol). Before the first one, the time on whatever arrived serves.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_KEPT)  # (round trip, offset)
        self._guess: float | None = None
        self._boot = -math.inf
        self.restarts = 0  # of the autopilot: its time has run backwards

    @property
    def round_trip(self) -> float:
        """Of the best recent TIMESYNC, s; inf before there is one."""
        return min(self._samples)[0] if self._samples else math.inf

    def answered(self, tc1: float, ts1: float, now: float) -> None:
        """A TIMESYNC answer; all in s. One to a question that is not from the last second is not ours."""
        if 0.0 <= now - ts1 < 1.0:
            self._samples.append((now - ts1, tc1 - 0.5 * (ts1 + now)))

    def heard(self, boot: float, now: float) -> None:
        """Something stamped ``boot`` on the autopilot's clock arrived now."""
        if boot < self._boot - _RESTARTED:
            self._samples.clear()
            self._guess, self.restarts = None, self.restarts + 1
        self._boot = boot
        if self._guess is None or boot - now > self._guess:
            self._guess = boot - now

    def host(self, boot: float) -> float:
        """The host's time when it was ``boot`` on the autopilot's clock, s."""
        offset = min(self._samples)[1] if self._samples else (self._guess or 0.0)
        return boot - offset
