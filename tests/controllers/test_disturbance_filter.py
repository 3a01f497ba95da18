"""Wind and force estimated in flight: they converge on what blows and pushes, and say how sure they are."""

from __future__ import annotations

import numpy as np
import pytest
from residual_toys import drag_network

from control_stack.errors import InvalidInput, UnknownName
from control_stack.quadrotor.long_step import FORCE, LongStepQuadrotor
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.quadrotor.residual import ResidualQuadrotor
from control_stack.types import CommandLevel, QuadrotorState, RatesThrustCommand, Reference, RotorCommand
from controllers.nmpc.disturbance import WIND, DisturbanceFilter, FilterNoise, estimator_noise
from controllers.nmpc.quadrotor import NmpcController

DT = 0.01
LEVELS = (CommandLevel.ROTORS, CommandLevel.CTBR)
X500 = load_vehicle("x500")


def model(level, learned: bool, dt: float = 0.04):
    nominal = LongStepQuadrotor(X500, level, dt)
    return ResidualQuadrotor(nominal, drag_network()) if learned else nominal


def command(level, t):
    """Swaying near hover."""
    sway = 0.6 * np.sin([2.1 * t, 1.7 * t + 1.0, 0.0])
    thrust = float(X500.mass) * GRAVITY * (1.0 + 0.1 * np.sin(3.0 * t))
    if level is CommandLevel.CTBR:
        return RatesThrustCommand(sway, thrust)
    lift = X500.hover_rotor_speed * (1.0 + 0.03 * np.sin(3.0 * t))
    return RotorCommand(lift + 0.4 * np.array([-1.0, 1.0, 1.0, -1.0]) * np.sin(4.0 * t))


def run(estimator, truth, p, level, seconds=6.0, noise=0.0, seed=0):
    """Flies the truth under p and lets the estimator watch; its last answer."""
    random = np.random.default_rng(seed)
    x = np.zeros(len(truth.spec.state))
    x[9] = 1.0
    x[13:] = X500.hover_rotor_speed
    step = truth.to_casadi()
    for k in range(round(seconds / DT)):
        t = k * DT
        state = QuadrotorState(
            x[:3], x[3:6] + noise * random.standard_normal(3), x[6:10], x[10:13],
            x[13:] if level is CommandLevel.ROTORS else None, stamp=t,
        )  # fmt: skip
        sent = command(level, t - DT)
        answer = estimator.update(t, state, sent)
        u = command(level, t)
        if level is CommandLevel.CTBR:
            inputs = np.array([*u.omega_b, u.thrust])
        else:
            tau = np.where(u.rotor_speed > x[13:], X500.rise_time, X500.fall_time)
            inputs = u.rotor_speed + (x[13:] - u.rotor_speed) * np.exp(-DT / tau)
        x = np.array(step(x, inputs, p)).ravel()
    return answer


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_a_steady_wind_is_found_by_what_it_does(level, learned):
    truth = model(level, learned, DT)
    p = truth.spec.defaults.copy()
    p[WIND] = [3.0, -2.0, 0.5 if learned else 0.0]  # without a residual nothing tells of wind along z
    found, deviation = run(DisturbanceFilter(model(level, learned), FilterNoise(wind=2.0), DT), truth, p, level)
    np.testing.assert_allclose(found[0:2], p[0:2], atol=0.15)
    if learned:
        assert abs(found[2] - 0.5) < 0.3
    assert not found[FORCE].any() and (deviation[0:2] < 1.5).all()
    np.testing.assert_array_equal(found[9:], p[9:])


@pytest.mark.parametrize("level", LEVELS)
def test_a_steady_force_is_found(level):
    truth = model(level, False, DT)
    p = truth.spec.defaults.copy()
    p[FORCE] = [1.0, -0.5, 0.4]
    found, deviation = run(DisturbanceFilter(model(level, False), FilterNoise(force=2.0), DT), truth, p, level)
    np.testing.assert_allclose(found[FORCE], p[FORCE], atol=0.03)
    assert not found[WIND].any() and (0.0 < deviation[FORCE]).all()


def test_noise_of_velocities_is_averaged_and_the_deviation_tells_what_is_left():
    level, errors, told = CommandLevel.CTBR, [], []
    truth = model(level, False, DT)
    p = truth.spec.defaults.copy()
    p[FORCE] = [1.0, -0.5, 0.4]
    noise = FilterNoise(force=0.2, velocity=0.002, measured=0.02)
    for seed in range(6):
        found, deviation = run(DisturbanceFilter(model(level, False), noise, DT), truth, p, level, 4.0, 0.02, seed)
        errors.append(found[FORCE] - p[FORCE])
        told.append(deviation[FORCE])
    ratio = float(np.sqrt(np.square(errors).mean())) / float(np.mean(told))
    assert 0.3 < ratio < 1.6


def test_its_prediction_is_the_models_own():
    for learned in (False, True):
        short = model(CommandLevel.CTBR, learned, DT)
        estimator = DisturbanceFilter(model(CommandLevel.CTBR, learned), FilterNoise(wind=1.0), DT)
        random = np.random.default_rng(1)
        x, u, p = random.standard_normal(13), np.array([0.3, -0.2, 0.1, 19.0]), short.spec.defaults.copy()
        x[6:10] /= np.linalg.norm(x[6:10])
        p[WIND] = [2.0, 1.0, -0.5]
        after, slope = (np.array(a) for a in estimator._predict(x, u, p))
        np.testing.assert_allclose(after.ravel(), short.step(x, u, p)[3:6], rtol=1e-10)
        for i in range(3):  # velocity enters as airspeed only: what wind does is the rest
            moved = p.copy()
            moved[i] += 1e-5
            by_wind = (short.step(x, u, moved) - short.step(x, u, p))[3:6] / 1e-5
            np.testing.assert_allclose(np.eye(3)[i] - slope[0][i], by_wind, atol=1e-6)


def test_measurements_that_are_repeated_or_missing_and_a_reset_are_borne():
    level = CommandLevel.CTBR
    truth = model(level, False, DT)
    p = truth.spec.defaults.copy()
    p[FORCE] = [1.0, 0.0, 0.0]
    estimator = DisturbanceFilter(model(level, False), FilterNoise(force=2.0), DT)
    run(estimator, truth, p, level)
    held = estimator._mean[6:9].copy()
    x = QuadrotorState(np.zeros(3), np.array([9.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), stamp=1.0)
    estimator.update(6.0, x, command(level, 6.0))  # an old stamp says nothing new
    np.testing.assert_allclose(estimator._mean[6:9], held, rtol=1e-2)
    estimator.update(60.0, x, command(level, 60.0))  # after a pause it begins with the velocity measured then
    np.testing.assert_array_equal(estimator._mean[:3], x.velocity_w)
    assert np.isfinite(estimator._cov).all()
    estimator.reset()
    np.testing.assert_array_equal(estimator.update(0.0, x, command(level, 0.0))[0], truth.spec.defaults)


def test_what_does_not_fit_is_refused():
    estimator = DisturbanceFilter(model(CommandLevel.CTBR, False), FilterNoise(force=1.0), DT)
    with pytest.raises(InvalidInput, match="'ctbr' was given a command of 'rotors'"):
        estimator.update(0.0, QuadrotorState(*np.zeros((2, 3)), np.array([0, 0, 0, 1.0]), np.zeros(3)),
                         command(CommandLevel.ROTORS, 0.0))  # fmt: skip
    with pytest.raises(InvalidInput, match="nothing to estimate"):
        FilterNoise()
    with pytest.raises(InvalidInput, match="finite"):
        FilterNoise(force=float("nan"))
    with pytest.raises(UnknownName, match="gusts"):
        estimator_noise("gusts")


@pytest.mark.parametrize("level", LEVELS)
def test_with_an_observer_it_hovers_where_without_it_is_pushed_aside(level, flight_loop):
    from control_stack.trajectories import Hover

    force = np.zeros(9)
    force[3:6] = [1.5, -1.0, -1.0]
    off = []
    for kind in ("none", "force"):
        controller = NmpcController.flying(f"estimator={kind}")(X500, level)
        flight = flight_loop.fly(controller, Hover([0.0, 0.0, 5.0]), 3.0, "x500", disturbance=force)
        off.append(np.linalg.norm(flight.states[-1, :3] - [0.0, 0.0, 5.0]))
    assert off[1] < 0.2 * off[0]


def test_while_other_commands_are_in_force_nothing_is_learnt_from_them():
    controller = NmpcController.flying("estimator=force")(X500, CommandLevel.CTBR)
    state = QuadrotorState(np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))
    for k in range(50):  # as before take-off: it stands, whatever this controller would have it do
        controller(DT * k, state, Reference(state.position_w))
    assert not controller.p[:9].any()
