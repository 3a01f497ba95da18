"""The quadrotor in long steps against fine RK4, and with a network's acceleration."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from control_stack.errors import InvalidInput
from control_stack.quadrotor.long_step import FORCE, PARAMETER_SIZE, LongStepQuadrotor, reachable_spin, rotor_limits
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.quadrotor.residual import FEATURES, ResidualQuadrotor, TanhNetwork
from control_stack.types import CommandLevel

LEVELS = (CommandLevel.ROTORS, CommandLevel.CTBR)
VEHICLES = ("crazyflie", "racer", "x500")


def states(parameters, seed: int = 0, count: int = 20) -> np.ndarray:
    """Tilted, moving and turning, with rotors near hover; the first 13 are those of CTBR level."""
    random = np.random.default_rng(seed)
    quat = np.array([0.0, 0.0, 0.0, 1.0]) + 0.3 * random.standard_normal((count, 4))
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    rotors = parameters.hover_rotor_speed * (1.0 + 0.05 * random.standard_normal((count, 4)))
    return np.hstack([random.standard_normal((count, 6)), quat, random.standard_normal((count, 3)), rotors])


def ramp_error(parameters, dt: float) -> float:
    """Largest error of one step at rotor level against RK4 of 200 steps whose rotors follow the same straight line."""
    x = states(parameters)
    end = x[:, 13:] * 1.02
    disturbance = np.array([1.0, -0.5, 0.2, 0.01, 0.02, -0.01, 0.0, 0.0, 0.0])
    p = np.concatenate([disturbance, parameters.flatten()])
    coarse = LongStepQuadrotor(parameters, CommandLevel.ROTORS, dt).step(x, end, p)
    n = 200
    fine, truth = QuadrotorDynamics(parameters, dt / n), x.copy()
    for k in range(n):
        truth[:, 13:] = x[:, 13:] + (end - x[:, 13:]) * (k + 0.5) / n
        truth = fine.step(truth, truth[:, 13:], disturbance)
    return float(np.abs(coarse - truth)[:, :10].max())


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_the_error_of_a_step_falls_at_least_as_its_cube(vehicle):
    parameters = load_vehicle(vehicle)
    errors = [ramp_error(parameters, dt) for dt in (0.04, 0.02)]
    assert errors[1] < errors[0] / 7.0 and errors[0] < 5e-3


def test_the_rate_loop_is_exact_and_turns_about_a_fixed_axis_as_far_as_its_rates_say():
    parameters = load_vehicle("crazyflie")
    x = np.zeros(13)
    x[9] = 1.0
    y = LongStepQuadrotor(parameters, CommandLevel.CTBR, 0.1).step(x, np.array([3.0, 0.0, 0.0, 0.2]))
    k = parameters.gains.rate[0]
    assert y[10] == pytest.approx(3.0 * (1.0 - np.exp(-0.1 * k)))
    assert 2.0 * np.arctan2(y[6], y[9]) == pytest.approx(3.0 * (0.1 - (1.0 - np.exp(-0.1 * k)) / k))


@pytest.mark.parametrize("level", LEVELS)
def test_hover_stays_and_free_fall_falls(level):
    parameters = load_vehicle("x500")
    model = LongStepQuadrotor(parameters, level, 0.05)
    rotors = level is CommandLevel.ROTORS
    x = np.zeros(17 if rotors else 13)
    x[9] = 1.0
    x[13:] = parameters.hover_rotor_speed
    hover = np.full(4, parameters.hover_rotor_speed) if rotors else np.array([0, 0, 0, parameters.mass * 9.80665])
    np.testing.assert_allclose(model.rollout(x, np.tile(hover, (20, 1)))[-1], x, atol=1e-9)
    if not rotors:
        fallen = model.step(x, np.zeros(4))
        np.testing.assert_allclose(fallen[[2, 5]], [-0.5 * 9.80665 * 0.05**2, -9.80665 * 0.05], rtol=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_numpy_and_casadi_agree_and_every_number_of_the_airframe_is_a_parameter(level):
    parameters = load_vehicle("racer")
    model = LongStepQuadrotor(parameters, level, 0.04)
    x = states(parameters)[0, : len(model.spec.state)]
    u = 1.02 * x[13:] if level is CommandLevel.ROTORS else np.array([1.0, -2.0, 0.5, 9.0])
    f = model.to_casadi()
    heavy = LongStepQuadrotor(parameters.with_payload(0.3, np.zeros(3)), level, 0.04)
    np.testing.assert_allclose(np.array(f(x, u, model.spec.defaults)).ravel(), model.step(x, u), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.array(f(x, u, heavy.spec.defaults)).ravel(), heavy.step(x, u), rtol=1e-12, atol=1e-14)
    assert abs(heavy.step(x, u)[5] - model.step(x, u)[5]) > 1e-3


def test_rotors_reach_their_limits_as_first_order_lags_do():
    parameters = load_vehicle("crazyflie")
    airframe, w, dt = parameters.airframe, (1500.0, 1700.0, 1900.0, 2100.0), 0.04
    low, high = rotor_limits(w, airframe, dt)
    fine = QuadrotorDynamics(parameters, dt / 100)
    for limit, command in ((low, 0.0), (high, 2500.9)):
        x = np.zeros(17)
        x[9], x[13:] = 1.0, w
        for _ in range(100):
            x = fine.step(x, np.full(4, command))
        np.testing.assert_allclose(limit, x[13:], rtol=1e-8)
    assert (reachable_spin(parameters, 0.02) < reachable_spin(parameters, 0.04)).all()


def network(seed: int = 0) -> TanhNetwork:
    random = np.random.default_rng(seed)
    shapes = ((16, FEATURES), (16, 16), (3, 16))
    weights, biases = (tuple(0.3 * random.standard_normal(s) for s in k) for k in (shapes, [s[:1] for s in shapes]))
    return TanhNetwork(weights, biases, random.standard_normal(FEATURES), np.full(FEATURES, 2.0), np.ones(3))


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_a_residual_is_a_force_and_its_linearisation_is_the_derivative(level, adaptive):
    parameters = load_vehicle("crazyflie")
    nominal = LongStepQuadrotor(parameters, level, 0.04)
    model = ResidualQuadrotor(nominal, network(), adaptive)
    nx, p = len(model.spec.state), model.spec.defaults.copy()
    p[0:3] = [1.0, 2.0, -0.5]
    x = states(parameters)[1, :nx]
    u = 1.02 * x[13:] if level is CommandLevel.ROTORS else np.array([1.0, -2.0, 0.5, 0.3])
    y = model.step(x, u, p)
    # The same step of the nominal model under that force.
    columns = (tuple(a.tolist()) for a in (x, u, p))
    a = network()(np.array(model.features(*columns)))
    q = x[6:10]
    turned = a + 2.0 * np.cross(q[:3], np.cross(q[:3], a) + q[3] * a)
    pushed = p[:PARAMETER_SIZE].copy()
    pushed[FORCE] += parameters.mass * turned
    np.testing.assert_allclose(y, nominal.step(x, u, pushed), rtol=1e-10, atol=1e-12)
    f = model.to_casadi()
    np.testing.assert_allclose(np.array(f(x, u, p)).ravel(), y, rtol=1e-10, atol=1e-12)
    symbols = [ca.MX.sym(n, len(v)) for n, v in (("x", x), ("u", u), ("p", p))]
    chain = ca.Function("chain", symbols, [ca.jacobian(f(*symbols), s) for s in symbols[:2]])(x, u, p)
    _, *own = model.linearise()(x, u, p)
    for one, other in zip(own, chain, strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-9, atol=1e-12)


def test_a_residual_knows_neither_place_nor_heading_and_its_weights_can_be_parameters():
    parameters = load_vehicle("crazyflie")
    model = ResidualQuadrotor(LongStepQuadrotor(parameters, CommandLevel.CTBR, 0.04), network(), adaptive=True)
    x, u = states(parameters)[2, :13], np.array([0.5, 0.0, 0.0, 0.3])
    c, s = np.cos(1.0), np.sin(1.0)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    z = np.array([0.0, 0.0, np.sin(0.5), np.cos(0.5)])
    q = x[6:10]
    quat = np.concatenate([z[3] * q[:3] + q[3] * z[:3] + np.cross(z[:3], q[:3]), [z[3] * q[3] - z[:3] @ q[:3]]])
    turned = np.concatenate([turn @ x[:3] + 5.0, turn @ x[3:6], quat, x[10:]])
    a, b = model.step(x, u), model.step(turned, u)
    np.testing.assert_allclose(turn @ a[3:6], b[3:6], rtol=1e-10, atol=1e-12)
    other = ResidualQuadrotor(model.nominal, network(7), adaptive=True)
    scaled = TanhNetwork(
        other.network.weights, other.network.biases, model.network.mean, model.network.scale, np.ones(3)
    )
    p = np.concatenate([model.nominal.spec.defaults, scaled.flatten()])
    np.testing.assert_allclose(model.step(x, u, p), ResidualQuadrotor(model.nominal, scaled).step(x, u), rtol=1e-12)


def test_what_no_model_is_there_for_is_refused():
    with pytest.raises(InvalidInput, match="no model"):
        LongStepQuadrotor(load_vehicle("racer"), CommandLevel.ATTITUDE, 0.04)
    with pytest.raises(InvalidInput, match="dt"):
        LongStepQuadrotor(load_vehicle("racer"), CommandLevel.CTBR, 0.0)
    narrow = TanhNetwork((np.zeros((3, 4)),), (np.zeros(3),), np.zeros(4), np.ones(4), np.ones(3))
    with pytest.raises(InvalidInput, match="10 inputs"):
        ResidualQuadrotor(LongStepQuadrotor(load_vehicle("racer"), CommandLevel.CTBR, 0.04), narrow)
