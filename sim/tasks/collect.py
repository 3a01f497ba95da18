"""Collecting a data set, part by part, so that a killed collection goes on where it was.

Every episode is drawn from (seed, number) alone, and parts hold fixed episodes: neither interruptions nor the number
of processes change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import provenance
from control_stack.errors import InvalidInput
from control_stack.exclusive import lock
from control_stack.learning.data import FILE, Dataset, dataset
from control_stack.protocols import DynamicsSpec
from sim.parts import open_folder, simulate
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


class Collected(NamedTuple):
    """A finished collection.

    Attributes:
        path: The data, ``data.safetensors``, with its card beside it and picture.png.
        data: What is in it.
        fresh: Whether anything had to be done.
    """

    path: Path
    data: Dataset
    fresh: bool


def collect(
    order: Order, folder: Path, workers: int = 1, command: str = "", report: Callable[[int], None] = lambda done: None
) -> Collected:
    """Collects into a folder, which is new, or the order's own from an interrupted run.

    Args:
        order: What.
        folder: Where.
        workers: Processes that simulate; 1 stays in this one.
        command: That does the same again, for the card.
        report: Called with the number of episodes that are done.

    Raises:
        InvalidInput: The folder holds something else, cannot be written, or is in use by another collection.
        TrainingAborted: A worker was killed.
    """
    task = make_task(order.task)  # early: PyBullet may be missing
    try:
        parts = open_folder(folder, asdict(order))
        held = lock(f"collect-{folder.resolve()}")
        if held is None:
            raise InvalidInput(f"{folder}: another control-stack collect is at work there")
        with held:
            path = folder / FILE
            if path.is_file():
                from control_stack.learning.data import load

                return Collected(path, load(path), fresh=False)
            starts = range(0, order.episodes, PART)
            missing = [start for start in starts if not _file(parts, start).is_file()]
            done = order.episodes - sum(min(PART, order.episodes - start) for start in missing)
            report(done)
            for start, episodes in simulate(partial(_part, order), missing, workers):
                _store(_file(parts, start), episodes, task.spec)
                done += len(episodes)
                report(done)
            return Collected(path, _join(order, folder, parts, task, command), fresh=True)
    finally:
        task.close()


def explore(task: PlanarTask | NumericTask, seed: int, first: int, count: int, steps: int) -> list[Episode]:
    """Episodes ``first`` to ``first + count`` of a seed."""
    seeds = [(seed, number) for number in range(first, first + count)]
    if isinstance(task, NumericTask):
        return explore_numeric(task, seeds, steps)
    return [explore_planar(task, one, steps) for one in seeds]


def _part(order: Order, start: int) -> list[Episode]:
    task = make_task(order.task)
    try:
        return explore(task, order.seed, start, min(PART, order.episodes - start), order.steps)
    finally:
        task.close()


def _file(parts: Path, start: int) -> Path:
    return parts / f"episodes-{start:06d}.safetensors"


def _store(path: Path, episodes: list[Episode], spec: DynamicsSpec) -> None:
    data = dataset([(states, inputs) for states, inputs, _ in episodes], spec)
    contact = np.zeros(data.inputs.shape[:2], dtype=bool)
    for k, (_, _, touched) in enumerate(episodes):
        contact[k, : len(touched)] = touched
    tensors = {"states": data.states, "inputs": data.inputs, "lengths": data.lengths, "contact": contact}
    artefact.write(path, tensors, {}, "parts")


def _join(order: Order, folder: Path, parts: Path, task: PlanarTask | NumericTask, command: str) -> Dataset:
    """Puts the parts into one file with its card and picture, then removes them."""
    episodes: list[Episode] = []
    for start in range(0, order.episodes, PART):
        tensors, _ = artefact.read_tensors(_file(parts, start), "parts")
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
    data.save(folder / FILE, card)
    for file in parts.iterdir():
        file.unlink()
    parts.rmdir()
    return Dataset(data.states, data.inputs, data.spec, data.lengths, card)
