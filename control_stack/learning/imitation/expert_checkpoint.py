"""A TD3 expert of stable-baselines3 between two chunks of its training, as safetensors: networks, Adam, memory, best.

A chunk begins with a new episode and generators seeded by its number, so that a training that goes on from here
becomes the one that was never stopped. Nothing is pickled, which stable-baselines3's own files are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from control_stack.errors import InvalidInput
from control_stack.foundation.training import checkpoints
from control_stack.types import Array

_NETS = ("actor", "actor_target", "critic", "critic_target")
_MEMORY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass
class Best:
    """The best policy so far: its mean return and its weights (1, P)."""

    score: float = -np.inf
    weights: Array | None = None


def save(path: Path, model: Any, best: Best, seconds: float) -> None:
    """Writes a ``stable_baselines3.TD3`` that stands at the end of a chunk, in one piece."""
    tensors: dict[str, Tensor] = {}
    for name in _NETS:
        tensors |= {f"{name}.{key}": value for key, value in getattr(model, name).state_dict().items()}
    for name in ("actor", "critic"):
        for k, moments in getattr(model, name).optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{name}.{k}.{key}": value for key, value in moments.items()}
    memory = model.replay_buffer
    for name in _MEMORY:
        tensors[f"memory.{name}"] = torch.from_numpy(getattr(memory, name)[: memory.pos])
    if best.weights is not None:
        tensors["best.weights"] = torch.from_numpy(best.weights)
    counts = [model.num_timesteps, model._n_updates]
    tensors["counts"] = torch.tensor(counts)
    tensors["scores"] = torch.tensor([best.score, seconds], dtype=torch.float64)
    checkpoints.write(tensors, path)


def restore(path: Path, model: Any) -> tuple[Best, float]:
    """Goes on with what was saved; the best policy and the seconds spent.

    Raises:
        InvalidInput: The file is damaged or of another training.
    """
    try:
        stored = load_file(path)
        _fill(model, stored)
        score, seconds = stored["scores"].tolist()
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError):
        raise InvalidInput(f"{path} is damaged: remove it to train the expert from its beginning") from None
    weights = stored.get("best.weights")
    return Best(score, None if weights is None else weights.numpy()), seconds


def _fill(model: Any, stored: Mapping[str, Tensor]) -> None:
    for name in _NETS:
        getattr(model, name).load_state_dict(_part(stored, f"{name}."))
    for name in ("actor", "critic"):
        optimizer = getattr(model, name).optimizer
        whole = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(stored, f"adam.{name}.").items():
            k, what = key.split(".")
            moments.setdefault(int(k), {})[what] = value
        optimizer.load_state_dict({**whole, "state": moments})
    memory, rows = model.replay_buffer, _part(stored, "memory.")
    for name in _MEMORY:
        getattr(memory, name)[: len(rows[name])] = rows[name].numpy()
    memory.pos = len(rows["rewards"])
    model.num_timesteps, model._n_updates = stored["counts"].tolist()


def _part(stored: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in stored.items() if key.startswith(prefix)}
