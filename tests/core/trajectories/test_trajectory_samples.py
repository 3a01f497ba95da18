"""Samples and back: round trips, filled-in derivatives, hostile samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from control_stack.trajectories import Hover, Lissajous, MinimumSnap, SampledTrajectory, sample

EIGHT = Lissajous(lap=4.0, laps=1, ramp=2.0, yaw=0.4)


def worst(a, b, name: str, t0: float = 0.0, t1: float = EIGHT.duration) -> float:
    return max(float(np.abs(getattr(a(t), name) - getattr(b(t), name)).max()) for t in np.linspace(t0, t1, 997))


def test_round_trip_of_position_velocity_and_acceleration():
    back = SampledTrajectory(*sample(EIGHT, 50.0))
    assert back.duration == pytest.approx(EIGHT.duration)
    assert worst(back, EIGHT, "position_w") < 1e-8
    assert worst(back, EIGHT, "velocity_w") < 1e-6
    assert worst(back, EIGHT, "acceleration_w") < 1e-4
    assert worst(back, EIGHT, "jerk_w") < 1e-2


def test_round_trip_error_falls_with_the_sixth_power_of_the_step():
    path = MinimumSnap([[0, 0, 1], [1, 1, 1], [2, 0, 2]], segment_times=[2.0, 2.0])
    coarse, fine = (worst(SampledTrajectory(*sample(path, rate)), path, "position_w", 0.0, 4.0) for rate in (4.0, 8.0))
    assert coarse / fine > 0.8 * 2.0**6


def test_a_quintic_is_reproduced_exactly():
    times = np.array([0.0, 0.7, 1.0, 2.5])
    p = np.polynomial.Polynomial([0.3, -1.0, 0.5, 0.2, -0.3, 0.05])
    stack = [
        np.repeat(p.deriv(d)(times)[:, None], 3, axis=1) if d else np.repeat(p(times)[:, None], 3, 1) for d in (0, 1, 2)
    ]
    path = SampledTrajectory(times, *stack)
    for t in np.linspace(0.0, 2.5, 31):
        np.testing.assert_allclose(path(t).jerk_w, p.deriv(3)(t), atol=1e-9)


def test_missing_accelerations_and_velocities_are_filled_in(check):
    samples = sample(EIGHT, 25.0)
    with_velocity = SampledTrajectory(samples.times, samples.positions, samples.velocities)
    positions_only = SampledTrajectory(samples.times, samples.positions)
    for path, tolerance in ((with_velocity, 1e-3), (positions_only, 1e-2)):
        assert worst(path, EIGHT, "position_w") < 1e-5
        assert worst(path, EIGHT, "acceleration_w", 0.5, EIGHT.duration - 0.5) < tolerance
        check.derivatives(path, 0.0, path.duration, tolerance=1e-3)
        for t in path.breaks[1:-1]:
            np.testing.assert_allclose(path(t - 1e-9).jerk_w, path(t + 1e-9).jerk_w, atol=1e-4)


def test_filled_in_accelerations_give_the_least_jerk():
    random = np.random.default_rng(0)
    times = np.array([0.0, 0.5, 1.3, 2.0, 3.1])
    p, v = random.standard_normal((5, 3)), random.standard_normal((5, 3))

    def jerk_cost(path: SampledTrajectory) -> float:
        node, weight = np.polynomial.legendre.leggauss(4)
        half = 0.5 * np.diff(times)
        total = 0.0
        for t0, h in zip(times[:-1], half, strict=True):
            total += sum(h * w * (path(t0 + h * (1 + n)).jerk_w ** 2).sum() for n, w in zip(node, weight, strict=True))
        return total

    best = SampledTrajectory(times, p, v)
    accelerations = np.array([best(t).acceleration_w for t in times])
    least = jerk_cost(best)
    for _ in range(10):
        other = accelerations + 0.1 * random.standard_normal((5, 3))
        assert jerk_cost(SampledTrajectory(times, p, v, other)) > least


def test_two_positions_make_a_line_and_one_is_held(check):
    line = SampledTrajectory([0.0, 2.0], [[0, 0, 1], [4, 0, 1]])
    np.testing.assert_allclose(line(0.5).position_w, [1.0, 0.0, 1.0])
    np.testing.assert_allclose(line(0.5).velocity_w, [2.0, 0.0, 0.0])
    point = SampledTrajectory([1.0], [[1, 2, 3]], yaws=[0.5])
    for t in (0.0, 1.0, 5.0):
        np.testing.assert_allclose(point(t).position_w, [1, 2, 3])
        assert point(t).yaw == 0.5


def test_yaw_passes_pi_without_turning_back():
    path = SampledTrajectory(np.arange(4.0), np.zeros((4, 3)), yaws=[2.9, 3.1, -3.0, -2.8])
    yaws = [path(t).yaw for t in np.linspace(0.0, 3.0, 100)]
    assert np.all(np.diff(yaws) > 0.0)


@pytest.mark.parametrize(
    ("times", "positions"),
    [
        ([], np.zeros((0, 3))),
        ([0.0, 0.0], np.zeros((2, 3))),
        ([1.0, 0.5], np.zeros((2, 3))),
        ([-1.0, 0.5], np.zeros((2, 3))),
        ([0.0, math.nan], np.zeros((2, 3))),
        ([0.0, 1.0], np.zeros((3, 3))),
        ([0.0, 1.0], [[0, 0, math.inf], [0, 0, 0]]),
    ],
)
def test_refuses_hostile_samples(times, positions):
    with pytest.raises(InvalidInput):
        SampledTrajectory(times, positions)


def test_refuses_to_sample_what_never_ends():
    with pytest.raises(InvalidInput, match="without end"):
        sample(Hover([0, 0, 1]))
