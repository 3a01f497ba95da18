"""Stretches of episodes in batches: the whole data set lies in memory, scaled, and batches are gathered from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset
from control_stack.learning.gated_chain import Scaling
from control_stack.types import Array


class Windows:
    """Batches of a data set.

    Args:
        data: Episodes.
        scaling: Of states and inputs.
        weights: (E, T) how often each transition is to begin a stretch, relative to others; None for equally often.
    """

    def __init__(self, data: Dataset, scaling: Scaling, weights: Array | None = None):
        nx = data.states.shape[-1]
        states = (data.states - scaling.center[:nx]) / scaling.scale[:nx]
        inputs = (data.inputs - scaling.center[nx:]) / scaling.scale[nx:]
        self._states = torch.from_numpy(states.astype(np.float32)).flatten(0, 1)
        self._inputs = torch.from_numpy(inputs.astype(np.float32)).flatten(0, 1)
        self._steps, self._lengths, self._weights = data.inputs.shape[1], data.lengths, weights
        self._starts: dict[int, tuple[Tensor, Tensor, Tensor | None]] = {}
        self.longest = int(data.lengths.max())

    def draw(self, batch: int, horizon: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(batch, horizon + 1, nx) states and (batch, horizon, nu) inputs, scaled."""
        if horizon not in self._starts:
            self._starts[horizon] = self._places(horizon)
        of_states, of_inputs, odds = self._starts[horizon]
        if odds is None:
            pick = torch.randint(len(of_states), (batch,), generator=generator)
        else:
            pick = torch.searchsorted(odds, torch.rand(batch, generator=generator)).clamp_max(len(odds) - 1)
        reach = torch.arange(horizon + 1)
        return self._states[of_states[pick, None] + reach], self._inputs[of_inputs[pick, None] + reach[:-1]]

    def _places(self, horizon: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Where stretches begin in the flat arrays, and the running sum of their odds."""
        starts = np.arange(self._steps - horizon + 1)
        episode, first = np.nonzero(starts[None] + horizon <= self._lengths[:, None])
        if len(first) == 0:
            raise InvalidInput(f"no episode has {horizon} steps: they have up to {self.longest}")
        odds = None
        if self._weights is not None:
            running = np.cumsum(self._weights[episode, first])
            odds = torch.from_numpy((running / running[-1]).astype(np.float32))
        of_states, of_inputs = episode * (self._steps + 1) + first, episode * self._steps + first
        return torch.from_numpy(of_states), torch.from_numpy(of_inputs), odds


def closeness(data: Dataset, near: Dataset, scaling: Scaling, reach: float = 0.5, least: float = 0.1) -> Array:
    """(E, T) weights of transitions by how close they lie to given trajectories (objective mismatch).

    With d the distance to the nearest transition of those trajectories, scaled and per component,

        w = least + (1 - least) exp(-d^2 / (2 reach^2))

    Args:
        data: To be weighted. near: Trajectories that matter, e.g. a planner's own.
        scaling: In which distances are taken.
        reach: Standard deviations of the data. least: Weight far from all of them.

    Raises:
        InvalidInput: The two have different states or inputs.
    """
    from scipy.spatial import cKDTree

    if data.spec.state != near.spec.state or data.spec.inputs != near.spec.inputs:
        raise InvalidInput("the trajectories to be close to have other states or inputs than the data")

    def points(part: Dataset) -> Array:
        both = np.concatenate([part.states[:, :-1], part.inputs], -1)
        return (both - scaling.center) / scaling.scale

    alive = np.arange(near.inputs.shape[1])[None] < near.lengths[:, None]
    tree = cKDTree(points(near)[alive])
    distance = tree.query(points(data))[0] / np.sqrt(len(scaling.center))
    return least + (1.0 - least) * np.exp(-0.5 * (distance / reach) ** 2)
