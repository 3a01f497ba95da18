"""Loads that an arm is given, swaps and drops on its way, as numbers and as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from control_stack.arm.load import NO_LOAD, Load
from control_stack.errors import InvalidInput

_EDGE = 0.1  # m, of the box that a load given by mass and centre is taken for


@dataclass(frozen=True)
class LoadChange:
    """From time t (s) on the flange holds ``load``."""

    t: float
    load: Load


def load_of(text: str) -> Load:
    """A load from "MASS" or "MASS,X,Y,Z" (kg; m in the flange's frame): an even box of 10 cm edges.

    Raises:
        InvalidInput: Not such a text, or no possible load.
    """
    numbers = _numbers(text, "a load is MASS or MASS,X,Y,Z in kg and m")
    if len(numbers) not in (1, 4):
        raise InvalidInput(f"a load is MASS or MASS,X,Y,Z in kg and m, got '{text}'")
    if numbers[0] == 0.0:
        return NO_LOAD
    return Load.box(numbers[0], (_EDGE,) * 3, numbers[1:] or (0.0, 0.0, 0.0))


def changes_of(text: str) -> tuple[LoadChange, ...]:
    """Changes from "T:LOAD;T:LOAD" (s; see ``load_of``), in order of time; empty text is none. Raises InvalidInput."""
    changes = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        t, found, load = part.partition(":")
        times = _numbers(t, "a change of load begins with its time in s")
        if not found or len(times) != 1 or times[0] < 0.0:
            raise InvalidInput(f"a change of load is T:MASS or T:MASS,X,Y,Z with T of at least 0 s, got '{part}'")
        changes.append(LoadChange(times[0], load_of(load)))
    return tuple(sorted(changes, key=lambda change: change.t))


def load_at(changes: Sequence[LoadChange], t: float) -> Load:
    """What the flange holds at t (s), of changes in order of time."""
    return next((change.load for change in reversed(changes) if change.t <= t + 1e-9), NO_LOAD)


def _numbers(text: str, wanted: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(math.isfinite(number) for number in numbers):
        raise InvalidInput(f"{wanted}, got '{text}'")
    return numbers
