"""From an empty folder to weights with their card: which stages run, what they need, and what they leave behind.

recipe.json              what is trained; a folder never mixes two recipes
shared/ teachers/ ...    checkpoints and history.jsonl of the stages
teachers_<rank>.safetensors, teachers.json    the teachers, and what each is worth
distilled, tuned, direct, foundation .safetensors    students with their cards; the last is the best of the line
summary.json, training.png
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from control_stack.artefacts.claim import ClaimedFolder
from control_stack.artefacts.runs import machine, plain, provenance, write_json
from control_stack.artefacts.tensors import training_of
from control_stack.errors import InvalidInput, TrainingAborted, UnknownName
from control_stack.foundation import weights as artefact
from control_stack.foundation.observation import NO_LEAD, Lead
from control_stack.foundation.training import battery, checkpoints, history, ray_tasks, recipe, screening, student
from control_stack.foundation.training.evaluation import NetworkPilot
from control_stack.foundation.training.objective import Cost
from control_stack.foundation.training.picture import training_picture
from control_stack.foundation.training.policy_gradient import Weights
from control_stack.foundation.training.recipe import Recipe

STAGES = ("shared", "teachers", "distil", "tune", "direct")
_FOLDERS = {"shared": "shared", "teachers": "teachers", "distil": "distilled", "tune": "tuned", "direct": "direct"}
_FIGURES_SEED = recipe.VALIDATION_SEED + 1  # airframes that no student was chosen on
FOUNDATION = "foundation.safetensors"
_COSTS = ("cost", "tuning_cost")  # of a recipe


def load_recipe(path: Path | None, **changes: Any) -> Recipe:
    """The shipped recipe, or one with the values of a YAML file; ``changes`` that are not None come last.

    Raises:
        InvalidInput: The file cannot be read, or a value is of another type. UnknownName: No such value.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise InvalidInput(f"{path} is not valid YAML: {' '.join(str(error).split())[:120]}") from None
        if not isinstance(values, dict):
            raise InvalidInput(f"{path}: a recipe is a mapping of names to values")
    values |= {name: value for name, value in changes.items() if value is not None}
    costs = {}
    for name in _COSTS:
        weights = values.pop(name, {})
        if not isinstance(weights, dict):
            raise InvalidInput(f"{path}: {name} is a mapping of names to values")
        costs[name] = replace(getattr(Recipe(), name), **_checked(Cost, weights, name))
    return Recipe(**_checked(Recipe, values, "recipe value"), **costs)


def _checked(kind: Any, values: dict[str, Any], what: str) -> dict[str, Any]:
    defaults = {field.name: getattr(kind(), field.name) for field in fields(kind)}
    out = {}
    for name, value in values.items():
        if name not in defaults:
            raise UnknownName(what, str(name), [name for name in defaults if name not in _COSTS])
        wanted = type(defaults[name])
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise InvalidInput(f"{what} {name} must be of type {wanted.__name__}, got {value!r}")
        out[name] = value
    return out


class Training(ClaimedFolder):
    """A training in a folder, which it keeps to itself until the end of the context.

    Args:
        folder: New, empty, or of an earlier run of the same recipe.
        report: Called with (stage, rank, updates, value), see ``parallel.Report``.
        engine: "local" or "ray".
        command: That reproduces it, for the cards.

    Raises:
        InvalidInput: The folder holds another recipe, or something else, or another training runs in it.
        MissingDependency: Ray is asked for and not installed.
    """

    def __init__(self, folder: Path, recipe: Recipe, report: recipe.Report, engine: str = "local", command: str = ""):
        self.recipe, self.command = recipe, command
        self._report, self._engine = report, engine
        self._histories: dict[str, history.History] = {}
        if engine == "ray":
            ray_tasks.require()
        super().__init__(folder, plain(recipe), "recipe", "another training runs")

    def run(self, stages: Iterable[str]) -> None:
        """Runs stages in order; those that are done are only looked up.

        Raises:
            InvalidInput: A stage needs one that was not run. TrainingAborted: See ``parallel.run``.
        """
        for stage in stages:
            {"shared": self.shared, "teachers": self.teachers, "distil": self.distil, "tune": self.tune,
             "direct": self.direct}[stage]()  # fmt: skip

    def shared(self) -> Weights:
        """The net that all teachers start from."""
        return recipe.train_shared(self.recipe, self.folder, self._take)

    def teachers(self) -> dict[str, Any]:
        """The teachers and what they are worth."""
        found = screening.read(self.folder)
        if found:
            return found
        self._need("shared")
        shared = self.shared()
        shards = recipe.train_teachers(self.recipe, shared, self.folder, self._take, self._engine)
        return screening.screen(self.recipe, shared, shards, self.folder, self._take, self._engine)

    def distil(self) -> Weights:
        """The student of the teachers."""
        self._need("teachers")
        summary = screening.read(self.folder)["summary"]
        if summary["shards_without_any"]:
            raise TrainingAborted(
                f"{summary['dropped']} of {summary['teachers']} teachers stay below the bar {summary['bar']}: "
                "too few are left to learn from; train longer, or lower the bar, in a new folder"
            )
        return self._student("distilled", lambda: recipe.distil(self.recipe, self.folder, self._take))

    def tune(self) -> Weights:
        """The distilled student, tuned through the simulator."""
        self._need("distil")
        r, first = self.recipe, self.distil()
        return self._student("tuned", lambda: recipe.tune(r, first, r.tuned, "tuned", self.folder, self._take))

    def direct(self) -> Weights:
        """The rival: the same student from random weights, without teachers."""
        r = self.recipe
        first = student.initial_weights(torch.Generator().manual_seed(r.seed), r.hidden)
        return self._student("direct", lambda: recipe.tune(r, first, r.direct, "direct", self.folder, self._take))

    def finish(self) -> dict[str, Any]:
        """Summary and picture of what was done; the best student of the line, with figures, if there is one."""
        summary = {
            **provenance(),
            "command": self.command,
            "recipe": plain(self.recipe),
            "stages": {stage: course for stage in STAGES if (course := self._course(stage))},
            "teachers": screening.read(self.folder).get("summary"),
        }
        line = [name for name in ("distilled", "tuned") if (self.folder / f"{name}.safetensors").is_file()]
        if line:
            summary |= self._choose(line)
        write_json(self.folder / "summary.json", summary)
        folders = {**_FOLDERS, "retrained": "retrained"}
        courses = {stage: history.read(self.folder / folder) for stage, folder in folders.items()}
        training_picture(courses, screening.read(self.folder), self.folder / "training.png", f"seed {self.recipe.seed}")
        return summary

    def _take(self, stage: str, rank: int, done: int, value: Any) -> None:
        if stage not in self._histories:
            self._histories[stage] = history.History(self.folder / stage)
        self._histories[stage].add(rank, done, value)
        self._report(stage, rank, done, value)

    def _need(self, stage: str) -> None:
        r = self.recipe
        done: dict[str, Callable[[], bool]] = {
            "shared": lambda: checkpoints.newest(self.folder / "shared", range(r.workers)) >= r.shared,
            "teachers": lambda: bool(screening.read(self.folder)),
            "distil": lambda: (self.folder / "distilled.safetensors").is_file(),
        }
        if not done[stage]():
            raise InvalidInput(f"{self.folder}: stage '{stage}' comes first and is not done")

    def _student(self, name: str, train: Callable[[], Weights]) -> Weights:
        """Trains a student and writes its weights with the score that it was chosen by."""
        weights = train()
        if not (self.folder / f"{name}.safetensors").is_file():
            score, survived = recipe.judge(weights, self.recipe.judged)
            figures = {"validation_score": score, "validation_survived": survived}
            self._save(f"{name}.safetensors", name, weights, NO_LEAD, figures)
        return weights

    def _save(self, file: str, name: str, weights: Weights, lead: Lead, figures: dict[str, Any]) -> None:
        used = {"distilled": STAGES[:3], "tuned": STAGES[:4], "direct": ("direct",)}[name]
        seconds = {stage: self._course(stage).get("wall_time_s", 0.0) for stage in used}
        training = {
            **training_of(self.command, self.recipe.seed, sum(seconds.values())),
            "teachers": 0 if name == "direct" else self.recipe.teachers,
            "wall_time_by_stage_s": seconds,
            "hardware": {**machine(), "workers": self.recipe.workers, "device": self.recipe.device},
            "recipe": plain(self.recipe),
        }
        tensors = {key: value.cpu().numpy() for key, value in weights.items()}
        artefact.save(self.folder / file, tensors, lead=lead, training=training, figures=figures)

    def _choose(self, line: list[str]) -> dict[str, Any]:
        """The better one of the line by its validation score, with lead and figures, as ``foundation``."""
        students = {name: artefact.load(self.folder / f"{name}.safetensors") for name in line}
        scores = {name: students[name].card["figures"]["validation_score"] for name in line}
        chosen = min(line, key=lambda name: scores[name])
        weights = {key: torch.from_numpy(value.copy()) for key, value in students[chosen].tensors.items()}
        pilot = NetworkPilot(student.Student(), weights)
        lead = battery.best_lead(pilot, self.recipe.judged, recipe.VALIDATION_SEED)
        figures = {"chosen": chosen, "validation_scores": scores, "validation": validation(pilot, self.recipe.judged)}
        self._save(FOUNDATION, chosen, weights, lead, figures)
        return {**figures, "lead": lead._asdict()}

    def _course(self, stage: str) -> dict[str, Any]:
        """What a stage did, in short; empty if it has not begun."""
        folder = self.folder / _FOLDERS[stage]
        records = history.read(folder)
        if not records:
            return {}
        again = history.read(self.folder / "retrained") if stage == "teachers" else []
        costs = [record["cost"] for record in records if "cost" in record]
        return {
            "updates": checkpoints.newest(folder, [0]),
            "wall_time_s": sum(max((record["seconds"] for record in part), default=0.0) for part in (records, again)),
            "cost_first": costs[0] if costs else None,
            "cost_last": costs[-1] if costs else None,
            "best_score": min((record["score"] for record in records if "score" in record), default=None),
        }


def validation(pilot: NetworkPilot, count: int) -> dict[str, dict[str, float]]:
    """All tests on airframes that nothing was chosen on: survival, RMSE with losses as 1 m, action change."""
    out = {}
    for name in battery.TESTS:
        flight, _ = battery.fly_test(name, pilot, count, _FIGURES_SEED)
        alive = flight.survived
        out[name] = {
            "airframes": count,
            "survived": float(alive.float().mean()),
            "rmse_all_m": float(flight.rmse.mean()),
            "rmse_survivors_m": float(flight.rmse[alive].mean()) if alive.any() else float("nan"),
            "action_change": float(flight.change[:, alive].mean()) if alive.any() else float("nan"),
        }
    return out


def updates_by_stage(recipe: Recipe) -> dict[str, int]:
    """How many updates each stage makes, by the names that ``report`` is called with."""
    return {
        "shared": recipe.shared,
        "teachers": recipe.specialised,
        "retrained": recipe.specialised,
        "distilled": recipe.distilled,
        "tuned": recipe.tuned,
        "direct": recipe.direct,
    }
