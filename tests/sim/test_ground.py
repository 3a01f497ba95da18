"""Contact with the ground on both simulators: at rest upright, at the right height, held by friction."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.algebra import body_axes
from control_stack.quadrotor.parameters import GRAVITY, vehicle_names
from control_stack.types import PositionCommand


def assert_at_rest_upright(sim):
    state = sim.true_state()
    # The analytic feet sink g / (2 pi 25 Hz)^2 = 0.40 mm under the weight, Bullet's box 0.01 mm.
    assert state.position_w[2] == pytest.approx(sim.leg_height, abs=5e-4)
    assert body_axes(tuple(state.quat_xyzw))[2][2] > 1.0 - 1e-9
    assert np.abs(state.velocity_w).max() < 1e-3 and np.abs(state.omega_b).max() < 1e-2


@pytest.mark.parametrize("vehicle", vehicle_names())
def test_starts_standing_and_stays(backend, make, vehicle):
    sim = make(backend, vehicle, armed=False, yaw=0.7)
    start = sim.true_state()
    sim.step(1.0)
    assert_at_rest_upright(sim)
    np.testing.assert_allclose(sim.true_state().position_w, start.position_w, rtol=0, atol=5e-4)
    np.testing.assert_allclose(sim.true_state().quat_xyzw, start.quat_xyzw, rtol=0, atol=5e-4)


@pytest.mark.parametrize("vehicle", vehicle_names())
def test_landing_comes_to_rest(backend, make, airborne, vehicle):
    sim = make(backend, vehicle)
    height = 0.3 + sim.leg_height
    sim.reset(airborne((0.0, 0.0, height), rotors=sim.parameters.hover_rotor_speed))
    for k in range(150):
        sim.send(PositionCommand(np.array([0.0, 0.0, height - 0.004 * k]), np.array([0.0, 0.0, -0.4])))
        sim.step(0.01)
    sim.disarm()
    sim.step(1.0)
    assert_at_rest_upright(sim)


@pytest.mark.parametrize("vehicle", vehicle_names())
def test_dropped_tilted_and_drifting_it_settles_on_its_feet(backend, make, airborne, vehicle):
    sim = make(backend, vehicle, armed=False)
    sim.reset(airborne((0.0, 0.0, 0.4), (0.3, 0.0, 0.0), (0.15, 0.1, 0.0, 0.98)))
    sim.step(4.0)
    assert_at_rest_upright(sim)


def test_friction_stops_a_sliding_vehicle_and_gives_way_above_its_limit(backend, make):
    """Coulomb: a push of 0.3 m g is held, one of 0.9 m g is not (mu = 0.6): a = (0.9 - 0.6) g."""
    sim = make(backend, "x500", armed=False, drag=False)
    weight = sim.parameters.mass * GRAVITY
    sim.step(0.2)
    sim.set_disturbance(np.array([0.3 * weight, 0.0, 0.0]), np.zeros(3))
    sim.step(0.5)
    # The analytic law is viscous below 0.02 m/s: it creeps where Bullet sticks.
    assert np.linalg.norm(sim.true_state().velocity_w) < 0.02
    sim.set_disturbance(np.array([0.9 * weight, 0.0, 0.0]), np.zeros(3))
    before = sim.true_state().velocity_w[0]
    sim.step(0.5)
    speed = sim.true_state().velocity_w[0] - before
    assert speed == pytest.approx(0.3 * GRAVITY * 0.5, rel=0.1)


def test_a_payload_does_not_move_the_feet(backend, make):
    """Taken up on the ground: the centre of mass is lower, the airframe stands as high as before."""
    sim = make(backend, "racer", armed=False)
    sim.step(0.3)
    sim.attach_payload(0.3, np.array([0.0, 0.0, -0.02]))
    sim.step(0.5)
    assert_at_rest_upright(sim)
    sim.drop_payload()
    sim.step(0.5)
    assert_at_rest_upright(sim)
