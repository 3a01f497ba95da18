"""Models, filters and imitation with Lipschitz constants: control-stack bench lipschitz [--quick] [--json FILE].

Each group of rows is a function (seed, quick) -> rows or Findings in a module of its own, imported when it is measured.
The training of the last group is kept in FILE.parts-*, so that a run that was stopped goes on within it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from control_stack.artefacts.tables import BenchRow, Findings

Group = Callable[[int, bool], "list[BenchRow] | Findings"]
# (name of the group, module, function): one line a group
_GROUPS: tuple[tuple[str, str, str], ...] = (
    ("models", "benchmarks.lipschitz_models", "models"),
    ("bounds", "benchmarks.lipschitz_bounds", "bounds"),
    ("tube", "benchmarks.lipschitz_tube", "robust"),
    ("filter", "benchmarks.lipschitz_filter", "measure"),
    ("crossing", "benchmarks.lipschitz_crossing", "measure"),
    ("gp", "benchmarks.lipschitz_gp", "measure"),
    ("imitation", "benchmarks.lipschitz_imitation", "imitation"),
)
_KEPT = ("imitation",)  # groups that take a folder to go on in


def groups(parts: Path | None = None, key: Mapping[str, Any] | None = None) -> dict[str, Group]:
    """The groups of rows.

    Args:
        parts: Path that the names of folders begin with, in which groups keep what they have; None for nowhere.
        key: Of the run: another's folders are not this one's.
    """
    told = hashlib.sha256(json.dumps(dict(key or {}), sort_keys=True, default=str).encode()).hexdigest()[:16]
    made = {}
    for name, module, function in _GROUPS:
        folder = parts.with_name(f"{parts.name}-{name}-{told}") if parts is not None and name in _KEPT else None
        made[name] = _later(module, function, folder)
    return made


def _later(module: str, function: str, folder: Path | None) -> Group:
    def measure(seed: int, quick: bool) -> list[BenchRow] | Findings:
        found = getattr(importlib.import_module(module), function)
        return found(seed, quick, folder) if folder is not None else found(seed, quick)

    return measure


def finish(report: Mapping[str, Any], target: Path | None) -> None:
    """The report is written: what was kept is of no more use."""
    if target is not None:
        for folder in target.parent.glob(f"{target.name}.parts-*"):
            shutil.rmtree(folder)
