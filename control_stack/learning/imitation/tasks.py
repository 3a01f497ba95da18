"""The tasks that are imitated, and what a stack needs from each: many copies of it, stepped together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from control_stack.errors import UnknownName
from control_stack.types import Array

Mask = NDArray[np.bool_]
Seeds = NDArray[np.int64]


class Lanes(Protocol):
    """N copies of a task, each in an episode of its own."""

    def begin(self, lane: int, seed: int) -> Array:
        """Starts an episode in a lane; returns its first observation (n,)."""

    def step(self, actions: Array, active: Mask) -> tuple[Array, Array, Mask]:
        """One step of the lanes where ``active`` (N,) is true.

        Args:
            actions: (N, m) in -1..1.

        Returns:
            (N, n) observations, (N,) rewards of the task, (N,) whether the episode ended in failure; those of lanes
            that are not active mean nothing.
        """

    def state(self) -> Mapping[str, Array]:
        """All that the next step depends on."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes on with ``state``."""


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        title: In plain words.
        observation: Names of the observed channels, with units. action: Names of the actions, each -1..1.
        horizon: Steps after which an episode ends without failure.
        copies: That every learner acts in at once; steps count in all of them.
        steps: Of a learner, shipped. shown: Expert's episodes, of which one pair in 20 is shown.
        make: N -> lanes.
    """

    title: str
    observation: tuple[str, ...]
    action: tuple[str, ...]
    horizon: int
    copies: int
    steps: int
    shown: int
    make: Callable[[int], Lanes]


def _mujoco(name: str) -> Callable[[int], Lanes]:
    def make(count: int) -> Lanes:
        from control_stack.learning.imitation.mujoco_lanes import MujocoLanes

        return MujocoLanes(name, count)

    return make


def _quadrotor(count: int) -> Lanes:
    from control_stack.learning.imitation.quadrotor_lanes import QuadrotorLanes

    return QuadrotorLanes(count)


MUJOCO = {"pendulum": "InvertedDoublePendulum-v5", "hopper": "Hopper-v5"}
TASKS = {
    "pendulum": Task(
        title="inverted double pendulum",
        observation=(
            "cart position, m", "sine of the first angle", "sine of the second angle", "cosine of the first angle",
            "cosine of the second angle", "cart velocity, m/s", "first rate, rad/s", "second rate, rad/s",
            "constraint force on the cart, N",
        ),
        action=("force on the cart",),
        horizon=1000, copies=2, steps=100_000, shown=10, make=_mujoco(MUJOCO["pendulum"]),
    ),
    "hopper": Task(
        title="hopper",
        observation=(
            "height, m", "torso angle, rad", "thigh angle, rad", "leg angle, rad", "foot angle, rad",
            "forward velocity, m/s", "vertical velocity, m/s", "torso rate, rad/s", "thigh rate, rad/s",
            "leg rate, rad/s", "foot rate, rad/s",
        ),
        action=("thigh torque", "leg torque", "foot torque"),
        horizon=1000, copies=2, steps=300_000, shown=10, make=_mujoco(MUJOCO["hopper"]),
    ),
    "quadrotor": Task(
        title="quadrotor tracking",
        observation=(
            *(f"position error {axis}, m" for axis in "xyz"),
            *(f"rotation matrix {i}{j}" for i in range(3) for j in range(3)),
            *(f"velocity error {axis}, m/s" for axis in "xyz"),
            *(f"body rate {axis}, rad/s" for axis in "xyz"),
            *(f"previous action {rotor}" for rotor in ("FR", "BR", "BL", "FL")),
        ),
        action=tuple(f"rotor {rotor}, around hover" for rotor in ("FR", "BR", "BL", "FL")),
        horizon=500, copies=4, steps=100_000, shown=10, make=_quadrotor,
    ),
}  # fmt: skip


def task_named(name: str) -> Task:
    """A task by name. Raises UnknownName."""
    if name not in TASKS:
        raise UnknownName("imitation task", name, TASKS)
    return TASKS[name]


Policy = Callable[[Array], Array]  # observations (N, n) of N lanes -> actions (N, m) in -1..1


def episodes(
    task: Task, lanes: Lanes, seeds: Seeds, act: Policy, watch: Callable[[Array, Array, Mask], None] | None = None
) -> Array:
    """(N,) returns of one episode in every lane.

    Args:
        seeds: (N,) of the episodes.
        watch: Called with observations (N, n), actions (N, m) and which lanes are still in their episode (N,).
    """
    seen = np.stack([lanes.begin(k, int(seed)) for k, seed in enumerate(seeds)])
    running, total = np.ones(len(seeds), dtype=bool), np.zeros(len(seeds))
    for _ in range(task.horizon):
        actions = act(seen)
        if watch is not None:
            watch(seen, actions, running)
        seen, reward, failed = lanes.step(actions, running)
        total += np.where(running, reward, 0.0)
        running = running & ~failed
        if not running.any():
            break
    return total
