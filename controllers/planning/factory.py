"""Planners by name, imported when they are asked for: each brings its own solver."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from control_stack.errors import InvalidInput, UnknownName
from controllers.planning.problem import Planner, Problem
from controllers.planning.sampling import Sampler, Settings

SAMPLERS = {
    "cem": ("controllers.planning.sampling_cem", "CEM", "CEMSettings"),
    "icem": ("controllers.planning.sampling_cem", "ICEM", "ICEMSettings"),
    "mppi": ("controllers.planning.sampling_mppi", "MPPI", "MPPISettings"),
}
SOLVERS = {
    "mip": ("controllers.planning.mip.planner", "MipPlanner"),
    "branching": ("controllers.planning.branching", "BranchAndBound"),
}
PLANNERS = (*SOLVERS, *SAMPLERS)
_NODES = "max_nodes"  # of a solver: its own budget, for plans that are the same on every machine
_DEADLINE = 0.1  # s, of a solver that is given no budget


def make_planner(name: str, problem: Problem, seed: int = 0, settings: Mapping[str, Any] | None = None) -> Planner:
    """The planner of a name.

    Args:
        settings: Of a sampler, by name, what is left out has its default; of a solver max_nodes.

    Raises:
        UnknownName: There is none.
        InvalidInput: Settings that it has not.
        MissingDependency: What it needs is not installed.
    """
    if name in SAMPLERS:
        kind, kind_of_settings = sampler(name)
        return kind(problem, kind_of_settings.read(settings or {}), seed)
    if name not in SOLVERS:
        raise UnknownName("controller", name, PLANNERS)
    given = dict(settings or {})
    nodes = given.pop(_NODES, None)
    if given or not (nodes is None or (type(nodes) is int and nodes > 0)):
        raise InvalidInput(f"settings of {name}: {_NODES}, a whole number above zero; got {dict(settings or {})}")
    module, planner = SOLVERS[name]
    budget = {} if nodes is None else {_NODES: nodes}
    made: Planner = getattr(importlib.import_module(module), planner)(problem, **budget)
    return made


def deadline_of(name: str, asked: float, settings: Mapping[str, Any] | None = None) -> float | None:
    """Wall time of a plan, s: as asked, or for 0 what suits the planner: None if it has a budget of its own."""
    if asked > 0.0:
        return asked
    return _DEADLINE if name in SOLVERS and _NODES not in (settings or {}) else None


def sampler(name: str) -> tuple[type[Sampler], type[Settings]]:
    """Class and settings of a sampler. Raises UnknownName."""
    if name not in SAMPLERS:
        raise UnknownName("sampler", name, SAMPLERS)
    module, kind, settings = SAMPLERS[name]
    found = importlib.import_module(module)
    return getattr(found, kind), getattr(found, settings)


def read_settings(path: str | Path, name: str) -> dict[str, Any]:
    """The settings of one planner in a file as of ``scripts/tune_samplers.py``: {"settings": {name: {...}}}.

    Raises:
        InvalidInput: No such file, not of that form, or without this planner.
    """
    file = Path(path)
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))["settings"]
        settings = stored[name]
    except OSError as error:
        raise InvalidInput(f"cannot read the settings {file}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{file}: not valid JSON: {error}") from None
    except (KeyError, TypeError):
        raise InvalidInput(f"{file}: holds no settings of {name}") from None
    if not isinstance(settings, dict):
        raise InvalidInput(f"{file}: settings of {name} are no mapping")
    return settings
