"""Controllers of an arm by name, with the settings that ``scripts/tune_arm.py`` found."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from control_stack.arm.changes import LoadChange
from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.lagrangian import structure_of
from control_stack.learning.lagrangian.structures import BLACK_BOXES
from controllers.arm.base import ArmController
from controllers.arm.computed_torque import ComputedTorque, Gains
from controllers.arm.models import (
    ESTIMATORS,
    MODELS,
    NONE,
    OWN,
    SHIPPED,
    TUNING,
    FilterTuning,
    make_estimator,
    make_model,
)
from controllers.arm.nmpc import ArmNmpc, ArmWeights
from controllers.nmpc.solver import Settings

CONTROLLERS = ("nmpc", "computed-torque")
RATE_HZ, HORIZON = 50.0, 12


def tuned(controller: str, model: str, estimator: str) -> dict[str, float | str]:
    """The settings that were found for a combination; those of a sort of learned model serve all of that sort."""
    stored = json.loads(tuned_file().read_text(encoding="utf-8"))
    return dict(stored.get(combination(controller, model, estimator), {}))


def tuned_file() -> Path:
    """Where the settings that were found lie."""
    return Path(__file__).with_name("tuned.json")


def combination(controller: str, model: str, estimator: str) -> str:
    """Its name among the tuned ones."""
    return f"{controller} {sort_of(model)} {estimator}"


def sort_of(model: str) -> str:
    """Of a model's name or path: "nominal", "oracle", "learned" (a Lagrangian model), or which of ``BLACK_BOXES``."""
    if model in (*MODELS, SHIPPED):
        return model
    structure = structure_of(model)
    return structure if structure in BLACK_BOXES else SHIPPED


def read_settings(path: str | Path) -> dict[str, float | str]:
    """Settings from a JSON file of the same form. Raises InvalidInput."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read the settings {path}: {error}") from None
    if not isinstance(stored, dict):
        raise InvalidInput(f"{path}: settings are names with values")
    return stored


def assumed_delay(kind: str) -> float | None:
    """The controller's ``delay`` for a simulated compute delay "none", "fixed" (a period) or "measured"."""
    return {"none": 0.0, "fixed": 1.0 / RATE_HZ, "measured": None}[kind]


def make_controller(
    arm: ArmParameters,
    controller: str = "nmpc",
    model: str = "nominal",
    estimator: str = OWN,
    *,
    changes: Sequence[LoadChange] = (),
    delay: float | None = 0.0,
    deadline: float | None = None,
    settings: Mapping[str, float | str] | None = None,
) -> ArmController:
    """A controller with its model and estimator.

    Args:
        arm: Its parameters.
        controller: One of ``CONTROLLERS``.
        model: "nominal", "oracle", "learned" (the one that ships) or a learned model's path.
        estimator: "own" (that of a learned model, the oracle's knowledge, nothing for the nominal one), "none", or
            one of ``ESTIMATORS``.
        changes: What the oracle knows of, be it nominal or learned.
        delay: See ``ArmController``.
        deadline: s of wall time of an NMPC call, estimator and all; None: iterations are counted only.
        settings: Instead of those that were tuned.

    Raises:
        UnknownName: No such controller, model, estimator or setting.
        InvalidInput: They do not go together, or a setting is no usable number.
    """
    if controller not in CONTROLLERS:
        raise UnknownName("arm controller", controller, CONTROLLERS)
    if estimator not in (*ESTIMATORS, NONE, OWN):
        raise UnknownName("estimator", estimator, (*ESTIMATORS, NONE, OWN))
    step, own = make_model(arm, model, 1.0 / RATE_HZ, changes)
    chosen = dict(tuned(controller, model, estimator) if settings is None else settings)
    filtered = _of(TUNING.get(estimator, FilterTuning()), chosen)
    weights, gains = _of(ArmWeights(), chosen), _of(Gains(), chosen)
    law: Any = weights if controller == "nmpc" else gains
    known = {field.name for part in (law, filtered) for field in fields(part)}
    for name in chosen:
        if name not in known:
            raise UnknownName(f"setting of {controller}", name, sorted(known))
    chosen_estimator = own if estimator == OWN else None
    if estimator in ESTIMATORS:
        chosen_estimator = make_estimator(arm, step, estimator, filtered)
    if controller == "computed-torque":
        return ComputedTorque(arm, step, RATE_HZ, delay, chosen_estimator, gains=gains)
    how = Settings(deadline=deadline)
    return ArmNmpc(arm, step, RATE_HZ, delay, chosen_estimator, settings=how, weights=weights, horizon=HORIZON)


def _of(default: Any, chosen: Mapping[str, float | str]) -> Any:
    """The dataclass with those of the settings that are its own."""
    changes: dict[str, Any] = {}
    for field in fields(default):
        if field.name not in chosen:
            continue
        value, kind = chosen[field.name], type(getattr(default, field.name))
        fits = isinstance(value, str) if kind is str else type(value) in (int, float) and not math.isnan(float(value))
        if not fits:
            raise InvalidInput(f"setting {field.name} is {value!r}")
        changes[field.name] = value if kind is str else float(value)
    return replace(default, **changes)
