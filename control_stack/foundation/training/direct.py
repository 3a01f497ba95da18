"""Training of the student end to end through the differentiable simulator, from any weights.

The gradient of the flown cost with respect to 2,084 numbers, by back-propagation through windows of flight
(first-order policy gradient). It serves twice: from random weights as the rival without teachers, and after
distillation as fine-tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from control_stack.foundation.training import student
from control_stack.foundation.training.objective import Cost, tame
from control_stack.foundation.training.rollout import Crowd, Nursery
from control_stack.foundation.training.simulator import (
    DT,
    observe,
    remember,
    rotor_command,
    sensed,
    with_noise,
    world_step,
)


@dataclass(frozen=True)
class Settings:
    """Of the training.

    Attributes:
        vehicles: N, of one worker. window: Steps back-propagated through.
        keep, limit: Of ``objective.tame``, per step. rate: Learning rate of Adam at its peak.
        clip: Largest norm of the whole gradient.
    """

    vehicles: int = 1024
    window: int = 100
    keep: float = 0.99
    limit: float = 300.0
    rate: float = 2e-3
    clip: float = 1.0
    cost: Cost = field(default_factory=Cost)


def make_step(settings: Settings) -> Callable[..., tuple[Tensor, ...]]:
    """One step of flight of the student with its cost, as a function of tensors only."""

    def step(
        weights: Mapping[str, Tensor], x: Tensor, hidden: Tensor, previous: Tensor, history: Tensor,
        columns: Tensor, disturbance: Tensor, velocity_lag: Tensor, attitude_lag: Tensor, noise: Tensor,
        thrust_left: Tensor, unit: Tensor, shown: Tensor, reference: Tensor, age: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        history = remember(history, x)
        measured = with_noise(sensed(x, history, velocity_lag, attitude_lag), unit, noise)
        raw, hidden = student.act(weights, observe(measured, shown, previous), hidden)
        x = world_step(x, rotor_command(raw), columns, disturbance, thrust_left, "semi_implicit")
        x = tame(x, settings.keep, settings.limit)
        hidden = tame(hidden, settings.keep, settings.limit)
        cost = settings.cost.of_step(x, reference, raw, previous, age)
        return x, hidden, raw, history, cost

    return step


def window_cost(
    step: Callable[..., tuple[Tensor, ...]], weights: Mapping[str, Tensor], crowd: Crowd, unit: Tensor
) -> Tensor:
    """Flies the crowd through a window in place; (N,) cost summed over its steps."""
    fleet = crowd.fleet
    total = torch.zeros_like(crowd.clock)
    times = crowd.times()
    shown = crowd.reference.at(times)
    for k in range(unit.shape[0]):
        left = 1.0 - fleet.sag * times
        later = times + DT
        reference = crowd.reference.at(later)
        crowd.x, crowd.hidden, crowd.previous, crowd.history, cost = step(
            weights, crowd.x, crowd.hidden, crowd.previous, crowd.history, fleet.columns, fleet.disturbance,
            fleet.velocity_lag, fleet.attitude_lag, fleet.noise, left, unit[k], shown, reference, later,
        )  # fmt: skip
        total = total + cost
        times, shown = later, reference
    crowd.clock = crowd.clock + unit.shape[0]
    return total


class Trainer:
    """One worker's gradient: its crowd, flown on window by window."""

    def __init__(self, weights: student.Weights, nursery: Nursery, settings: Settings, compiled: bool = True):
        self.weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
        self._nursery, self._settings = nursery, settings
        step = make_step(settings)
        self._step: Any = torch.compile(step, dynamic=False) if compiled else step
        self._crowd = nursery.fresh()
        self._crowd.hidden = self._initial_hidden().detach()

    def _initial_hidden(self) -> Tensor:
        return student.initial_hidden(self.weights, self._settings.vehicles)

    def gradient(self) -> tuple[float, Tensor]:
        """Mean cost per step over one window, and the gradient of all weights as one vector (zero if not finite)."""
        crowd, new = self._nursery.renew(self._crowd, self._initial_hidden())
        unit = self._nursery.noise(self._settings.window)
        total = window_cost(self._step, self.weights, crowd, unit)
        good = torch.isfinite(total)
        loss = torch.where(good, total, torch.zeros_like(total)).sum()
        flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(self.weights.values()))])
        self._crowd = crowd
        scale = 1.0 / (self._settings.vehicles * self._settings.window)
        cost = float(torch.where(good, total, torch.zeros_like(total)).clamp(max=1e3).mean()) / self._settings.window
        return cost, torch.nan_to_num(flat * scale, 0.0, 0.0, 0.0)
