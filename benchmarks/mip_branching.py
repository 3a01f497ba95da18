"""Our own branch and bound beside HiGHS at equal wall time, both on one thread: cost, proven bound, proofs.

Both begin from the same plan on the same states, and each deadline covers everything, also what either samples. HiGHS
is what ``MipPlanner`` is: with sampled starts and descents from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_loop import one_thread
from benchmarks.mip_open_loop import HORIZON, instances, plans_of
from benchmarks.mip_statistics import Store, over, regret
from control_stack.artefacts.tables import BenchRow, Findings

RELUS = (8, 16)
DEADLINES = (0.1, 0.3, 1.0, 5.0)
_COUNT = 6
_FIRST = 4_000_000  # of the instances: none that anything was tuned on
OURS, PEER = "branching", "mip"


def measure(fit: Fit, store: Store, seed: int, quick: bool) -> Findings:
    """Regret to the best known plan and proven gap at every deadline, of both planners; of one task."""
    rows: list[BenchRow] = []
    details: dict[str, Any] = {}
    deadlines, count = (DEADLINES[:-1], 2) if quick else (DEADLINES, _COUNT)
    with one_thread():
        for relus in RELUS:
            if not fit.has(relus):
                continue
            problem = fit.problem((fit.method, relus), HORIZON)
            given = instances(problem, count, _FIRST + 1000 * seed)
            found: dict[str, list[Any]] = {OURS: [], PEER: []}
            for name, plans in found.items():
                for deadline in deadlines:
                    part = f"{fit.task} branch and bound {relus} {name} {deadline}"
                    plans.append(store.get(part, partial(plans_of, name, problem, {}, given, deadline)))
            rows += summary(f"{fit.task}, {relus} ReLUs", found, deadlines)
            details[str(relus)] = found
    return Findings(rows, details)


def summary(
    test: str, found: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], deadlines: Sequence[float]
) -> list[BenchRow]:
    """Rows from cost, bound, status and start_cost, by planner, deadline and instance."""
    reference = np.min([[plan["cost"] for plan in plans] for each in found.values() for plans in each], axis=0)
    rows = []
    for k, deadline in enumerate(deadlines):
        where = f"{test}, branch and bound in {deadline:g} s"
        figures = {name: _figures(each[k], reference) for name, each in found.items()}
        own, peer = figures[OURS], figures[PEER]
        for name, value in own.items():
            unit = "1" if name.startswith("plans") else "s" if name == "slowest plan" else "%"
            rows.append(BenchRow(where, f"{name}, peer: {PEER}", value, unit, None, peer[name]))
        for name in ("mean regret", "median gap"):
            rows.append(BenchRow(where, f"{name} over {PEER}'s", over(own[name], peer[name]), "1", "<= 1"))
    return rows


def _figures(plans: Sequence[Mapping[str, Any]], reference: np.ndarray) -> dict[str, float]:
    cost, bound, start = (np.array([p[key] for p in plans], float) for key in ("cost", "bound", "start_cost"))
    regrets = 100 * regret(cost, reference)
    return {
        "median regret": float(np.median(regrets)),
        "mean regret": float(np.mean(regrets)),
        "median gap": 100 * float(np.median((cost - bound) / np.maximum(np.abs(cost), 1e-9))),
        "proven optimal": 100 * float(np.mean([p["status"] == "optimal" for p in plans])),
        "plans worse than their start": float((cost > start).sum()),
        "slowest plan": float(max(p["seconds"] for p in plans)),
    }
