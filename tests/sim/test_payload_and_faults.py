"""Payload, rotor loss: the plant changes in flight, and what must be continuous is."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.algebra import rotate
from control_stack.errors import InvalidInput
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import PositionCommand, RotorCommand

BELOW = np.array([0.0, 0.0, -0.05])
START = np.array([0.0, 0.0, 2.0])


def test_hover_rotor_speed_matches_the_carried_weight_and_returns(backend, make, airborne):
    sim = make(backend, "racer")
    empty = sim.parameters.hover_rotor_speed
    mass = 0.2 * sim.parameters.mass
    sim.reset(airborne(START, rotors=empty))
    sim.send(PositionCommand(START))
    sim.step(0.5)
    sim.attach_payload(mass, BELOW)
    sim.step(5.0)
    loaded = sim.parameters.with_payload(mass, BELOW).hover_rotor_speed
    np.testing.assert_allclose(sim.true_state().rotor_speed, loaded, rtol=1e-6)
    # The loops believe the empty mass, so the error that lifts the rest is m g / (M k_p).
    sag = mass * GRAVITY / (sim.parameters.mass * sim.parameters.gains.position[2])
    assert START[2] - sim.true_state().position_w[2] == pytest.approx(sag, rel=1e-3)
    sim.drop_payload()
    sim.step(5.0)
    np.testing.assert_allclose(sim.true_state().rotor_speed, empty, rtol=1e-6)


def test_the_airframe_does_not_jump_when_a_payload_comes_or_goes(backend, make, airborne):
    """Turning and tilted, the composite centre of mass moves otherwise; the airframe's own must not."""
    sim = make(backend, "racer")
    sim.reset(airborne((0.0, 0.0, 20.0), (1.0, 2.0, 3.0), (0.3, 0.2, 0.1, 0.9), (2.0, -1.0, 3.0)))
    for change in (lambda: sim.attach_payload(0.3, BELOW), sim.drop_payload):
        sim.step(0.05)
        before = sim.true_state()
        change()
        after = sim.true_state()
        for name in ("position_w", "velocity_w", "quat_xyzw", "omega_b"):
            np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=0, atol=1e-12)


def test_with_a_payload_the_composite_centre_of_mass_falls_freely(backend, make, airborne):
    """The airframe swings about it; p + R s follows the parabola, s = m / (M + m) offset."""
    sim = make(backend, "racer", drag=False)
    sim.reset(airborne((0.0, 0.0, 50.0), (1.0, 0.0, 0.0), omega=(4.0, 1.0, 0.5)))
    sim.attach_payload(0.3, BELOW)
    lever = 0.3 / (0.3 + sim.parameters.mass) * BELOW

    def composite():
        s = sim.true_state()
        q = tuple(s.quat_xyzw)
        swing = rotate(q, tuple(np.cross(s.omega_b, lever)))
        return s.position_w + rotate(q, tuple(lever)), s.velocity_w + swing

    p0, v0 = composite()
    sim.step(1.0)
    p1, _ = composite()
    euler = {"analytic": 0.0, "bullet": 1e-3}[backend]
    fall = np.array([0.0, 0.0, 0.5 * GRAVITY * (1.0 + euler)])
    np.testing.assert_allclose(p1, p0 + v0 - fall, rtol=0, atol=1e-9)
    # The airframe itself did not: its centre is a lever away, on the other side after turning.
    assert np.linalg.norm(sim.true_state().position_w - (airborne((1.0, 0.0, 50.0)).position_w - fall)) > 1e-3


def test_a_payload_slows_the_turn_by_its_inertia(backend, make, airborne):
    """Same torque from rest: w = tau t / J, with J of the composite about its own centre of mass."""
    sim = make(backend, "racer", drag=False)
    sim.reset(airborne((0.0, 0.0, 50.0)))
    sim.attach_payload(0.3, BELOW)
    torque = np.array([0.02, 0.01, 0.015])
    sim.set_disturbance(np.zeros(3), torque)
    sim.step(0.02)
    reduced = 0.3 * sim.parameters.mass / (0.3 + sim.parameters.mass)
    inertia = np.asarray(sim.parameters.inertia) + reduced * 0.05**2 * np.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(sim.true_state().omega_b, torque * 0.02 / inertia, rtol=1e-3)


def test_losing_a_rotor_removes_its_thrust_and_torque(backend, make, airborne):
    sim = make(backend, "x500", drag=False)
    hover = sim.parameters.hover_rotor_speed
    sim.reset(airborne((0.0, 0.0, 50.0), rotors=hover))
    sim.send(RotorCommand(np.full(4, hover)))
    sim.set_rotor_loss(0, 0.5)
    sim.step(0.01)
    state, share = sim.true_state(), sim.parameters.mass * GRAVITY / 4.0
    lost = 0.5 * share
    x, y, _ = np.asarray(sim.parameters.rotor_position)[0]
    turn = float(sim.parameters.rotor_spin[0]) * float(sim.parameters.torque_constant[0])
    torque = -lost * np.array([y, -x, turn])
    np.testing.assert_allclose(state.omega_b, torque / np.asarray(sim.parameters.inertia) * 0.01, rtol=0.01)
    assert state.velocity_w[2] == pytest.approx(-lost / sim.parameters.mass * 0.01, rel=0.01)


def test_what_cannot_be_carried_or_lost_is_refused(backend, make):
    sim = make(backend)
    for mass, offset in (
        (0.0, BELOW),
        (-1.0, BELOW),
        (np.nan, BELOW),
        (0.01, [0.01, 0.01, 0.0]),
        (0.01, [0.0, 0.0]),
    ):
        with pytest.raises(InvalidInput):
            sim.attach_payload(mass, np.array(offset))
    sim.attach_payload(0.005, BELOW)
    with pytest.raises(InvalidInput, match="already"):
        sim.attach_payload(0.005, BELOW)
    for rotor, fraction in ((4, 0.5), (-1, 0.5), (0, 1.5), (0, np.nan)):
        with pytest.raises(InvalidInput):
            sim.set_rotor_loss(rotor, fraction)
    with pytest.raises(InvalidInput):
        sim.set_disturbance(np.array([np.nan, 0.0, 0.0]), np.zeros(3))


def test_reset_takes_faults_and_payload_away(backend, make, airborne):
    sim = make(backend)
    sim.attach_payload(0.01, BELOW)
    sim.set_rotor_loss(2, 1.0)
    sim.set_disturbance(np.ones(3), np.zeros(3))
    hover = sim.parameters.hover_rotor_speed
    sim.reset(airborne(START, rotors=hover))
    assert sim.time == 0.0
    sim.send(RotorCommand(np.full(4, hover)))
    sim.step(1.0)
    np.testing.assert_allclose(sim.true_state().position_w, START, rtol=0, atol=1e-6)
