"""The geofence: where it is, where braking ends, and what the supervisor does about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.errors import InvalidInput
from control_stack.safety.events import Phase
from control_stack.safety.fence import MARGIN, Fence, parse_fence, stopping_point
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import PositionCommand, RotorCommand

COMMAND = RotorCommand(np.full(4, 1700.0))
FENCE = Fence((-2.0, 2.0), (-1.0, 3.0), 2.5)
coordinate = st.floats(-20.0, 20.0)
vectors = st.tuples(coordinate, coordinate, coordinate).map(np.array)


@given(vectors, st.floats(-5.0, 5.0))
def test_the_nearest_place_is_inside_and_inside_stays(position: np.ndarray, ground: float) -> None:
    nearest = FENCE.nearest(position, ground)
    assert FENCE.contains(nearest, ground, MARGIN) and FENCE.contains(nearest, ground)
    if FENCE.contains(position, ground, MARGIN):
        assert np.array_equal(nearest, position)


def test_the_height_counts_from_the_ground_and_there_is_no_floor() -> None:
    assert FENCE.contains(np.array([0.0, 0.0, 7.4]), 5.0) and not FENCE.contains(np.array([0.0, 0.0, 7.6]), 5.0)
    assert FENCE.contains(np.array([0.0, 0.0, -3.0]), 0.0)


@given(vectors, st.floats(0.5, 10.0), st.floats(0.0, 1.0))
def test_the_stopping_point_is_where_constant_braking_ends(v: np.ndarray, a: float, reaction: float) -> None:
    """Energy: v^2 / 2 = a d, after v * reaction at full speed."""
    way = stopping_point(np.zeros(3), v, a, reaction)
    speed = np.linalg.norm(v)
    assert np.linalg.norm(way) - speed * reaction == pytest.approx(speed**2 / (2.0 * a), abs=1e-9)
    assert np.dot(way, v) == pytest.approx(np.linalg.norm(way) * speed, abs=1e-6)


def test_a_fence_is_read_as_text() -> None:
    assert parse_fence("none") is None
    assert parse_fence("-2, -1,2,3,2.5") == FENCE


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "a,b,c,d,e", "2,-1,-2,3,2.5", "-2,-1,2,3,0", "-2,-1,2,nan,2", "0,0,0.1,1,1"]
)
def test_what_is_no_fence_is_refused_with_what_it_needs(text: str) -> None:
    with pytest.raises(InvalidInput, match="fence"):
        parse_fence(text)


def test_a_vehicle_that_could_not_stop_inside_is_braked_and_kept(bench) -> None:
    bench = type(bench)(SafetyConfig(fence=FENCE))
    bench.take_off()
    bench.state = replace(bench.state, position_w=np.array([1.0, 0.0, 1.0]), velocity_w=np.array([1.0, 0.0, 0.0]))
    assert bench.step(command=COMMAND) is COMMAND  # 0.125 m of braking and 0.2 m of reaction: inside
    bench.state = replace(bench.state, position_w=np.array([1.6, 0.0, 1.0]), velocity_w=np.array([1.5, 0.0, 0.0]))
    sent = bench.step(command=COMMAND)
    assert bench.phase is Phase.HOLD and bench.names[-1] == "fence"
    assert isinstance(sent, PositionCommand) and np.allclose(sent.position_w, [2.0 - MARGIN, 0.0, 1.0])
    bench.state = replace(bench.state, velocity_w=np.zeros(3))
    bench.step(5.0, COMMAND)
    assert bench.phase is Phase.HOLD  # the controller would take it out again
    assert bench.supervisor.land(bench.t, bench.state).accepted
    bench.step(10.0, COMMAND)
    assert bench.phase is Phase.DISARMED and bench.names[-1] == "landed"
    bench.state = replace(bench.state, position_w=np.zeros(3))
    bench.step()
    assert bench.supervisor.arm(bench.t, bench.state).accepted
    assert bench.supervisor.takeoff(bench.t, bench.state).accepted
    bench.step(5.0, COMMAND)
    assert bench.phase is Phase.FLYING  # the next flight is a new one


def test_held_at_the_fence_it_still_lands_when_the_controller_dies(bench) -> None:
    bench = type(bench)(SafetyConfig(fence=FENCE))
    bench.take_off()
    bench.state = replace(bench.state, velocity_w=np.array([6.0, 0.0, 0.0]))
    bench.step(command=COMMAND)
    bench.state = replace(bench.state, velocity_w=np.zeros(3))
    bench.step(2.0)
    assert bench.phase is Phase.LANDING and bench.names[-2:] == ["fence", "landing"]


@pytest.mark.parametrize("phase", [Phase.TAKEOFF, Phase.FLYING, Phase.HOLD])
def test_outside_it_lands_where_it_is_or_where_it_was_held(bench, phase: Phase) -> None:
    bench = type(bench)(SafetyConfig(fence=FENCE))
    bench.to(phase)
    held, outside = bench.state.position_w, np.array([2.1, 0.0, bench.state.position_w[2]])
    bench.state = replace(bench.state, position_w=outside)
    sent = bench.step(command=COMMAND)
    assert bench.phase is Phase.LANDING and bench.names[-1] == "fence_left"
    assert isinstance(sent, PositionCommand) and np.allclose(sent.position_w, held if phase is Phase.HOLD else outside)
    bench.step(10.0, COMMAND)
    assert bench.phase is Phase.DISARMED


def test_outside_it_is_not_armed_and_above_it_not_taken_off(bench) -> None:
    bench = type(bench)(SafetyConfig(fence=FENCE, takeoff_height=2.45))
    bench.state = replace(bench.state, position_w=np.array([0.0, -1.2, 0.0]))
    bench.step()
    reply = bench.supervisor.arm(bench.t, bench.state)
    assert not reply.accepted and "outside the fence" in reply.message
    bench.state = replace(bench.state, position_w=np.zeros(3))
    bench.step()
    assert bench.supervisor.arm(bench.t, bench.state).accepted
    reply = bench.supervisor.takeoff(bench.t, bench.state)
    assert not reply.accepted and "goes out of the fence" in reply.message
    assert bench.phase is Phase.ARMED
