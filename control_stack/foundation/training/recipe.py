"""The recipe of the foundation policy: shared start, teachers, distillation, fine-tuning.

Each stage writes into its own folder under the output folder, resumes from there, and is skipped once done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from control_stack.foundation.airframes import (
    LAWS,
    Airframes,
    Conditions,
    calm,
    concatenate,
    sample,
    sample_conditions,
)
from control_stack.foundation.training import battery, parallel, student
from control_stack.foundation.training.distillation import Imitation
from control_stack.foundation.training.episodes import hover, starts
from control_stack.foundation.training.evaluation import Flight, NetworkPilot, fly
from control_stack.foundation.training.objective import Cost
from control_stack.foundation.training.policy_gradient import Gradient, Settings, Weights
from control_stack.foundation.training.rollout import Nursery
from control_stack.foundation.training.simulator import Fleet
from control_stack.foundation.training.student import Student
from control_stack.foundation.training.teachers import Teachers

_SLOW_SHARE, _SLOW = 0.4, (38.0, 200.0)  # slow airframes are a seventh of the law and nearly all of its losses


def training_airframes(count: int, rng: np.random.Generator) -> Airframes:
    """RAPTOR's law with edges a little wider than what is tested, and more of the slow airframes."""
    law = replace(LAWS["raptor"], thrust_to_weight=(1.4, 5.0), torque_constant=(0.004, 0.05))
    slow = max(round(_SLOW_SHARE * count), 1)
    parts = [sample(replace(law, torque_to_inertia=_SLOW), slow, rng)]
    if count > slow:
        parts.append(sample(law, count - slow, rng))
    return concatenate(parts)[rng.permutation(count)]


def training_conditions(airframes: Airframes, rng: np.random.Generator, sensors: bool) -> Conditions:
    """A third calm, a third RAPTOR's random force, a third up to 33 % of the weight any way; for a student also
    velocity delays of 0..80 ms (45 % of vehicles) and sensor noise (half of them)."""
    n = len(airframes)
    law = sample_conditions(LAWS["raptor"], airframes, rng)
    strong = sample_conditions(replace(LAWS["raptor"], force=(0.0, 0.33)), airframes, rng)
    pick = rng.uniform(size=n)
    force = np.where(pick < 0.33, 0.0, np.where(pick < 0.67, law.force_w, strong.force_w))
    conditions = replace(calm(airframes), force_w=force)
    if not sensors:
        return conditions
    delayed = rng.uniform(size=n) < 0.45
    return replace(
        conditions,
        velocity_delay=np.where(delayed, np.minimum(rng.uniform(0.0, 0.085, size=n), 0.08), 0.0),
        noise=np.where(rng.uniform(size=n) < 0.5, rng.uniform(0.0, 1.0, size=n), 0.0),
    )


@dataclass(frozen=True)
class Anyone:
    """Every episode has a new airframe. ``sensors``: with delays and noise."""

    sensors: bool

    def __call__(self, count: int, rng: np.random.Generator) -> tuple[Airframes, Conditions]:
        """Draws them."""
        airframes = training_airframes(count, rng)
        return airframes, training_conditions(airframes, rng, self.sensors)


@dataclass(frozen=True)
class Own:
    """Vehicle k always has airframe k // (count / number of airframes)."""

    airframes: Airframes
    sensors: bool

    def __call__(self, count: int, rng: np.random.Generator) -> tuple[Airframes, Conditions]:
        """Draws the conditions."""
        own = self.airframes[np.repeat(np.arange(len(self.airframes)), count // len(self.airframes))]
        return own, training_conditions(own, rng, self.sensors)


@dataclass(frozen=True)
class Recipe:
    """Sizes and lengths of all stages; the defaults are those of the shipped weights.

    Attributes:
        teachers: How many, each with its own airframe and weights. width: Of their hidden layers.
        episodes: Vehicles that each teacher flies at once.
        shared, specialised, distilled, tuned: Updates of the four stages.
        teacher_driven: Windows of the distillation over which the teachers fly less and less often.
        hidden: Width of the student.
        workers: Processes. seed: Of everything.
    """

    teachers: int = 1024
    width: int = 32
    episodes: int = 8
    shared: int = 1500
    specialised: int = 1000
    distilled: int = 2500
    tuned: int = 15000
    teacher_driven: int = 200
    hidden: int = student.HIDDEN_SIZE
    workers: int = 2
    seed: int = 0
    vehicles: int = 1024
    cost: Cost = field(default_factory=Cost)
    compiled: bool = True

    def settings(self, rate: float, vehicles: int | None = None) -> Settings:
        """Of a stage."""
        return Settings(vehicles=vehicles or self.vehicles, rate=rate, cost=self.cost)


@dataclass(frozen=True)
class _BuildTeachers:
    """A worker's stack of teachers; one policy and no airframes of its own: the shared net."""

    recipe: Recipe
    settings: Settings
    shards: tuple[Airframes, ...]

    def __call__(self, rank: int, weights: Weights) -> Gradient:
        r = self.recipe
        count = len(self.shards[rank]) if self.shards else 1
        draw = Own(self.shards[rank], sensors=False) if self.shards else Anyone(sensors=False)
        nursery = Nursery(draw, self.settings.vehicles, 0, _seed(r, "teachers" if self.shards else "shared", rank))
        return Gradient(Teachers(count, r.width), weights, nursery, self.settings, r.compiled)


@dataclass(frozen=True)
class _BuildTuning:
    recipe: Recipe
    settings: Settings

    def __call__(self, rank: int, weights: Weights) -> Gradient:
        r = self.recipe
        nursery = Nursery(Anyone(sensors=True), self.settings.vehicles, r.hidden, _seed(r, "tuning", rank))
        return Gradient(Student(), weights, nursery, self.settings, r.compiled)


@dataclass(frozen=True)
class _BuildImitation:
    recipe: Recipe
    settings: Settings
    shards: tuple[Airframes, ...]
    taught: tuple[Path, ...]

    def __call__(self, rank: int, weights: Weights) -> Imitation:
        r, own = self.recipe, self.shards[rank]
        nursery = Nursery(Own(own, sensors=True), self.settings.vehicles, r.hidden, _seed(r, "imitation", rank))
        teachers, taught = Teachers(len(own), r.width), load_file(self.taught[rank])
        return Imitation(weights, teachers, taught, nursery, self.settings, r.teacher_driven, r.compiled)


def _seed(recipe: Recipe, stage: str, rank: int) -> int:
    """Seeds that no two stages or workers share."""
    names = ("shared", "teachers", "imitation", "tuning", "airframes", "student")
    return recipe.seed * 10_000 + names.index(stage) * 100 + rank


Report = Callable[[str, int, int, Any], None]


def judge(weights: Weights) -> float:
    """How far a student is from the figures asked of it, on validation airframes: lower is better.

    The mean over a few tests of the RMSE, each loss counted as 1 m, over the figure to reach; and of the action's
    change in calm hover.
    """
    pilot = NetworkPilot(Student(), weights)
    wanted = {
        "hover, random force": 0.008,
        "hover, calm": 0.003,
        "eight, 5.5 s lap": 0.03,
        "sideways force 30 %": 0.02,
        "velocity delay 40 ms": 0.03,
        "velocity delay 80 ms": 0.10,
    }
    score = 0.0
    for name, figure in wanted.items():
        flight, _ = battery.fly_test(name, pilot, 512, _VALIDATION_SEED, method="semi_implicit")
        score += float(flight.rmse.mean()) / figure
        if name == "hover, calm":
            score += float(flight.change[:, flight.survived].mean()) / 0.003
    return score / (len(wanted) + 1)


_VALIDATION_SEED = 900_001


def train_shared(recipe: Recipe, folder: Path, report: Report) -> Weights:
    """One net for all airframes, with privileged inputs: what every teacher starts from."""
    settings = recipe.settings(2e-3)
    first = Teachers(1, recipe.width).initial_weights(torch.Generator().manual_seed(_seed(recipe, "shared", 99)))
    plan = parallel.Plan(recipe.shared, recipe.workers, _BuildTeachers(recipe, settings, ()), settings)
    return parallel.run(plan, first, folder / "shared", lambda *r: report("shared", *r))[0]


def teacher_airframes(recipe: Recipe) -> tuple[Airframes, ...]:
    """One shard of airframes for each worker."""
    everyone = training_airframes(recipe.teachers, np.random.default_rng(_seed(recipe, "airframes", 0)))
    return tuple(everyone[part] for part in np.array_split(np.arange(recipe.teachers), recipe.workers))


def train_teachers(recipe: Recipe, shared: Weights, folder: Path, report: Report) -> list[Weights]:
    """Each teacher on its own airframe, from the shared net; one entry for each shard."""
    shards = teacher_airframes(recipe)
    size = len(shards[0])
    settings = recipe.settings(1e-3, size * recipe.episodes)
    plan = parallel.Plan(
        recipe.specialised,
        recipe.workers,
        _BuildTeachers(recipe, settings, shards),
        settings,
        policies=size,
        together=False,
    )
    return parallel.run(
        plan, Teachers(size, recipe.width).stacked(shared), folder / "teachers", lambda *r: report("teachers", *r)
    )


def distil(recipe: Recipe, folder: Path, report: Report) -> Weights:
    """The student, from the teachers' files."""
    shards = teacher_airframes(recipe)
    per_teacher = max(recipe.vehicles // len(shards[0]), 1)
    settings = recipe.settings(4e-3, len(shards[0]) * per_teacher)
    taught = tuple(folder / f"teachers_{rank}.safetensors" for rank in range(recipe.workers))
    first = student.initial_weights(torch.Generator().manual_seed(_seed(recipe, "student", 0)), recipe.hidden)
    plan = parallel.Plan(
        recipe.distilled, recipe.workers, _BuildImitation(recipe, settings, shards, taught), settings, judge=judge
    )
    return parallel.run(plan, first, folder / "distilled", lambda *r: report("distilled", *r))[0]


def tune(
    recipe: Recipe, first: Weights, updates: int, name: str, folder: Path, report: Report, rate: float = 2e-3
) -> Weights:
    """The student through the simulator: fine-tuning of ``first``, or the rival without teachers."""
    settings = recipe.settings(rate)
    plan = parallel.Plan(updates, recipe.workers, _BuildTuning(recipe, settings), settings, judge=judge)
    return parallel.run(plan, first, folder / name, lambda *r: report(name, *r))[0]


def fly_teachers(weights: Weights, airframes: Airframes, width: int, episodes: int, seed: int) -> Flight:
    """Each teacher (or the shared net, where the stack has one entry) hovering under random forces.

    Vehicles in the order of the airframes, ``episodes`` each.
    """
    rng = np.random.default_rng(seed)
    own = airframes[np.repeat(np.arange(len(airframes)), episodes)]
    stack = Teachers(weights["0.weight"].shape[0], width)
    x = starts(len(own), torch.Generator().manual_seed(seed), torch.as_tensor(own.hover_speed))
    fleet = Fleet.of(own, training_conditions(own, rng, sensors=False))
    pilot = NetworkPilot(stack, weights, privileged=True)
    return fly(pilot, fleet, x.float(), hover(len(own)), 500, 100)


def teacher_report(
    teachers: Weights, shared: Weights, airframes: Airframes, width: int, seed: int
) -> dict[str, Tensor]:
    """What each teacher gained over the shared net on its own airframe.

    Returns:
        survived, rmse of the teacher and of the shared net, each (number of teachers,), over 8 episodes.
    """
    out = {}
    for name, weights in (("teacher", teachers), ("shared", shared)):
        flight = fly_teachers(weights, airframes, width, 8, seed)
        out[f"{name}_survived"] = flight.survived.float().view(-1, 8).mean(1)
        out[f"{name}_rmse"] = flight.rmse.view(-1, 8).mean(1)
    return out


def save_teachers(shards: list[Weights], folder: Path) -> None:
    """One file for each shard, where the distillation looks for them."""
    for rank, weights in enumerate(shards):
        save_file({name: w.contiguous() for name, w in weights.items()}, folder / f"teachers_{rank}.safetensors")
