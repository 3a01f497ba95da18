"""What every task offers, whether Bullet or NumPy moves it."""

from __future__ import annotations

from typing import Protocol

from control_stack.learning.spec import Goal, TaskSpec
from control_stack.types import Array


class Task(Protocol):
    """A simulator whose whole state is the vector that models learn, so that any state can be set and gone on from.

    ``step`` is a function of ``state`` and the input alone: after ``set_state(x)`` every copy of a task does the
    same, bit for bit, whatever it did before.
    """

    @property
    def spec(self) -> TaskSpec:
        """Layout, units, limits, outputs, cost and success."""

    @property
    def frames(self) -> str:
        """What the state is given in, for the card of data."""

    @property
    def state(self) -> Array:
        """(nx,) now."""

    @property
    def applied(self) -> Array:
        """(nu,) input of the last step, as limited: what a learner should see."""

    @property
    def contact(self) -> bool:
        """Whether there was contact in the last step."""

    def reset(self, seed: int) -> Array:
        """Draws a start; equal seeds give equal starts. Returns the state."""

    def set_state(self, x: Array) -> Array:
        """Goes to a state (nx,); returns it. Raises InvalidInput for one that the task cannot be in."""

    def step(self, u: Array) -> Array:
        """Holds an input (nu,) for ``spec.dt``; returns the next state. Raises InvalidInput if it is not finite."""

    def goal(self, seed: int) -> Goal:
        """Draws a goal for the start of the same seed."""

    def close(self) -> None:
        """Releases the simulator. May be called twice."""
