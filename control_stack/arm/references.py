"""Smooth references of joints over time, at rest at both ends."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.types import Array, JointReference


def _finite(values: ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    """The values in that shape, where -1 stands for any size."""
    array = np.array(values, dtype=float)
    fits = array.ndim == len(shape) and all(
        wanted in (-1, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits or not np.isfinite(array).all():
        raise InvalidInput(f"{what} must be finite and of shape {shape}, got shape {array.shape}")
    return array


class MultiSine:
    """q_j = c_j + sum_k a_jk sin(k phi + theta_jk), k = 1 ... K, over one phase phi for all joints.

    The phase rate rises from 0 to 2 pi / period along a quintic step of ``ramp`` s and falls the same way, so
    that velocity and acceleration are 0 at both ends and the jerk is continuous.

    Attributes:
        duration: s.
        reach, speed, acceleration: (n,) bounds of |q - c| (rad), |q'| (rad/s) and |q''| (rad/s^2), from the amplitudes.
    """

    def __init__(
        self,
        centre: ArrayLike,
        amplitude: ArrayLike,
        phase: ArrayLike,
        period: float = 5.0,
        duration: float = 10.0,
        ramp: float = 1.5,
    ):
        """centre: (n,) rad; amplitude, phase: (n, K) rad; period, duration, ramp: s. Raises InvalidInput."""
        self._centre = _finite(centre, (-1,), "centre")
        self._amplitude = _finite(amplitude, (len(self._centre), -1), "amplitude")
        self._phase = _finite(phase, self._amplitude.shape, "phase")
        if not (math.isfinite(duration) and 0.0 < 2.0 * ramp <= duration and period > 0.0):
            raise InvalidInput("a multi-sine needs a period > 0 s and a ramp > 0 s of at most half its duration")
        self.duration, self._ramp, self._rate = float(duration), float(ramp), 2.0 * math.pi / period
        self._k = np.arange(1, self._amplitude.shape[1] + 1)
        size = np.abs(self._amplitude)
        first, second = size @ self._k, size @ self._k**2
        self.reach, self.speed = size.sum(axis=1), self._rate * first
        # The quintic step rises by at most 1.875 of its height per ramp.
        self.acceleration = self._rate**2 * second + 1.875 * self._rate / ramp * first

    def __call__(self, t: float | Array) -> JointReference:
        """The reference at t (...), s: fields (..., n)."""
        phi, rate, change = self._phases(np.clip(np.asarray(t, dtype=float), 0.0, self.duration))
        angle = self._k * phi[..., None, None] + self._phase
        sine, cosine = self._amplitude * np.sin(angle), self._amplitude * np.cos(angle)
        first, second = cosine @ self._k, -sine @ self._k**2
        return JointReference(
            self._centre + sine.sum(axis=-1),
            first * rate[..., None],
            first * change[..., None] + second * rate[..., None] ** 2,
        )

    def _phases(self, t: Array) -> tuple[Array, Array, Array]:
        """Phase and its first two derivatives."""
        late = t > 0.5 * self.duration
        side = np.where(late, self.duration - t, t)
        s = np.minimum(side / self._ramp, 1.0)
        ramping = self._rate * self._ramp * s**4 * (2.5 - 3.0 * s + s * s)
        phi = np.where(side < self._ramp, ramping, self._rate * (side - 0.5 * self._ramp))
        rate = self._rate * s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
        change = self._rate / self._ramp * 30.0 * s * s * (1.0 - s) ** 2
        total = self._rate * (self.duration - self._ramp)
        return np.where(late, total - phi, phi), rate, np.where(late, -change, change)


class PointToPoint:
    """Moves along minimum-jerk quintics from one posture to the next, with a rest after each.

    Attributes:
        duration: s.
        speed, acceleration: (n,) largest |q'| (rad/s) and |q''| (rad/s^2).
    """

    # Of the quintic step 10 s^3 - 15 s^4 + 6 s^5: largest first and second derivative.
    PEAK_SPEED, PEAK_ACCELERATION = 1.875, 10.0 / math.sqrt(3.0)

    def __init__(self, postures: ArrayLike, move: float = 2.2, rest: float = 0.3):
        """postures: (m + 1, n) rad, start first; move, rest: s of each of the m moves. Raises InvalidInput."""
        self._postures = _finite(postures, (-1, -1), "postures")
        if len(self._postures) < 2 or not (math.isfinite(move + rest) and move > 0.0 and rest >= 0.0):
            raise InvalidInput("moves need two postures or more, move > 0 s and rest >= 0 s")
        self._move, self._slot = float(move), float(move + rest)
        self.duration = (len(self._postures) - 1) * self._slot
        farthest = np.abs(np.diff(self._postures, axis=0)).max(axis=0)
        self.speed = self.PEAK_SPEED * farthest / move
        self.acceleration = self.PEAK_ACCELERATION * farthest / move**2

    def __call__(self, t: float | Array) -> JointReference:
        """The reference at t (...), s: fields (..., n)."""
        now = np.clip(np.asarray(t, dtype=float), 0.0, self.duration)
        i = np.minimum((now / self._slot).astype(int), len(self._postures) - 2)
        s = np.clip((now - i * self._slot) / self._move, 0.0, 1.0)[..., None]
        start, way = self._postures[i], self._postures[i + 1] - self._postures[i]
        return JointReference(
            start + way * s**3 * (10.0 - 15.0 * s + 6.0 * s * s),
            way * 30.0 * s**2 * (1.0 - s) ** 2 / self._move,
            way * 60.0 * s * (1.0 - s) * (1.0 - 2.0 * s) / self._move**2,
        )
