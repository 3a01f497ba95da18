"""Ground contact: carries the weight at rest, never pulls, and grips no harder than Coulomb allows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from control_stack.quadrotor.contact import FRICTION, ground_contact
from control_stack.quadrotor.dynamics import derivative, rk4_step
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters, load_vehicle

LEG = 0.05  # m


def at_rest(height: float, quat=(0.0, 0.0, 0.0, 1.0)) -> tuple:
    return (0.0, 0.0, height, 0.0, 0.0, 0.0, *quat, *(0.0,) * 7)


def sag() -> float:
    """How deep a 25 Hz suspension sags under its weight, m: g / (2 pi 25)^2."""
    return GRAVITY / (2.0 * math.pi * 25.0) ** 2


def settle(vehicle: QuadrotorParameters, x: tuple, seconds: float, dt: float = 1e-3) -> tuple:
    for _ in range(round(seconds / dt)):
        x = rk4_step(x, (0.0,) * 4, vehicle.airframe, dt, contact=lambda s: ground_contact(s, vehicle.airframe, LEG))
    return x


def test_on_its_feet_the_ground_carries_the_weight(vehicle: QuadrotorParameters):
    force, torque = ground_contact(at_rest(LEG - sag()), vehicle.airframe, LEG)
    assert np.allclose(force, [0.0, 0.0, vehicle.mass * GRAVITY], rtol=1e-9)
    assert np.allclose(torque, 0.0, atol=1e-12 * vehicle.mass)


def test_dropped_it_comes_to_rest_at_leg_height(vehicle: QuadrotorParameters):
    tilted = Rotation.from_euler("xyz", [0.05, -0.04, 0.7]).as_quat()
    x = settle(vehicle, at_rest(LEG + 0.03, tilted), 2.0)
    # Rotors at rest carry c0, which may differ from zero.
    lift = float(np.maximum(vehicle.thrust_curve[:, 0], 0.0).sum()) / vehicle.mass
    assert x[2] == pytest.approx(LEG - sag() * (1.0 - lift / GRAVITY), abs=1e-5)
    assert np.allclose(x[3:6], 0.0, atol=1e-4) and np.allclose(x[10:13], 0.0, atol=1e-3)
    assert np.allclose(x[6:8], 0.0, atol=1e-3)  # level again
    slope = derivative(x, (0.0,) * 4, vehicle.airframe, contact=lambda s: ground_contact(s, vehicle.airframe, LEG))
    assert np.allclose(slope[3:6], 0.0, atol=0.02)


def test_sliding_stops_within_the_coulomb_distance(vehicle: QuadrotorParameters):
    """v^2 / (2 mu g) is the shortest way to stop with sliding friction alone (drag helps, slip lengthens)."""
    speed = 0.5
    x0 = list(at_rest(LEG - sag()))
    x0[3] = speed
    x = settle(vehicle, tuple(x0), 1.0)
    shortest = speed**2 / (2.0 * FRICTION * GRAVITY)
    assert abs(x[3]) < 1e-2
    assert 0.8 * shortest < x[0] < 1.6 * shortest + 0.01


number = st.floats(-1.0, 1.0)


@given(
    st.floats(-0.02, 0.2),
    st.tuples(number, number, number),
    st.tuples(number, number, number),
    number,
    number,
)
def test_friction_stays_in_the_cone_and_the_ground_never_pulls(height, velocity, omega, roll, pitch):
    vehicle = load_vehicle("x500")
    quat = Rotation.from_euler("xy", [0.3 * roll, 0.3 * pitch]).as_quat()
    x = (0.0, 0.0, height, *velocity, *map(float, quat), *omega, *(0.0,) * 4)
    force, _ = ground_contact(x, vehicle.airframe, LEG)
    assert force[2] >= 0.0
    assert math.hypot(force[0], force[1]) <= FRICTION * force[2] * (1.0 + 1e-12) + 1e-300


@given(st.floats(0.05, 5.0), st.tuples(number, number, number))
def test_in_the_air_the_ground_does_nothing(clearance, velocity):
    vehicle = load_vehicle("crazyflie")
    quat = Rotation.from_euler("xy", [0.5, 0.4]).as_quat()
    x = (0.0, 0.0, LEG + clearance, *velocity, *map(float, quat), 1.0, 2.0, 3.0, *(0.0,) * 4)
    force, torque = ground_contact(x, vehicle.airframe, LEG)
    assert force == (0.0, 0.0, 0.0) and torque == (0.0, 0.0, 0.0)


def test_a_lower_side_is_pushed_back_up(vehicle: QuadrotorParameters):
    """Rolled right (+x), the right feet sink: the ground's torque is about -x; likewise for the nose."""
    for axis in (0, 1):
        turn = np.zeros(3)
        turn[axis] = 0.02
        _, torque = ground_contact(at_rest(LEG, Rotation.from_rotvec(turn).as_quat()), vehicle.airframe, LEG)
        assert torque[axis] < 0.0


def test_a_batch_is_each_of_its_vehicles(crazyflie: QuadrotorParameters):
    random = np.random.default_rng(2)
    x = random.standard_normal((30, 17)) * 0.3
    x[:, 2] = LEG + 0.02 * random.standard_normal(30)
    x[:, 6:10] = Rotation.from_euler("xyz", 0.2 * random.standard_normal((30, 3))).as_quat()
    together = ground_contact(tuple(x.T), crazyflie.airframe, LEG)
    for i, row in enumerate(x):
        force, torque = ground_contact(tuple(row.tolist()), crazyflie.airframe, LEG)
        assert np.allclose([c[i] for c in together[0]], force, rtol=1e-12, atol=1e-15)
        assert np.allclose([c[i] for c in together[1]], torque, rtol=1e-12, atol=1e-15)
