"""Standing still."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.trajectories.polynomial import finite
from control_stack.types import Reference


class Hover:
    """One pose for ``duration`` s (inf: for ever). position: (3,) m, world; yaw: rad."""

    def __init__(self, position: ArrayLike, yaw: float = 0.0, duration: float = math.inf):
        if not duration > 0.0:
            raise InvalidInput(f"a hover lasts longer than 0 s, got {duration:g}")
        self.duration = float(duration)
        self._reference = Reference(finite(position, (3,), "hover position"), yaw=float(finite(yaw, (), "yaw")))

    def __call__(self, t: float) -> Reference:
        """The pose, whatever the time."""
        return self._reference
