"""What a task is made of: layout, units and limits of states and inputs, and what counts as reaching a goal.

Everything that a planner needs is linear in the state: ``y = outputs @ x`` are the quantities with a goal (for
pushing the keypoints in the world frame), so that costs and goal sets go into a linear program as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array


@dataclass(frozen=True)
class Goal:
    """A box of outputs to reach, and where the cost is zero.

    Attributes:
        target: (ny,) centre of the box.
        half_width: (ny,) |y - target| <= half_width counts as reached; inf where an output does not matter.
        free: (ny,) |y - target| below which an output costs nothing.
    """

    target: Array
    half_width: Array
    free: Array


@dataclass(frozen=True)
class TaskSpec(DynamicsSpec):
    """A DynamicsSpec with limits and outputs.

    Attributes:
        task: As the command line calls it.
        keypoints: Names of the keypoints, in the order of their coordinates in the state; empty without any.
        state_lower, state_upper: (nx,) between which states of the task lie.
        input_lower, input_upper: (nu,) to which ``step`` limits inputs.
        output_names: (ny,) with units.
        outputs: (ny, nx); y = outputs @ x.
        weights: (ny,) of the cost, 1 / unit of y: a cost has no unit.
        workspace: ((x low, x high), (y low, y high)) in which goals and the pusher lie, m; empty without one.
    """

    task: str
    keypoints: tuple[str, ...]
    state_lower: Array
    state_upper: Array
    input_lower: Array
    input_upper: Array
    output_names: tuple[str, ...]
    outputs: Array
    weights: Array
    workspace: tuple[tuple[float, float], ...] = ()

    def cost(self, x: Array, goal: Goal) -> Array:
        """Stage cost ``sum_i w_i max(0, |y_i - target_i| - free_i)``; (..., nx) -> (...)."""
        error = np.abs(np.asarray(x) @ self.outputs.T - goal.target)
        return np.maximum(error - goal.free, 0.0) @ self.weights

    def success(self, x: Array, goal: Goal) -> Array:
        """Whether y lies in the goal's box; (..., nx) -> (...) of bool."""
        return np.all(np.abs(np.asarray(x) @ self.outputs.T - goal.target) <= goal.half_width, axis=-1)

    def check_goal(self, goal: Goal) -> Goal:
        """The goal, if it can be meant.

        Raises:
            InvalidInput: Wrong size, not finite, negative widths, or a target outside the outputs' range.
        """
        ny = len(self.output_names)
        for name in ("target", "half_width", "free"):
            value = np.asarray(getattr(goal, name), dtype=float)
            if value.shape != (ny,) or np.isnan(value).any():
                raise InvalidInput(f"goal of {self.task}: {name} needs {ny} numbers, got shape {value.shape}")
            if name != "target" and (value < 0.0).any():
                raise InvalidInput(f"goal of {self.task}: {name} must not be negative")
        lower, upper = self.output_range()
        for k in np.flatnonzero((goal.target < lower - 1e-9) | (goal.target > upper + 1e-9))[:1]:
            raise InvalidInput(
                f"goal of {self.task}: {self.output_names[k]} = {goal.target[k]:.4g} lies outside "
                f"{lower[k]:.4g} .. {upper[k]:.4g}"
            )
        return goal

    def output_range(self) -> tuple[Array, Array]:
        """(ny,) least and most an output with a goal may be: the workspace for planar outputs, else the states'."""
        positive, negative = np.maximum(self.outputs, 0.0), np.minimum(self.outputs, 0.0)
        lower = positive @ self.state_lower + negative @ self.state_upper
        upper = positive @ self.state_upper + negative @ self.state_lower
        if self.workspace:
            axes = np.array(self.workspace)  # outputs of planar tasks come in pairs x, y
            pairs = len(self.output_names) // 2
            lower, upper = np.maximum(lower, np.tile(axes[:, 0], pairs)), np.minimum(upper, np.tile(axes[:, 1], pairs))
        return lower, upper

    def check_state(self, x: Array) -> Array:
        """(nx,) as float64. Raises InvalidInput for a wrong size or values that are not finite."""
        return _vector(x, self.state, f"state of {self.task}")

    def limited(self, u: Array) -> Array:
        """(..., nu) within the input limits. Raises InvalidInput for a wrong size or values that are not finite."""
        value = np.asarray(u, dtype=float)
        if value.ndim == 1 or value.shape[-1:] != (len(self.inputs),):
            value = _vector(value, self.inputs, f"input of {self.task}")
        elif not np.isfinite(value).all():
            raise InvalidInput(f"input of {self.task}: not finite")
        return np.clip(value, self.input_lower, self.input_upper)


def spec_from_card(stored: Mapping[str, Any]) -> DynamicsSpec:
    """The spec in a data set's or model's card: a TaskSpec if it names a task.

    Raises:
        InvalidInput: A field is missing or unknown.
    """
    kind = TaskSpec if "task" in stored else DynamicsSpec
    expected = {field.name for field in fields(kind)}
    if set(stored) != expected:
        wrong = sorted(set(stored) ^ expected)
        raise InvalidInput(f"spec: fields {', '.join(wrong)} are missing or unknown")
    return kind(**{name: _restored(name, value) for name, value in stored.items()})


_NAMES = ("state", "inputs", "parameters", "keypoints", "output_names")
_SCALARS = ("dt", "task")


def _restored(name: str, value: Any) -> Any:
    if name in _SCALARS:
        return value
    if name in _NAMES:
        return tuple(value)
    if name == "workspace":
        return tuple(tuple(axis) for axis in value)
    return np.array(value, dtype=float)


def _vector(value: Array, names: tuple[str, ...], what: str) -> Array:
    vector = np.asarray(value, dtype=float)
    if vector.shape != (len(names),):
        raise InvalidInput(f"{what} needs {len(names)} numbers ({', '.join(names)}), got shape {vector.shape}")
    for k in np.flatnonzero(~np.isfinite(vector))[:1]:
        raise InvalidInput(f"{what}: {names[k]} is {vector[k]}, not finite")
    return vector
