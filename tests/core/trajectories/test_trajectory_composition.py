"""Chains, approaches and the words of the command line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from control_stack.errors import InvalidInput, UnknownName
from control_stack.trajectories import (
    GoTo,
    Hover,
    Lissajous,
    MinimumSnap,
    SampledTrajectory,
    chain,
    parse_trajectory,
    sample,
    steady_interval,
    with_approach,
)
from control_stack.types import Reference

HOME = Reference(np.array([0.0, 0.0, 1.0]))


def test_a_chain_flies_its_parts_in_order(check):
    eight = Lissajous([1, 0, 1], lap=3.0, laps=1)
    path = chain(GoTo([0, 0, 1], [1, 0, 1]), eight, Hover([1, 0, 1], duration=2.0))
    goto = path.starts[1]
    assert path.duration == pytest.approx(goto + eight.duration + 2.0)
    np.testing.assert_allclose(path(goto + 3.7).position_w, eight(3.7).position_w)
    check.derivatives(path, 0.0, path.duration, tolerance=1e-4)
    check.held_outside(path)
    t0, t1 = steady_interval(path)
    assert (t0 - goto, t1 - goto) == pytest.approx(eight.steady_interval)


def test_only_the_last_part_may_last_for_ever():
    assert chain(GoTo([0, 0, 1], [1, 0, 1]), Hover([1, 0, 1])).duration == math.inf
    with pytest.raises(InvalidInput, match="never ends"):
        chain(Hover([0, 0, 1]), GoTo([0, 0, 1], [1, 0, 1]))


@pytest.mark.parametrize(
    "second",
    [
        GoTo([1.1, 0, 1], [2, 0, 1]),
        GoTo([1, 0, 1], [2, 0, 1], 0.5),
        SampledTrajectory([0, 1], [[1, 0, 1], [2, 0, 1]]),
    ],
)
def test_a_chain_with_a_jump_is_refused(second):
    with pytest.raises(InvalidInput, match="trajectory 2 of the chain starts"):
        chain(GoTo([0, 0, 1], [1, 0, 1]), second)


def test_an_approach_joins_a_trajectory_that_starts_and_ends_in_motion(check):
    s = sample(Lissajous([3, 0, 2], laps=2), 50.0)
    inside = (s.times > 4.0) & (s.times < 9.0)
    cut = SampledTrajectory(s.times[inside] - s.times[inside][0], s.positions[inside], s.velocities[inside])
    path = with_approach(cut, HOME, 1.0, 2.0)
    np.testing.assert_allclose(path(0.0).position_w, HOME.position_w, atol=1e-9)
    check.at_rest(path(0.0))
    check.at_rest(path(path.duration))
    jumps = [np.abs(path(t + 1e-6).velocity_w - path(t - 1e-6).velocity_w).max() for t in path.starts[1:]]
    assert max(jumps) < 1e-4


def test_no_approach_where_none_is_needed():
    eight = Lissajous(HOME.position_w)
    assert with_approach(eight, HOME) is eight


def test_words_of_the_command_line(tmp_path):
    assert parse_trajectory("hover", (0, 0, 2)).duration == 10.0
    assert parse_trajectory("hover:duration=3").duration == 3.0
    eight = parse_trajectory("eight:lap=10,size=2.0x0.4,laps=2,ramp=1", (1, 2, 3))
    t0, t1 = eight.steady_interval
    assert t1 - t0 == pytest.approx(20.0)
    np.testing.assert_allclose(eight(0.0).position_w, [1, 2, 3])
    points = np.array([eight(t).position_w for t in np.linspace(t0, t1, 2001)])
    np.testing.assert_allclose(np.ptp(points, axis=0), [4.0, 0.8, 0.0], atol=1e-4)
    file = tmp_path / "a.csv"
    file.write_text("t,x,y,z\n" + "".join(f"{i},{i},0,1\n" for i in range(5)))
    np.testing.assert_allclose(parse_trajectory(str(file))(2.5).position_w, [2.5, 0, 1], atol=1e-9)
    file.write_text("x,y,z\n1,0,1\n2,0,1\n")
    path = parse_trajectory(f"waypoints:{file},speed=0.5", (0, 0, 1))
    assert isinstance(path, MinimumSnap) and path.peaks()[0] <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        ("circle", UnknownName, "expected one of: hover, eight"),
        ("", UnknownName, "unknown trajectory ''"),
        ("eight:radius=1", UnknownName, "expected one of: lap, size, laps, ramp"),
        ("eight:lap=0", InvalidInput, "lap=0"),
        ("eight:lap=nan", InvalidInput, "lap=nan"),
        ("eight:lap", InvalidInput, "needs a value"),
        ("eight:size=1", InvalidInput, "1.0x0.5"),
        ("eight:laps=1.5", InvalidInput, "whole number"),
        ("hover:duration=-1", InvalidInput, "from 1e-6 to 1e6"),
        ("nothing.csv", InvalidInput, "does not exist"),
    ],
)
def test_words_that_mean_nothing_are_refused_in_one_line(text, error, word):
    with pytest.raises(error) as caught:
        parse_trajectory(text)
    assert word in str(caught.value) and "\n" not in str(caught.value)
