"""choose_level and the model's place in the protocols."""

from __future__ import annotations

import itertools

import pytest

from control_stack.errors import IncompatibleLevels
from control_stack.protocols import Dynamics, choose_level
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.types import CommandLevel as Level


def test_the_controllers_order_decides():
    offered = (Level.ROTORS, Level.CTBR, Level.ATTITUDE)
    assert choose_level("c", offered, "v", (Level.ATTITUDE, Level.CTBR)) is Level.CTBR
    assert choose_level("c", offered[::-1], "v", tuple(Level)) is Level.ATTITUDE


def test_the_choice_is_common_and_none_better_is():
    subsets = [s for n in (1, 2, 3) for s in itertools.permutations(tuple(Level)[:4], n)]
    for offered, accepted in itertools.product(subsets, repeat=2):
        common = [level for level in offered if level in accepted]
        if common:
            assert choose_level("c", offered, "v", accepted) is common[0]
        else:
            with pytest.raises(IncompatibleLevels):
                choose_level("c", offered, "v", accepted)


def test_no_common_level_names_both_sides():
    with pytest.raises(IncompatibleLevels, match=r"'policy' emits rotors but vehicle 'x500' accepts ctbr, attitude"):
        choose_level("policy", [Level.ROTORS], "x500", [Level.CTBR, Level.ATTITUDE])


def test_the_quadrotor_model_is_a_dynamics(crazyflie):
    assert isinstance(QuadrotorDynamics(crazyflie, 0.01), Dynamics)
