"""LQR hover: optimality on the linear model, and agreement of that model with the flown one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from control_stack.quadrotor.parameters import load_vehicle
from control_stack.trajectories import Hover
from control_stack.types import CommandLevel, QuadrotorState, Reference
from controllers.lqr import LqrController

VEHICLES = ("crazyflie", "racer", "x500")


@pytest.fixture(scope="module", params=VEHICLES)
def lqr(request) -> LqrController:
    return LqrController(load_vehicle(request.param), CommandLevel.ROTORS)


def test_the_closed_loop_is_stable_though_the_open_loop_is_not(lqr):
    assert np.abs(np.linalg.eigvals(lqr.a)).max() > 1.0 - 1e-9
    assert np.abs(np.linalg.eigvals(lqr.a - lqr.b @ lqr.gain)).max() < 0.999


def test_cost_to_go_is_the_cost_of_the_simulated_loop(lqr):
    random = np.random.default_rng(0)
    scale = np.array([0.1] * 9 + [1.0] * 3 + [50.0] * 4)
    for _ in range(5):
        e = e0 = scale * random.standard_normal(16)
        total = 0.0
        for _ in range(3000):
            u = -lqr.gain @ e
            total += e @ lqr.q @ e + u @ lqr.r @ u
            e = lqr.a @ e + lqr.b @ u
        assert total == pytest.approx(e0 @ lqr.cost_to_go @ e0, rel=1e-8)


def test_every_other_gain_costs_more_from_every_start(lqr):
    random = np.random.default_rng(1)
    for _ in range(10):
        other = lqr.gain * (1.0 + 0.05 * random.standard_normal(lqr.gain.shape))
        closed = lqr.a - lqr.b @ other
        cost = solve_discrete_lyapunov(closed.T, lqr.q + other.T @ lqr.r @ other)
        excess = np.linalg.eigvalsh((cost + cost.T - 2.0 * lqr.cost_to_go) / 2.0)
        assert excess.min() > -1e-7 * excess.max() and excess.max() > 0.0


def test_the_linear_model_falls_and_spins_as_physics_says(lqr):
    """A tilt by angle a accelerates by g a; equal extra rotor speed lifts; each axis in its own direction."""
    tilt = np.zeros(16)
    tilt[7] = 0.01
    e = tilt
    for _ in range(10):
        e = lqr.a @ e
    assert e[3] == pytest.approx(9.80665 * 0.01 * 0.1, rel=0.05)
    e = np.zeros(16)
    for _ in range(30):
        e = lqr.a @ e + lqr.b @ np.full(4, 10.0)
    assert e[5] > 0.0
    np.testing.assert_allclose(e[[0, 1, 3, 4, 6, 7, 8]], 0.0, atol=1e-9)


def test_a_small_offset_is_flown_as_the_linear_model_predicts(lqr, flight_loop):
    vehicle = lqr.parameters.name
    offset, yaw = np.array([0.02, -0.01, 0.015]), 0.05
    x0 = flight_loop.start_state(lqr.parameters, offset + np.array([0.0, 0.0, 1.0]), yaw)
    flight = flight_loop.fly(lqr, Hover([0, 0, 1]), 2.0, vehicle, x0=x0)
    e = np.zeros(16)
    e[:3], e[8] = offset, yaw
    predicted = []
    for _ in flight.times:
        predicted.append(e)
        e = (lqr.a - lqr.b @ lqr.gain) @ e
    predicted = np.array(predicted)
    np.testing.assert_allclose(flight.states[:, :3] - [0, 0, 1], predicted[:, :3], atol=0.03 * 0.02)
    np.testing.assert_allclose(2.0 * flight.states[:, 8], predicted[:, 8], atol=0.03 * yaw)
    np.testing.assert_allclose(2.0 * flight.states[:, 7], predicted[:, 7], atol=0.06 * np.abs(predicted[:, 7]).max())


@pytest.mark.parametrize("yaw", [0.0, 2.5, -3.1])
def test_flies_to_a_far_point_at_any_yaw(lqr, yaw, flight_loop):
    x0 = flight_loop.start_state(lqr.parameters, [0.0, 0.0, 2.0], yaw + 0.4)
    flight = flight_loop.fly(lqr, Hover([1.5, -1.0, 2.5], yaw), 6.0, lqr.parameters.name, x0=x0)
    np.testing.assert_allclose(flight.states[-1, :3], [1.5, -1.0, 2.5], atol=0.02)
    turn = 2.0 * np.arctan2(flight.states[-1, 8], flight.states[-1, 9])
    assert abs((turn - yaw + np.pi) % (2.0 * np.pi) - np.pi) < 0.02


def test_a_quaternion_and_its_negative_are_one_attitude(lqr):
    quat = np.array([0.1, -0.05, 0.2, 0.97])
    quat /= np.linalg.norm(quat)
    commands = []
    for sign in (1.0, -1.0):
        lqr.reset()
        state = QuadrotorState(np.zeros(3), np.zeros(3), sign * quat, np.zeros(3))
        commands.append(lqr(0.0, state, Reference(np.zeros(3))).rotor_speed)
    np.testing.assert_allclose(*commands, rtol=1e-12)


def test_the_batch_path_equals_the_single_path(lqr):
    random = np.random.default_rng(2)
    quat = np.array([0.0, 0.0, 0.0, 1.0]) + 0.2 * random.standard_normal((30, 4))
    quat /= np.linalg.norm(quat, axis=-1, keepdims=True)
    position, velocity, omega = (random.standard_normal((30, 3)) for _ in range(3))
    reference = Reference(np.array([0.1, 0.2, 0.3]), yaw=0.5)
    lqr.reset()
    batch = lqr(0.0, QuadrotorState(position, velocity, quat, omega), reference).rotor_speed
    for i in range(30):
        lqr.reset()
        single = lqr(0.0, QuadrotorState(position[i], velocity[i], quat[i], omega[i]), reference).rotor_speed
        np.testing.assert_allclose(batch[i], single, rtol=1e-11)
