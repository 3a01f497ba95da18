"""The geometric attitude law and the flat attitude: equality, direction, consistency with derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from control_stack.algebra import body_axes
from control_stack.laws.attitude import (
    attitude_quaternion,
    attitude_rates,
    desired_attitude,
    desired_rates,
    rate_torque,
)
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters

WIDE = (1e9,) * 3
GAIN = (8.0, 8.0, 3.0)
part = st.floats(-1.0, 1.0)
triples = st.tuples(part, part, part)
ZERO = (0.0, 0.0, 0.0)


def quat(r: Rotation) -> tuple:
    return tuple(r.as_quat().tolist())


def rotation_of(axes) -> Rotation:
    return Rotation.from_matrix(np.array(axes).T)


@given(triples, triples)
def test_at_the_target_only_the_feed_forward_is_left(turn, omega_d):
    r = Rotation.from_rotvec(3.0 * np.array(turn))
    assert np.allclose(attitude_rates(quat(r), body_axes(quat(r)), omega_d, GAIN, WIDE), omega_d, atol=1e-12)


@given(triples, triples)
def test_rates_turn_towards_the_target(now, turn):
    """Along the shortest rotation, with equal gains k sin(angle); so up to half a turn the angle shrinks."""
    angle = float(np.linalg.norm(2.0 * np.array(turn)))
    assume(1e-3 < angle < math.pi - 1e-3)
    r = Rotation.from_rotvec(3.0 * np.array(now))
    step = Rotation.from_rotvec(2.0 * np.array(turn))  # from body to target, in the body
    rates = attitude_rates(quat(r), body_axes(quat(r * step)), ZERO, (5.0,) * 3, WIDE)
    assert np.allclose(rates, 5.0 * math.sin(angle) * step.as_rotvec() / angle, atol=1e-9)
    limited = attitude_rates(quat(r), body_axes(quat(r * step)), ZERO, GAIN, (0.5,) * 3)
    before = (r.inv() * (r * step)).magnitude()
    after = ((r * Rotation.from_rotvec(1e-3 * np.array(limited))).inv() * (r * step)).magnitude()
    assert after < before  # also with unequal gains and at the limits


@given(triples, triples, triples)
def test_rates_are_limited(now, target, omega_d):
    rates = attitude_rates(
        quat(Rotation.from_rotvec(3.0 * np.array(now))),
        body_axes(quat(Rotation.from_rotvec(3.0 * np.array(target)))),
        tuple(20.0 * w for w in omega_d),
        GAIN,
        (3.0, 2.0, 1.0),
    )
    assert all(abs(rate) <= limit for rate, limit in zip(rates, (3.0, 2.0, 1.0), strict=True))


@given(triples, triples)
def test_feed_forward_is_carried_into_the_body(now, target):
    """The target turns at omega_d in its own frame: the body's rates are that vector seen from the body."""
    omega_d = np.array([0.3, -0.7, 1.1])
    r, d = (Rotation.from_rotvec(3.0 * np.array(t)) for t in (now, target))
    with_it = np.array(attitude_rates(quat(r), body_axes(quat(d)), tuple(omega_d), GAIN, WIDE))
    without = np.array(attitude_rates(quat(r), body_axes(quat(d)), ZERO, GAIN, WIDE))
    assert np.allclose(r.apply(with_it - without), d.apply(omega_d), atol=1e-12)


def test_following_a_turning_target_converges_and_stays():
    """With perfect rates the error dies out although the target never stops turning."""
    omega_d, dt = (1.0, -0.5, 0.8), 1e-3
    target, r = Rotation.identity(), Rotation.from_rotvec([1.0, -1.2, 0.7])
    for _ in range(4000):
        rates = attitude_rates(quat(r), body_axes(quat(target)), omega_d, GAIN, WIDE)
        r = r * Rotation.from_rotvec(dt * np.array(rates))
        target = target * Rotation.from_rotvec(dt * np.array(omega_d))
    assert (r.inv() * target).magnitude() < 1e-4


@given(triples, st.floats(-3.1, 3.1))
def test_desired_axes_are_a_rotation_along_the_force_and_heading(force, yaw):
    f = np.array([force[0], force[1], 1.5 + force[2]]) * 5.0
    axes = desired_attitude(tuple(f.tolist()), yaw)
    matrix = np.array(axes).T
    assert np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-12) and np.linalg.det(matrix) > 0.0
    assert np.allclose(matrix[:, 2], f / np.linalg.norm(f), atol=1e-12)
    heading = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    assert matrix[:, 1] @ heading == pytest.approx(0.0, abs=1e-12)  # x_d lies in the plane of z_d and the heading
    assert matrix[:, 0] @ heading > 0.0
    back = body_axes(attitude_quaternion(axes))
    assert np.allclose(np.array(back).T, matrix, atol=1e-12)


def test_level_attitude_is_pure_yaw():
    assert np.allclose(rotation_of(desired_attitude((0.0, 0.0, 9.81), 0.7)).as_rotvec(), [0.0, 0.0, 0.7])


def curve(t: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Specific force, jerk, yaw and yaw rate of a lively flight with tilts over 50 degrees."""
    a = np.array([8.0 * math.sin(2.0 * t), 6.0 * math.cos(3.0 * t), 3.0 * math.sin(t)])
    j = np.array([16.0 * math.cos(2.0 * t), -18.0 * math.sin(3.0 * t), 3.0 * math.cos(t)])
    return a + [0.0, 0.0, GRAVITY], j, 1.3 * math.sin(0.9 * t), 1.17 * math.cos(0.9 * t)


@pytest.mark.parametrize("t", np.linspace(0.0, 6.0, 25).tolist())
def test_desired_rates_are_the_derivative_of_the_desired_attitude(t: float):
    def attitude(time: float) -> Rotation:
        force, _, yaw, _ = curve(time)
        return rotation_of(desired_attitude(tuple(force), yaw))

    h = 1e-5
    numerical = (attitude(t - h).inv() * attitude(t + h)).as_rotvec() / (2.0 * h)
    force, jerk, yaw, yaw_rate = curve(t)
    axes = desired_attitude(tuple(force), yaw)
    analytic = desired_rates(axes, float(np.linalg.norm(force)), tuple(jerk), yaw_rate)
    assert np.allclose(analytic, numerical, rtol=1e-6, atol=1e-6)


def test_hovering_yaw_is_all_in_the_yaw_rate():
    axes = desired_attitude((0.0, 0.0, GRAVITY), 0.4)
    assert np.allclose(desired_rates(axes, GRAVITY, ZERO, 0.9), [0.0, 0.0, 0.9])


@given(triples, triples)
def test_rate_law_makes_the_rates_decay_at_their_gains(omega, command):
    """J w' + w x J w = M gives w' = k (w_cmd - w): the gyroscopic term is cancelled, axes are decoupled."""
    inertia, gain = np.array([2e-3, 3e-3, 4e-3]), np.array([25.0, 20.0, 8.0])
    torque = np.array(rate_torque(omega, command, tuple(inertia), tuple(gain)))
    w = np.array(omega)
    acceleration = (torque - np.cross(w, inertia * w)) / inertia
    assert np.allclose(acceleration, gain * (np.array(command) - w), atol=1e-11)


def test_batches_are_each_of_their_rows(vehicle: QuadrotorParameters):
    random = np.random.default_rng(6)
    r, d = (Rotation.random(20, random).as_quat() for _ in range(2))
    omega = random.standard_normal((20, 3))
    gains, limit = tuple(vehicle.gains.attitude.tolist()), tuple(vehicle.limits.body_rate.tolist())
    together = attitude_rates(tuple(r.T), body_axes(tuple(d.T)), tuple(omega.T), gains, limit)
    for i in range(20):
        one = attitude_rates(
            tuple(r[i].tolist()), body_axes(tuple(d[i].tolist())), tuple(omega[i].tolist()), gains, limit
        )
        assert np.allclose([c[i] for c in together], one, rtol=1e-12, atol=1e-12)
