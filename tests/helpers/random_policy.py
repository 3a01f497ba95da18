"""Policies with random weights of the size that trained ones have: for all tests but those of flying well."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from control_stack.foundation.observation import NO_LEAD, Lead
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import PolicyWeights, save, shapes

TRAINING = {"command": "none", "seed": 0, "git_revision": "none", "wall_time_s": 0.0, "hardware": "none"}


def random_tensors(seed: int = 0, hidden: int = 16) -> dict[str, np.ndarray]:
    """Entries within +-1, about 0.25 rms, as the released RAPTOR weights; also the initial hidden state."""
    random = np.random.default_rng(seed)
    return {
        name: np.clip(0.25 * random.standard_normal(shape), -1.0, 1.0).astype(np.float32)
        for name, shape in shapes(hidden).items()
    }


def random_weights(folder: Path, seed: int = 0, hidden: int = 16, lead: Lead = NO_LEAD) -> Path:
    """Writes random weights and their card; returns the path."""
    path = folder / f"random{seed}-{hidden}.safetensors"
    save(path, random_tensors(seed, hidden), lead=lead, training=TRAINING, figures={})
    return path


def random_policy(seed: int = 0, hidden: int = 16) -> GRUPolicy:
    """Without files; the card is empty."""
    return GRUPolicy(PolicyWeights(random_tensors(seed, hidden), {"lead": NO_LEAD._asdict()}))
