"""Which telemetry one route sends, and when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sim.emulators.px4.messages import BUILDERS, DEFAULT_RATES

_FASTEST = 200.0  # Hz


class Streams:
    """Intervals of one route."""

    def __init__(self, mavlink: Any):
        self._name_of = {getattr(mavlink, f"MAVLINK_MSG_ID_{name}"): name for name in BUILDERS}
        self._interval = {name: 1.0 / rate for name, rate in DEFAULT_RATES.items()}
        self._due = dict.fromkeys(self._interval, -math.inf)
        self._requested: list[str] = []

    def set_interval(self, message_id: float, microseconds: float) -> bool:
        """MAV_CMD_SET_MESSAGE_INTERVAL: 0 is the default rate, -1 stops; False for what is not offered."""
        name = self._name(message_id)
        if name is None or not math.isfinite(microseconds):
            return False
        if microseconds < 0.0:
            self._interval.pop(name, None)
            return True
        default = 1.0 / DEFAULT_RATES.get(name, 1.0)
        self._interval[name] = max(microseconds * 1e-6, 1.0 / _FASTEST) if microseconds > 0.0 else default
        self._due[name] = -math.inf
        return True

    def interval(self, message_id: float) -> float:
        """As MESSAGE_INTERVAL tells it: microseconds, -1 for off, 0 for not offered."""
        name = self._name(message_id)
        return 0.0 if name is None else self._interval.get(name, -1e-6) * 1e6

    def request(self, message_id: float) -> bool:
        """One message at the next turn; False for what is not offered."""
        name = self._name(message_id)
        if name is not None:
            self._requested.append(name)
        return name is not None

    def due(self, now: float) -> Iterator[str]:
        """Names of what is to be sent now, s."""
        yield from self._requested
        self._requested.clear()
        for name, interval in self._interval.items():
            if now >= self._due[name] - 1e-6:
                # On a grid, so that a rate is kept to even where it does not divide the turns.
                late = now - self._due[name] > interval
                self._due[name] = now + interval if late else self._due[name] + interval
                yield name

    def _name(self, message_id: float) -> str | None:
        return self._name_of.get(int(message_id)) if math.isfinite(message_id) else None
