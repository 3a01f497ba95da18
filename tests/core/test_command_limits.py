"""limit_command: inside the limits nothing changes, outside it lands on them, twice is the same as once."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_stack.laws.limits import limit_command
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import (
    AttitudeThrustCommand,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)

RACER = load_vehicle("racer")
LEVEL = np.array([0.0, 0.0, 0.0, 1.0])
number = st.floats(-1e5, 1e5)
three = st.lists(number, min_size=3, max_size=3).map(np.array)
four = st.lists(number, min_size=4, max_size=4).map(np.array)
commands = st.one_of(
    st.builds(RotorCommand, four),
    st.builds(RatesThrustCommand, three, number),
    st.builds(AttitudeThrustCommand, st.just(LEVEL), number, three),
    st.builds(VelocityCommand, three, number, number),
    st.builds(PositionCommand, three, three, number),
)


def same(a, b):
    for f in fields(a):
        np.testing.assert_allclose(getattr(a, f.name), getattr(b, f.name), rtol=1e-12)


@settings(deadline=None, max_examples=200)
@given(commands)
def test_limiting_twice_is_limiting_once_and_stays_inside(command):
    once = limit_command(command, RACER)
    same(limit_command(once, RACER), once)
    if isinstance(once, RotorCommand):
        assert np.all((once.rotor_speed >= RACER.rotor_speed_min) & (once.rotor_speed <= RACER.rotor_speed_max))
    if isinstance(once, (RatesThrustCommand, AttitudeThrustCommand)):
        assert 0.0 <= once.thrust <= RACER.max_thrust
        assert np.all(np.abs(once.omega_b) <= RACER.limits.body_rate)
    if isinstance(once, (VelocityCommand, PositionCommand)):
        assert np.linalg.norm(once.velocity_w) <= RACER.limits.speed * (1.0 + 1e-12)


@pytest.mark.parametrize(
    "command",
    [
        RotorCommand(np.array([200.0, 300.0, 400.0, 2800.0]), stamp=3.0),
        RatesThrustCommand(np.array([1.0, -2.0, 3.0]), 5.0, stamp=3.0),
        AttitudeThrustCommand(np.array([0.6, 0.0, 0.0, 0.8]), 5.0, np.ones(3), stamp=3.0),
        VelocityCommand(np.array([1.0, 2.0, -3.0]), 7.0, -1.0, stamp=3.0),
        PositionCommand(np.array([100.0, 2.0, -3.0]), np.ones(3), 7.0, stamp=3.0),
    ],
)
def test_what_is_allowed_is_not_touched(command):
    same(limit_command(command, RACER), command)


def test_a_velocity_keeps_its_direction():
    fast = np.array([30.0, -40.0, 0.0])
    np.testing.assert_allclose(limit_command(VelocityCommand(fast), RACER).velocity_w, fast * RACER.limits.speed / 50.0)


def test_the_command_given_is_not_changed_and_not_shared():
    command = RotorCommand(np.full(4, 9999.0))
    sent = limit_command(command, RACER)
    np.testing.assert_array_equal(command.rotor_speed, 9999.0)
    inside = PositionCommand(np.ones(3))
    sent = limit_command(inside, RACER)
    inside.position_w[:] = 7.0
    np.testing.assert_array_equal(sent.position_w, 1.0)
