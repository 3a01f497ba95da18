"""The loop closed on the true simulator: the solver and the best sampler from the same starts, delay counted.

Which sampler is flown, and each pilot's net, horizon and settings, is chosen on starts of their own (``mip_tuning``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_loop import fly_all
from benchmarks.mip_open_loop import tuning
from benchmarks.mip_statistics import bootstrap, ratio_of_means
from benchmarks.mip_tuning import MORE, SOLVER, choose
from benchmarks.mip_work import Work
from control_stack.artefacts.tables import BenchRow, Findings
from controllers.planning.factory import SAMPLERS

SEEDS, STARTS = 3, 40
# Of a start, in choosing and for the figures.
STEPS = {"sorting": (30, 60), "cartpole": (30, 30), "piecewise": (12, 16)}
_USUAL = (20, 24)
_QUICK = (15, 15)
PERIOD = 0.1  # s: deadline that settings are tuned to in the open loop
BETTER = "<= 0.9"
# What a difference in cost may come from: models that are off, a step ahead or as far as is planned.
_EXPLAIN = {"error": "model error met, 1 step", "error_ahead": "model error met, over the horizon"}


def measure(fits: Sequence[Fit], work: Work, seed: int, quick: bool) -> Findings:
    """Of one task: 3 seeds of 40 starts, each seed with a fit of its own where there are as many."""
    task = fits[0].task
    seeds, starts = (1, 3) if quick else (SEEDS, STARTS)
    steps = steps_of(task, quick)
    tuned = {} if quick else tuning(fits[0], work, (PERIOD,), seed, quick)[PERIOD]
    chosen, means = choose(fits[0], work, seed, quick, steps, tuned)
    rows = [BenchRow(f"{task}, choosing, {chosen[name].words}", f"mean cost of {MORE} starts", mean, "1")
            for name, mean in means.items()]  # fmt: skip
    if means:
        best = min((name for name in means if name in SAMPLERS), key=means.__getitem__)
        chosen = {name: chosen[name] for name in (SOLVER, best)}
    flights = [
        (fits[k % len(fits)], pilot, range(1000 * (seed + k), 1000 * (seed + k) + starts), steps[1], seed + k)
        for pilot in chosen.values() for k in range(seeds)
    ]  # fmt: skip
    found = iter(fly_all(flights, work))
    flown = {name: [record for _ in range(seeds) for record in next(found)] for name in chosen}
    figures = summary(task, {name: pilot.words for name, pilot in chosen.items()}, flown)
    pilots = {name: {"net": pilot.net, "horizon": pilot.horizon} for name, pilot in chosen.items()}
    details = {name: {**pilots[name], **found} for name, found in figures.details.items()}
    return Findings([*rows, *figures.rows], details)


def steps_of(task: str, quick: bool) -> tuple[int, int]:
    """Of a start, in choosing and for the figures."""
    return _QUICK if quick else STEPS.get(task, _USUAL)


def summary(task: str, words: Mapping[str, str], flown: Mapping[str, Sequence[Mapping[str, Any]]]) -> Findings:
    """Rows from the starts of each planner, which are the same in the same order."""
    cost = {name: np.array([record["cost"] for record in records]) for name, records in flown.items()}
    success = {name: np.array([record["success"] for record in records], float) for name, records in flown.items()}
    late = {name: sum(r["late"] for r in records) / sum(r["plans"] for r in records) for name, records in flown.items()}
    off = {name: {key: _mean(records, key) for key in _EXPLAIN} for name, records in flown.items()}
    spans = {name: bootstrap(np.mean, values) for name, values in cost.items()}
    best = min((name for name in flown if name in SAMPLERS), key=lambda name: cost[name].mean())
    rows = []
    for name in flown:
        test, other = f"{task}, closed loop, {words[name]}", None if name in SAMPLERS else best
        rows.append(BenchRow(
            test, "mean cost" + (f", peer: {best}" if other else ""), float(cost[name].mean()), "1", None,
            float(cost[best].mean()) if other else None, spans[name], spans[best] if other else None,
        ))  # fmt: skip
        rows.append(BenchRow(test, "goals held at the end", 100 * float(success[name].mean()), "%",
                             interval=bootstrap(lambda held: 100 * float(np.mean(held)), success[name])))  # fmt: skip
        rows.append(BenchRow(test, "commands a step late or more", 100 * late[name], "%"))
        for key, metric in _EXPLAIN.items():
            rows.append(BenchRow(test, metric, off[name][key], "1"))
        if other is None:
            continue
        ratio = ratio_of_means(cost[name], cost[best])
        rows.append(BenchRow(test, "mean cost over the best sampler's", ratio, "1", BETTER,
                             interval=bootstrap(ratio_of_means, cost[name], cost[best])))  # fmt: skip
        most = max(success[sampler].mean() for sampler in flown if sampler in SAMPLERS)
        above, nobody = 100 * float(success[name].mean() - most), not success[name].any() and not most
        # Where nobody holds a goal, "no lower" would hold of nothing.
        metric = "goals held beyond the sampler with most" + (": nobody held any, which says nothing" if nobody else "")
        rows.append(BenchRow(test, metric, above, "%", None if nobody else ">= 0"))
    details = {name: {"pilot": words[name], "mean": float(cost[name].mean()), "interval": spans[name],
                      "success": float(success[name].mean()), "costs": cost[name], **off[name]}
               for name in flown}  # fmt: skip
    return Findings(rows, details)


def _mean(records: Sequence[Mapping[str, Any]], key: str) -> float:
    """Over the starts that have it."""
    found = [record[key] for record in records if record[key] is not None]
    return float(np.mean(found)) if found else float("nan")
