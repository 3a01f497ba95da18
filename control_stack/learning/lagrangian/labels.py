"""What a simulation knows of its episodes beyond what is measured: true loads and frictions, beside the data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset
from control_stack.types import Array

LABELS = "labels.safetensors"  # beside the data of ``control-stack collect arm``


class Labels(NamedTuple):
    """load: (E, T, 10) in the flange (``arm.load``); friction: (E, n) factors on the arm's own."""

    load: Array
    friction: Array


def read_labels(folder: Path, data: Dataset, joints: int) -> Labels | None:
    """Those of a folder's data, None where there are none. Raises InvalidInput for those of other data."""
    file = folder / LABELS
    if not file.is_file():
        return None
    tensors, _ = artefact.read(file, "labels")
    episodes, steps = data.inputs.shape[:2]
    expected = {"load": (episodes, steps, 10), "friction": (episodes, joints)}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise InvalidInput(f"{file}: not of the data beside it")
    return Labels(tensors["load"], tensors["friction"])


def oracle_contexts(labels: Labels) -> Array:
    """(E, T, nz) loads and frictions, each over a size that it has: 4 kg and 0.3 m, and friction's own."""
    sizes = np.array([2.0, *[0.3] * 3, *[0.1] * 6])
    friction = np.broadcast_to(labels.friction[:, None, :] - 1.0, (*labels.load.shape[:2], labels.friction.shape[1]))
    return np.concatenate([labels.load / sizes, friction], axis=-1)
