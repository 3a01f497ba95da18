"""What a stage needs to go on exactly where it stopped: weights, Adam's moments, vehicles in the air, generators.

A checkpoint of several workers is one file for each, all of the same update: ``worker_<rank>.<updates>.safetensors``.
It counts once every worker has written its own, so a run killed at any moment resumes from a whole one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """Of one worker.

    Attributes:
        weights: Of the policy. descent: ``Descent.state``. source: ``Source.state``.
        done: Updates. best: Best score so far.
    """

    weights: Tensors
    descent: Tensors
    source: Tensors
    done: int
    best: float


def save(
    folder: Path, rank: int, weights: Mapping[str, Tensor], descent: Tensors, source: Tensors, done: int, best: float
) -> None:
    """Writes the checkpoint of a worker beside its older ones."""
    tensors = {f"w.{name}": w.detach() for name, w in weights.items()}
    tensors |= {f"d.{name}": value for name, value in descent.items()}
    tensors |= {f"s.{name}": value for name, value in source.items()}
    tensors |= {"done": torch.tensor(done), "best": torch.tensor(best, dtype=torch.float64)}
    write(tensors, folder / f"worker_{rank}.{done:08d}.safetensors")


def read(folder: Path, rank: int, group: Sequence[int]) -> Checkpoint | None:
    """A worker's part of the newest checkpoint that is whole for its group, if there is one."""
    done = newest(folder, group)
    if done < 0:
        return None
    stored = load_file(_files(folder, rank)[done])

    def part(prefix: str) -> Tensors:
        return {name[2:]: value for name, value in stored.items() if name.startswith(prefix)}

    return Checkpoint(part("w."), part("d."), part("s."), int(stored["done"]), float(stored["best"]))


def newest(folder: Path, group: Sequence[int]) -> int:
    """Updates of the newest checkpoint that all workers of a group have written; -1 for none."""
    return max(set.intersection(*(set(_files(folder, rank)) for rank in group)), default=-1)


def drop_older(folder: Path, rank: int, done: int) -> None:
    """Removes a worker's checkpoints before this one."""
    for updates, path in _files(folder, rank).items():
        if updates < done:
            path.unlink(missing_ok=True)


def write(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes in one piece: a killed run leaves the old file or the new one."""
    partial = path.with_suffix(".partial")
    # Cloned: of tensors that share their memory safetensors takes none.
    save_file({name: value.cpu().contiguous().clone() for name, value in tensors.items()}, partial)
    partial.replace(path)


def _files(folder: Path, rank: int) -> dict[int, Path]:
    found = {}
    for path in folder.glob(f"worker_{rank}.*.safetensors"):
        updates = path.name.split(".")[1]
        if updates.isdigit():
            found[int(updates)] = path
    return found
