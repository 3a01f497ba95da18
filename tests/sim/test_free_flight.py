"""Mechanics that need no controller: ballistics, momentum, torque-free spin, drag."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.algebra import rotate
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import PositionCommand
from sim.wind import WindConfig, parse_wind

DT = 1e-3  # physics step
# Bullet's semi-implicit Euler is ahead by a t dt / 2; the analytic simulator's RK4 is exact here.
FIRST_ORDER = {"analytic": 0.0, "bullet": 1.0}


def angular_momentum_w(state, inertia):
    return np.array(rotate(tuple(state.quat_xyzw), tuple(inertia * state.omega_b)))


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_free_fall(backend, make, airborne, seconds):
    sim = make(backend, drag=False)
    sim.reset(airborne((0.0, 0.0, 50.0), (1.0, -2.0, 3.0)))
    sim.step(seconds)
    state = sim.true_state()
    fall = 0.5 * GRAVITY * seconds * (seconds + FIRST_ORDER[backend] * DT)
    np.testing.assert_allclose(
        state.position_w, [seconds, -2.0 * seconds, 50.0 + 3.0 * seconds - fall], rtol=0, atol=1e-10
    )
    np.testing.assert_allclose(state.velocity_w, [1.0, -2.0, 3.0 - GRAVITY * seconds], rtol=0, atol=1e-10)


def test_ballistic_flight_keeps_its_energy(backend, make, airborne):
    sim = make(backend, "racer", drag=False)
    mass = sim.parameters.mass

    def energy():
        s = sim.true_state()
        return mass * (0.5 * s.velocity_w @ s.velocity_w + GRAVITY * s.position_w[2])

    sim.reset(airborne((0.0, 0.0, 50.0), (4.0, 0.0, 6.0)))
    start = energy()
    sim.step(1.5)
    # A first-order position is g t dt / 2 low, so that much potential energy is missing.
    missing = FIRST_ORDER[backend] * mass * GRAVITY * (0.5 * GRAVITY * 1.5 * DT)
    assert energy() == pytest.approx(start - missing, abs=1e-9)


def test_torque_free_spin_conserves_energy_and_momentum(backend, make, airborne):
    """About no principal axis, where the gyroscopic term does all the work."""
    sim = make(backend, "racer", drag=False)
    inertia = np.asarray(sim.parameters.inertia)
    sim.reset(airborne((0.0, 0.0, 50.0), omega=(3.0, 1.0, 2.0)))
    before = sim.true_state()
    sim.step(1.0)
    after = sim.true_state()
    # Without the term the body rates would not change at all; with it they turn by tens of degrees.
    assert np.linalg.norm(after.omega_b - before.omega_b) > 0.5
    momentum = angular_momentum_w(before, inertia)
    drift = np.linalg.norm(angular_momentum_w(after, inertia) - momentum) / np.linalg.norm(momentum)
    energy = (after.omega_b @ (inertia * after.omega_b)) / (before.omega_b @ (inertia * before.omega_b)) - 1.0
    # Bullet: first order in its step, measured 1.1e-3 and 2.0e-3 in a second at 3.7 rad/s.
    tolerance = {"analytic": 1e-10, "bullet": 4e-3}[backend]
    assert abs(energy) < tolerance and drift < tolerance


def test_bullet_spin_error_shrinks_with_its_step(make, airborne):
    pytest.importorskip("pybullet")
    drifts = []
    for rate in (1000.0, 4000.0):
        sim = make("bullet", "racer", drag=False, physics_rate_hz=rate)
        inertia = np.asarray(sim.parameters.inertia)
        sim.reset(airborne((0.0, 0.0, 50.0), omega=(3.0, 1.0, 2.0)))
        start = angular_momentum_w(sim.true_state(), inertia)
        sim.step(0.5)
        drifts.append(np.linalg.norm(angular_momentum_w(sim.true_state(), inertia) - start))
    assert drifts[0] / drifts[1] == pytest.approx(4.0, rel=0.1)


def test_a_lateral_force_adds_its_impulse(backend, make, airborne):
    sim = make(backend, "x500", drag=False)
    sim.reset(airborne((0.0, 0.0, 50.0), quat=(0.3, 0.2, 0.1, 0.9)))
    force = np.array([3.0, -2.0, 0.5])
    sim.set_disturbance(force, np.zeros(3))
    sim.step(0.8)
    impulse = (force + np.array([0.0, 0.0, -sim.parameters.mass * GRAVITY])) * 0.8
    np.testing.assert_allclose(sim.parameters.mass * sim.true_state().velocity_w, impulse, rtol=0, atol=1e-9)
    np.testing.assert_allclose(sim.true_state().omega_b, 0.0, atol=1e-12)


def test_a_body_torque_turns_the_body_about_its_own_axes(backend, make, airborne):
    """From rest and tilted: J w' = tau for short times; a torque applied in the wrong frame would show."""
    sim = make(backend, "racer", drag=False)
    sim.reset(airborne((0.0, 0.0, 50.0), quat=(0.5, -0.3, 0.6, 0.55)))
    acceleration = np.array([0.5, 1.0, 1.5])
    sim.set_disturbance(np.zeros(3), np.asarray(sim.parameters.inertia) * acceleration)
    sim.step(0.02)
    np.testing.assert_allclose(sim.true_state().omega_b, 0.02 * acceleration, rtol=1e-3)


def test_wind_carries_a_falling_body_along(backend, make, airborne):
    """Level and without thrust: v = wind (1 - exp(-d t / m)) along x."""
    sim = make(backend, "racer", wind=WindConfig((5.0, 0.0, 0.0)))
    sim.reset(airborne((0.0, 0.0, 100.0)))
    sim.step(1.0)
    rate = float(sim.parameters.drag[0]) / sim.parameters.mass
    expected = 5.0 * (1.0 - np.exp(-rate))
    # Bullet's Euler steps: off by half a step's worth.
    assert sim.true_state().velocity_w[0] == pytest.approx(expected, abs={"analytic": 1e-9, "bullet": 1e-3}[backend])
    np.testing.assert_array_equal(sim.wind_w, [5.0, 0.0, 0.0])


@pytest.mark.parametrize("shape", ["few long steps", "many short steps"])
def test_how_time_is_cut_into_steps_does_not_matter(backend, make, airborne, shape):
    """Physics, inner loops and gusts run at the physics rate, whatever step() is asked for."""

    def fly(dt, count):
        sim = make(backend, wind=parse_wind("1,0,0+dryden:light"), seed=7)
        sim.reset(airborne(rotors=sim.parameters.hover_rotor_speed))
        sim.send(PositionCommand(np.array([0.3, 0.0, 2.0])))
        for _ in range(count):
            sim.step(dt)
        assert sim.time == pytest.approx(0.2)
        return sim.true_state()

    reference = fly(0.01, 20)
    other = fly(0.2, 1) if shape == "few long steps" else fly(0.001, 200)
    np.testing.assert_allclose(other.position_w, reference.position_w, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.quat_xyzw, reference.quat_xyzw, rtol=0, atol=1e-12)
