"""First-order policy gradients: back-propagation of the flown cost through windows of simulated flight.

One program for all three uses: the shared start and the thousand teachers (stacked networks, privileged inputs),
the student without teachers, and the student's fine-tuning. Short windows with the state handed on, as in
short-horizon actor-critic (Xu et al. 2022), but without a critic: what lies beyond a window of a second is left to
the windows that follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from control_stack.foundation.training.objective import Cost, tame
from control_stack.foundation.training.rollout import Crowd, Nursery
from control_stack.foundation.training.simulator import (
    DT,
    ROTORS,
    observe,
    remember,
    rotor_command,
    sensed,
    with_noise,
    world_step,
)
from control_stack.learning.soap import Soap
from control_stack.quadrotor.parameters import GRAVITY

Weights = dict[str, Tensor]


class Architecture(Protocol):
    """A policy, or a stack of them, as functions of its weights.

    ``act(weights, observation (22, N), privileged (7, N), hidden (H, N)) -> raw action (4, N), hidden``;
    ``initial_hidden(weights, N) -> (H, N)``. The first axis of every weight counts ``policies`` stacked ones
    where there are more than one.
    """

    policies: int

    def act(
        self, weights: Mapping[str, Tensor], observation: Tensor, privileged: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step of N vehicles."""

    def initial_hidden(self, weights: Mapping[str, Tensor], count: int) -> Tensor:
        """Hidden state at the start of an episode."""


@dataclass(frozen=True)
class Settings:
    """Of the training.

    Attributes:
        vehicles: N, of one worker. window: Steps back-propagated through.
        keep, limit: Of ``objective.tame``, per step.
        rate: Learning rate at its peak; half a cosine leads it to a hundredth.
        soap: Whether SOAP descends, for a single policy; Adam where not.
        clip: Largest norm of a policy's gradient.
        mean_windows: Mean length of an episode.
    """

    vehicles: int = 1024
    window: int = 100
    keep: float = 0.997
    limit: float = 1000.0
    rate: float = 2e-3
    soap: bool = False
    clip: float = 0.3
    mean_windows: float = 5.0
    cost: Cost = field(default_factory=Cost)


def privileged(x: Tensor, columns: Tensor, disturbance: Tensor) -> Tensor:
    """(7, N) what no sensor tells: rotor speeds in -1..1, constant force / weight."""
    return torch.cat([2.0 * x[ROTORS] - 1.0, disturbance[3:6] / (columns[0:1] * GRAVITY)])


def make_step(architecture: Architecture, settings: Settings) -> Callable[..., tuple[Tensor, ...]]:
    """One step of flight with its cost, as a function of tensors only, for a compiler to fuse."""

    def step(
        weights: Mapping[str, Tensor], x: Tensor, hidden: Tensor, previous: Tensor, history: Tensor,
        columns: Tensor, disturbance: Tensor, velocity_lag: Tensor, attitude_lag: Tensor, noise: Tensor,
        thrust_left: Tensor, unit: Tensor, shown: Tensor, reference: Tensor, age: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        history = remember(history, x)
        measured = with_noise(sensed(x, history, velocity_lag, attitude_lag), unit, noise)
        observation = observe(measured, shown, previous)
        raw, hidden = architecture.act(weights, observation, privileged(x, columns, disturbance), hidden)
        x = world_step(x, rotor_command(raw), columns, disturbance, thrust_left, "semi_implicit")
        x = tame(x, settings.keep, settings.limit)
        hidden = tame(hidden, settings.keep, settings.limit)
        cost = settings.cost.of_step(x, reference, raw, previous, age)
        return x, hidden, raw, history, cost

    return step


def window_cost(
    step: Callable[..., tuple[Tensor, ...]], weights: Mapping[str, Tensor], crowd: Crowd, unit: Tensor
) -> Tensor:
    """Flies the crowd through a window, in place.

    Args:
        unit: (steps, 12, N) unit sensor noise.

    Returns:
        (N,) cost summed over the steps.
    """
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


class Gradient:
    """The gradient of a crowd's cost, window after window."""

    def __init__(self, architecture: Architecture, weights: Weights, nursery: Nursery, settings: Settings,
                 compiled: bool = True):  # fmt: skip
        self.weights = {name: w.to(nursery.device, copy=True).requires_grad_() for name, w in weights.items()}
        self.policies = architecture.policies
        self._architecture, self._nursery, self._settings = architecture, nursery, settings
        step = make_step(architecture, settings)
        self._step: Any = torch.compile(step, dynamic=False) if compiled else step
        self._crowd = nursery.fresh()
        self._crowd.hidden = self._initial_hidden().detach()

    def _initial_hidden(self) -> Tensor:
        return self._architecture.initial_hidden(self.weights, self._settings.vehicles)

    def __call__(self) -> tuple[Tensor, list[Tensor]]:
        """Flies one window.

        Returns:
            (N,) mean cost per step of each vehicle, and the gradient of the mean cost of each policy with
            respect to its weights. Vehicles whose cost is not a number count as nothing.
        """
        crowd = self._nursery.renew(self._crowd, self._initial_hidden())
        total = window_cost(self._step, self.weights, crowd, self._nursery.noise(self._settings.window))
        total = torch.where(torch.isfinite(total), total, torch.zeros_like(total))
        gradients = torch.autograd.grad(total.sum(), list(self.weights.values()))
        self._crowd = crowd
        share = self._settings.vehicles / self._architecture.policies * self._settings.window
        clean = [torch.nan_to_num(g / share, 0.0, 0.0, 0.0) for g in gradients]
        return total.detach() / self._settings.window, clean

    def state(self) -> dict[str, Tensor]:
        """The vehicles in the air and the random generators."""
        return self._nursery.state(self._crowd)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where ``state`` was taken."""
        self._crowd = self._nursery.restore(state)


class Descent:
    """Adam or SOAP with a warm-up, half a cosine and a limit on the gradient of each stacked policy."""

    def __init__(self, weights: Mapping[str, Tensor], policies: int, settings: Settings):
        self._parameters = list(weights.values())
        self._policies, self._settings = policies, settings
        kind = Soap if settings.soap else torch.optim.Adam
        self._optimizer: torch.optim.Optimizer = kind(self._parameters, lr=settings.rate)
        self._updates = 0

    def __call__(self, gradients: list[Tensor], progress: float) -> Tensor:
        """One update.

        Args:
            progress: Share of the training done, 0..1.

        Returns:
            (policies,) norms of the gradients before the limit.
        """
        flat = [g.reshape(self._policies, -1) for g in gradients]
        norms = torch.stack([g.square().sum(1) for g in flat]).sum(0).sqrt()
        factor = (self._settings.clip / (norms + 1e-12)).clamp(max=1.0)[:, None]
        for parameter, g in zip(self._parameters, flat, strict=True):
            parameter.grad = (g * factor).view_as(parameter)
        wave = 0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * min(progress, 1.0))).item())
        rate = self._settings.rate * min(1.0, (self._updates + 1) / 20) * (0.99 * wave + 0.01)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._updates += 1
        return norms

    def state(self) -> dict[str, Tensor]:
        """What resuming needs, as tensors."""
        state = {"updates": torch.tensor(self._updates)}
        for k, parameter in enumerate(self._parameters):
            for name, value in self._optimizer.state.get(parameter, {}).items():
                state[f"{k}.{name}"] = value
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where ``state`` was taken."""
        self._updates = int(state["updates"])
        for k, parameter in enumerate(self._parameters):
            prefix = f"{k}."
            own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            if own:
                # Steps are counted on the CPU, wherever the parameters are.
                self._optimizer.state[parameter] = {
                    name: value if name == "step" else value.to(parameter.device) for name, value in own.items()
                }
