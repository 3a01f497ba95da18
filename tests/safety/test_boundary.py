"""What passes a boundary and what is dropped, with the reason that diagnostics count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.boundary import Rejections, check_command, check_level, finite, frame, fresh, unit_quaternion
from control_stack.errors import InputRejected
from control_stack.types import (
    AttitudeThrustCommand,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)

LEVEL = np.array([0.0, 0.0, 0.0, 1.0])
GOOD: list[Any] = [
    RotorCommand(np.full(4, 1000.0)),
    RatesThrustCommand(np.zeros(3), 0.3),
    AttitudeThrustCommand(LEVEL, 0.3),
    VelocityCommand(np.zeros(3)),
    PositionCommand(np.zeros(3), yaw=1.0),
]


def reason(call: Any, *arguments: Any) -> str:
    with pytest.raises(InputRejected) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("command", GOOD, ids=lambda c: c.level.value)
def test_every_level_passes_and_fails_by_each_of_its_numbers(command: Any) -> None:
    check_command(command)
    for key, value in vars(command).items():
        if key == "stamp":
            continue
        for bad in (math.nan, math.inf, -math.inf):
            array = np.array(value, dtype=float)
            array.flat[array.size - 1] = bad
            assert reason(check_command, type(command)(**{**vars(command), key: array})) == "nan"
        grown = np.zeros((*np.shape(value), 2))
        assert reason(check_command, type(command)(**{**vars(command), key: grown})) == "shape"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, "type"),
        (np.full(4, 1000.0), "type"),
        ((1.0, 2.0), "type"),
        (RotorCommand("fast"), "type"),  # type: ignore[arg-type]
        (RotorCommand([1.0, [2.0], 3.0, 4.0]), "type"),  # type: ignore[list-item, arg-type]
        (RotorCommand(np.zeros(3)), "shape"),
        (RotorCommand(np.zeros((1, 4))), "shape"),
        (AttitudeThrustCommand(np.zeros(4), 0.3), "quaternion"),
        (AttitudeThrustCommand(LEVEL * 1.01, 0.3), "quaternion"),
        (RatesThrustCommand(np.zeros(3), None), "nan"),  # type: ignore[arg-type]
    ],
)
def test_what_a_controller_should_not_answer(answer: Any, expected: str) -> None:
    assert reason(check_command, answer) == expected


def test_a_list_of_numbers_is_as_good_as_an_array() -> None:
    check_command(RotorCommand([1.0, 2.0, 3.0, 4.0]))  # type: ignore[arg-type]


@given(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4), st.floats(0.5, 2.0))
def test_unit_quaternions_come_out_with_unit_norm_or_not_at_all(direction: list[float], norm: float) -> None:
    length = float(np.linalg.norm(direction))
    if length < 1e-3:
        return
    quat = np.array(direction) / length * norm
    if abs(norm - 1.0) > 1e-2:
        assert reason(unit_quaternion, quat) == "quaternion"
    else:
        assert np.linalg.norm(unit_quaternion(quat)) == pytest.approx(1.0, abs=1e-12)


def test_a_quaternion_has_four_components() -> None:
    assert reason(unit_quaternion, [0.0, 0.0, 1.0]) == "shape"


@pytest.mark.parametrize(
    ("stamp", "expected"), [(9.79, "stale"), (10.21, "future"), (math.nan, "stale"), (-math.inf, "stale")]
)
def test_stamps_away_from_now_are_dropped(stamp: float, expected: str) -> None:
    assert reason(fresh, stamp, 10.0, 0.2) == expected


@pytest.mark.parametrize("stamp", [9.81, 10.0, 10.19])
def test_stamps_near_now_pass(stamp: float) -> None:
    fresh(stamp, 10.0, 0.2)


def test_levels_are_those_that_are_declared() -> None:
    for command in GOOD:
        check_level(command, CommandLevel, "x")
        check_level(command, [command.level], "x")
        others = [level for level in CommandLevel if level is not command.level]
        assert reason(check_level, command, others, "x") == "level"
        assert reason(check_level, command, [], "x") == "level"
    for nothing in (None, np.zeros(4), "rotors", type("Named", (), {"level": "rotors"})()):
        assert reason(check_level, nothing, CommandLevel, "x") == "type"


def test_frames_are_matched_exactly() -> None:
    frame("odom", ("map", "odom"))
    for wrong in ("base_link", "", "/odom", "Odom"):
        assert reason(frame, wrong, ("map", "odom")) == "frame_id"


def test_finite_names_what_is_not() -> None:
    with pytest.raises(InputRejected, match="body rates"):
        finite([0.0, math.inf, 0.0], "body rates")
    assert finite((1, 2), "x").dtype == float


def test_rejections_are_counted_by_topic_and_reason() -> None:
    rejections = Rejections()
    for topic, why in (("command", "nan"), ("command", "nan"), ("odom", "stale")):
        rejections.add(topic, InputRejected(why, "detail"))
    assert rejections.counts == {"command/nan": 2, "odom/stale": 1}
