"""Tasks by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from control_stack.errors import UnknownName
from sim.tasks.cartpole import CartPoleTask
from sim.tasks.numeric import NumericTask
from sim.tasks.piecewise import PiecewiseTask
from sim.tasks.planar import PlanarTask
from sim.tasks.pushing import SHAPES, PushingTask
from sim.tasks.rope import RopeTask
from sim.tasks.sorting import SortingTask

TASKS: dict[str, Callable[[], PlanarTask | NumericTask]] = {
    **{name: partial(PushingTask, name) for name in SHAPES},
    "sorting": SortingTask,
    "rope": RopeTask,
    "piecewise": PiecewiseTask,
    "cartpole": CartPoleTask,
}


def make_task(name: str) -> PlanarTask | NumericTask:
    """The task of a name, to be reset before its first step.

    Raises:
        UnknownName: There is none.
        MissingDependency: It needs PyBullet, which is not installed.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    return TASKS[name]()
