"""What a vehicle sees: itself and its neighbours, from above. Nobody tells it where they want to go."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from control_stack.types import Array


class Seen(NamedTuple):
    """What a vehicle knows: of itself and of each neighbour, x towards its goal, y to the left of that.

    Attributes:
        place, motion: (..., n, m, 2) of the neighbours relative to itself, m, m/s.
        own: (..., n, 3) distance to the goal, m, and velocity, m/s.
    """

    place: Array
    motion: Array
    own: Array


Policy = Callable[[Seen], Array]  # -> (..., n, m) gains, 1/s, within LOWEST and HIGHEST of ``barrier/pairs.py``


def look(position: Array, velocity: Array, goal: Array, place: Array, motion: Array) -> Seen:
    """From the world's horizontal axes into each vehicle's own.

    Args:
        position, velocity, goal: (..., n, 2) of each vehicle, m, m/s.
        place, motion: (..., n, m, 2) of its neighbours, relative to itself, m, m/s.
    """
    to_goal = goal - position
    length = np.sqrt((to_goal * to_goal).sum(-1, keepdims=True))
    x, y = np.moveaxis(to_goal / np.maximum(length, 1e-6), -1, 0)

    def turned(vector: Array, cos: Array, sin: Array) -> Array:
        return np.stack([cos * vector[..., 0] + sin * vector[..., 1], cos * vector[..., 1] - sin * vector[..., 0]], -1)

    pairs = (x[..., None], y[..., None])
    own = np.concatenate([length, turned(velocity, x, y)], axis=-1)
    return Seen(turned(place, *pairs), turned(motion, *pairs), own)
