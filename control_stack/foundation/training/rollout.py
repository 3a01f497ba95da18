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

_FORGET = 0.2  # share of repeated failures that are then forgotten: what cannot be flown must not stay
# What draws the airframe and the conditions of new episodes.
Draw = Callable[[int, np.random.Generator], tuple[Airframes, Conditions]]


@dataclass
class Crowd:
    """N vehicles in the middle of their episodes, columns first.

    Attributes:
        x: (17, N). history: (9, 10, N) what delayed sensors still have to tell. hidden: (H, N).
        previous: (4, N) raw actions. clock: (N,) steps since the start. start: (17, N) x at the start.
    """

    fleet: Fleet
    reference: Waves
    x: Tensor
    history: Tensor
    hidden: Tensor
    previous: Tensor
    clock: Tensor
    start: Tensor

    @classmethod
    def beginning(cls, fleet: Fleet, reference: Waves, x: Tensor, hidden: Tensor) -> Crowd:
        """All vehicles at the start x of their episodes."""
        zero = torch.zeros_like(x[0])
        return cls(fleet, reference, x, fresh_history(x), hidden, torch.zeros_like(x[:4]), zero, x)

    def times(self) -> Tensor:
        """(N,) s since each start."""
        return self.clock * DT

    def replace(self, chosen: Tensor, other: Crowd) -> Crowd:
        """Takes the vehicles of ``other`` where ``chosen`` (N,) is true, cut from the graph but for hidden states."""

        def pick(name: str) -> Tensor:
            return torch.where(chosen, getattr(other, name), torch.nan_to_num(getattr(self, name).detach()))

        names = ("x", "history", "hidden", "previous", "clock", "start")
        fleet, reference = self.fleet.replace(chosen, other.fleet), self.reference.replace(chosen, other.reference)
        return Crowd(fleet, reference, *(pick(name) for name in names))


class Nursery:
    """Makes episodes and keeps a crowd supplied with them.

    Args:
        repeated: Share of new episodes that begin as the last one that was lost in that place of the crowd did.
            Losses are rare, and what a good policy has left to learn from.

    Attributes:
        losses: Vehicles lost since the last ``take_losses``.
    """

    def __init__(self, draw: Draw, count: int, hidden: int, seed: int, mean_windows: float = 5.0,
                 device: str = "cpu", repeated: float = 0.0):  # fmt: skip
        self._draw, self._count, self._hidden, self._repeated = draw, count, hidden, repeated
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._end = 1.0 / mean_windows
        self.device = device
        self.losses = 0
        self._failed: Crowd | None = None  # at the start of episodes that were lost, where ``_known``
        self._known = torch.zeros(count, dtype=torch.bool, device=device)

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
        return Crowd.beginning(fleet, reference, x, torch.zeros(self._hidden, self._count, device=self.device))

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
        if self._repeated:
            other = self._with_failures(other, crowd, gone, new)
        other.hidden = initial_hidden
        return crowd.replace(new, other)

    def _with_failures(self, other: Crowd, crowd: Crowd, gone: Tensor, new: Tensor) -> Crowd:
        """Notes how the lost began, and lets some of the new begin like that."""
        began = Crowd.beginning(crowd.fleet, crowd.reference, crowd.start, torch.zeros_like(other.hidden))
        self._failed = began if self._failed is None else self._failed.replace(gone, began)
        self._known = self._known | gone
        chance = torch.rand(2, self._count, generator=self._generator, device=self.device)
        again = new & self._known & (chance[0] < self._repeated)
        self._known = self._known & ~(again & (chance[1] < _FORGET))
        return other.replace(again, self._failed)

    def noise(self, steps: int) -> Tensor:
        """(steps, 12, N) unit sensor noise for a window."""
        return torch.randn(steps, 12, self._count, generator=self._generator, device=self.device)

    def state(self, crowd: Crowd) -> dict[str, Tensor]:
        """The crowd and the random generators, as tensors."""
        state = _flat("", crowd) | ({} if self._failed is None else _flat("failed.", self._failed))
        text = json.dumps(self._rng.bit_generator.state).encode()
        return state | {
            "generator": self._generator.get_state(),
            "rng": torch.tensor(list(text), dtype=torch.uint8),
            "losses": torch.tensor(self.losses),
            "known": self._known,
        }

    def restore(self, state: Mapping[str, Tensor]) -> Crowd:
        """The crowd of ``state``; the generators go on where it was taken."""

        def crowd(prefix: str) -> Crowd:
            def part(name: str) -> dict[str, Tensor]:
                start = f"{prefix}{name}."
                return {k[len(start) :]: value.to(self.device) for k, value in state.items() if k.startswith(start)}

            return Crowd(fleet=Fleet(**part("fleet")), reference=Waves(**part("reference")), **part("crowd"))

        self._generator.set_state(state["generator"].cpu())
        self._rng.bit_generator.state = json.loads(bytes(state["rng"].tolist()))
        self.losses = int(state["losses"])
        self._known = state["known"].to(self.device)
        self._failed = crowd("failed.") if any(k.startswith("failed.") for k in state) else None
        return crowd("")

    def take_losses(self) -> int:
        """Vehicles lost since the last call."""
        losses, self.losses = self.losses, 0
        return losses


def _flat(prefix: str, crowd: Crowd) -> dict[str, Tensor]:
    """The tensors of a crowd by name."""
    parts: list[tuple[str, object]] = [("fleet", crowd.fleet), ("reference", crowd.reference), ("crowd", crowd)]
    return {
        f"{prefix}{name}.{field.name}": getattr(part, field.name).detach()
        for name, part in parts
        for field in fields(part)  # type: ignore[arg-type]
        if isinstance(getattr(part, field.name), Tensor)
    }
