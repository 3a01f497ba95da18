"""The inner loops at every level: hover is a fixed point, and the closed loop goes where it is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from control_stack.algebra import body_axes, rotate
from control_stack.laws.cascade import InnerLoops, command_columns
from control_stack.quadrotor.dynamics import rk4_step
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.ros_layout import COMMAND_SIZE
from control_stack.types import (
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)

HEADING = 0.7
PLACE = np.array([1.0, -2.0, 3.0])


def hover_state(vehicle: QuadrotorParameters) -> tuple:
    quat = (0.0, 0.0, math.sin(HEADING / 2), math.cos(HEADING / 2))
    return (*PLACE.tolist(), 0.0, 0.0, 0.0, *quat, 0.0, 0.0, 0.0, *(vehicle.hover_rotor_speed,) * 4)


def hover_commands(vehicle: QuadrotorParameters) -> list[Command]:
    """The command of each level that means 'stay as you are' in hover_state."""
    weight = vehicle.mass * GRAVITY
    return [
        RotorCommand(np.full(4, vehicle.hover_rotor_speed)),
        RatesThrustCommand(np.zeros(3), weight),
        AttitudeThrustCommand(np.array(hover_state(vehicle)[6:10]), weight),
        VelocityCommand(np.zeros(3), HEADING),
        PositionCommand(PLACE, yaw=HEADING),
    ]


def fly(vehicle: QuadrotorParameters, command: Command, seconds: float, x: tuple, dt: float = 2e-3) -> tuple:
    loops, columns = InnerLoops.of(vehicle), command_columns(command)
    for _ in range(round(seconds / dt)):
        x = rk4_step(x, loops.rotor_command(command.level, columns, x), vehicle.airframe, dt)
    return x


def test_hover_is_a_fixed_point_of_every_level(vehicle: QuadrotorParameters):
    loops, x = InnerLoops.of(vehicle), hover_state(vehicle)
    for command in hover_commands(vehicle):
        columns = command_columns(command)
        assert len(columns) == COMMAND_SIZE[command.level]
        assert np.allclose(loops.rotor_command(command.level, columns, x), vehicle.hover_rotor_speed, rtol=1e-9)


def test_rotor_commands_are_clipped_and_nan_is_never_full_power(vehicle: QuadrotorParameters):
    loops, x = InnerLoops.of(vehicle), hover_state(vehicle)
    low, high = vehicle.airframe.rotor_speed_min[0], vehicle.airframe.rotor_speed_max[0]
    out = loops.rotor_command(CommandLevel.ROTORS, (-1e9, 1e9, 0.5 * (low + high), float("nan")), x)
    assert out == (low, high, 0.5 * (low + high), low)


def test_position_commands_are_reached(vehicle: QuadrotorParameters):
    goal = PLACE + [0.4, -0.3, 0.5]
    x = fly(vehicle, PositionCommand(goal, yaw=HEADING + 0.5), 6.0, hover_state(vehicle))
    assert np.linalg.norm(np.array(x[0:3]) - goal) < 0.02
    assert np.allclose(body_axes(x[6:10])[0][:2], [math.cos(HEADING + 0.5), math.sin(HEADING + 0.5)], atol=0.02)


def test_velocity_commands_are_held(vehicle: QuadrotorParameters):
    """To the error that drag leaves in a loop without integrator: d v / (m k_v)."""
    wanted = np.array([0.5, -0.3, 0.2])
    x = fly(vehicle, VelocityCommand(wanted, HEADING), 5.0, hover_state(vehicle))
    slack = vehicle.drag.max() / (vehicle.mass * vehicle.gains.velocity.min()) * np.linalg.norm(wanted)
    assert np.linalg.norm(np.array(x[3:6]) - wanted) < 1.2 * slack + 0.02


def test_attitude_commands_are_held(vehicle: QuadrotorParameters):
    quat = np.array([math.sin(0.15), 0.0, 0.0, math.cos(0.15)])  # rolled right by 0.3 rad, heading east
    command = AttitudeThrustCommand(quat, vehicle.mass * GRAVITY / math.cos(0.3))
    x = fly(vehicle, command, 4.0, hover_state(vehicle))
    assert abs(np.dot(x[6:10], quat)) > math.cos(0.01)
    assert x[4] < -1.0  # rolled right, it flies to the right: -y when facing east


def test_rate_commands_are_held(vehicle: QuadrotorParameters):
    omega = np.array([0.0, 0.0, 1.0])
    x = fly(vehicle, RatesThrustCommand(omega, vehicle.mass * GRAVITY), 2.0, hover_state(vehicle))
    assert np.allclose(x[10:13], omega, atol=0.01)
    assert np.allclose(rotate(x[6:10], (0.0, 0.0, 1.0)), [0.0, 0.0, 1.0], atol=1e-3)


def test_it_recovers_from_any_tilt(vehicle: QuadrotorParameters):
    """Started on its side and tumbling, high up, the position level ends upright at its goal."""
    start = list(hover_state(vehicle))
    start[6:10] = [math.sin(0.8), 0.0, 0.0, math.cos(0.8)]
    start[10:13] = [1.0, -2.0, 1.0]
    x = fly(vehicle, PositionCommand(PLACE, yaw=HEADING), 8.0, tuple(start))
    assert np.linalg.norm(np.array(x[0:3]) - PLACE) < 0.05 and body_axes(x[6:10])[2][2] > 0.999


def test_a_level_without_inner_loops_is_refused(vehicle: QuadrotorParameters):
    with pytest.raises(ValueError, match="joints"):
        InnerLoops.of(vehicle).rotor_command(CommandLevel.JOINTS, (), hover_state(vehicle))
