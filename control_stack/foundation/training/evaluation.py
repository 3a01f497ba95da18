"""Closed-loop tests of a policy on many airframes at once: who survives, how precisely, how smoothly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from control_stack.foundation.observation import NO_LEAD, Lead
from control_stack.foundation.training.episodes import Waves
from control_stack.foundation.training.policy_gradient import Architecture, privileged
from control_stack.foundation.training.simulator import (
    DT,
    ROTORS,
    Fleet,
    fresh_history,
    observe,
    remember,
    rotor_command,
    sensed,
    with_noise,
    world_step,
)

LOST_ERROR = 1.0  # m: a mean error beyond this in the last window counts as lost, and as this much in "all"


class Pilot(Protocol):
    """A policy that flies N vehicles."""

    def reset(self, count: int) -> None:
        """Forgets everything, for N vehicles."""

    def __call__(self, observation: Tensor, truth: Tensor) -> Tensor:
        """Raw action (4, N) from the observation (22, N).

        ``truth`` (29, N) is for teachers: the observation without delay and noise, and what no sensor tells.
        """


class NetworkPilot:
    """A student, or a stack of teachers, as a pilot."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, Tensor], privileged: bool = False):
        self._architecture, self._weights, self._privileged = architecture, weights, privileged
        self._hidden: Tensor = torch.zeros(0, 0)

    def reset(self, count: int) -> None:
        """Hidden states to the trained initial one."""
        self._hidden = self._architecture.initial_hidden(self._weights, count)

    def __call__(self, observation: Tensor, truth: Tensor) -> Tensor:
        """One step of all vehicles."""
        kind = self._hidden.dtype
        seen = (truth[:22] if self._privileged else observation).to(kind)
        action, self._hidden = self._architecture.act(self._weights, seen, truth[22:].to(kind), self._hidden)
        return action.to(observation.dtype)


@dataclass(frozen=True)
class Flight:
    """What a test leaves, over its scored window of W steps.

    Attributes:
        error: (W, N) distance from the reference, m.
        offset: (W, 3, N) position minus reference, m.
        change: (W, N) norm of the clamped action's change per step.
        upright: (N,) body z axis above the horizon at the end, state finite throughout.
    """

    error: Tensor
    offset: Tensor
    change: Tensor
    upright: Tensor

    @property
    def survived(self) -> Tensor:
        """(N,) finite, upright, and within LOST_ERROR on average."""
        return self.upright & (self.error.mean(0) < LOST_ERROR)

    @property
    def rmse(self) -> Tensor:
        """(N,) m; of the lost ones LOST_ERROR."""
        value = self.error.square().mean(0).sqrt()
        return torch.where(self.survived, value, torch.full_like(value, LOST_ERROR))


@torch.no_grad()
def fly(
    pilot: Pilot,
    fleet: Fleet,
    x: Tensor,
    reference: Waves,
    steps: int,
    scored: int,
    *,
    generator: torch.Generator | None = None,
    shape: Callable[[Tensor], Tensor] | None = None,
    lead: Lead = NO_LEAD,
    method: str = "rk4",
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Flight:
    """Flies every vehicle of the fleet for ``steps`` of 10 ms and scores the last ``scored`` of them.

    Args:
        x: (17, N) initial states.
        generator: For sensor noise; None flies without.
        shape: Applied to the observations (a wrapper's clipping).
        lead: The policy is shown the reference extrapolated by as much, and scored on the true one.
        watch: Called with (step, x, raw action) after each step.
    """
    n = len(fleet)
    history = fresh_history(x)
    raw = torch.zeros_like(x[ROTORS])
    pilot.reset(n)
    errors, offsets, changes = [], [], []
    finite = torch.ones(n, dtype=torch.bool, device=x.device)
    for k in range(steps):
        t = torch.full((n,), k * DT, dtype=x.dtype, device=x.device)
        history = remember(history, x)
        measured = sensed(x, history, fleet.velocity_lag, fleet.attitude_lag)
        if generator is not None:
            unit = torch.randn(12, n, generator=generator, dtype=x.dtype, device=x.device)
            measured = with_noise(measured, unit, fleet.noise)
        observation = observe(measured, reference.ahead(t, lead), raw)
        if shape is not None:
            observation = shape(observation)
        truth = torch.cat([observe(x[0:13], reference.at(t), raw), privileged(x, fleet.columns, fleet.disturbance)])
        new = pilot(observation, truth)
        left = 1.0 - fleet.sag * (k * DT)
        x = world_step(x, rotor_command(new), fleet.columns, fleet.disturbance, left, method)
        ok = torch.isfinite(x).all(0) & (x.abs().amax(0) < 1e6)
        finite &= ok
        x = torch.where(ok, x, _parked(x))
        if k >= steps - scored:
            offset = x[0:3] - reference.at(t + DT)[0:3]
            offsets.append(offset)
            errors.append(offset.norm(dim=0))
            changes.append((new.clamp(-1, 1) - raw.clamp(-1, 1)).norm(dim=0))
        raw = torch.where(torch.isfinite(new), new, torch.zeros_like(new))
        if watch is not None:
            watch(k, x, raw)
    upright = finite & (x[6].square() + x[7].square() < 0.5)
    return Flight(torch.stack(errors), torch.stack(offsets), torch.stack(changes), upright)


def _parked(x: Tensor) -> Tensor:
    """A harmless finite state for vehicles whose own state is no longer a number, far from any reference."""
    parked = torch.zeros_like(x)
    parked[2], parked[9] = 1e3, 1.0
    return parked
