"""The layout of commands in a JointState: what goes in comes out, in any order, and nothing else gets in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.errors import InputRejected
from control_stack.laws.cascade import command_columns
from control_stack.ros_layout import COMMAND_SIZE, SLOTS, command_from_columns, command_from_fields, joint_fields
from control_stack.types import (
    AttitudeThrustCommand,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
)

LEVELS = list(SLOTS)
HALF_TURN = np.array([0.0, 0.0, 1.0, 0.0])


def command_of(level: CommandLevel, seed: int = 0):
    columns = np.random.default_rng(seed).normal(size=len(SLOTS[level])) * 10.0
    return command_from_columns(level, columns, 2.5)


def test_every_level_of_a_quadrotor_has_the_slots_of_its_columns():
    for level, slots in SLOTS.items():
        assert len(command_columns(command_of(level))) == len(slots) == COMMAND_SIZE[level]


@given(
    level=st.sampled_from(LEVELS),
    seed=st.integers(0, 2**32 - 1),
    order=st.randoms(use_true_random=False),
)
def test_round_trip_is_exact_in_any_order_of_entries(level, seed, order):
    command = command_of(level, seed)
    names, *fields = joint_fields(command)
    shuffled = list(range(len(names)))
    order.shuffle(shuffled)
    arrays = [array[shuffled] if len(array) else array for array in fields]
    back = command_from_fields(level.value, [names[i] for i in shuffled], *arrays, 2.5)
    assert type(back) is type(command)
    assert back.stamp == 2.5
    assert command_columns(back) == command_columns(command)


@pytest.mark.parametrize("level", LEVELS)
def test_arrays_are_empty_or_as_long_as_the_names(level):
    names, *fields = joint_fields(command_of(level))
    assert {len(array) for array in fields} <= {0, len(names)}
    finite = sum(int(np.isfinite(array).sum()) for array in fields)
    assert finite == len(SLOTS[level])


def test_the_layout_is_the_one_of_the_design():
    names, position, velocity, effort = joint_fields(RotorCommand(np.array([1.0, 2.0, 3.0, 4.0])))
    assert names == ["rotor_0", "rotor_1", "rotor_2", "rotor_3"]
    assert len(position) == len(effort) == 0
    assert velocity.tolist() == [1.0, 2.0, 3.0, 4.0]

    names, position, velocity, effort = joint_fields(RatesThrustCommand(np.array([0.1, 0.2, 0.3]), 0.26))
    assert names == ["rate_x", "rate_y", "rate_z", "thrust"]
    assert len(position) == 0
    assert velocity[:3].tolist() == [0.1, 0.2, 0.3] and math.isnan(velocity[3])
    assert effort[3] == 0.26 and np.isnan(effort[:3]).all()

    names, position, _, effort = joint_fields(AttitudeThrustCommand(HALF_TURN, 0.26))
    assert names[:5] == ["quat_x", "quat_y", "quat_z", "quat_w", "thrust"]
    assert position[:4].tolist() == [0.0, 0.0, 1.0, 0.0] and effort[4] == 0.26


def test_feed_forward_may_be_left_out_and_is_then_zero():
    names, position, effort = (
        ["quat_x", "quat_y", "quat_z", "quat_w", "thrust"],
        [0, 0, 0, 1, math.nan],
        [math.nan] * 4,
    )
    command = command_from_fields("attitude", names, position, [], [*effort, 0.3], 0.0)
    assert command.omega_b.tolist() == [0.0, 0.0, 0.0]
    command = command_from_fields("position", ["x", "y", "z", "yaw"], [1, 2, 3, 0.5], [], [], 0.0)
    assert isinstance(command, PositionCommand)
    assert command.velocity_w.tolist() == [0.0, 0.0, 0.0] and command.yaw == 0.5


@pytest.mark.parametrize("level", LEVELS)
def test_a_nan_in_any_used_entry_is_refused(level):
    names, *fields = joint_fields(command_of(level))
    for name, field in SLOTS[level]:
        arrays = [array.copy() for array in fields]
        arrays[("position", "velocity", "effort").index(field)][names.index(name)] = math.nan
        with pytest.raises(InputRejected) as refused:
            command_from_fields(level.value, names, *arrays, 0.0)
        assert refused.value.reason == "nan"


@pytest.mark.parametrize(
    ("level", "names", "velocity", "reason"),
    [
        ("rotors", ["rotor_0", "rotor_1", "rotor_2"], [1.0] * 3, "names"),
        ("rotors", ["rotor_0", "rotor_1", "rotor_2", "rotor_4"], [1.0] * 4, "names"),
        ("rotors", ["rotor_0", "rotor_1", "rotor_2", "rotor_3", "rotor_4"], [1.0] * 5, "names"),
        ("rotors", ["rotor_0", "rotor_1", "rotor_2", "rotor_2"], [1.0] * 4, "names"),
        ("rotors", ["rotor_0", "rotor_1", "rotor_2", "rotor_3"], [1.0] * 3, "shape"),
        ("rotors", ["rotor_0", "rotor_1", "rotor_2", "rotor_3"], [], "names"),
        ("rotors", [], [], "names"),
        ("ctbr", ["rotor_0", "rotor_1", "rotor_2", "rotor_3"], [1.0] * 4, "names"),
        ("joints", ["rotor_0", "rotor_1", "rotor_2", "rotor_3"], [1.0] * 4, "level"),
        ("base_link", ["rotor_0", "rotor_1", "rotor_2", "rotor_3"], [1.0] * 4, "level"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(level, names, velocity, reason):
    with pytest.raises(InputRejected) as refused:
        command_from_fields(level, names, [], velocity, [], 0.0)
    assert refused.value.reason == reason


def test_columns_of_another_level_are_refused():
    with pytest.raises(InputRejected):
        command_from_columns(CommandLevel.ATTITUDE, np.zeros(4))
    with pytest.raises(InputRejected):
        command_from_columns(CommandLevel.JOINTS, np.zeros(4))
