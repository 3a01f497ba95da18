"""What is trained and how: the settings of a fit, and what every method is given to train with."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from control_stack.errors import InvalidInput
from control_stack.learning.sparsify.descent import Course, descend
from control_stack.learning.sparsify.net import Net
from control_stack.learning.sparsify.windows import Windows

LADDER = (576, 450, 256, 128, 64, 48, 32, 24, 16, 8)  # ReLUs; all but the last as in Liu et al., 2023
_RATE = 0.16  # of SOAP, times the root of the widest layer's units
_LONGER = 4  # times the updates of tuning has the rung of the model that a fit ends with

# (method, budget), updates of this rung so far, its updates, loss
Report = Callable[[str, int, int, float], None]


@dataclass(frozen=True)
class Recipe:
    """Of a fit. A folder never mixes two.

    Attributes:
        methods: What thins the net, and rivals; the model that a fit ends with is the first one's.
        ladder: Budgets of ReLUs, falling; the first is the dense net that methods start from.
        relus: Budget of that model, one of the ladder's.
        hidden_layers: Of the net; of each of its two parts in a graph net.
        objects: Names of the states that a graph net shares weights over ("disc" for disc_0.x, disc_1.x, ...);
            empty for a plain net.
        seed: Of everything.
        first_updates: Of dense nets; the best of them has more (``ladder``).
        thin_updates, tune_updates: Of the rung of 256 ReLUs, while it is thinned and
            after; others have more as they get smaller, and cheaper, and the model's own most (``updates``).
        horizons: Steps of a rollout in training: of the dense net, and of the smallest in its tuning.
        batch: Rollouts in an update.
        noise: On their first states, standard deviations of a change.
        starts: Random starts of "scratch", the best of which counts.
        shares: Of the episodes for training, for choosing, and for figures.
    """

    methods: tuple[str, ...] = ("gates",)
    ladder: tuple[int, ...] = LADDER
    relus: int = 16
    hidden_layers: int = 2
    objects: str = ""
    seed: int = 0
    first_updates: int = 3000
    thin_updates: int = 600
    tune_updates: int = 600
    horizons: tuple[int, int] = (3, 4)
    batch: int = 256
    noise: float = 0.02
    starts: int = 3
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)

    def __post_init__(self) -> None:
        if not self.ladder or list(self.ladder) != sorted(set(self.ladder), reverse=True) or self.ladder[-1] < 1:
            raise InvalidInput(f"a ladder of budgets falls and stays above 0, got {', '.join(map(str, self.ladder))}")
        if self.relus not in self.ladder:
            raise InvalidInput(f"a model of {self.relus} ReLUs is not on the ladder {', '.join(map(str, self.ladder))}")
        for name in ("hidden_layers", "first_updates", "thin_updates", "tune_updates", "batch", "starts"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch % DRAWS:
            raise InvalidInput(f"batch must be a multiple of {DRAWS}, got {self.batch}")

    def updates(self, budget: int) -> tuple[int, int]:
        """Of a rung while it is thinned, and after."""
        factor = min(max((256 / budget) ** 0.5, 0.5), 4.0)
        longer = _LONGER if budget == self.relus else 1
        return max(1, round(factor * self.thin_updates)), max(1, round(factor * longer * self.tune_updates))

    def until(self, budget: int) -> int:
        """Updates of the ladder down to this rung, from random weights."""
        return self.first_updates + sum(sum(self.updates(b)) for b in self.ladder[1:] if b >= budget)

    def scaled(self, factor: float) -> Recipe:
        """With so many times the updates."""
        if not 0.0 < factor < float("inf"):
            raise InvalidInput(f"updates must be scaled by a number above 0, got {factor:g}")
        names = ("first_updates", "thin_updates", "tune_updates")
        return replace(self, **{name: max(1, round(factor * getattr(self, name))) for name in names})

    def horizon(self, budget: int) -> int:
        """Steps of a rollout when a rung is tuned: they grow as nets get small, and cheap."""
        first, last = self.horizons
        rung = self.ladder.index(budget) / max(1, len(self.ladder) - 1)
        return round(first + (last - first) * rung)


DRAWS = 16  # parts of a batch that draw their gates apart


@dataclass
class Trainer:
    """What one rung of one method is trained with.

    Attributes:
        recipe: Settings. windows: Of the training data. generator: Of this rung alone.
        label: Method and budget. total: Updates of the rung. report: Told of every update.
    """

    recipe: Recipe
    windows: Windows
    generator: torch.Generator
    label: str
    total: int
    report: Report
    done: int = 0

    def descend(self, net: Net, updates: int, horizon: int, **hooks: Any) -> None:
        """Trains a net in place (``descent.descend``)."""
        rate = _RATE / max(len(gates) for gates in net.gates) ** 0.5
        course = Course(updates, horizon, self.recipe.batch, rate, self.recipe.noise)

        def count(loss: float) -> None:
            self.done += 1
            self.report(self.label, self.done, self.total, loss)

        descend(net, self.windows, course, self.generator, report=count, **hooks)

    def sample(self, net: Net, count: int) -> tuple[Tensor, Tensor]:
        """(1, count, nx + nu) scaled states and inputs of the data, and (1, count, nx) scaled changes."""
        x, u = self.windows.draw(count, 1, self.generator)
        change = (x[:, 1] - x[:, 0] - net.constants.drift) / net.constants.gain
        return torch.cat([x[:, 0], u[:, 0]], -1)[None], change[None]


def generator(seed: int, label: str) -> torch.Generator:
    """Random numbers of one rung: the same whether the rungs before were trained now or read."""
    return torch.Generator().manual_seed((seed << 32) + zlib.crc32(label.encode()))
