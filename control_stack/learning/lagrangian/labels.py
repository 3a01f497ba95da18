"""What a simulation knows of its episodes beyond what is measured: true loads and frictions, beside the data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

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
