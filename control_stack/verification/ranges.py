"""What a network's outputs, and its slopes, are on a box: proved from outside, seen from inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from control_stack.bounds import Box, Network, interval_bounds, jacobian_bounds, sampled_bounds, split_bounds
from control_stack.types import Array


@dataclass(frozen=True)
class Ranges:
    """Of m outputs over a box of n inputs, in their units.

    Attributes:
        lower, upper: (m,) proved.
        seen_lower, seen_upper: (m,) reached by samples: the true range lies between.
        interval_lower, interval_upper: (m,) by interval arithmetic alone, for comparison.
        gain: (m, n) proved bound on |d output / d input|.
    """

    lower: Array
    upper: Array
    seen_lower: Array
    seen_upper: Array
    interval_lower: Array
    interval_upper: Array
    gain: Array


def ranges(network: Network, box: Box, boxes: int = 512, samples: int = 20_000, seed: int = 0) -> Ranges:
    """Linear bounds with splitting, and samples for what they cannot be below.

    Args:
        network: Function f. box: (n,). boxes: Parts that it may be cut into. samples, seed: Of the points.

    Raises:
        InvalidInput: The box has another number of inputs, or bounds overflow.
    """
    proved, seen = split_bounds(network, box, boxes), sampled_bounds(network, box, samples, seed)
    plain = interval_bounds(network, box)
    slopes = jacobian_bounds(network, box, max(1, boxes // 8))
    gain = np.maximum(np.abs(slopes.lower), np.abs(slopes.upper))
    return Ranges(proved.lower, proved.upper, seen.lower, seen.upper, plain.lower, plain.upper, gain)
