"""States, commands and references: immutable, named by level, honest about what is finite."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from control_stack import types as ty


def state(batch: tuple[int, ...] = ()) -> ty.QuadrotorState:
    quat = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (*batch, 4))
    return ty.QuadrotorState(np.zeros((*batch, 3)), np.zeros((*batch, 3)), quat, np.zeros((*batch, 3)))


@pytest.mark.parametrize("field", ["position_w", "velocity_w", "quat_xyzw", "omega_b"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_component_anywhere_in_a_batch_is_found(field: str, bad: float):
    good = state((2, 3))
    assert good.is_finite()
    value = getattr(good, field).copy()
    value[1, 2, 0] = bad
    assert not replace(good, **{field: value}).is_finite()


def test_states_and_commands_cannot_be_changed():
    for value in (state(), ty.RotorCommand(np.zeros(4)), ty.Reference(np.zeros(3))):
        with pytest.raises(FrozenInstanceError):
            value.stamp = 1.0


def test_every_command_names_its_level():
    commands = (
        ty.RotorCommand(np.zeros(4)),
        ty.RatesThrustCommand(np.zeros(3), 1.0),
        ty.AttitudeThrustCommand(np.array([0.0, 0.0, 0.0, 1.0]), 1.0),
        ty.VelocityCommand(np.zeros(3)),
        ty.PositionCommand(np.zeros(3)),
    )
    levels = [command.level for command in commands]
    assert levels == [ty.CommandLevel(name) for name in ("rotors", "ctbr", "attitude", "velocity", "position")]


def test_defaults_are_zero_and_not_shared():
    first, second = ty.Reference(np.zeros(3)), ty.Reference(np.zeros(3))
    for name in ("velocity_w", "acceleration_w", "jerk_w"):
        assert not getattr(first, name).any()
        assert getattr(first, name) is not getattr(second, name)
    a, b = (ty.AttitudeThrustCommand(np.zeros(4), 1.0) for _ in range(2))
    assert a.omega_b is not b.omega_b
