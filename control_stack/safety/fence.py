"""The geofence: a box in the world, and where a vehicle that brakes now comes to rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.types import Array

REACTION = 0.2  # s until a vehicle that is told to brake has tilted to do so
MARGIN = 0.1  # m inside the fence where braking ends: what overshoots then stays inside


@dataclass(frozen=True)
class Fence:
    """Where a vehicle may be.

    Attributes:
        x, y: (lowest, highest) in the world, m.
        height: Highest above the place of arming, m.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    height: float

    def __post_init__(self) -> None:
        values = (*self.x, *self.y, self.height)
        wide = self.x[1] - self.x[0] > 2.0 * MARGIN and self.y[1] - self.y[0] > 2.0 * MARGIN
        if not (all(math.isfinite(v) for v in values) and wide and self.height > MARGIN):
            raise InvalidInput(
                "a fence needs x_min < x_max, y_min < y_max and a height above 0, and room between them; "
                f"got {','.join(f'{v:g}' for v in values)}"
            )

    def contains(self, position_w: Array, ground: float, margin: float = 0.0) -> bool:
        """Whether a position (m) is inside by ``margin``, m. ``ground``: height of the place of arming, m."""
        return bool(np.allclose(self.nearest(position_w, ground, margin), position_w, rtol=0.0, atol=1e-12))

    def nearest(self, position_w: Array, ground: float, margin: float = MARGIN) -> Array:
        """(3,) the nearest position that is inside by ``margin``. Downwards there is no fence: there is the ground."""
        low = [self.x[0] + margin, self.y[0] + margin, -math.inf]
        high = [self.x[1] - margin, self.y[1] - margin, ground + self.height - margin]
        return np.clip(np.asarray(position_w, dtype=float), low, high)


def parse_fence(text: str) -> Fence | None:
    """``x_min,y_min,x_max,y_max,height`` in m; None of ``none``. Raises InvalidInput."""
    if text.strip() == "none":
        return None
    try:
        x_min, y_min, x_max, y_max, height = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInput(
            f"a fence is 'none' or x_min,y_min,x_max,y_max,height in m, as in -2,-2,2,2,2.5; got '{text}'"
        ) from None
    return Fence((x_min, x_max), (y_min, y_max), height)


def stopping_point(position_w: Array, velocity_w: Array, deceleration: float, reaction: float = REACTION) -> Array:
    """(3,) where a vehicle comes to rest that brakes from now on: p + v (reaction + |v| / (2 deceleration)).

    Args:
        position_w, velocity_w: (3,) m, m/s.
        deceleration: m/s^2, along the velocity.
        reaction: s until it is reached.
    """
    speed = float(np.linalg.norm(velocity_w))
    return np.asarray(position_w + velocity_w * (reaction + 0.5 * speed / deceleration))
