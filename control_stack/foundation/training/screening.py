"""What each teacher is worth: its gain over the shared net on its own airframe, a second chance, and who is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from control_stack.artefacts.runs import write_json
from control_stack.foundation.airframes import concatenate
from control_stack.foundation.training import recipe as recipes
from control_stack.foundation.training.policy_gradient import Weights
from control_stack.foundation.training.recipe import Recipe, Report

_SEED = 910_001  # of the flights that teachers are judged by
_EPISODES = 16


def screen(
    recipe: Recipe, shared: Weights, shards: list[Weights], folder: Path, report: Report, engine: str = "local"
) -> dict[str, Any]:
    """Flies all teachers, retrains those below the bar once, and writes what the distillation and the reader need.

    A retrained teacher replaces the first only where it hovers better. Writes the teachers' files and
    ``teachers.json``.

    Returns:
        What ``teachers.json`` holds: ``summary``, and lists with an entry for each airframe.
    """
    owners = recipes.teacher_airframes(recipe)
    airframes = concatenate(owners)
    stack = {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}
    figures = recipes.teacher_report(stack, shared, airframes, recipe.width, _SEED, _EPISODES)
    retrained = ~_passes(recipe, figures)
    if retrained.any():
        chosen = np.flatnonzero(retrained.numpy())
        second = recipes.retrain_teachers(recipe, shared, airframes[chosen], folder, report, engine)
        again = recipes.teacher_report(second, shared, airframes[chosen], recipe.width, _SEED, _EPISODES)
        better = again["teacher_rmse"] < figures["teacher_rmse"][chosen]
        replaced = torch.from_numpy(chosen)[better]
        for name in stack:
            stack[name][replaced] = second[name][better]
        for name in ("teacher_survived", "teacher_rmse"):
            figures[name][replaced] = again[name][better]
    kept = _passes(recipe, figures)
    sizes = [len(own) for own in owners]
    pieces = {name: w.split(sizes) for name, w in stack.items()}
    for rank, (own, above) in enumerate(zip(owners, kept.split(sizes), strict=True)):
        shard = {name: piece[rank] for name, piece in pieces.items()}
        recipes.save_shard(shard, own, above, recipes.taught_path(folder, rank))
    content = {
        "summary": {
            **_summary(recipe, figures, retrained, kept),
            "shards_without_any": sum(not part.any() for part in kept.split(sizes)),
        },
        "thrust_to_weight": airframes.thrust_to_weight,
        "torque_to_inertia": airframes.torque_to_inertia,
        "mass_kg": airframes.airframe.mass,
        **{name if "survived" in name else f"{name}_m": value.numpy() for name, value in figures.items()},
        "gain_m": (figures["shared_rmse"] - figures["teacher_rmse"]).numpy(),
        "retrained": retrained.numpy(),
        "kept": kept.numpy(),
    }
    write_json(report_path(folder), content)
    return read(folder)


def report_path(folder: Path) -> Path:
    """Where the figures of the teachers lie."""
    return folder / "teachers.json"


def read(folder: Path) -> dict[str, Any]:
    """The figures of a screening that is done; empty where none is."""
    path = report_path(folder)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _passes(recipe: Recipe, figures: dict[str, Tensor]) -> Tensor:
    return (figures["teacher_survived"] >= recipe.bar_survived) & (figures["teacher_rmse"] <= recipe.bar_rmse)


def _summary(recipe: Recipe, figures: dict[str, Tensor], retrained: Tensor, kept: Tensor) -> dict[str, Any]:
    gain = figures["shared_rmse"] - figures["teacher_rmse"]
    out = {
        "teachers": len(kept),
        "bar": {"survived": recipe.bar_survived, "rmse_m": recipe.bar_rmse, "episodes": _EPISODES},
        "retrained": int(retrained.sum()),
        "rescued_by_retraining": int((retrained & kept).sum()),
        "dropped": int((~kept).sum()),
        "better_than_shared": float((gain > 0.0).float().mean()),
        "gain_mean_m": float(gain.mean()),
        "gain_median_m": float(gain.median()),
    }
    for name, value in figures.items():
        unit = "" if "survived" in name else "_m"
        out |= {f"{name}_mean{unit}": float(value.mean()), f"{name}_median{unit}": float(value.median())}
    return out
