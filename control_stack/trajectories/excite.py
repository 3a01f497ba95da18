"""A flight to learn from: sums of sines along x, y and z that meet every combination of speed and acceleration."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.trajectories.lissajous import ramped, sine
from control_stack.trajectories.polynomial import finite
from control_stack.types import Reference

# Of the base frequency 1 / period, for x, y and z: none a multiple of another within an axis, so that velocity and
# acceleration take all signs together, and no two axes move alike.
_MULTIPLES = ((0.6, 1.0, 1.6), (0.8, 1.4, 1.8), (0.4, 1.2, 2.2))
_RAMP = 3.0  # s


class Excite:
    """p = centre + sum_k a_k sin(2 pi n_k s / T) per axis, s(t) from 0 to T with three second ramps at both ends.

    n_k are whole numbers next to T times the frequencies, so that it begins and ends at rest in the centre. Amplitudes
    fall with frequency and add up to half of ``size``.

    Attributes:
        duration: s.
    """

    def __init__(
        self,
        centre: ArrayLike = (0.0, 0.0, 1.0),
        size: ArrayLike = (2.0, 2.0, 1.0),
        period: float = 6.0,
        duration: float = 40.0,
        yaw: float = 0.0,
    ):
        """centre: (3,) m. size: (3,) of the box that it stays in, m. period: of the middle frequencies, s."""
        self._centre = finite(centre, (3,), "centre").tolist()
        box = finite(size, (3,), "size")
        if not (math.isfinite(period) and period > 0.0 and math.isfinite(duration) and duration > 2.0 * _RAMP):
            raise InvalidInput(f"excite needs a period above 0 s and a duration above {2.0 * _RAMP:g} s")
        self.duration, self._yaw = duration, float(finite(yaw, (), "yaw"))
        flown = duration - _RAMP
        counts = [[max(1, round(m * flown / period)) for m in axis] for axis in _MULTIPLES]
        self._rates = [[2.0 * math.pi * n / flown for n in axis] for axis in counts]
        self._amplitudes = []
        for axis, half in zip(counts, 0.5 * box, strict=True):
            shares = 1.0 / np.array(axis)
            self._amplitudes.append((float(half) * shares / shares.sum()).tolist())

    def __call__(self, t: float) -> Reference:
        """The reference at t, s."""
        s = ramped(min(max(t, 0.0), self.duration), self.duration, _RAMP)
        out = np.zeros((4, 3))
        for i, (rates, amplitudes) in enumerate(zip(self._rates, self._amplitudes, strict=True)):
            for rate, a in zip(rates, amplitudes, strict=True):
                out[:, i] += sine(a, *(rate * value for value in s))
        return Reference(out[0] + self._centre, out[1], out[2], out[3], self._yaw, 0.0)
