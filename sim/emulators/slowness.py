"""Says while an emulator cannot keep up with the wall clock, and not only when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable

_EVERY = 10.0  # s between two lines


class Slowness:
    """Adds up the vehicle's time that was given up. ``seconds``: so far.

    Args:
        say: Takes one line.
    """

    def __init__(self, say: Callable[[str], None] = lambda line: None):
        self._say = say
        self.seconds = 0.0
        self._said = -math.inf

    def give_up(self, seconds: float, now: float) -> None:
        """Takes what was given up at ``now``, both s; says so at once, but not more often than every ten seconds."""
        self.seconds += seconds
        if now - self._said >= _EVERY:
            self._said = now
            self._say(
                f"this machine is too slow for that: the vehicle stood still for {self.seconds:.1f} s so far, and its "
                "client heard nothing meanwhile; end other programs, or serve fewer vehicles"
            )
