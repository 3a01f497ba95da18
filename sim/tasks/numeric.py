"""What the tasks without Bullet share: a batched map of NumPy arrays behind the protocol of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from control_stack.errors import InvalidInput
from control_stack.learning.spec import Goal, TaskSpec
from control_stack.types import Array


class NumericTask(ABC):
    """A task with one input whose step is a function of arrays; any finite state may be set.

    Attributes:
        noise: Standard deviation of the input in exploration, in its unit.
        feedback: (2, nx) rows K of u = K x that exploration mixes, anew for each episode.
    """

    spec: TaskSpec
    frames: str
    noise: float
    feedback: Array

    def __init__(self) -> None:
        self._state: Array | None = None
        self.applied = np.zeros(len(self.spec.inputs))
        self.contact = False

    @abstractmethod
    def advance(self, x: Array, u: Array) -> tuple[Array, NDArray[np.bool_]]:
        """(..., nx), (..., nu) within the limits -> states one step later, and whether there was contact (...)."""

    @abstractmethod
    def start(self, rng: np.random.Generator) -> Array:
        """Draws a start (nx,)."""

    @abstractmethod
    def goal(self, seed: int) -> Goal:
        """Draws a goal for the start of the same seed."""

    @property
    def state(self) -> Array:
        """(nx,) now. Raises InvalidInput before ``reset`` or ``set_state``."""
        if self._state is None:
            raise InvalidInput(f"{self.spec.task} has no state yet: reset it")
        return self._state.copy()

    def reset(self, seed: int) -> Array:
        """Draws a start; equal seeds give equal starts."""
        self._state = self.start(np.random.default_rng((seed, 0)))
        return self.state

    def set_state(self, x: Array) -> Array:
        """Goes to a state. Raises InvalidInput for a wrong size or values that are not finite."""
        self._state = self.spec.check_state(x)
        return self.state

    def step(self, u: Array) -> Array:
        """Holds an input (nu,), limited, for ``spec.dt``; returns the next state."""
        self.applied = self.spec.limited(u)
        self._state, touched = self.advance(self.state, self.applied)
        self.contact = bool(touched)
        return self.state

    def close(self) -> None:  # noqa: B027 (not every task has something to release)
        """Nothing to release."""
