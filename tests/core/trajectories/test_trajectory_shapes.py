"""Hover, the figure eight, straight lines and connections."""

from __future__ import annotations

import math

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from control_stack.protocols import Trajectory
from control_stack.trajectories import Excite, GoTo, Hover, Lissajous, connect, parse_trajectory
from control_stack.types import Reference


def test_hover_never_moves(check):
    hover = Hover([1.0, 2.0, 3.0], 0.7, 4.0)
    assert isinstance(hover, Trajectory)
    check.held_outside(hover)
    check.at_rest(hover(2.0))
    assert hover(2.0).yaw == 0.7


@pytest.mark.parametrize("position", [[0, 0], [0, 0, math.nan], ["a", 0, 0]])
def test_hover_refuses_what_is_no_position(position):
    with pytest.raises(InvalidInput):
        Hover(position)


@pytest.mark.parametrize(("lap", "laps", "ramp"), [(5.5, 3, 3.0), (2.0, 1, 1.0), (7.3, 2, 11.0)])
def test_eight_starts_and_ends_at_rest_at_its_centre(check, lap, laps, ramp):
    eight = Lissajous([1.0, -1.0, 2.0], lap=lap, laps=laps, ramp=ramp, yaw=0.3)
    for t in (0.0, eight.duration):
        np.testing.assert_allclose(eight(t).position_w, [1.0, -1.0, 2.0], atol=1e-9)
        check.at_rest(eight(t))
    check.held_outside(eight)
    check.derivatives(eight, 0.0, eight.duration, tolerance=1e-4)


def test_eight_jerk_is_continuous_where_the_ramps_end():
    eight = Lissajous()
    for t in (0.0, 3.0, eight.duration - 3.0, eight.duration):
        np.testing.assert_allclose(eight(t - 1e-7).jerk_w, eight(t + 1e-7).jerk_w, atol=1e-4)


def test_eight_flies_whole_laps_of_its_size_at_full_rate():
    eight = Lissajous(size=(1.0, 0.5), lap=5.5, laps=3)
    t0, t1 = eight.steady_interval
    assert t1 - t0 == pytest.approx(3 * 5.5) and 0.0 < t0 < t1 < eight.duration
    points = np.array([eight(t).position_w for t in np.linspace(t0, t1, 4001)])
    np.testing.assert_allclose(np.ptp(points, axis=0), [2.0, 1.0, 0.0], atol=1e-4)
    # One lap later everything is the same.
    for t in np.linspace(t0, t1 - 5.5, 50):
        np.testing.assert_allclose(eight(t).acceleration_w, eight(t + 5.5).acceleration_w, atol=1e-9)
    # The centre is crossed at the curve's greatest speed, (2 pi / lap) |(a, 2b)|.
    speed = max(np.linalg.norm(eight(t).velocity_w) for t in np.linspace(t0, t1, 4001))
    assert speed == pytest.approx(2 * math.pi / 5.5 * math.hypot(1.0, 1.0), rel=1e-6)


def test_goto_is_the_minimum_snap_septic_along_a_line(check):
    goto = GoTo([0, 0, 1], [3, -4, 1], 0.2, 0.2, speed=1.0, acceleration=50.0)
    check.derivatives(goto, 0.0, goto.duration)
    check.held_outside(goto)
    for t in (0.0, goto.duration):
        check.at_rest(goto(t))
    u = 0.3
    share = 35 * u**4 - 84 * u**5 + 70 * u**6 - 20 * u**7
    np.testing.assert_allclose(goto(u * goto.duration).position_w, [3 * share, -4 * share, 1.0], atol=1e-12)


@pytest.mark.parametrize(
    ("speed", "acceleration", "yaw", "expected"),
    [
        (1.0, 50.0, 0.0, (1.0, None, None)),
        (50.0, 2.0, 0.0, (None, 2.0, None)),
        (50.0, 50.0, 2.0, (None, None, 1.5)),
    ],
)
def test_goto_reaches_exactly_the_limit_that_binds(speed, acceleration, yaw, expected):
    peaks = GoTo([0, 0, 0], [0, 5, 0], 0.0, yaw, speed, acceleration).peaks(per_segment=2001)
    for peak, limit in zip(peaks, (speed, acceleration, 1.5), strict=True):
        assert peak <= limit * (1 + 1e-9)
    for peak, limit in zip(peaks, expected, strict=True):
        if limit is not None:
            assert peak == pytest.approx(limit, rel=1e-5)


def test_goto_turns_the_short_way():
    goto = GoTo([0, 0, 1], [0, 0, 1], 3.0, -3.0)
    assert goto(goto.duration).yaw == pytest.approx(2 * math.pi - 3.0)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (1.0, -1.0), (math.inf, 1.0)])
def test_goto_refuses_senseless_limits(limits):
    with pytest.raises(InvalidInput):
        GoTo([0, 0, 0], [1, 0, 0], 0.0, 0.0, *limits)


def test_connect_meets_both_ends_in_motion(check):
    eight = Lissajous()
    start, end = eight(4.0), eight(9.0)
    path = connect(start, end)
    check.derivatives(path, 0.0, path.duration, tolerance=1e-4)
    for reference, t in ((start, 0.0), (end, path.duration)):
        for name in ("position_w", "velocity_w", "acceleration_w", "jerk_w"):
            np.testing.assert_allclose(getattr(path(t), name), getattr(reference, name), atol=1e-9, err_msg=name)


def test_connect_stops_from_motion_within_its_limits():
    start = Reference(np.zeros(3), np.array([1.0, 0.0, 0.0]))
    speed, acceleration, _ = connect(start, Reference(np.array([3.0, 1.0, 0.0])), 1.0, 2.0).peaks(2001)
    assert speed <= 1.2 * 1.001 and acceleration <= 2.0 * 1.001


def test_connect_between_rests_is_goto():
    a, b = Reference(np.zeros(3)), Reference(np.array([1.0, 2.0, 0.5]), yaw=1.0)
    path = connect(a, b, 1.0, 2.0)
    goto = GoTo(a.position_w, b.position_w, 0.0, 1.0, 1.0, 2.0)
    for u in np.linspace(0, 1, 11):
        np.testing.assert_allclose(path(u * path.duration).position_w, goto(u * goto.duration).position_w, atol=1e-9)


def test_connect_does_not_kick_across_a_millimetre():
    """An agile vehicle's limits allow 80 ms, with 1000 m/s^3; hand-overs after take-off are such ways."""
    start = Reference(np.array([0.0, 0.0, 1.019]), np.array([0.0, 0.0, 0.016]))
    path = connect(start, Reference(np.array([0.0, 0.0, 1.02])), 5.0, 12.0)
    times = np.linspace(0.0, path.duration, 101)
    assert max(np.linalg.norm(path(t).jerk_w) for t in times) < 10.0


def test_a_flight_to_learn_from_stays_in_its_box_and_parts_speed_from_acceleration(check):
    path = parse_trajectory("excite:size=8x6x2,period=7,duration=30", [1.0, 0.0, 5.0])
    assert isinstance(path, Excite) and path.duration == 30.0
    check.derivatives(path, 0.0, 30.0, tolerance=1e-3, count=100)
    check.held_outside(path)
    for end in (0.0, 30.0):
        check.at_rest(path(end))
        np.testing.assert_allclose(path(end).position_w, [1.0, 0.0, 5.0], atol=1e-9)
    references = [path(t) for t in np.arange(0.0, 30.0, 0.05)]
    position, velocity, acceleration = (
        np.array([getattr(r, name) for r in references]) for name in ("position_w", "velocity_w", "acceleration_w")
    )
    off = np.abs(position - [1.0, 0.0, 5.0]).max(axis=0)
    assert (off <= [4.0, 3.0, 1.0]).all() and (off > [2.5, 2.0, 0.6]).all()
    related = np.abs(np.corrcoef(np.hstack([velocity, acceleration]).T) - np.eye(6))
    assert related[:3, 3:].max() < 1e-6 and related.max() < 0.3


@pytest.mark.parametrize("options", [{"period": 0.0}, {"duration": 6.0}, {"size": (1.0, 1.0)}])
def test_a_flight_to_learn_from_needs_a_box_a_period_and_time(options):
    with pytest.raises(InvalidInput):
        Excite(**options)
