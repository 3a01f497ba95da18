"""Checks at a boundary: what a message must satisfy before anything acts on it.

Each raises InputRejected with a short stable reason under which diagnostics count it; the caller keeps the
last good value until the failsafe's time-out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InputRejected
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)

QUATERNION_TOLERANCE = 1e-3  # of a command's norm from 1


class Rejections:
    """Counts of dropped inputs as "topic/reason", for diagnostics."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, topic: str, error: InputRejected) -> None:
        """Counts one."""
        self.counts[f"{topic}/{error.reason}"] += 1


def finite(values: ArrayLike, what: str) -> Array:
    """The values as an array of floats; refused when one is not finite or not a number at all."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputRejected("type", f"{what} is not numeric") from None
    if not np.isfinite(array).all():
        raise InputRejected("nan", f"{what} is not finite")
    return array


def unit_quaternion(xyzw: ArrayLike, what: str = "orientation", tolerance: float = 1e-2) -> Array:
    """The quaternion scaled to unit norm; refused when its norm is further than the tolerance from 1."""
    quat = finite(xyzw, what)
    if quat.shape != (4,):
        raise InputRejected("shape", f"{what} has shape {quat.shape}, expected (4,)")
    norm = float(np.linalg.norm(quat))
    if abs(norm - 1.0) > tolerance:
        raise InputRejected("quaternion", f"{what} has norm {norm:.3f}")
    return quat / norm


def frame(found: str, expected: Iterable[str]) -> None:
    """Refuses a frame id that is none of the expected."""
    allowed = tuple(expected)
    if found not in allowed:
        raise InputRejected("frame_id", f"'{found}', expected {' or '.join(allowed)}")


def fresh(stamp: float, now: float, max_age: float) -> None:
    """Refuses stamps older than max_age or more than max_age ahead, s."""
    age = now - stamp
    if age < -max_age:
        raise InputRejected("future", f"{-age:.3f} s ahead")
    if not age <= max_age:  # a stamp that is NaN is not fresh either
        raise InputRejected("stale", f"{age:.3f} s old")


_COMMANDS = (RotorCommand, RatesThrustCommand, AttitudeThrustCommand, VelocityCommand, PositionCommand)
_SHAPES = {"rotor_speed": (4,), "omega_b": (3,), "quat_xyzw": (4,), "velocity_w": (3,), "position_w": (3,)}


def check_level(command: object, levels: Iterable[CommandLevel], who: str) -> None:
    """Refuses what is no command and commands of a level that is none of those that ``who`` declares."""
    declared = tuple(levels)
    level = getattr(command, "level", None)
    if not isinstance(level, CommandLevel):
        raise InputRejected("type", f"a {type(command).__name__} is no command")
    if level not in declared:
        raise InputRejected("level", f"{level.value}, but {who} declares {', '.join(v.value for v in declared)}")


def check_command(command: Command) -> None:
    """Refuses what is no command, non-finite values, wrong shapes and quaternions away from unit norm.

    No vehicle refuses more than this and levels that its spec does not list (``protocols.Vehicle.send``), so
    what passed here is flown.
    """
    if not isinstance(command, _COMMANDS):
        raise InputRejected("type", f"a {type(command).__name__} is no command")
    for key, value in vars(command).items():
        if key == "stamp":
            continue
        array = finite(value, key)
        if array.shape != _SHAPES.get(key, ()):
            raise InputRejected("shape", f"{key} has shape {array.shape}, expected {_SHAPES.get(key, ())}")
        if key == "quat_xyzw":
            unit_quaternion(array, key, QUATERNION_TOLERANCE)
