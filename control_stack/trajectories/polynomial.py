"""Piecewise polynomials in position and yaw: what every trajectory but the closed-form ones becomes."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.types import Array, Reference


def finite(value: ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    """The value as floats of this shape (-1: any size); raises InvalidInput that names it otherwise."""
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise InvalidInput(f"{what} is not numeric") from None
    fits = array.ndim == len(shape) and all(s in (-1, n) for s, n in zip(shape, array.shape, strict=True))
    if not fits:
        raise InvalidInput(f"{what} must have shape {str(shape).replace('-1', 'n')}, got {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInput(f"{what} is not finite")
    return array


class PiecewisePolynomial:
    """A trajectory whose segment i is sum_k coefficients[i, k] (t - breaks[i])^k.

    Attributes:
        breaks: (n + 1,) s, increasing; the last is the duration. Before the first and after the last break
        the
            end pose is held with zero derivatives.
        coefficients: (n, order + 1, 4) for x, y, z (m) and yaw (rad).
    """

    def __init__(self, breaks: ArrayLike, coefficients: ArrayLike):
        self.breaks = finite(breaks, (-1,), "break times")
        self.coefficients = finite(coefficients, (len(self.breaks) - 1, -1, 4), "coefficients")
        if np.any(np.diff(self.breaks) <= 0.0):
            raise InvalidInput("break times must increase")
        self.duration = float(self.breaks[-1])
        self._times: list[float] = self.breaks.tolist()
        self._exponents = np.arange(self.coefficients.shape[1])
        # One row of powers times one table gives all derivatives of a segment at once: 12 + 2 columns.
        derivatives = [self.coefficients]
        for _ in range(3):
            derivatives.append(_differentiate(derivatives[-1]))
        self._table = np.concatenate(
            [*(d[..., :3] for d in derivatives), *(d[..., 3:] for d in derivatives[:2])], axis=-1
        )
        self._before = self._hold(self._evaluate(0, 0.0))
        self._after = self._hold(self._evaluate(-1, self._times[-1] - self._times[-2]))

    def __call__(self, t: float) -> Reference:
        """The reference at t, s."""
        if t < self._times[0]:
            return self._before
        if t > self._times[-1]:
            return self._after
        i = min(bisect_right(self._times, t), len(self._times) - 1) - 1
        v = self._evaluate(i, t - self._times[i])
        return Reference(v[0:3], v[3:6], v[6:9], v[9:12], float(v[12]), float(v[13]))

    def peaks(self, per_segment: int = 48) -> tuple[float, float, float]:
        """Largest speed (m/s), acceleration (m/s^2) and |yaw rate| (rad/s) on a grid over every segment."""
        tau = np.linspace(0.0, 1.0, per_segment) * np.diff(self.breaks)[:, None]
        values = np.einsum("ngk,nkc->ngc", tau[..., None] ** self._exponents, self._table)
        speed, acceleration = (np.linalg.norm(values[..., i : i + 3], axis=-1).max() for i in (3, 6))
        return float(speed), float(acceleration), float(np.abs(values[..., 13]).max())

    def stretched(self, factor: float) -> PiecewisePolynomial:
        """The same path flown ``factor`` times slower: speed / factor, acceleration / factor^2."""
        scaling = factor ** -self._exponents.astype(float)
        start = self.breaks[0]
        return PiecewisePolynomial(start + factor * (self.breaks - start), self.coefficients * scaling[:, None])

    def _evaluate(self, segment: int, tau: float) -> Array:
        return (tau**self._exponents) @ self._table[segment]

    @staticmethod
    def _hold(values: Array) -> Reference:
        return Reference(values[0:3], yaw=float(values[12]))


def _differentiate(coefficients: Array) -> Array:
    """Derivative in the power basis along axis 1, padded to the same size."""
    out = np.zeros_like(coefficients)
    order = np.arange(1, coefficients.shape[1])
    out[:, :-1] = order[:, None] * coefficients[:, 1:]
    return out
