"""Models, filters and imitation with Lipschitz constants: control-stack bench lipschitz [--quick] [--json FILE].

Each group of rows is a function (seed, quick) -> rows or Findings in a module of its own, imported when it is measured.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from control_stack.artefacts.tables import BenchRow, Findings

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


def _later(module: str, function: str) -> Callable[[int, bool], list[BenchRow] | Findings]:
    def measure(seed: int, quick: bool) -> list[BenchRow] | Findings:
        return getattr(importlib.import_module(module), function)(seed, quick)

    return measure


GROUPS = {name: _later(module, function) for name, module, function in _GROUPS}
