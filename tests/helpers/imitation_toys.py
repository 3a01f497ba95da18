"""A task that takes no time: keep a point near zero by pushing it, with an expert that is known."""

from __future__ import annotations

import numpy as np

from control_stack.learning.imitation.demonstrations import Demonstrations
from control_stack.learning.imitation.policy_file import CLIP, Scales
from control_stack.learning.imitation.tasks import Task

_STEP, _FAR = 0.2, 1.5


class PointLanes:
    """x+ = x + 0.2 a, reward 1 - |x|, failed beyond 1.5."""

    def __init__(self, count: int):
        self._x = np.zeros(count)

    def begin(self, lane, seed):
        self._x[lane] = np.random.default_rng(seed).uniform(-1.0, 1.0)
        return self._seen()[lane]

    def _seen(self):
        return np.stack([self._x, self._x**3], axis=1)

    def step(self, actions, active):
        self._x = np.where(active, self._x + _STEP * actions[:, 0], self._x)
        return self._seen(), 1.0 - np.abs(self._x), np.abs(self._x) > _FAR

    def state(self):
        return {"x": self._x}

    def restore(self, state):
        self._x = np.array(state["x"])


def point(copies: int = 1) -> Task:
    return Task(
        title="point", observation=("x", "x cubed"), action=("push",), horizon=30, copies=copies, steps=1000, shown=4,
        make=PointLanes,
    )  # fmt: skip


def expert(seen):
    return np.clip(-4.0 * seen[:, :1], -1.0, 1.0)


def shown(count: int = 100) -> Demonstrations:
    """Pairs of the expert; its return and that of chance are those of this task, about."""
    x = np.random.default_rng(0).uniform(-1.0, 1.0, count)
    seen = np.stack([x, x**3], axis=1)
    scales = Scales(np.zeros(2), np.array([0.5, 0.4]), CLIP)
    return Demonstrations(seen, expert(seen), scales, expert=28.0, chance=2.0, card={})
