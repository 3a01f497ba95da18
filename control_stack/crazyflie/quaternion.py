"""Unit quaternions (xyzw) in 32 bits, "smallest three": which one is left out, and 10 bits for each other.

Two bits name the largest component, which unit norm gives back; the others are a sign and 9 bits of magnitude on
[0, 1/sqrt(2)] (Bitcraze firmware, quatcompress.h).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from control_stack.types import Array

_STEPS = (1 << 9) - 1


def compress(quat_xyzw: Sequence[float] | Array) -> int:
    """The number for a unit quaternion; those of q and -q decompress to the same."""
    q = [float(value) for value in quat_xyzw]
    largest = max(range(4), key=lambda i: abs(q[i]))
    flip = q[largest] < 0.0
    out = largest
    for i, value in enumerate(q):
        if i != largest:
            magnitude = min(int(_STEPS * abs(value) * math.sqrt(2.0) + 0.5), _STEPS)
            out = out << 10 | ((value < 0.0) != flip) << 9 | magnitude
    return out


def decompress(number: int) -> Array:
    """(4,) the unit quaternion of a number; whatever the number is."""
    largest = number >> 30 & 3
    q = np.zeros(4)
    for i in (3, 2, 1, 0):
        if i != largest:
            magnitude = (number & _STEPS) / _STEPS / math.sqrt(2.0)
            q[i] = -magnitude if number >> 9 & 1 else magnitude
            number >>= 10
    q[largest] = math.sqrt(max(1.0 - float(q @ q), 0.0))
    return q / np.linalg.norm(q)
