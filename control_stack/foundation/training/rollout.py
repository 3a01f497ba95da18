"""A standing crowd of vehicles that policies are trained on: it flies on from window to window, and vehicles come
and go.

After each window a vehicle ends its episode with a fixed probability, so lengths are geometric and every window
holds all phases of flight; the lost are replaced at once. Every episode has its own airframe, conditions, start
and reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from control_stack.foundation.airframes import Airframes, Conditions
from control_stack.foundation.training.episodes import Waves, lost, starts, training_references
from control_stack.foundation.training.simulator import DT, Fleet, fresh_history

# What draws the airframe and the conditions of new episodes.
Draw = Callable[[int, np.random.Generator], tuple[Airframes, Conditions]]


@dataclass
class Crowd:
    """N vehicles in the middle of their episodes, columns first.

    Attributes:
        x: (17, N). history: (9, 10, N) what delayed sensors still have to tell. hidden: (H, N).
        previous: (4, N) raw actions. clock: (N,) steps since the start.
    """

    fleet: Fleet
    reference: Waves
    x: Tensor
    history: Tensor
    hidden: Tensor
    previous: Tensor
    clock: Tensor

    def times(self) -> Tensor:
        """(N,) s since each start."""
        return self.clock * DT


class Nursery:
    """Makes episodes and keeps a crowd supplied with them.

    Attributes:
        losses: Vehicles lost since the last ``take_losses``.
    """

    def __init__(self, draw: Draw, count: int, hidden: int, seed: int, mean_windows: float = 5.0,
                 device: str = "cpu"):  # fmt: skip
        self._draw, self._count, self._hidden = draw, count, hidden
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._end = 1.0 / mean_windows
        self.device = device
        self.losses = 0

    def fresh(self) -> Crowd:
        """A whole crowd at the start of its episodes; the hidden state is zero until the trainer sets it."""
        airframes, conditions = self._draw(self._count, self._rng)
        fleet = Fleet.of(airframes, conditions, self.device)
        hovering = torch.as_tensor(airframes.hover_speed, dtype=torch.float32, device=self.device)
        x = starts(self._count, self._generator, hovering)
        # Half of them with rotors anywhere: nothing tells the policy what carries the weight.
        anywhere = starts(self._count, self._generator)
        x = torch.where(torch.arange(self._count, device=self.device) % 2 == 0, x, anywhere)
        reference = training_references(self._count, self._generator)
        at = reference.at(torch.zeros(self._count, device=self.device))
        x = torch.cat([x[0:3] + at[0:3], x[3:]])
        zero = torch.zeros(self._count, device=self.device)
        return Crowd(
            fleet, reference, x, fresh_history(x), torch.zeros(self._hidden, self._count, device=self.device),
            torch.zeros(4, self._count, device=self.device), zero,
        )  # fmt: skip

    def renew(self, crowd: Crowd, initial_hidden: Tensor) -> Crowd:
        """The crowd with the lost and the finished replaced, all cut from the graph.

        Args:
            initial_hidden: (H, N) hidden state of new episodes, with its graph.
        """
        gone = lost(crowd.x, crowd.reference.at(crowd.times()))
        self.losses += int(gone.sum())
        draw = torch.rand(self._count, generator=self._generator, device=self.device)
        new = gone | (draw < self._end)
        other = self.fresh()

        def choose(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(new, theirs, torch.nan_to_num(mine.detach()))

        return Crowd(
            crowd.fleet.replace(new, other.fleet),
            crowd.reference.replace(new, other.reference),
            choose(crowd.x, other.x),
            choose(crowd.history, other.history),
            torch.where(new, initial_hidden, torch.nan_to_num(crowd.hidden.detach())),
            choose(crowd.previous, other.previous),
            choose(crowd.clock, other.clock),
        )

    def noise(self, steps: int) -> Tensor:
        """(steps, 12, N) unit sensor noise for a window."""
        return torch.randn(steps, 12, self._count, generator=self._generator, device=self.device)

    def state(self, crowd: Crowd) -> dict[str, Tensor]:
        """The crowd and the random generators, as tensors."""
        fleet, reference = crowd.fleet, crowd.reference
        parts: list[tuple[str, object]] = [("fleet", fleet), ("reference", reference), ("crowd", crowd)]
        state = {
            f"{name}.{field.name}": getattr(part, field.name).detach()
            for name, part in parts
            for field in fields(part)  # type: ignore[arg-type]
            if isinstance(getattr(part, field.name), Tensor)
        }
        text = json.dumps(self._rng.bit_generator.state).encode()
        return state | {
            "generator": self._generator.get_state(),
            "rng": torch.tensor(list(text), dtype=torch.uint8),
            "losses": torch.tensor(self.losses),
        }

    def restore(self, state: Mapping[str, Tensor]) -> Crowd:
        """The crowd of ``state``; the generators go on where it was taken."""

        def part(name: str) -> dict[str, Tensor]:
            prefix = f"{name}."
            return {key[len(prefix) :]: value.to(self.device) for key, value in state.items() if key.startswith(prefix)}

        self._generator.set_state(state["generator"].cpu())
        self._rng.bit_generator.state = json.loads(bytes(state["rng"].tolist()))
        self.losses = int(state["losses"])
        return Crowd(fleet=Fleet(**part("fleet")), reference=Waves(**part("reference")), **part("crowd"))

    def take_losses(self) -> int:
        """Vehicles lost since the last call."""
        losses, self.losses = self.losses, 0
        return losses
