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
from safetensors.torch import load_file
from torch import Tensor

from control_stack.errors import InvalidInput
from control_stack.foundation.airframes import Airframes
from control_stack.foundation.observation import BARE, Lead
from control_stack.foundation.training import battery, checkpoints, parallel, student
from control_stack.foundation.training.distillation import Imitation
from control_stack.foundation.training.draws import SLOWEST, Anyone, Own, training_airframes, training_conditions
from control_stack.foundation.training.episodes import hover, starts
from control_stack.foundation.training.evaluation import Flight, NetworkPilot, fly
from control_stack.foundation.training.objective import Cost
from control_stack.foundation.training.policy_gradient import Gradient, Settings, Weights
from control_stack.foundation.training.rollout import Draw, Nursery
from control_stack.foundation.training.simulator import Fleet
from control_stack.foundation.training.student import Student
from control_stack.foundation.training.teachers import Teachers

_MAX_WORKERS = 64  # what ``_seed`` has room for


@dataclass(frozen=True)
class Recipe:
    """Sizes and lengths of all stages; the defaults are the shipped recipe.

    Attributes:
        teachers: How many, each with its own airframe and weights. width: Of their hidden layers.
        episodes: Vehicles that each teacher flies at once.
        shared, specialised, distilled, tuned: Updates of the four stages.
        teacher_driven: Windows of the distillation over which the teachers fly less and less often.
        hidden: Width of the student.
        direct: Updates of the rival without teachers; by default it takes as long as all other stages together.
        cost, tuning_cost: Of teachers and imitation; of fine-tuning and of the rival, where stillness counts for more.
        tuning_rate: Learning rate of fine-tuning and of the rival. repeated: Share of their episodes that begin as one
            that was lost.
        workers: Processes. seed: Of everything. device: That the crowds fly on.
        bar_survived, bar_rmse: Teachers that survive less often, or hover less precisely (m, a loss counted as 1 m),
            are trained once more, and dropped if that does not help.
        judged: Airframes of each test that students are chosen by.

    Raises:
        InvalidInput: A size or length that nothing can be trained with.
    """

    teachers: int = 1024
    width: int = 32
    episodes: int = 8
    shared: int = 1500
    specialised: int = 1000
    distilled: int = 1500
    tuned: int = 12000
    direct: int = 24000
    teacher_driven: int = 200
    hidden: int = student.HIDDEN_SIZE
    workers: int = 2
    seed: int = 0
    vehicles: int = 1024
    cost: Cost = field(default_factory=Cost)
    tuning_cost: Cost = field(default_factory=lambda: Cost(change=0.3, change_square=2.5))
    tuning_rate: float = 6e-3
    repeated: float = 0.15
    compiled: bool = True
    device: str = "cpu"
    window: int = 100
    bar_survived: float = 0.9
    bar_rmse: float = 0.1
    judged: int = 512
    judge_every: int = 500

    def __post_init__(self) -> None:
        least_one = ("width", "episodes", "shared", "specialised", "distilled", "tuned", "direct", "vehicles", "window",
                     "hidden", "judged", "judge_every")  # fmt: skip
        for name in least_one:
            if getattr(self, name) < 1:
                raise InvalidInput(f"recipe: {name} must be at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.repeated <= 1.0:
            raise InvalidInput(f"recipe: repeated is a share, from 0 to 1, got {self.repeated}")
        if not 0.0 < self.tuning_rate < 1.0:
            raise InvalidInput(f"recipe: tuning_rate must be between 0 and 1, got {self.tuning_rate}")
        if not 1 <= self.workers <= _MAX_WORKERS:
            raise InvalidInput(f"recipe: workers must be from 1 to {_MAX_WORKERS}, got {self.workers}")
        if self.teachers < self.workers:
            raise InvalidInput(f"recipe: {self.teachers} teachers are too few for {self.workers} workers")

    def settings(self, rate: float, vehicles: int | None = None) -> Settings:
        """Of a stage."""
        return Settings(vehicles=vehicles or self.vehicles, window=self.window, rate=rate, cost=self.cost)


def _nursery(
    recipe: Recipe, settings: Settings, draw: Draw, hidden: int, stage: str, rank: int, repeated: float = 0.0
) -> Nursery:
    seed = _seed(recipe, stage, rank)
    return Nursery(draw, settings.vehicles, hidden, seed, settings.mean_windows, recipe.device, repeated)


@dataclass(frozen=True)
class _BuildShared:
    recipe: Recipe
    settings: Settings

    def __call__(self, rank: int, weights: Weights) -> Gradient:
        r = self.recipe
        nursery = _nursery(r, self.settings, Anyone(sensors=False), 0, "shared", rank)
        return Gradient(Teachers(1, r.width), weights, nursery, self.settings, r.compiled)


@dataclass(frozen=True)
class _BuildTeachers:
    """A worker's stack of teachers, from the shared net's weights or from a checkpoint's."""

    recipe: Recipe
    settings: Settings
    shards: tuple[Airframes, ...]
    episodes: int
    stage: str

    def __call__(self, rank: int, weights: Weights) -> Gradient:
        r, own = self.recipe, self.shards[rank]
        settings = replace(self.settings, vehicles=len(own) * self.episodes)
        nursery = _nursery(r, settings, Own(own, sensors=False), 0, self.stage, rank)
        stack = Teachers(len(own), r.width)
        return Gradient(stack, stack.stacked(weights), nursery, settings, r.compiled)


@dataclass(frozen=True)
class _BuildTuning:
    recipe: Recipe
    settings: Settings

    def __call__(self, rank: int, weights: Weights) -> Gradient:
        r = self.recipe
        draw = Anyone(sensors=True, slow=SLOWEST)
        nursery = _nursery(r, self.settings, draw, r.hidden, "tuning", rank, r.repeated)
        return Gradient(Student(), weights, nursery, self.settings, r.compiled)


@dataclass(frozen=True)
class _BuildImitation:
    recipe: Recipe
    settings: Settings
    folder: Path

    def __call__(self, rank: int, weights: Weights) -> Imitation:
        r = self.recipe
        own, taught = load_teachers(taught_path(self.folder, rank))
        settings = replace(self.settings, vehicles=len(own) * max(r.vehicles // len(own), 1))
        nursery = _nursery(r, settings, Own(own, sensors=True), r.hidden, "imitation", rank)
        return Imitation(weights, Teachers(len(own), r.width), taught, nursery, settings, r.teacher_driven, r.compiled)


def _seed(recipe: Recipe, stage: str, rank: int) -> int:
    """Seeds that no two stages or workers share."""
    names = ("shared", "teachers", "imitation", "tuning", "airframes", "student", "retrained")
    return recipe.seed * 10_000 + names.index(stage) * 100 + rank


Report = Callable[[str, int, int, Any], None]


@dataclass(frozen=True)
class Judge:
    """``judge`` on a number of airframes."""

    count: int

    def __call__(self, weights: Weights) -> parallel.Judgement:
        """Judges a student."""
        return judge(weights, self.count)


# Test: its RMSE to reach, each loss counted as 1 m, m; and the change of the action to reach, if one is asked.
_WANTED: dict[str, tuple[float, float | None]] = {
    "hover, random force": (0.008, None),
    "hover, calm": (0.003, 0.0047),
    "hover, sensor noise, after 2 s": (0.01, 0.08),
    "torque/inertia 40-100": (0.02, None),
    "eight, 5.5 s lap": (0.03, None),
    "sideways force 30 %": (0.02, None),
    "velocity delay 40 ms": (0.03, None),
    "velocity delay 80 ms": (0.10, None),
}
_LED = replace(BARE, lead=Lead(-0.0026, -0.0012, 0.0088, 0.0425))  # about what eights are to be flown with


def judge(weights: Weights, count: int = 512) -> parallel.Judgement:
    """How far a student is from the figures asked of it, on validation airframes: lower is better.

    The mean over all figures of max(r, 1) + r / 10, r the figure over what is to be reached: what is missed counts
    most.
    """
    pilot = NetworkPilot(Student(), {name: w.cpu() for name, w in weights.items()})
    ratios, survived = [], []
    for name, (rmse, still) in _WANTED.items():
        wrapper = _LED if name.startswith("eight") else BARE
        flight, _ = battery.fly_test(name, pilot, count, VALIDATION_SEED, method="semi_implicit", wrapper=wrapper)
        survived.append(float(flight.survived.float().mean()))
        ratios.append(float(flight.rmse.mean()) / rmse)
        if still is not None:
            # Where none survives there is no mean, and nothing that could be worse.
            change = flight.change[:, flight.survived]
            ratios.append((float(change.mean()) if change.numel() else 1.0) / still)
    score = sum(max(ratio, 1.0) + 0.1 * ratio for ratio in ratios) / len(ratios)
    return parallel.Judgement(score, sum(survived) / len(survived))


VALIDATION_SEED = 900_001


def train_shared(recipe: Recipe, folder: Path, report: Report) -> Weights:
    """One net for all airframes, with privileged inputs: what every teacher starts from."""
    settings = recipe.settings(2e-3)
    first = Teachers(1, recipe.width).initial_weights(torch.Generator().manual_seed(_seed(recipe, "shared", 99)))
    plan = parallel.Plan(recipe.shared, recipe.workers, _BuildShared(recipe, settings), settings)
    return parallel.run(plan, first, folder / "shared", lambda *r: report("shared", *r))[0]


def teacher_airframes(recipe: Recipe) -> tuple[Airframes, ...]:
    """One shard of airframes for each worker."""
    everyone = training_airframes(recipe.teachers, np.random.default_rng(_seed(recipe, "airframes", 0)))
    return tuple(everyone[part] for part in np.array_split(np.arange(recipe.teachers), recipe.workers))


def train_teachers(
    recipe: Recipe, shared: Weights, folder: Path, report: Report, engine: str = "local"
) -> list[Weights]:
    """Each teacher on its own airframe, from the shared net; one entry for each shard."""
    shards = teacher_airframes(recipe)
    return _specialise(recipe, shared, shards, recipe.episodes, "teachers", folder, report, engine)


def retrain_teachers(
    recipe: Recipe, shared: Weights, airframes: Airframes, folder: Path, report: Report, engine: str = "local"
) -> Weights:
    """Teachers of a few airframes anew, from the shared net, with four times the episodes; stacked in order."""
    parts = np.array_split(np.arange(len(airframes)), min(recipe.workers, len(airframes)))
    shards = tuple(airframes[part] for part in parts)
    stacks = _specialise(recipe, shared, shards, 4 * recipe.episodes, "retrained", folder, report, engine)
    return {name: torch.cat([stack[name] for stack in stacks]) for name in stacks[0]}


def _specialise(
    recipe: Recipe, shared: Weights, shards: tuple[Airframes, ...], episodes: int, stage: str, folder: Path,
    report: Report, engine: str,
) -> list[Weights]:  # fmt: skip
    settings = recipe.settings(1e-3)
    build = _BuildTeachers(recipe, settings, shards, episodes, stage)
    plan = parallel.Plan(recipe.specialised, len(shards), build, settings, together=False)
    return parallel.run(plan, shared, folder / stage, lambda *r: report(stage, *r), engine)


def distil(recipe: Recipe, folder: Path, report: Report) -> Weights:
    """The student, from the teachers' files."""
    settings = recipe.settings(4e-3)
    first = student.initial_weights(torch.Generator().manual_seed(_seed(recipe, "student", 0)), recipe.hidden)
    build = _BuildImitation(recipe, settings, folder)
    plan = parallel.Plan(
        recipe.distilled, recipe.workers, build, settings, judge=Judge(recipe.judged), judge_every=recipe.judge_every
    )
    return parallel.run(plan, first, folder / "distilled", lambda *r: report("distilled", *r))[0]


def tune(recipe: Recipe, first: Weights, updates: int, name: str, folder: Path, report: Report) -> Weights:
    """The student through the simulator: fine-tuning of ``first``, or the rival without teachers."""
    settings = replace(recipe.settings(recipe.tuning_rate), soap=True, cost=recipe.tuning_cost)
    build, judged = _BuildTuning(recipe, settings), Judge(recipe.judged)
    plan = parallel.Plan(updates, recipe.workers, build, settings, judge=judged, judge_every=recipe.judge_every)
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
    teachers: Weights, shared: Weights, airframes: Airframes, width: int, seed: int, episodes: int = 8
) -> dict[str, Tensor]:
    """What each teacher gained over the shared net on its own airframe.

    Returns:
        survived, rmse of the teacher and of the shared net, each (number of teachers,), over so many episodes.
    """
    out = {}
    for name, weights in (("teacher", teachers), ("shared", shared)):
        flight = fly_teachers(weights, airframes, width, episodes, seed)
        out[f"{name}_survived"] = flight.survived.float().view(-1, episodes).mean(1)
        out[f"{name}_rmse"] = flight.rmse.view(-1, episodes).mean(1)
    return out


def taught_path(folder: Path, rank: int) -> Path:
    """Where the distillation finds the teachers of a shard."""
    return folder / f"teachers_{rank}.safetensors"


def save_shard(weights: Weights, airframes: Airframes, kept: Tensor, path: Path) -> None:
    """The teachers of a shard with their airframes; ``kept`` (teachers,) tells which of them are above the bar."""
    own = {"airframes": torch.from_numpy(airframes.columns), "kept": kept.to(torch.uint8)}
    checkpoints.write({**weights, **own}, path)


def load_teachers(path: Path) -> tuple[Airframes, Weights]:
    """The teachers of a shard that are above the bar, and their airframes in the same order."""
    weights = load_file(path)
    kept, columns = weights.pop("kept").bool(), weights.pop("airframes").numpy()
    return Airframes(columns)[kept.numpy()], {name: w[kept] for name, w in weights.items()}
