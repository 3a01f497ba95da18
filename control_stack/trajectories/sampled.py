"""Trajectories from samples, and samples from trajectories: how one crosses a ROS message or a file."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline, CubicSpline, make_interp_spline
from scipy.linalg import solve_banded

from control_stack.errors import InvalidInput
from control_stack.protocols import Trajectory
from control_stack.trajectories.polynomial import PiecewisePolynomial, finite
from control_stack.types import Array


class Samples(NamedTuple):
    """n samples: times (n,) s; positions, velocities, accelerations (n, 3) world; yaws, yaw_rates (n,)."""

    times: Array
    positions: Array
    velocities: Array
    accelerations: Array
    yaws: Array
    yaw_rates: Array


def sample(trajectory: Trajectory, rate_hz: float = 50.0) -> Samples:
    """The trajectory on an even grid from 0 to its duration, at least at rate_hz.

    Raises:
        InvalidInput: The trajectory never ends, or the rate is not positive.
    """
    if not math.isfinite(trajectory.duration):
        raise InvalidInput("a trajectory without end cannot be sampled")
    if not (math.isfinite(rate_hz) and rate_hz > 0.0):
        raise InvalidInput(f"sampling rate must be positive, got {rate_hz:g}")
    count = max(math.ceil(trajectory.duration * rate_hz - 1e-9), 1) + 1
    times = np.linspace(0.0, trajectory.duration, count)
    references = [trajectory(t) for t in times.tolist()]
    return Samples(
        times,
        np.stack([r.position_w for r in references]),
        np.stack([r.velocity_w for r in references]),
        np.stack([r.acceleration_w for r in references]),
        np.array([float(r.yaw) for r in references]),
        np.array([float(r.yaw_rate) for r in references]),
    )


class SampledTrajectory(PiecewisePolynomial):
    """Quintic Hermite interpolation of position, velocity and acceleration; cubic Hermite of yaw and yaw
    rate.

    What is missing is filled in so that jerk stays continuous: accelerations alone are those of the
    minimum-jerk curve through the given positions and velocities (one tridiagonal system); without velocities
    too, those of the natural quintic spline (the minimum-jerk curve through the positions). A single sample
    is held.

    Args:
        times: (n,) s, increasing, not negative; before the first sample its position is held.
        positions: (n, 3) m. velocities: (n, 3) m/s. accelerations: (n, 3) m/s^2; none without velocities.
        yaws: (n,) rad, jumps of more than pi are unwrapped; 0 if None. yaw_rates: (n,) rad/s.

    Raises:
        InvalidInput: Wrong shape, not finite, or times that do not increase.
    """

    def __init__(
        self,
        times: ArrayLike,
        positions: ArrayLike,
        velocities: ArrayLike | None = None,
        accelerations: ArrayLike | None = None,
        yaws: ArrayLike | None = None,
        yaw_rates: ArrayLike | None = None,
    ):
        t = finite(times, (-1,), "times")
        n = len(t)
        if n == 0:
            raise InvalidInput("a trajectory needs at least one sample")
        if t[0] < 0.0 or np.any(np.diff(t) <= 0.0):
            raise InvalidInput("sample times must not be negative and must increase")
        p = finite(positions, (n, 3), "positions")
        yaw = np.zeros(n) if yaws is None else np.unwrap(finite(yaws, (n,), "yaws"))
        if n == 1:
            hold = np.zeros((1, 1, 4))
            hold[0, 0] = [*p[0], yaw[0]]
            super().__init__([t[0], t[0] + 1e-3], hold)
            return
        if velocities is None:
            v, a = _natural_spline(t, p)
        else:
            v = finite(velocities, (n, 3), "velocities")
            a = (
                _smoothest_accelerations(t, p, v)
                if accelerations is None
                else finite(accelerations, (n, 3), "accelerations")
            )
        if yaw_rates is not None:
            turning = CubicHermiteSpline(t, yaw, finite(yaw_rates, (n,), "yaw rates"))
        else:
            turning = CubicSpline(t, yaw, bc_type="natural")
        heading = np.zeros((n - 1, 6, 1))
        heading[:, :4, 0] = turning.c[::-1].T
        super().__init__(t, np.concatenate([_quintic(np.diff(t)[:, None], p, v, a), heading], axis=-1))


def _quintic(h: Array, p: Array, v: Array, a: Array) -> Array:
    """(n - 1, 6, 3) coefficients of quintics that meet p, v and a at the ends of intervals h (n - 1, 1)."""
    d = p[1:] - (p[:-1] + h * v[:-1] + 0.5 * h**2 * a[:-1])
    e = h * (v[1:] - v[:-1] - h * a[:-1])
    f = h**2 * (a[1:] - a[:-1])
    return np.stack(
        [
            p[:-1],
            v[:-1],
            0.5 * a[:-1],
            (10.0 * d - 4.0 * e + 0.5 * f) / h**3,
            (-15.0 * d + 7.0 * e - f) / h**4,
            (6.0 * d - 3.0 * e + 0.5 * f) / h**5,
        ],
        axis=1,
    )


def _natural_spline(t: Array, p: Array) -> tuple[Array, Array]:
    """Velocities and accelerations at the knots of the natural quintic spline (jerk and snap end at 0)."""
    if len(t) == 2:
        # Three conditions fewer than the spline needs: the smoothest curve through two points is a line.
        slope = (p[1:] - p[:-1]) / (t[1] - t[0])
        return np.repeat(slope, 2, axis=0), np.zeros((2, 3))
    zero = np.zeros(3)
    spline = make_interp_spline(t, p, k=5, bc_type=([(3, zero), (4, zero)], [(3, zero), (4, zero)]))
    return spline.derivative(1)(t), spline.derivative(2)(t)


def _smoothest_accelerations(t: Array, p: Array, v: Array) -> Array:
    """Accelerations that make jerk continuous at the knots and zero at the ends.

    The quintic over h has jerk 60 dp/h^3 - 60 v0/h^2 - 24 dv/h^2 + (3 a1 - 9 a0)/h at its start and,
    mirrored, 60 dp/h^3 - 60 v1/h^2 + 24 dv/h^2 + (9 a1 - 3 a0)/h at its end; equating neighbours is
    tridiagonal in a.
    """
    h = np.diff(t)[:, None]
    common = 60.0 * np.diff(p, axis=0) / h**3
    dv = 24.0 * np.diff(v, axis=0) / h**2
    at_start = common - 60.0 * v[:-1] / h**2 - dv
    at_end = common - 60.0 * v[1:] / h**2 + dv
    n = len(t)
    bands, rhs = np.zeros((3, n)), np.zeros((n, 3))
    inverse = 1.0 / h[:, 0]
    bands[1, :-1] += 9.0 * inverse
    bands[1, 1:] += 9.0 * inverse
    bands[0, 1:] = bands[2, :-1] = -3.0 * inverse
    rhs[:-1] += at_start
    rhs[1:] -= at_end
    return solve_banded((1, 1), bands, rhs)
