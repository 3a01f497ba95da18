"""The quadrotor under NMPC: flights beside the geometric controller's, constraints, parameters, faults."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from control_stack.errors import InputRejected, InvalidInput
from control_stack.learning.residual import fit_network, residual_samples
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.quadrotor.residual import ResidualQuadrotor
from control_stack.trajectories import Hover, Lissajous
from control_stack.types import CommandLevel, QuadrotorState, Reference
from controllers.geometric import GeometricController
from controllers.nmpc.flight_reference import ahead
from controllers.nmpc.problem import Constraint, keep_out
from controllers.nmpc.quadrotor import NmpcController
from controllers.nmpc.solver import Settings

LEVELS = (CommandLevel.ROTORS, CommandLevel.CTBR)
EIGHT = Lissajous((0.0, 0.0, 1.0), ramp=1.0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("vehicle", ["crazyflie", "racer", "x500"])
def test_the_eight_is_flown_closer_than_by_the_geometric_controller(vehicle, level, flight_loop):
    parameters = load_vehicle(vehicle)
    controller = NmpcController(parameters, level)
    own = flight_loop.fly(controller, EIGHT, 2.2, vehicle)
    other = flight_loop.fly(GeometricController(parameters, level), EIGHT, 2.2, vehicle)
    assert own.rmse(0.5) < 0.5 * other.rmse(0.5)
    assert set(controller.counts) == {"ok"}


@pytest.mark.parametrize("level", LEVELS)
def test_a_far_point_is_reached_within_the_tilt_and_held(level, flight_loop):
    parameters = load_vehicle("racer")
    x0 = flight_loop.start_state(parameters, [0.0, 0.0, 1.5], 0.3)
    flight = flight_loop.fly(NmpcController(parameters, level), Hover([2.0, -1.5, 2.0], 1.0), 2.5, "racer", x0=x0)
    np.testing.assert_allclose(flight.states[-1, :6], [2.0, -1.5, 2.0, 0.0, 0.0, 0.0], atol=5e-3)
    q = flight.states[:, 6:10]
    tilt = np.arccos(1.0 - 2.0 * (q[:, 0] ** 2 + q[:, 1] ** 2))
    assert tilt.max() < parameters.limits.tilt + 0.2
    assert abs(2.0 * np.arctan2(q[-1, 2], q[-1, 3]) - 1.0) < 0.01


@pytest.mark.parametrize("level", LEVELS)
def test_it_recovers_from_lying_on_its_side(level, flight_loop):
    parameters = load_vehicle("crazyflie")
    x0 = flight_loop.start_state(parameters, [0.0, 0.0, 5.0])
    x0[6:10] = [np.sin(0.8), 0.0, 0.0, np.cos(0.8)]
    flight = flight_loop.fly(NmpcController(parameters, level), Hover([0.0, 0.0, 5.0]), 2.2, x0=x0)
    np.testing.assert_allclose(flight.states[-1, :3], [0.0, 0.0, 5.0], atol=0.02)
    assert flight.states[:, 2].min() > 3.0


def test_a_limit_of_thrust_and_a_ball_in_the_way_are_kept(flight_loop):
    parameters = load_vehicle("x500")
    weight = float(parameters.mass) * 9.80665
    thrust = Constraint("thrust", lambda x, u, p, y: u[3] / weight, np.array([0.0]), np.array([1.1]), inputs=True)
    ball = keep_out("ball", lambda x, u, p, y: x[0:3], lambda x, u, p, y: ca.DM([1.0, 0.05, 1.5]), 0.5)
    commands = []

    class Noted(NmpcController):
        def __call__(self, t, state, reference):
            command = super().__call__(t, state, reference)
            commands.append(command.thrust / weight)
            return command

    x0 = flight_loop.start_state(parameters, [0.0, 0.0, 1.5])
    controller = Noted(parameters, CommandLevel.CTBR, constraints=[thrust, ball])
    flight = flight_loop.fly(controller, Hover([2.0, 0.0, 1.7]), 3.5, "x500", x0=x0)
    assert max(commands) <= 1.1 + 1e-6
    assert np.linalg.norm(flight.states[:, :3] - [1.0, 0.05, 1.5], axis=1).min() > 0.47  # soft: three centimetres
    np.testing.assert_allclose(flight.states[-1, :3], [2.0, 0.0, 1.7], atol=0.05)
    commands.clear()
    flight_loop.fly(Noted(parameters, CommandLevel.CTBR), Hover([2.0, 0.0, 1.7]), 0.5, "x500", x0=x0)
    assert max(commands) > 1.3


@pytest.mark.parametrize("level", LEVELS)
def test_parameters_of_payload_and_wind_take_effect_without_a_rebuild(level, flight_loop):
    """A model that knows the truth hovers where one that does not is blown away."""
    parameters = load_vehicle("crazyflie")
    force = np.zeros(DISTURBANCE_SIZE)
    force[3:6] = [0.03, 0.0, -0.03]
    controller = NmpcController(parameters, level)
    solver = controller._nmpc
    off = []
    for known in (False, True):
        controller.p[:DISTURBANCE_SIZE] = force if known else 0.0
        flight = flight_loop.fly(controller, Hover([0.0, 0.0, 1.0]), 1.8, disturbance=force)
        off.append(np.linalg.norm(flight.states[-1, :3] - [0.0, 0.0, 1.0]))
    assert off[0] > 0.01 > 10.0 * off[1]
    assert controller._nmpc is solver


def test_a_residual_from_flights_takes_most_of_what_the_equations_leave_out(flight_loop):
    """The flown vehicle has three times the drag that its file tells."""
    parameters, level = load_vehicle("crazyflie"), CommandLevel.CTBR
    believed = NmpcController(parameters, level)
    draggy = LongStepQuadrotor(parameters, level, 0.01)
    truth = draggy.spec.defaults.copy()
    truth[-3:] *= 3.0
    x = flight_loop.start_state(parameters, [0.0, 0.0, 1.0])[:13]

    def fly(controller, seconds, trajectory):
        y, states, inputs, errors = x.copy(), [x], [], []
        controller.reset()
        for t in np.arange(round(100 * seconds)) / 100.0:
            r = trajectory(t)
            r = Reference(
                r.position_w, r.velocity_w, r.acceleration_w, r.jerk_w, ahead=lambda s, t=t: trajectory(t + s)
            )
            c = controller(t, QuadrotorState(y[:3], y[3:6], y[6:10], y[10:13], stamp=t), r)
            inputs.append(np.array([*c.omega_b, c.thrust]))
            errors.append(np.linalg.norm(y[:3] - r.position_w))
            y = draggy.step(y, inputs[-1], truth)
            states.append(y)
        return np.array(states), np.array(inputs), float(np.sqrt(np.square(errors[100:]).mean()))

    training, unseen = Lissajous((0, 0, 1.0), lap=4.0, ramp=1.0), Lissajous((0, 0, 1.0), (0.8, 0.6), lap=4.5, ramp=1.0)
    states, inputs, _ = fly(believed, 4.0, training)
    features, targets = residual_samples(draggy, states, inputs, draggy.spec.defaults)
    net = fit_network(features, targets, hidden=(16, 16), epochs=150)
    left = np.square(net(features) - targets).sum() / np.square(targets).sum()
    assert left < 0.1
    learned = NmpcController(
        parameters, level, model=ResidualQuadrotor(LongStepQuadrotor(parameters, level, 0.04), net)
    )
    assert fly(learned, 2.5, unseen)[2] < 0.6 * fly(believed, 2.5, unseen)[2]


@pytest.mark.parametrize("level", LEVELS)
def test_without_a_program_it_flies_its_plan_and_then_levels(level, flight_loop):
    parameters = load_vehicle("crazyflie")
    controller = NmpcController(parameters, level, settings=Settings(qp_iterations=1))
    x0 = flight_loop.start_state(parameters, [0.0, 0.0, 20.0])
    x0[6:10], x0[10] = [np.sin(0.3), 0.0, 0.0, np.cos(0.3)], 2.0
    flight = flight_loop.fly(controller, Hover([0.0, 0.0, 20.0]), 1.5, x0=x0)
    assert controller.counts["safe"] == controller.counts["qp_iterations"] == 150
    assert controller.last_result.status == "safe: qp_iterations"
    np.testing.assert_allclose(flight.states[-1, 6:8], 0.0, atol=0.02)  # upright again
    np.testing.assert_allclose(flight.states[-1, 10:12], 0.0, atol=0.2)


def test_a_state_that_is_not_finite_is_refused_and_the_next_one_is_flown():
    controller = NmpcController(load_vehicle("crazyflie"))
    good = QuadrotorState(np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))
    bad = QuadrotorState(np.array([0.0, np.nan, 0.0]), np.zeros(3), good.quat_xyzw, np.zeros(3))
    controller(0.0, good, Reference(np.zeros(3)))
    with pytest.raises(InputRejected, match="nan"):
        controller(0.01, bad, Reference(np.zeros(3)))
    np.testing.assert_allclose(
        controller(0.02, good, Reference(np.zeros(3))).rotor_speed, controller.parameters.hover_rotor_speed, rtol=1e-3
    )
    assert controller.counts == {"ok": 2} and controller.last_result.iterations == 1


def test_a_quaternion_that_changes_its_sign_changes_nothing():
    commands = []
    for signs in ((1.0, 1.0, 1.0), (1.0, -1.0, 1.0)):
        controller = NmpcController(load_vehicle("racer"), CommandLevel.CTBR)
        for k, sign in enumerate(signs):
            quat = sign * np.array([np.sin(0.1), 0.0, 0.0, np.cos(0.1)])
            state = QuadrotorState(np.zeros(3), np.zeros(3), quat, np.zeros(3))
            command = controller(0.01 * k, state, Reference(np.array([0.2, 0.0, 0.0])))
        commands.append([*command.omega_b, command.thrust])
    np.testing.assert_allclose(*commands, rtol=1e-12)


def test_a_reference_that_knows_only_its_present_is_carried_on():
    now, later = EIGHT(2.0), EIGHT(2.2)
    guess = ahead(now, 0.2)
    np.testing.assert_allclose(guess.position_w, later.position_w, atol=2e-3)
    np.testing.assert_allclose(guess.velocity_w, later.velocity_w, atol=2e-2)
    far = ahead(now, 1.0)
    np.testing.assert_allclose((far.position_w - ahead(now, 0.5).position_w) / 0.5, far.velocity_w, rtol=1e-9)
    assert not far.acceleration_w.any()


def test_a_model_of_another_level_is_refused():
    parameters = load_vehicle("crazyflie")
    with pytest.raises(InvalidInput, match="level 'ctbr'"):
        NmpcController(parameters, CommandLevel.CTBR, model=LongStepQuadrotor(parameters, CommandLevel.ROTORS, 0.04))
