"""Our own branch and bound beside HiGHS at equal wall time, both on one core: cost, proven bound, proofs.

Both begin from the same plan on the same states, and each deadline covers everything, also what either samples. HiGHS
is what ``MipPlanner`` is: with sampled starts and descents from them. At 16 ReLUs the plans are those of the open
loop. Where there is CUDA, the same search runs on it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_open_loop import DEADLINES, HORIZON, RELUS, Plans, open_plans, reference_of
from benchmarks.mip_plans import device_plans, instances, plans
from benchmarks.mip_statistics import over, regret
from benchmarks.mip_work import Part, Work
from control_stack.artefacts.tables import BenchRow, Findings

FEWER = 8  # ReLUs
_COUNT = 6
_FIRST = 4_000_000  # of the instances: none that anything was tuned on
OURS, PEER = "branching", "mip"
_GPU = "cuda"


def measure(fit: Fit, work: Work, seed: int, quick: bool) -> Findings:
    """Regret to the best known plan and proven gap at every deadline, of both planners; of one task."""
    found, given = open_plans(fit, work, seed, quick)
    rows = summary(f"{fit.task}, {RELUS} ReLUs", found)
    details = {str(RELUS): _pairs(found)}
    rows += _on_gpu(fit, work, found, given)
    if fit.has(FEWER):
        net = (fit.method, FEWER)
        (given,) = work([Part(instances, fit, (net, HORIZON, 2 if quick else _COUNT, _FIRST + 1000 * seed))])
        keys = [(name, deadline) for deadline in reversed(DEADLINES) for name in (OURS, PEER)]
        parts = {(name, d): Part(plans, fit, (net, HORIZON, given, name, {}, d)) for name, d in keys}
        fewer = dict(zip(parts, work(list(parts.values())), strict=True))
        rows += summary(f"{fit.task}, {FEWER} ReLUs", fewer)
        details[str(FEWER)] = _pairs(fewer)
    return Findings(rows, details)


def summary(test: str, found: Plans) -> list[BenchRow]:
    """Rows from cost, bound, status and start_cost by planner and deadline; other planners lower the reference."""
    reference, rows = reference_of(found), []
    for deadline in sorted(deadline for name, deadline in found if name == OURS):
        where = f"{test}, branch and bound in {deadline:g} s"
        own, peer = (_figures(found[name, deadline], reference) for name in (OURS, PEER))
        rows += _side_by_side(where, own, peer, PEER)
        for name in ("mean regret", "median gap"):
            rows.append(BenchRow(where, f"{name} over {PEER}'s", over(own[name], peer[name]), "1", "<= 1"))
    return rows


def _on_gpu(fit: Fit, work: Work, found: Plans, given: Sequence[Any]) -> list[BenchRow]:
    import torch

    if not torch.cuda.is_available():
        note = f"{fit.task}, {RELUS} ReLUs, branch and bound on a GPU: skipped, there is no CUDA"
        return [BenchRow(note, "measured", 0.0, "1")]
    net, rows, all_plans = (fit.method, RELUS), [], dict(found)
    for deadline in DEADLINES:
        part = Part(device_plans, fit, (net, HORIZON, given, deadline, _GPU))
        (all_plans[_GPU, deadline],) = work([part], alone=True)
    reference = reference_of(all_plans)
    for deadline in DEADLINES:
        where = f"{fit.task}, {RELUS} ReLUs, branch and bound on a GPU in {deadline:g} s"
        own, peer = (_figures(all_plans[name, deadline], reference) for name in (_GPU, OURS))
        nodes = (float(np.median([p["nodes"] for p in all_plans[name, deadline]])) for name in (_GPU, OURS))
        rows += _side_by_side(where, own, peer, "one CPU core")
        rows.append(BenchRow(where, "boxes bounded, median, peer: one CPU core", next(nodes), "1", None, next(nodes)))
    return rows


def _side_by_side(where: str, own: Mapping[str, float], peer: Mapping[str, float], name: str) -> list[BenchRow]:
    rows = []
    for figure, value in own.items():
        unit = "1" if figure.startswith("plans") else "s" if figure == "slowest plan" else "%"
        rows.append(BenchRow(where, f"{figure}, peer: {name}", value, unit, None, peer[figure]))
    return rows


def _pairs(found: Plans) -> dict[str, Any]:
    """By planner, then by deadline, the instances."""
    deadlines = sorted(deadline for name, deadline in found if name == OURS)
    return {"deadlines": deadlines, **{name: [list(found[name, d]) for d in deadlines] for name in (OURS, PEER)}}


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
