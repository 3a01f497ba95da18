"""Collecting in parts: a folder of one order's data that a killed collection goes on with, and who simulates."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import git_revision, versions, write_json
from control_stack.errors import InvalidInput, TrainingAborted
from control_stack.exclusive import lock
from control_stack.learning.data import FILE, Dataset, load
from control_stack.types import Array

_BEGUN = "collect.json"
_WATCH = 1.0  # s
Part = TypeVar("Part")


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


def collect_in_parts(
    order: Any,
    size: int,
    part: Callable[[int], dict[str, Array]],
    join: Callable[[Sequence[Mapping[str, Array]]], Dataset],
    folder: Path,
    workers: int,
    report: Callable[[int], None],
) -> Collected:
    """Collects into a folder, which is new, or the order's own from an interrupted run.

    Args:
        order: What, a dataclass with the number of ``episodes``.
        size: Episodes of a part.
        part: Simulates the part that begins with this episode; with workers it has to be picklable.
        join: Makes the data and its card of all parts in order, and writes what else belongs in the folder.
        folder: Where.
        workers: Processes that simulate; 1 stays in this one.
        report: Called with the number of episodes that are done.

    Raises:
        InvalidInput: The folder holds something else, cannot be written, or is in use by another collection.
        TrainingAborted: A worker was killed.
    """
    parts = open_folder(folder, asdict(order))
    held = lock(f"collect-{folder.resolve()}")
    if held is None:
        raise InvalidInput(f"{folder}: another control-stack collect is at work there")
    with held:
        path = folder / FILE
        if path.is_file():
            return Collected(path, load(path), fresh=False)
        files = {start: parts / f"episodes-{start:06d}.safetensors" for start in range(0, order.episodes, size)}
        missing = [start for start, file in files.items() if not file.is_file()]
        done = order.episodes - sum(min(size, order.episodes - start) for start in missing)
        report(done)
        for start, tensors in simulate(part, missing, workers):
            artefact.write(files[start], tensors, {}, "parts")
            done += min(size, order.episodes - start)
            report(done)
        data = join([artefact.read_tensors(file, "parts")[0] for file in files.values()])
        data.save(path)
        for file in parts.iterdir():
            file.unlink()
        parts.rmdir()
        return Collected(path, data, fresh=True)


def simulate(part: Callable[[int], Part], starts: list[int], workers: int) -> Iterator[tuple[int, Part]]:
    """Parts in order, as they are done.

    Args:
        part: Of a start; with workers it has to be picklable.
        starts: Of the parts.
        workers: Processes; 1 stays in this one.

    Raises:
        TrainingAborted: A worker was killed.
    """
    if workers == 1 or len(starts) < 2:
        yield from ((start, part(start)) for start in starts)
        return
    context: Any = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(starts)), context, initializer=_enter_worker, initargs=(os.getpid(),))
    try:
        futures = [(start, pool.submit(part, start)) for start in starts]
        for start, future in futures:
            yield start, future.result()
    except BrokenProcessPool:
        raise TrainingAborted("a process of the collection was killed; the same command goes on") from None
    finally:
        pool.shutdown(cancel_futures=True)


def open_folder(folder: Path, order: Mapping[str, Any]) -> Path:
    """Makes the folder, or checks that it was begun for the same order by the same program; where its parts go.

    Raises:
        InvalidInput: It holds something else, or cannot be written.
    """
    begun, wanted = folder / _BEGUN, dict(order)
    if not (folder / FILE).is_file():  # what is complete says in its card what made it
        installed = versions()
        wanted |= {"git_revision": git_revision(), **{name: installed.get(name) for name in ("numpy", "pybullet")}}
    try:
        if begun.is_file():
            stored = json.loads(begun.read_text(encoding="utf-8"))
            for name, value in wanted.items():
                if stored.get(name) != value:
                    raise InvalidInput(
                        f"{folder} was begun with {name} {stored.get(name)}, not {value}: name another folder"
                    )
        else:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise InvalidInput(f"output folder {folder} is not empty: name another, or remove it first")
            folder.mkdir(parents=True, exist_ok=True)
            write_json(begun, wanted)
        parts = folder / "parts"
        if not (folder / FILE).is_file():
            parts.mkdir(exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot collect into {folder}: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{begun}: damaged; remove {folder} and begin again") from None
    return parts


def _enter_worker(parent: int) -> None:
    """Leaves stopping to the parent, and ends when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
