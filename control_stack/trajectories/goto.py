"""Straight lines from rest to rest, and septic connections between moving references."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.frames import wrap_angle
from control_stack.trajectories.polynomial import PiecewisePolynomial, finite
from control_stack.types import Array, Reference

# Septic rest to rest, s(u) = 35 u^4 - 84 u^5 + 70 u^6 - 20 u^7: largest s' (at 1/2) and s'' (at 1/2 - 1/(2
# sqrt 5)).
_PEAK_SPEED = 35.0 / 16.0
_PEAK_ACCELERATION = 84.0 * math.sqrt(5.0) / 25.0
_SHORTEST = 0.2  # s
# s: a millimetre between two references could be crossed within the limit of acceleration in less, but only by a jerk
# that no vehicle follows.
_SHORTEST_WAY = 0.5
YAW_RATE = 1.5  # rad/s, default limit of the heading


def _require_positive(**limits: float) -> None:
    for name, value in limits.items():
        if not (math.isfinite(value) and value > 0.0):
            raise InvalidInput(f"{name.replace('_', ' ')} must be positive, got {value:g}")


class GoTo(PiecewisePolynomial):
    """Minimum-snap straight line from rest to rest, as fast as the limits allow.

    p(t) = start + (goal - start) s(t / T), s the septic with zero speed, acceleration and jerk at both ends
    (Mellinger, Kumar 2011, for one segment); T is the shortest within speed (m/s), acceleration (m/s^2) and
    yaw rate (rad/s). Yaw turns the short way round.

    Raises:
        InvalidInput: A limit is not positive, or a pose not finite.
    """

    def __init__(
        self,
        start: ArrayLike,
        goal: ArrayLike,
        start_yaw: float = 0.0,
        goal_yaw: float = 0.0,
        speed: float = 1.0,
        acceleration: float = 2.0,
        yaw_rate: float = YAW_RATE,
    ):
        a, b = finite(start, (3,), "start position"), finite(goal, (3,), "goal position")
        _require_positive(speed=speed, acceleration=acceleration, yaw_rate=yaw_rate)
        turn = float(wrap_angle(finite(goal_yaw, (), "goal yaw") - finite(start_yaw, (), "start yaw")))
        distance = float(np.linalg.norm(b - a))
        duration = max(
            _PEAK_SPEED * distance / speed,
            math.sqrt(_PEAK_ACCELERATION * distance / acceleration),
            _PEAK_SPEED * abs(turn) / yaw_rate,
            _SHORTEST,
        )
        way = np.array([*(b - a), turn])
        shape = np.array([0.0, 0.0, 0.0, 0.0, 35.0, -84.0, 70.0, -20.0]) / duration ** np.arange(8.0)
        coefficients = shape[:, None] * way
        coefficients[0] = [*a, float(start_yaw)]
        super().__init__([0.0, duration], coefficients[None])


def connect(
    start: Reference,
    end: Reference,
    speed: float = 1.0,
    acceleration: float = 2.0,
    yaw_rate: float = YAW_RATE,
) -> PiecewisePolynomial:
    """A septic from one moving reference to another: position to jerk and yaw to yaw rate agree at both ends.

    The duration is the shortest, from 0.5 s on, of a geometric grid about the rest-to-rest one within the limits
    (speed m/s, acceleration m/s^2, yaw rate rad/s), of which an end that is faster itself raises its own to 1.2
    times that. Where none is within (a longer way with an acceleration at its end is also a faster one) it is the
    one that exceeds them least.
    """
    _require_positive(speed=speed, acceleration=acceleration, yaw_rate=yaw_rate)
    ends = (start, end)
    limits = np.array(
        [
            max(speed, *(1.2 * float(np.linalg.norm(r.velocity_w)) for r in ends)),
            max(acceleration, *(1.2 * float(np.linalg.norm(r.acceleration_w)) for r in ends)),
            max(yaw_rate, *(1.2 * abs(float(r.yaw_rate)) for r in ends)),
        ]
    )
    yaws = float(start.yaw), float(end.yaw)
    straight = GoTo(start.position_w, end.position_w, *yaws, speed, acceleration, yaw_rate)
    rates = sum(float(np.linalg.norm(r.velocity_w)) for r in ends)
    guess = straight.duration + rates / acceleration
    best, least = None, math.inf
    for duration in np.maximum(guess * np.geomspace(0.4, 4.0, 40), _SHORTEST_WAY):
        path = _septic(start, end, float(duration))
        excess = float(np.max(np.array(path.peaks()) / limits))
        if excess <= 1.0001:
            return path
        if excess < least:
            best, least = path, excess
    return best if best is not None else straight


def _septic(start: Reference, end: Reference, duration: float) -> PiecewisePolynomial:
    turn = float(wrap_angle(float(end.yaw) - float(start.yaw)))
    u = np.arange(8)
    # Row d: d-th derivative of u^k at 1, times 1 / d!.
    at_end = np.array([[math.comb(k, d) for k in u] for d in range(4)], dtype=float)
    low = _taylor(start, float(start.yaw), duration)
    high = _taylor(end, float(start.yaw) + turn, duration)
    upper = np.linalg.solve(at_end[:, 4:], high - at_end[:, :4] @ low)
    coefficients = np.concatenate([low, upper]) / duration ** u[:, None].astype(float)
    return PiecewisePolynomial([0.0, duration], coefficients[None])


def _taylor(r: Reference, yaw: float, duration: float) -> Array:
    """(4, 4): derivatives 0..3 over their factorials, of x, y, z, yaw, in time over duration."""
    rows = np.zeros((4, 4))
    for d, value in enumerate((r.position_w, r.velocity_w, r.acceleration_w, r.jerk_w)):
        rows[d, :3] = np.asarray(value) * duration**d / math.factorial(d)
    rows[:2, 3] = yaw, float(r.yaw_rate) * duration
    return rows
