"""The geometric controller: trim, symmetry, parity of its two paths, and flights with known answers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from control_stack.errors import IncompatibleLevels
from control_stack.laws.cascade import command_columns
from control_stack.protocols import Controller
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.trajectories import Hover, Lissajous, SampledTrajectory
from control_stack.types import CommandLevel, QuadrotorState, Reference
from controllers.geometric import GeometricController

LEVELS = GeometricController.levels
VEHICLES = ("crazyflie", "racer", "x500")


def tilted(angle: float, position=(0.0, 0.0, 1.0)) -> np.ndarray:
    x = np.zeros(17)
    x[:3], x[6], x[9] = position, math.sin(angle / 2), math.cos(angle / 2)
    return x


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("level", LEVELS)
def test_at_rest_on_its_reference_it_asks_for_trim(vehicle, level, flight_loop):
    parameters = load_vehicle(vehicle)
    controller = GeometricController(parameters, level)
    assert isinstance(controller, Controller) and controller.spec.levels[0] is CommandLevel.ROTORS
    state = flight_loop.as_state(flight_loop.start_state(parameters, [1.0, 2.0, 3.0], 0.5), stamp=7.0)
    command = controller(7.0, state, Reference(np.array([1.0, 2.0, 3.0]), yaw=0.5))
    weight = float(parameters.mass) * GRAVITY
    expected = {
        CommandLevel.ROTORS: [parameters.hover_rotor_speed] * 4,
        CommandLevel.CTBR: [0.0, 0.0, 0.0, weight],
        CommandLevel.ATTITUDE: [0.0, 0.0, math.sin(0.25), math.cos(0.25), weight, 0.0, 0.0, 0.0],
    }
    np.testing.assert_allclose(command_columns(command), expected[level], rtol=1e-9, atol=1e-9)
    assert command.stamp == 7.0 and command.level is level


def random_states(count: int) -> tuple[QuadrotorState, Reference]:
    random = np.random.default_rng(5)
    quat = random.standard_normal((count, 4))
    state = QuadrotorState(
        random.standard_normal((count, 3)),
        2.0 * random.standard_normal((count, 3)),
        quat / np.linalg.norm(quat, axis=-1, keepdims=True),
        3.0 * random.standard_normal((count, 3)),
        random.uniform(200.0, 900.0, (count, 4)),
    )
    vectors = [random.standard_normal((count, 3)) for _ in range(4)]
    return state, Reference(*vectors, random.uniform(-3, 3, count), random.standard_normal(count))


def one_of(value, i: int):
    return type(value)(**{k: v[i] if isinstance(v, np.ndarray) else v for k, v in vars(value).items()})


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("level", LEVELS)
def test_the_batch_path_equals_the_single_path(vehicle, level):
    parameters, count = load_vehicle(vehicle), 60
    state, reference = random_states(count)
    batch = GeometricController(parameters, level)
    singles = [GeometricController(parameters, level) for _ in range(count)]
    for _ in range(4):  # several calls, so that the rotor model's memory is compared too
        many = vars(batch(0.0, state, reference))
        for i, single in enumerate(singles):
            for name, value in vars(single(0.0, one_of(state, i), one_of(reference, i))).items():
                if name != "stamp":
                    np.testing.assert_allclose(many[name][i], value, rtol=1e-12, atol=1e-12, err_msg=name)


def test_a_batch_may_have_any_leading_shape_and_share_one_reference():
    state, _ = random_states(12)
    grid = QuadrotorState(**{k: v.reshape(3, 4, -1) for k, v in vars(state).items() if isinstance(v, np.ndarray)})
    reference = Reference(np.array([0.0, 0.0, 1.0]), yaw=0.3)
    for level in LEVELS:
        flat = vars(GeometricController(load_vehicle("crazyflie"), level)(0.0, state, reference))
        shaped = vars(GeometricController(load_vehicle("crazyflie"), level)(0.0, grid, reference))
        for name in flat.keys() - {"stamp"}:
            np.testing.assert_allclose(shaped[name].reshape(flat[name].shape), flat[name], rtol=1e-12, atol=1e-12)


def test_turning_the_world_about_the_vertical_changes_nothing_for_the_rotors():
    state, reference = random_states(20)
    angle = 1.1
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1.0]])
    x, y, z, w = state.quat_xyzw.T
    s, c = math.sin(angle / 2), math.cos(angle / 2)
    turned_state = replace(
        state,
        position_w=state.position_w @ turn.T,
        velocity_w=state.velocity_w @ turn.T,
        quat_xyzw=np.stack([c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z], axis=-1),
    )
    names = ("position_w", "velocity_w", "acceleration_w", "jerk_w")
    turned_reference = replace(
        reference, **{n: getattr(reference, n) @ turn.T for n in names}, yaw=reference.yaw + angle
    )
    controller, other = (GeometricController(load_vehicle("crazyflie"), CommandLevel.CTBR) for _ in range(2))
    a, b = controller(0.0, state, reference), other(0.0, turned_state, turned_reference)
    # The position error is clipped per world axis; these errors must stay below that to be symmetric.
    small = np.abs(reference.position_w - state.position_w).max(axis=-1) < 1.0
    assert small.sum() >= 3
    np.testing.assert_allclose(a.omega_b[small], b.omega_b[small], atol=1e-9)
    np.testing.assert_allclose(a.thrust[small], b.thrust[small], atol=1e-9)


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("level", LEVELS)
def test_figure_eight(vehicle, level, flight_loop):
    eight = Lissajous(size=(1.0, 0.5), lap=5.5, laps=1)
    controller = GeometricController(load_vehicle(vehicle), level)
    flight = flight_loop.fly(controller, eight, eight.duration, vehicle)
    assert flight.rmse(*eight.steady_interval) < 0.01
    np.testing.assert_allclose(flight.states[-1, :3], eight(eight.duration).position_w, atol=0.01)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_drag_feed_forward_removes_the_error_that_theory_predicts_without_it(vehicle, flight_loop):
    """At speed v a controller that knows no drag stays behind by d v / (m k_p), one that does not at all."""
    speed = 0.5
    line = SampledTrajectory([0.0, 12.0], [[0.0, 0.0, 1.0], [12.0 * speed, 0.0, 1.0]])
    parameters = load_vehicle(vehicle)
    lag = parameters.drag[0] * speed / parameters.mass / parameters.gains.position[0]
    ignorant = replace(parameters, drag=np.zeros(3))
    for believed, expected in ((parameters, 0.0), (ignorant, lag)):
        flight = flight_loop.fly(GeometricController(believed, CommandLevel.ROTORS), line, 11.0, vehicle)
        behind = flight.references[-1, 0] - flight.states[-1, 0]
        assert behind == pytest.approx(expected, abs=0.03 * lag)


@pytest.mark.parametrize("level", LEVELS)
def test_a_steady_force_displaces_it_by_force_over_stiffness(level, flight_loop):
    parameters = load_vehicle("crazyflie")
    force = np.array([0.02, -0.01, 0.015])
    disturbance = np.array([0.0, 0.0, 0.0, *force, 0.0, 0.0, 0.0])
    controller = GeometricController(parameters, level)
    flight = flight_loop.fly(controller, Hover([0, 0, 1]), 5.0, disturbance=disturbance)
    expected = force / float(parameters.mass) / parameters.gains.position
    np.testing.assert_allclose(flight.states[-1, :3] - [0, 0, 1], expected, rtol=0.01)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("angle", [1.0, -2.2, 3.0])
def test_recovers_from_being_thrown(level, angle, flight_loop):
    controller = GeometricController(load_vehicle("crazyflie"), level)
    flight = flight_loop.fly(controller, Hover([0, 0, 8]), 6.0, x0=tilted(angle, (0, 0, 8)))
    np.testing.assert_allclose(flight.states[-1, :3], [0, 0, 8], atol=0.02)
    assert flight.states[-1, 9] ** 2 > 0.999


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_a_far_reference_keeps_tilt_and_rotors_within_limits(vehicle, flight_loop):
    parameters = load_vehicle(vehicle)
    controller = GeometricController(parameters, CommandLevel.ROTORS)
    x0 = flight_loop.start_state(parameters, [0.0, 0.0, 5.0])
    flight = flight_loop.fly(controller, Hover([300.0, -200.0, 30.0]), 8.0, vehicle, x0=x0)
    tilt = np.arccos(1.0 - 2.0 * (flight.states[:, 6:8] ** 2).sum(axis=1))
    assert tilt.max() < parameters.limits.tilt + 0.1
    rotors = flight.states[:, 13:]
    assert rotors.min() >= parameters.rotor_speed_min[0] - 1e-6
    assert rotors.max() <= parameters.rotor_speed_max[0] + 1e-6
    assert flight.states[-1, 0] > 3.0 and flight.states[-1, 1] < -2.0 and flight.states[-1, 2] > 4.0


def test_without_lead_compensation_the_slow_rotors_would_not_carry_the_eight(flight_loop, monkeypatch):
    """The lead, not luck, makes 0.25 s rotors fly this: commands equal to the wanted speeds do far worse."""
    eight = Lissajous(laps=1)
    parameters = load_vehicle("crazyflie")
    good = flight_loop.fly(GeometricController(parameters, CommandLevel.ROTORS), eight, 8.5).rmse()
    monkeypatch.setattr("controllers.geometric.lead_rotor_speeds", lambda wanted, actual, airframe: wanted)
    bad = flight_loop.fly(GeometricController(parameters, CommandLevel.ROTORS), eight, 8.5).rmse()
    assert bad > 5.0 * good


def test_reset_forgets_the_rotors():
    parameters = load_vehicle("crazyflie")
    state, reference = random_states(3)
    hidden = replace(one_of(state, 0), rotor_speed=None)
    controller = GeometricController(parameters, CommandLevel.ROTORS)
    first = controller(0.0, hidden, one_of(reference, 0)).rotor_speed
    for _ in range(5):
        later = controller(0.0, hidden, one_of(reference, 0)).rotor_speed
    assert not np.allclose(first, later)
    controller.reset()
    np.testing.assert_array_equal(controller(0.0, hidden, one_of(reference, 0)).rotor_speed, first)


def test_a_level_that_it_does_not_have_is_refused():
    with pytest.raises(IncompatibleLevels):
        GeometricController(load_vehicle("crazyflie"), CommandLevel.VELOCITY)


def test_a_rotor_model_left_wrong_at_hand_over_is_put_right_by_measurement(flight_loop):
    """Whoever flew before left the model at half of hover speed: measured speeds keep the climb small."""
    parameters = load_vehicle("crazyflie")
    climbs = []
    for rotors in (False, True):
        controller = GeometricController(parameters, CommandLevel.ROTORS)
        wrong = flight_loop.start_state(parameters, [0.0, 0.0, 1.0])
        wrong[13:] *= 0.5
        controller(0.0, flight_loop.as_state(wrong), Reference(np.array([0.0, 0.0, 1.0])))
        controller.reset = lambda: None  # the loop would reset it
        flight = flight_loop.fly(controller, Hover([0, 0, 1]), 3.0, rotors=rotors)
        climbs.append(np.abs(flight.states[:, 2] - 1.0).max())
        assert np.abs(flight.states[-1, 2] - 1.0) < 0.005
    assert climbs[1] < 0.5 * climbs[0] and climbs[0] < 0.2
