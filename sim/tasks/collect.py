"""Collecting a data set, part by part, so that a killed collection goes on where it was.

Every episode is drawn from (seed, number) alone, and parts hold fixed episodes: neither interruptions nor the number
of processes change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from control_stack.artefacts.runs import provenance
from control_stack.learning.data import Dataset, dataset
from control_stack.types import Array
from sim.parts import Collected, collect_in_parts
from sim.tasks.exploration import Episode, explore_numeric, explore_planar
from sim.tasks.factory import make_task
from sim.tasks.numeric import NumericTask
from sim.tasks.picture import episode_picture
from sim.tasks.planar import PlanarTask

PART = 20  # episodes in one part: some seconds of work, which a kill may cost
STEPS = {"sorting": 60, "piecewise": 20}
DEFAULT_STEPS = 40


@dataclass(frozen=True)
class Order:
    """What is to be collected; a folder holds one order's data."""

    task: str
    episodes: int
    seed: int
    steps: int


def collect(
    order: Order, folder: Path, workers: int = 1, command: str = "", report: Callable[[int], None] = lambda done: None
) -> Collected:
    """Collects into a folder: see ``collect_in_parts``. ``command``: that does the same again, for the card."""
    task = make_task(order.task)  # early: PyBullet may be missing
    try:
        join = partial(_join, order, folder, task, command)
        return collect_in_parts(order, PART, partial(_part, order), join, folder, workers, report)
    finally:
        task.close()


def explore(task: PlanarTask | NumericTask, seed: int, first: int, count: int, steps: int) -> list[Episode]:
    """Episodes ``first`` to ``first + count`` of a seed."""
    seeds = [(seed, number) for number in range(first, first + count)]
    if isinstance(task, NumericTask):
        return explore_numeric(task, seeds, steps)
    return [explore_planar(task, one, steps) for one in seeds]


def _part(order: Order, start: int) -> dict[str, Array]:
    task = make_task(order.task)
    try:
        episodes = explore(task, order.seed, start, min(PART, order.episodes - start), order.steps)
        data = dataset([(states, inputs) for states, inputs, _ in episodes], task.spec)
    finally:
        task.close()
    contact = np.zeros(data.inputs.shape[:2], dtype=bool)
    for k, (_, _, touched) in enumerate(episodes):
        contact[k, : len(touched)] = touched
    return {"states": data.states, "inputs": data.inputs, "lengths": data.lengths, "contact": contact}


def _join(
    order: Order,
    folder: Path,
    task: PlanarTask | NumericTask,
    command: str,
    parts: Sequence[Mapping[str, Array]],
) -> Dataset:
    """The parts as one data set with its card; draws the picture."""
    episodes: list[Episode] = []
    for tensors in parts:
        for x, u, c, n in zip(*(tensors[k] for k in ("states", "inputs", "contact", "lengths")), strict=True):
            episodes.append((x[: n + 1], u[:n], c[:n]))
    data = dataset([(states, inputs) for states, inputs, _ in episodes], task.spec)
    touched = np.concatenate([contact for _, _, contact in episodes])
    card = {
        **asdict(order),
        "transitions": data.steps,
        "contact_share": float(touched.mean()) if touched.any() else None,
        "frames": task.frames,
        "command": command,
        **provenance(),
    }
    episode_picture(task, episodes[0][0], folder / "picture.png", f"{order.task}, episode 0 of seed {order.seed}")
    return replace(data, card=card)
