"""Every random number of a training, from (seed, chunk) alone: a resumed run draws what an unbroken one would.

Arms of one seed share their draws, so that they are compared on equal terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CHUNK = 500  # steps drawn at once


@dataclass(frozen=True)
class Draw:
    """Of one step, M members, B pairs, C copies, m actions.

    Attributes:
        explore: (M, C, m) normal. anywhere: (M, C, m) uniform in -1..1.
        age, copy, demonstration, share: (M, B) uniform in 0..1.
        label: (M, B) uniform in 0..1. smoothing: (M, B, m) normal.
    """

    explore: Tensor
    anywhere: Tensor
    age: Tensor
    copy: Tensor
    demonstration: Tensor
    share: Tensor
    label: Tensor
    smoothing: Tensor


class Draws:
    """The draws of a stack, step by step in any order; neighbours come from the chunk in memory."""

    def __init__(self, seeds: Sequence[int], copies: int, batch: int, action: int):
        self._own = sorted(set(seeds))
        self._member = torch.tensor([self._own.index(seed) for seed in seeds])
        self._copies, self._batch, self._action = copies, batch, action
        self._chunk = -1
        self._now: dict[str, Tensor] = {}

    def __call__(self, step: int) -> Draw:
        """Of a step."""
        chunk, place = divmod(step, CHUNK)
        if chunk != self._chunk:
            parts = [self._draw(np.random.default_rng([seed, 7, chunk])) for seed in self._own]
            self._now = {name: torch.from_numpy(np.stack([part[name] for part in parts], axis=1)) for name in parts[0]}
            self._chunk = chunk
        return Draw(**{name: value[place].index_select(0, self._member) for name, value in self._now.items()})

    def _draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        c, b, m = self._copies, self._batch, self._action
        kind = np.float32
        out = {
            "explore": random.standard_normal((CHUNK, c, m), dtype=kind),
            "anywhere": 2.0 * random.random((CHUNK, c, m), dtype=kind) - 1.0,
            "smoothing": random.standard_normal((CHUNK, b, m), dtype=kind),
        }
        for name in ("age", "copy", "demonstration", "share", "label"):
            out[name] = random.random((CHUNK, b), dtype=kind)
        return out
