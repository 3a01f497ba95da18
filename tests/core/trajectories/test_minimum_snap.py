"""Minimum snap: feasibility, optimality against an independent quadratic program, scaling laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import BPoly

from control_stack.errors import InvalidInput
from control_stack.trajectories import GoTo, MinimumSnap

POINTS = np.array([[0.0, 0.0, 1.0], [1.0, 0.5, 1.2], [1.5, 2.0, 0.8], [0.0, 2.0, 1.0]])
TIMES = np.array([1.0, 1.7, 1.3])


def quadratic_program(points: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (segments, 8) of one axis and the cost, from the program's KKT system."""
    n = len(times)
    hessian, rows, values = np.zeros((8 * n, 8 * n)), [], []

    def at(segment: int, tau: float, order: int) -> np.ndarray:
        row = np.zeros(8 * n)
        row[8 * segment : 8 * segment + 8] = [
            math.perm(k, order) * tau ** (k - order) if k >= order else 0.0 for k in range(8)
        ]
        return row

    for i, h in enumerate(times):
        for j in range(4, 8):
            for k in range(4, 8):
                power = j + k - 7
                hessian[8 * i + j, 8 * i + k] = math.perm(j, 4) * math.perm(k, 4) * h**power / power
        rows += [at(i, 0.0, 0), at(i, h, 0)]
        values += [points[i], points[i + 1]]
        if i + 1 < n:  # only up to jerk: whatever is smoother must come out of the optimum
            rows += [at(i, h, d) - at(i + 1, 0.0, d) for d in (1, 2, 3)]
            values += [0.0] * 3
    rows += [at(0, 0.0, d) for d in (1, 2, 3)] + [at(n - 1, times[-1], d) for d in (1, 2, 3)]
    values += [0.0] * 6
    constraint = np.array(rows)
    m = len(rows)
    kkt = np.block([[hessian, constraint.T], [constraint, np.zeros((m, m))]])
    c = np.linalg.solve(kkt, np.concatenate([np.zeros(8 * n), values]))[: 8 * n]
    return c.reshape(n, 8), float(c @ hessian @ c)


def snap_cost(curve: BPoly) -> float:
    """Integral of the squared fourth derivative over all axes."""
    node, weight = np.polynomial.legendre.leggauss(6)
    half = 0.5 * np.diff(curve.x)
    t = curve.x[:-1, None] + half[:, None] * (1 + node)
    return float(np.einsum("n,g,ngc->", half, weight, curve.derivative(4)(t) ** 2))


def test_equals_the_quadratic_program():
    path = MinimumSnap(POINTS, segment_times=TIMES)
    cost = 0.0
    for axis in range(3):
        coefficients, part = quadratic_program(POINTS[:, axis], TIMES)
        np.testing.assert_allclose(path.coefficients[..., axis], coefficients, atol=1e-8)
        cost += part
    assert path.cost() == pytest.approx(cost, rel=1e-9)


def test_every_other_feasible_spline_costs_more():
    path = MinimumSnap(POINTS, segment_times=TIMES)
    at_knots = [path(t) for t in path.breaks.tolist()]
    knots = np.array([[r.position_w, r.velocity_w, r.acceleration_w, r.jerk_w] for r in at_knots])
    best = snap_cost(BPoly.from_derivatives(path.breaks, list(knots)))
    assert path.cost() == pytest.approx(best, rel=1e-9)
    random = np.random.default_rng(3)
    for _ in range(20):
        other = knots.copy()
        other[1:-1, 1:] += 0.05 * random.standard_normal(other[1:-1, 1:].shape)
        assert snap_cost(BPoly.from_derivatives(path.breaks, list(other))) > best


def test_passes_the_waypoints_with_continuous_derivatives(check):
    path = MinimumSnap(POINTS, [0.0, 1.0, 3.0, -3.0], TIMES)
    for t, point in zip(path.breaks, POINTS, strict=True):
        np.testing.assert_allclose(path(t).position_w, point, atol=1e-10)
    for t in path.breaks[1:-1]:
        for name in ("position_w", "velocity_w", "acceleration_w", "jerk_w", "yaw", "yaw_rate"):
            before, after = getattr(path(t - 1e-9), name), getattr(path(t + 1e-9), name)
            np.testing.assert_allclose(before, after, atol=1e-5, err_msg=name)
    for t in (0.0, path.duration):
        check.at_rest(path(t))
    check.held_outside(path)
    check.derivatives(path, 0.0, path.duration, tolerance=1e-4)
    # From 3 to -3 rad the short way is up.
    assert path(path.duration).yaw == pytest.approx(2 * math.pi - 3.0)


def test_one_segment_is_the_rest_to_rest_septic():
    path = MinimumSnap(POINTS[:2], segment_times=[2.0])
    goto = GoTo(*POINTS[:2])
    for u in np.linspace(0.0, 1.0, 9):
        np.testing.assert_allclose(path(2.0 * u).position_w, goto(u * goto.duration).position_w, atol=1e-12)


def test_cost_falls_with_the_seventh_power_of_time():
    slow = MinimumSnap(POINTS, segment_times=2.0 * TIMES)
    assert MinimumSnap(POINTS, segment_times=TIMES).cost() == pytest.approx(2.0**7 * slow.cost(), rel=1e-9)


@pytest.mark.parametrize(("speed", "acceleration"), [(1.0, 100.0), (100.0, 3.0), (1.5, 2.0)])
def test_allocated_times_meet_the_limit_that_binds(speed, acceleration):
    peaks = MinimumSnap(POINTS, speed=speed, acceleration=acceleration).peaks()
    ratios = np.array(peaks[:2]) / (speed, acceleration)
    assert ratios.max() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"waypoints": POINTS[:1]},
        {"waypoints": POINTS[[0, 1, 1]]},
        {"waypoints": POINTS, "segment_times": [1.0, 0.0, 1.0]},
        {"waypoints": POINTS, "segment_times": [1.0]},
        {"waypoints": POINTS, "yaws": [0.0, math.nan, 0.0, 0.0]},
        {"waypoints": POINTS, "speed": 0.0},
    ],
)
def test_refuses_what_cannot_be_flown(arguments):
    with pytest.raises(InvalidInput):
        MinimumSnap(**arguments)
