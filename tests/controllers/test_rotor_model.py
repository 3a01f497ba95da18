"""The controller's rotor model against the equations of motion."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.laws.rotor_model import RotorModel
from control_stack.quadrotor.dynamics import rotor_acceleration
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import QuadrotorState

PERIOD = 0.01
COMMANDS = [(300.0, 900.0, 1500.0, 1400.0), (2500.0, 0.0, 1400.0, 1450.0)]


def measured(speed) -> QuadrotorState:
    return QuadrotorState(np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), np.array(speed))


@pytest.mark.parametrize("vehicle", ["crazyflie", "x500"])
def test_equals_the_integrated_lag(vehicle):
    parameters = load_vehicle(vehicle)
    model = RotorModel(parameters, PERIOD)
    speed = np.full(4, parameters.hover_rotor_speed)
    for command in COMMANDS:
        steps = 20000
        for _ in range(steps):  # Euler: error of order PERIOD / steps
            speed = speed + PERIOD / steps * np.array(rotor_acceleration(tuple(speed), command, parameters.airframe))
        model.advance(command)
        np.testing.assert_allclose(model.speed, speed, rtol=1e-4)


@pytest.mark.parametrize("vehicle", ["crazyflie", "x500"])
def test_a_lead_command_moves_every_rotor_the_same_part_of_its_way(vehicle):
    parameters = load_vehicle(vehicle)
    model = RotorModel(parameters, PERIOD)
    hover = parameters.hover_rotor_speed
    wanted = (hover + 20.0, hover - 20.0, hover, hover + 3.0)
    model.advance(model.command_for(wanted, 0.4))
    np.testing.assert_allclose(model.speed, hover + 0.4 * (np.array(wanted) - hover), rtol=1e-12)


def test_a_lead_command_stays_within_the_rotors_range():
    parameters = load_vehicle("crazyflie")
    model = RotorModel(parameters, PERIOD)
    command = model.command_for((2500.0, 0.0, 2500.0, 0.0), 0.4)
    assert command[1] == parameters.rotor_speed_min[1] and max(command) <= parameters.rotor_speed_max[0]


def test_the_first_measurement_is_believed_and_later_ones_draw_it_near():
    parameters = load_vehicle("crazyflie")
    model = RotorModel(parameters, PERIOD)
    model.observe(measured([1.0, 2.0, 3.0, 4.0]))
    assert model.speed == (1.0, 2.0, 3.0, 4.0)
    gaps = []
    for _ in range(40):
        model.observe(measured([1001.0, 1002.0, 1003.0, 1004.0]))
        gaps.append(1001.0 - model.speed[0])
    assert gaps[0] == pytest.approx(800.0) and gaps[-1] < 1.0 and np.all(np.diff(gaps) < 0.0)
    model.reset()
    assert model.speed == (parameters.hover_rotor_speed,) * 4
