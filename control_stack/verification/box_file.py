"""The file that says what is to be verified: a box, by the names of its channels, and perhaps a set never to be left.

    {"box": {"cart.x [m]": [-0.1, 0.1], "force [N]": [-5, 5], ...},
     "invariant": {"shape": "ellipsoid", "matrix": [[...]], "center": [...], "feedback": [[...]], "input": [0],
                   "disturbance": [...]}}

A box may instead be two lists, {"lower": [...], "upper": [...]}, in the order of the channels. With
{"within": {"next cart.x [m]": [-0.2, 0.2], ...}} it is a claim that these outputs stay inside on the box.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.bounds import Box
from control_stack.errors import InvalidInput
from control_stack.types import Array

_KEYS = ("box", "lower", "upper", "within", "invariant")


def read_box_file(path: str | Path) -> dict[str, Any]:
    """The file's object.

    Raises:
        InvalidInput: It is missing, no JSON object, or has a key that means nothing here.
    """
    file = Path(path)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"{file} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {file}: {error}") from None
    except ValueError as error:
        raise InvalidInput(f"{file}: not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{file}: expected a JSON object with 'box', or 'lower' and 'upper'")
    for key in found:
        if key not in _KEYS:
            raise InvalidInput(f"{file}: unknown key '{key}'; expected one of: {', '.join(_KEYS)}")
    if "box" in found and ("lower" in found or "upper" in found):
        raise InvalidInput(f"{file}: a box is given by name or by lower and upper, not both")
    return found


def box_of(asked: Mapping[str, Any], names: Sequence[str], defaults: Mapping[str, tuple[float, float]]) -> Box:
    """The box over all channels.

    Args:
        asked: As ``read_box_file`` gives it. names: Of the channels, in order.
        defaults: Sides of channels that may be left out.

    Raises:
        InvalidInput: Another number of channels, an unknown or missing name, or sides that are not a pair of numbers.
    """
    if "box" not in asked:
        if "lower" not in asked or "upper" not in asked:
            raise InvalidInput("no box: give 'box', or 'lower' and 'upper'")
        sides = [vector(asked[side], side) for side in ("lower", "upper")]
        kept = len(names) - len(defaults)
        for side, name in zip(sides, ("lower", "upper"), strict=True):
            if len(side) not in (kept, len(names)):
                raise InvalidInput(f"{name} has {len(side)} numbers for {kept} channels: {', '.join(names[:kept])}")
        filled = [
            np.concatenate([side, [defaults[name][k] for name in names[len(side) :]]]) for k, side in enumerate(sides)
        ]
        return Box(*filled)
    given = asked["box"]
    if not isinstance(given, dict):
        raise InvalidInput("'box' is an object of channels, each with [low, high]")
    for name in given:
        if name not in names:
            raise InvalidInput(f"the box names '{name}'; the channels are {', '.join(names)}")
    missing = [name for name in names if name not in given and name not in defaults]
    if missing:
        raise InvalidInput(f"the box lacks {', '.join(missing)}")
    pairs = [pair(given[name], name) if name in given else defaults[name] for name in names]
    return Box([low for low, _ in pairs], [high for _, high in pairs])


def pair(value: Any, name: str) -> tuple[float, float]:
    """[low, high] as floats. Raises InvalidInput for anything else."""
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidInput(f"{name}: expected [low, high], got {value!r}")
    low, high = vector(value, name)
    return float(low), float(high)


def vector(value: Any, name: str) -> Array:
    """A flat list of finite numbers. Raises InvalidInput for anything else."""
    if not isinstance(value, list) or not all(_is_number(v) for v in value):
        raise InvalidInput(f"{name}: expected a list of finite numbers")
    return np.array(value, dtype=float)


def matrix(value: Any, name: str) -> Array:
    """Rows of equal length. Raises InvalidInput for anything else."""
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        raise InvalidInput(f"{name}: expected a list of rows")
    rows = [vector(row, name) for row in value]
    if len({len(row) for row in rows}) != 1:
        raise InvalidInput(f"{name}: rows of different lengths")
    return np.array(rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
