"""The air that a vehicle file leaves out: drag that grows with the square of the airspeed, and lift in cross flow."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.errors import UnknownName
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import RatesThrustCommand
from sim.air import BodyDrag
from sim.config import SimulationConfig
from sim.factory import make_vehicle
from sim.wind import parse_wind

X500 = load_vehicle("x500")
LEVEL = np.array([0.0, 0.0, 0.0, 1.0])


def test_the_force_of_a_head_wind_by_hand():
    force = BodyDrag(X500).force_w(np.array([4.0, 0.0, 0.0]), LEVEL, np.array([-6.0, 0.0, 0.0]))
    # 1/2 1.225 1.05 x half of 0.5 m x 0.24 m at 10 m/s; 2 kg x 0.009 1/m x 100 m^2/s^2
    np.testing.assert_allclose(force, [-0.5 * 1.225 * 1.05 * 0.06 * 100.0, 0.0, 1.8], rtol=1e-12)


def test_it_takes_power_grows_with_the_square_and_turns_with_the_vehicle():
    drag, random = BodyDrag(X500), np.random.default_rng(0)
    for _ in range(20):
        v, q = random.standard_normal(3), random.standard_normal(4)
        q /= np.linalg.norm(q)
        force = drag.force_w(v, q, np.zeros(3))
        np.testing.assert_allclose(drag.force_w(3.0 * v, q, np.zeros(3)), 9.0 * force, rtol=1e-12)
        np.testing.assert_allclose(drag.force_w(v + 2.0, q, np.full(3, 2.0)), force, rtol=1e-9, atol=1e-12)
        c, s = np.cos(0.7), np.sin(0.7)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        z = np.array([0.0, 0.0, np.sin(0.35), np.cos(0.35)])
        quat = np.append(z[3] * q[:3] + q[3] * z[:3] + np.cross(z[:3], q[:3]), z[3] * q[3] - z[:3] @ q[:3])
        np.testing.assert_allclose(drag.force_w(turn @ v, quat, np.zeros(3)), turn @ force, rtol=1e-9, atol=1e-12)
        assert drag.force_w(v * [1, 1, 0], LEVEL, np.zeros(3))[:2] @ v[:2] < 0.0


def blown(backend: str, air: str, wind: str = "6,0,0", seconds: float = 1.0) -> np.ndarray:
    """Velocity after hanging level in the wind."""
    config = SimulationConfig(position_w=(0.0, 0.0, 50.0), wind=parse_wind(wind), air=air)
    vehicle = make_vehicle(backend, X500, config)
    vehicle.connect()
    vehicle.arm()
    for _ in range(round(100 * seconds)):
        vehicle.send(RatesThrustCommand(np.zeros(3), float(X500.mass) * 9.80665))
        vehicle.step(0.01)
    velocity = vehicle.state().velocity_w
    vehicle.close()
    return velocity


@pytest.mark.parametrize("backend", ["analytic", "bullet"])
def test_both_simulators_blow_alike_as_the_equation_says(backend):
    if backend == "bullet":
        pytest.importorskip("pybullet")
    u, dt = 0.0, 1e-4
    k1, k2 = 0.244 / 2.0, 0.5 * 1.225 * 1.05 * 0.06 / 2.0
    for _ in range(10_000):
        u += dt * (k1 * (6.0 - u) + k2 * (6.0 - u) ** 2)
    assert blown(backend, "full")[0] == pytest.approx(u, rel=0.01)
    assert blown(backend, "linear")[0] == pytest.approx(6.0 * (1.0 - np.exp(-k1)), rel=0.01)


def test_another_model_of_the_air_is_refused():
    with pytest.raises(UnknownName, match="linear, full"):
        SimulationConfig(air="thick")
