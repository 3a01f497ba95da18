"""Rows that keep two vehicles apart: the barrier of ``approach.py`` on their distance, for both of them together.

With both thrust vectors the row of a pair is n.(F_i - F_j) <= limit; a vehicle takes its share of the limit. Gains that
are asked for have rows of their own beside the row of the fixed gain: they can only make a vehicle give way earlier.
A gain that changes in flight would not be a barrier's gain, so that the fixed one alone has to keep the distance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from control_stack.safety.barrier.approach import Surfaces, thrust_limits
from control_stack.types import Array

LOWEST, HIGHEST = 0.25, 64.0  # 1/s: gains that may be asked for; at 64, sigma is all but the braking curve alone


class Pair(NamedTuple):
    """What the two vehicles of a pair count on.

    Attributes:
        distance: Between centres that is kept, m. room: Beside it, for lags and margins, m.
        deceleration: Of the two together, m/s^2. unknown: Acceleration of the two together, m/s^2.
        rate: lambda, 1/s. lag_rate, lag: Of each, 1/s and s: see ``thrust.py``.
    """

    distance: float
    room: float
    deceleration: float
    unknown: float
    rate: float
    lag_rate: float
    lag: float


def directions(apart: Array) -> tuple[Array, Array]:
    """(..., m, d) unit vectors towards the others and (..., m) distances, m, from the places ``apart`` from them."""
    length = np.maximum(np.sqrt((apart * apart).sum(-1)), 1e-6)
    return -apart / length[..., None], length


def pair_limits(towards: Array, length: Array, velocity: Array, acceleration: Array, gain: Array, pair: Pair) -> Array:
    """(..., m) limits of n.(F_i - F_j), m/s^2, gravity and drag being the same for both.

    Args:
        towards, length: As ``directions`` has them: (..., m, d) and (..., m), m.
        velocity, acceleration: (..., m, d) relative to the others, m/s, m/s^2.
        gain: (..., m) kappa, 1/s; more leading dimensions give as many limits.
    """
    surfaces = Surfaces(
        (length - pair.distance - pair.room)[..., None],
        towards[..., None, :],
        np.ones((1, towards.shape[-1])),
        1.0 / length[..., None],
    )
    return thrust_limits(
        surfaces, velocity, acceleration, np.zeros(towards.shape[-1]), gain=gain[..., None], rate=pair.rate,
        lag_rate=pair.lag_rate, deceleration=pair.deceleration, unknown=pair.unknown,
        unknown_speed=pair.unknown * pair.lag,
    )[..., 0]  # fmt: skip
