"""The reference in flight: continuous whatever is asked for, within limits, and where it was asked to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_stack.algebra import quat_from_yaw
from control_stack.errors import InvalidInput
from control_stack.flight.setpoints import BodyVelocity, Setpoints
from control_stack.frames import wrap_angle
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.trajectories import GoTo, Hover, Lissajous, PiecewisePolynomial
from control_stack.types import QuadrotorState, Reference

DT = 0.01
LIMITS = load_vehicle("crazyflie").limits
EIGHT = Lissajous((0.0, 0.0, 1.0), laps=1, ramp=2.0)
EIGHT_SPEED = 1.62  # m/s, a 2 pi / lap sqrt(2)
ORIGIN = np.array([0.0, 0.0, 1.0])


def vehicle(position=ORIGIN, velocity=(0.0, 0.0, 0.0), yaw: float = 0.0) -> QuadrotorState:
    return QuadrotorState(np.array(position), np.array(velocity), np.array(quat_from_yaw(yaw)), np.zeros(3))


def flying(
    setpoints: Setpoints, seconds: float, t: float = 0.0, state: QuadrotorState | None = None
) -> list[Reference]:
    """References of the periods from t on."""
    return [setpoints.reference(t + k * DT, state or vehicle(), True) for k in range(1, round(seconds / DT) + 1)]


@pytest.fixture
def setpoints() -> Setpoints:
    made = Setpoints(LIMITS)
    made.reference(0.0, vehicle(), False)
    return made


def places(references: list[Reference]) -> np.ndarray:
    return np.stack([r.position_w for r in references])


numbers = st.floats(-3.0, 3.0)
points = st.tuples(numbers, numbers, st.floats(0.2, 3.0))
inputs = st.one_of(
    st.tuples(st.just("go_to"), points, st.floats(-7.0, 7.0)),
    st.tuples(st.just("velocity"), st.tuples(*[st.floats(-9.0, 9.0)] * 3), st.floats(-9.0, 9.0)),
    st.tuples(st.just("eight"), points, st.sampled_from([None, -3.0, -0.5, 0.0, 0.4, 2.0])),
    st.tuples(st.just("moving"), points, st.none()),
    st.tuples(st.just("interruption"), points, st.none()),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(inputs, st.integers(1, 120)), min_size=1, max_size=5))
def test_no_sequence_of_inputs_makes_the_reference_jump(sequence: list) -> None:
    """Position moves at most by the speed of what is flown and of the way there, and agrees with the
    velocity."""
    setpoints = Setpoints(LIMITS)
    setpoints.reference(0.0, vehicle(), False)
    # A way from one moving reference to another may need 1.2 times the difference of their velocities.
    fastest = 1.2 * 2.0 * max(LIMITS.speed, EIGHT_SPEED) + EIGHT_SPEED
    t, last = 0.0, None
    for (kind, where, extra), periods in sequence:
        if kind == "go_to":
            setpoints.go_to(np.array(where), extra)
        elif kind == "velocity":
            setpoints.fly_velocity(t, BodyVelocity(np.array(where), extra))
        elif kind == "eight":
            setpoints.follow(Lissajous(where, laps=1, ramp=1.0), None if extra is None else t + extra)
        elif kind == "moving":  # starts and ends in motion
            line = np.zeros((1, 2, 4))
            line[0] = [[*where, 0.5], [1.0, -0.5, 0.0, 0.2]]
            setpoints.follow(PiecewisePolynomial([0.0, 0.6], line))
        else:
            setpoints.reference(t, vehicle(where), False)
            last = None
        for _ in range(periods):
            t += DT
            now = setpoints.reference(t, vehicle(where), True)
            assert all(np.isfinite(v).all() for v in (now.position_w, now.velocity_w, now.acceleration_w, now.yaw))
            if last is not None:
                moved = now.position_w - last.position_w
                assert np.linalg.norm(moved) <= fastest * DT + 1e-9
                turned = abs(float(wrap_angle(float(now.yaw) - float(last.yaw))))
                assert turned <= (float(LIMITS.body_rate[2]) + 1.5 * 1.2 + 0.2) * DT + 1e-9
            last = now


def test_before_flight_the_reference_is_the_vehicles_own_motion(setpoints: Setpoints) -> None:
    setpoints.go_to(np.array([5.0, 0.0, 1.0]), 0.0)
    r = setpoints.reference(0.1, vehicle((1.0, 2.0, 3.0), (0.1, 0.2, 0.3), 0.4), False)
    assert np.allclose(r.position_w, [1.0, 2.0, 3.0]) and np.allclose(r.velocity_w, [0.1, 0.2, 0.3])
    assert float(r.yaw) == pytest.approx(0.4)


def test_take_over_without_a_setpoint_stays(setpoints: Setpoints) -> None:
    references = flying(setpoints, 3.0, state=vehicle((0.3, 0.0, 1.1), yaw=1.0))
    assert np.allclose(places(references), [0.3, 0.0, 1.1])
    assert all(float(r.yaw) == pytest.approx(1.0) for r in references)


def test_a_trajectory_waits_for_take_over_and_then_keeps_its_own_time(setpoints: Setpoints) -> None:
    """Hand-over 8 cm off: the offset is gone within half a second, and the trajectory is not late for it."""
    setpoints.follow(EIGHT)
    for k in range(500):
        setpoints.reference(k * DT, vehicle((0.08, 0.0, 1.0)), False)
    references = flying(setpoints, 4.0, t=5.0, state=vehicle((0.08, 0.0, 1.0)))
    assert np.linalg.norm(references[0].position_w - [0.08, 0.0, 1.0]) < 1e-3
    for k in range(60, 400):
        assert np.allclose(references[k].position_w, EIGHT(k * DT).position_w, atol=1e-9)


def test_a_far_trajectory_is_approached_first(setpoints: Setpoints) -> None:
    far = Lissajous((3.0, 0.0, 1.0), laps=1, ramp=2.0)
    setpoints.follow(far)
    references = flying(setpoints, 20.0)
    assert np.allclose(references[0].position_w, ORIGIN)
    assert np.allclose(references[-1].position_w, far(far.duration).position_w)
    speeds = np.linalg.norm(np.diff(places(references), axis=0), axis=1) / DT
    assert speeds.max() < LIMITS.speed * 1.001
    assert speeds[:150].max() > 1.5  # and the limits are used


def test_an_explicit_start_is_kept(setpoints: Setpoints) -> None:
    """Given in the past: joined where it is by now; given in the future: waited for at its first point."""
    for start in (-2.0, 3.0):
        setpoints.follow(EIGHT, start)
        references = flying(setpoints, 6.0)
        for k in range(250, 600):
            assert np.allclose(references[k].position_w, EIGHT((k + 1) * DT - start).position_w, atol=1e-9)
        setpoints = Setpoints(LIMITS)


@pytest.mark.parametrize("way", [0.05, 0.2, 2.0, 20.0])
def test_go_to_arrives_within_the_limits(setpoints: Setpoints, way: float) -> None:
    goal = ORIGIN + way * np.array([0.6, -0.8, 0.0])
    setpoints.go_to(goal, 0.0)
    references = flying(setpoints, 5.0 + way)
    assert np.allclose(references[-1].position_w, goal) and np.allclose(references[-1].velocity_w, 0.0)
    velocity = np.stack([r.velocity_w for r in references])
    assert np.linalg.norm(velocity, axis=1).max() <= LIMITS.speed * 1.001
    acceleration = np.linalg.norm(np.stack([r.acceleration_w for r in references]), axis=1)
    assert acceleration.max() <= LIMITS.acceleration * 1.001
    assert np.allclose(np.diff(places(references), axis=0), velocity[1:] * DT, atol=DT**2 * LIMITS.acceleration)


def test_a_turn_on_the_spot_is_no_step(setpoints: Setpoints) -> None:
    setpoints.go_to(ORIGIN, 3.0)
    references = flying(setpoints, 8.0)
    yaws = np.unwrap([float(r.yaw) for r in references])
    assert np.abs(np.diff(yaws)).max() / DT <= 1.5 * 1.001
    assert wrap_angle(yaws[-1] - 3.0) == pytest.approx(0.0, abs=1e-9)
    assert [float(r.yaw_rate) for r in references[1:]] == pytest.approx(np.diff(yaws) / DT, abs=0.02)


def test_a_trajectory_that_ends_in_motion_comes_to_a_stop(setpoints: Setpoints) -> None:
    line = np.zeros((1, 2, 4))
    line[0] = [[*ORIGIN, 0.0], [2.0, 0.0, 0.0, 0.0]]
    setpoints.follow(PiecewisePolynomial([0.0, 1.0], line))
    references = flying(setpoints, 6.0)
    steps = np.diff(places(references), axis=0)
    assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() / DT**2 < 3.0 * LIMITS.acceleration
    assert np.allclose(steps[-1], 0.0) and references[-1].position_w[0] > 2.0


def test_velocity_is_flown_in_the_heading_frame_and_stops_after_its_time_out(setpoints: Setpoints) -> None:
    forward = BodyVelocity(np.array([1.0, 0.0, 0.5]), 0.0)
    references = [setpoints.reference(0.0, vehicle(yaw=math.pi / 2.0), True)]
    for k in range(1, 201):
        setpoints.fly_velocity(k * DT, forward)
        references.append(setpoints.reference(k * DT, vehicle(), True))
    moved = references[-1].position_w - ORIGIN
    assert moved[0] == pytest.approx(0.0, abs=1e-9)
    ramp = math.hypot(1.0, 0.5) / LIMITS.acceleration
    assert moved[1] == pytest.approx(2.0 - 0.5 * ramp, abs=0.01) and moved[2] == pytest.approx(0.5 * moved[1])
    stopped = [setpoints.reference(2.0 + k * DT, vehicle(), True) for k in range(1, 200)]
    speeds = [float(np.linalg.norm(r.velocity_w)) for r in stopped]
    assert speeds[29] == pytest.approx(math.hypot(1.0, 0.5)) and speeds[30] < speeds[29]
    assert speeds[-1] == 0.0 and np.diff(speeds[29:]).min() >= -LIMITS.acceleration * DT - 1e-9
    assert all(float(r.yaw) == pytest.approx(math.pi / 2.0) for r in stopped)


def test_velocity_is_limited_in_its_direction(setpoints: Setpoints) -> None:
    for k in range(1, 300):
        setpoints.fly_velocity(k * DT, BodyVelocity(np.array([30.0, 40.0, 0.0]), 50.0))
        r = setpoints.reference(k * DT, vehicle(), True)
        assert abs(float(r.yaw_rate)) <= LIMITS.body_rate[2]
        assert np.linalg.norm(r.velocity_w) <= LIMITS.speed * 1.0001
    setpoints = Setpoints(LIMITS)
    for k in range(1, 300):
        setpoints.fly_velocity(k * DT, BodyVelocity(np.array([30.0, 40.0, 0.0]), 0.0))
        r = setpoints.reference(k * DT, vehicle(), True)
    assert np.allclose(r.velocity_w, LIMITS.speed * np.array([0.6, 0.8, 0.0]))


def test_the_last_word_counts(setpoints: Setpoints) -> None:
    setpoints.follow(EIGHT)
    flying(setpoints, 1.0)
    setpoints.fly_velocity(1.0, BodyVelocity(np.zeros(3), 0.0))
    references = flying(setpoints, 3.0, t=1.0)
    assert np.allclose(references[-1].velocity_w, 0.0)
    setpoints.go_to(np.array([1.0, 1.0, 2.0]), 0.0)
    assert np.allclose(flying(setpoints, 8.0, t=4.0)[-1].position_w, [1.0, 1.0, 2.0])


def test_the_next_flight_does_not_go_back_to_where_the_last_one_was(setpoints: Setpoints) -> None:
    setpoints.follow(GoTo(ORIGIN, [3.0, 0.0, 1.0]))
    flying(setpoints, 6.0)
    setpoints.landed()
    setpoints.reference(10.0, vehicle((3.0, 0.0, 0.0)), False)
    elsewhere = vehicle((0.0, 2.0, 1.0))
    setpoints.reference(20.0, elsewhere, False)
    assert np.allclose(places(flying(setpoints, 3.0, t=20.0, state=elsewhere)), [0.0, 2.0, 1.0])


def test_what_was_given_on_the_ground_survives_landed(setpoints: Setpoints) -> None:
    setpoints.go_to(np.array([1.0, 0.0, 1.0]), 0.0)
    setpoints.landed()
    assert np.allclose(flying(setpoints, 5.0)[-1].position_w, [1.0, 0.0, 1.0])


def test_a_clock_that_runs_back_moves_nothing(setpoints: Setpoints) -> None:
    setpoints.fly_velocity(5.0, BodyVelocity(np.array([1.0, 0.0, 0.0]), 0.0))
    setpoints.reference(5.0, vehicle(), True)
    before = setpoints.reference(5.2, vehicle(), True).position_w
    assert np.allclose(setpoints.reference(1.0, vehicle(), True).position_w, before)


def test_a_goal_that_is_not_finite_is_refused_and_the_old_one_stays(setpoints: Setpoints) -> None:
    setpoints.go_to(np.array([1.0, 0.0, 1.0]), 0.0)
    with pytest.raises(InvalidInput):
        setpoints.go_to(np.array([math.nan, 0.0, 1.0]), 0.0)
    assert np.allclose(flying(setpoints, 5.0)[-1].position_w, [1.0, 0.0, 1.0])
    with pytest.raises(InvalidInput):
        setpoints.follow(Hover((0.0, 0.0, math.inf)))
