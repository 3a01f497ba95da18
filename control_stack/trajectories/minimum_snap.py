"""Minimum snap through waypoints (Mellinger, Kumar 2011, ICRA)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import BSpline, make_interp_spline

from control_stack.errors import InvalidInput
from control_stack.trajectories.goto import YAW_RATE, _require_positive
from control_stack.trajectories.polynomial import PiecewisePolynomial, finite
from control_stack.types import Array

_AT_REST = [(1, 0.0), (2, 0.0), (3, 0.0)]


class MinimumSnap(PiecewisePolynomial):
    """The trajectory through the waypoints, from rest to rest, that minimises the integral of |d4p/dt4|^2.

    Its Euler-Lagrange equation d8p/dt8 = 0 between waypoints, with the natural conditions at them, makes the
    optimum the septic spline with knots at the waypoints (continuous up to the sixth derivative), clamped in
    velocity, acceleration and jerk at its ends; so the quadratic program is solved by one banded system. Yaw
    is the clamped cubic spline (minimum angular acceleration).

    Args:
        waypoints: (n, 3) m, n >= 2, neighbours distinct.
        yaws: (n,) rad; 0 if None. Neighbours are joined the short way round.
        segment_times: (n - 1,) s; if None, allocated from the lengths and then stretched until the peaks meet
            ``speed`` (m/s), ``acceleration`` (m/s^2) or ``yaw_rate`` (rad/s).

    Raises:
        InvalidInput: Fewer than two waypoints, equal neighbours, or times that are not positive.
    """

    def __init__(
        self,
        waypoints: ArrayLike,
        yaws: ArrayLike | None = None,
        segment_times: ArrayLike | None = None,
        speed: float = 1.0,
        acceleration: float = 2.0,
        yaw_rate: float = YAW_RATE,
    ):
        points = finite(waypoints, (-1, 3), "waypoints")
        if len(points) < 2:
            raise InvalidInput(f"minimum snap needs at least 2 waypoints, got {len(points)}")
        heading = np.zeros(len(points)) if yaws is None else np.unwrap(finite(yaws, (len(points),), "yaws"))
        lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
        if np.any(lengths < 1e-6):
            raise InvalidInput(f"waypoints {int(np.argmin(lengths)) + 1} and the next are the same point")
        if segment_times is not None:
            times = finite(segment_times, (len(points) - 1,), "segment times")
            if np.any(times <= 0.0):
                raise InvalidInput("segment times must be positive")
            path = _through(points, heading, times)
        else:
            _require_positive(speed=speed, acceleration=acceleration, yaw_rate=yaw_rate)
            # Time to cover each length with a bang-bang speed profile; only the proportions matter.
            times = np.where(
                lengths > speed**2 / acceleration,
                lengths / speed + speed / acceleration,
                2.0 * np.sqrt(lengths / acceleration),
            )
            path = _through(points, heading, times)
            v, a, w = path.peaks()
            path = path.stretched(max(v / speed, math.sqrt(a / acceleration), w / yaw_rate))
        super().__init__(path.breaks, path.coefficients)

    def cost(self) -> float:
        """Integral of the squared snap, m^2/s^7, by Gauss-Legendre (exact: the square has degree 6)."""
        node, weight = np.polynomial.legendre.leggauss(4)
        half = 0.5 * np.diff(self.breaks)
        tau = half[:, None] * (1.0 + node)
        factor = np.array([math.perm(k, 4) for k in range(4, 8)], dtype=float)
        snap = np.einsum("ngk,nkc->ngc", tau[..., None] ** np.arange(4) * factor, self.coefficients[:, 4:, :3])
        return float(np.einsum("n,g,ngc->", half, weight, snap**2))


def _through(points: Array, heading: Array, times: Array) -> PiecewisePolynomial:
    breaks = np.concatenate([[0.0], np.cumsum(times)])
    position = make_interp_spline(breaks, points, k=7, bc_type=(_expand(_AT_REST, 3), _expand(_AT_REST, 3)))
    yaw = make_interp_spline(breaks, heading, k=3, bc_type=([(1, 0.0)], [(1, 0.0)]))
    coefficients = np.concatenate([_power_basis(position, 8), _power_basis(yaw, 8)[..., None]], axis=-1)
    return PiecewisePolynomial(breaks, coefficients)


def _expand(conditions: list[tuple[int, float]], size: int) -> list[tuple[int, Array]]:
    return [(order, np.full(size, value)) for order, value in conditions]


def _power_basis(spline: BSpline, size: int) -> Array:
    """(segments, size, ...) coefficients about the left end of each segment: the Taylor series there."""
    left = np.unique(spline.t)[:-1]
    orders = range(size)
    return np.stack(
        [
            spline.derivative(d)(left) / math.factorial(d) if d <= spline.k else np.zeros_like(spline(left))
            for d in orders
        ],
        axis=1,
    )
