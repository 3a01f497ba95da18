"""Copies of a MuJoCo task of gymnasium."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import numpy as np

from control_stack.errors import MissingDependency
from control_stack.learning.imitation.tasks import Mask
from control_stack.types import Array

EXTRA = "imitation"


def require(*modules: str) -> None:
    """Raises MissingDependency for the first module that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(module, EXTRA)


class MujocoLanes:
    """N copies; the action box of the task is -1..1 already.

    Raises:
        MissingDependency: gymnasium or MuJoCo is not installed.
    """

    def __init__(self, name: str, count: int):
        require("gymnasium", "mujoco", "imageio")
        import gymnasium
        import mujoco

        self._engine = mujoco
        self._kind = mujoco.mjtState.mjSTATE_INTEGRATION
        # Without wrappers: the horizon is the study's, and so are the checks.
        self._copies = [gymnasium.make(name).unwrapped for _ in range(count)]
        self._size = self._copies[0].observation_space.shape[0]

    def begin(self, lane: int, seed: int) -> Array:
        """Starts an episode in a lane; returns its first observation (n,)."""
        return np.asarray(self._copies[lane].reset(seed=seed)[0])

    def step(self, actions: Array, active: Mask) -> tuple[Array, Array, Mask]:
        """One step of the lanes where ``active`` is true; see ``Lanes``."""
        count = len(self._copies)
        seen, reward, failed = np.zeros((count, self._size)), np.zeros(count), np.zeros(count, dtype=bool)
        for k in np.flatnonzero(active):
            seen[k], reward[k], failed[k], _, _ = self._copies[k].step(actions[k])
        return seen, reward, failed

    def state(self) -> Mapping[str, Array]:
        """MuJoCo's integration state of every copy."""
        rows = []
        for copy in self._copies:
            row = np.zeros(self._engine.mj_stateSize(copy.model, self._kind))
            self._engine.mj_getState(copy.model, copy.data, row, self._kind)
            rows.append(row)
        return {"integration": np.stack(rows)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes on with ``state``."""
        for copy, row in zip(self._copies, state["integration"], strict=True):
            self._engine.mj_setState(copy.model, copy.data, row, self._kind)
            self._engine.mj_forward(copy.model, copy.data)
