"""Policies on disk and in NumPy: stacks of small networks with the scales of what they see, and their card.

action = tanh(W_3 relu(W_2 relu(W_1 z + b_1) + b_2) + b_3),   z = clip((observation - mean) / scale, +-clip)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.errors import InvalidInput
from control_stack.learning.imitation.tasks import Task, task_named
from control_stack.types import Array

FORMAT = "control-stack imitation policies, 1"
CLIP = 10.0  # of scaled observations: what no demonstration came near must not drive a network far off
_WHAT = "imitation policies"


@dataclass(frozen=True)
class Scales:
    """Middle and size of every observed channel (n,), in its units, and the limit of what is scaled by them."""

    mean: Array
    scale: Array
    clip: float = CLIP

    def __call__(self, observations: Array) -> Array:
        """(..., n) as the networks see it, float32."""
        scaled = (observations - self.mean) / self.scale
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)


@dataclass(frozen=True)
class Policies:
    """M policies of one task.

    Attributes:
        weights: (M, P) float32: layer by layer the weight (inputs, outputs) and the bias (outputs,).
        scales: Of the observations. sizes: Of the layers.
        members: {"arm": .., "seed": ..} of each.
        card: As it lies on disk.
    """

    weights: Array
    scales: Scales
    sizes: tuple[int, ...]
    members: tuple[Mapping[str, Any], ...]
    card: Mapping[str, Any]

    def __call__(self, observations: Array) -> Array:
        """(M, C, m) actions in -1..1 for observations (M, C, n)."""
        z, at = self.scales(observations), 0
        for k, (a, b) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            weight = self.weights[:, at : at + a * b].reshape(-1, a, b)
            z = z @ weight + self.weights[:, None, at + a * b : at + (a + 1) * b]
            at += (a + 1) * b
            z = np.maximum(z, 0.0) if k < len(self.sizes) - 2 else np.tanh(z)
        return z.astype(np.float64)


def spaces(task: Task) -> dict[str, Any]:
    """The part of a card that says what is seen and done."""
    return {"observation": list(task.observation), "action": list(task.action)}


def check_spaces(path: str | Path, card: Mapping[str, Any], name: str) -> None:
    """Raises InvalidInput for a card of another task or other spaces."""
    if card.get("task") != name:
        raise InvalidInput(f"{path}: of the task '{card.get('task')}', not '{name}'")
    for what, own in spaces(task_named(name)).items():
        found = card.get(what)
        if found != own:
            size = len(found) if isinstance(found, list) else "no"
            other = next((f"'{b}', not '{a}'" for a, b in zip(own, found or [], strict=False) if a != b), "")
            raise InvalidInput(
                f"{path}: other spaces: {size} channels of {what}{', ' + other if other else ''}; "
                f"'{name}' has {len(own)}"
            )


def save(
    path: Path, name: str, weights: Any, scales: Scales, sizes: Sequence[int], members: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any], figures: Mapping[str, Any],
) -> Policies:  # fmt: skip
    """Writes policies of the task ``name`` with their card; returns them as read back."""
    contract = {
        "format": FORMAT, "task": name, **spaces(task_named(name)), "layers": list(sizes), "hidden": "relu",
        "output": "tanh, -1..1", "clip": scales.clip if math.isfinite(scales.clip) else None,
        "members": [dict(member) for member in members],
    }  # fmt: skip
    tensors = {
        "weights": np.asarray(weights, np.float32), "mean": np.asarray(scales.mean, np.float64),
        "scale": np.asarray(scales.scale, np.float64),
    }  # fmt: skip
    artefact.write_model(path, tensors, contract, training, figures, _WHAT)
    return load(path, name)


def load(path: str | Path, name: str) -> Policies:
    """Policies of the task ``name``.

    Raises:
        InvalidInput: No such file, another kind of file, another task, other spaces, or tensors that do not fit.
    """
    tensors, card = artefact.read(path, _WHAT)
    if card.get("format") != FORMAT:
        raise InvalidInput(f"{path}: its card is not of the format '{FORMAT}'")
    check_spaces(path, card, name)
    try:
        sizes, members = tuple(int(n) for n in card["layers"]), tuple(card["members"])
        weights, mean, scale = (tensors[key] for key in ("weights", "mean", "scale"))
        clip = math.inf if card["clip"] is None else float(card["clip"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path}: incomplete: {error}") from None
    task = task_named(name)
    needed = sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))
    fits = sizes[0] == len(task.observation) == len(mean) == len(scale) and sizes[-1] == len(task.action)
    if not fits or weights.shape != (len(members), needed):
        raise InvalidInput(f"{path}: tensors do not fit the layers {sizes} of {len(members)} members")
    if not all(np.isfinite(part).all() for part in (weights, mean, scale)) or not (scale > 0.0).all():
        raise InvalidInput(f"{path}: weights and scales must be finite, scales above 0")
    return Policies(weights, Scales(mean, scale, clip), sizes, members, card)


def shipped(name: str, what: str = "policies") -> Path | None:
    """The file that comes with the package for a task, "policies" or "demonstrations"; None if there is none."""
    path = Path(__file__).parents[1] / "models" / f"imitation-{name}-{what}.safetensors"
    return path if path.is_file() else None
