"""What a function was seen to reach. A range from samples lies inside the true one: never a bound to rely on."""

from __future__ import annotations

import numpy as np

from control_stack.bounds.arrays import like, namespace
from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.interval import flat, shaped
from control_stack.bounds.network import Network
from control_stack.errors import InvalidInput


def sampled_bounds(network: Network, box: Box, count: int = 1000, seed: int = 0) -> Bounds:
    """The range over random points of the box: half of them uniform, half at corners, where extremes often lie.

    Args:
        network: Function f.
        box: (..., inputs).
        count: Points in each box.
        seed: Of the points.

    Returns:
        Bounds (..., outputs) with ``sound`` False.
    """
    if count < 2:
        raise InvalidInput(f"sampling needs at least 2 points, got {count}")
    lower, upper = flat(network, box)
    random = np.random.default_rng(seed)
    part = random.random((count, *lower.shape))
    part[count // 2 :] = np.round(part[count // 2 :])
    share, xp = like(part, lower), namespace(lower)
    values = network((1.0 - share) * lower + share * upper)
    return shaped(xp.amin(values, 0), xp.amax(values, 0), box, "sampled", False)
