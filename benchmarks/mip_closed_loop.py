"""The loop closed on the true simulator: each planner through its best net, from the same starts, delay counted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_loop import Pilot, jobs_of, one_thread, records_of
from benchmarks.mip_open_loop import HORIZON, RELUS, sampled_cost, tuning
from benchmarks.mip_statistics import Store, bootstrap, ratio_of_means, strictly_less
from benchmarks.mip_tuning import choose
from control_stack.artefacts.tables import BenchRow, Findings
from controllers.planning.factory import SAMPLERS, make_planner
from controllers.planning.mip.planner import MipPlanner
from controllers.planning.problem import shifted
from controllers.planning.receding import RecedingHorizon
from sim.tasks.closed_loop import ClosedLoop, StepDelay
from sim.tasks.factory import make_task

STEPS = 30
BETTER = "<= 0.9"
PERIOD = 0.1  # s, of 10 Hz
# What a difference in cost may come from: models that are off, a step ahead or as far as is planned.
_EXPLAIN = {"error": "model error met, 1 step", "error_ahead": "model error met, over the horizon"}


def measure(fits: Sequence[Fit], store: Store, seed: int, quick: bool) -> Findings:
    """Of one task: 3 seeds of 40 starts, each seed with a fit of its own where there are as many."""
    seeds, starts, steps = (1, 3, 15) if quick else (3, 40, STEPS)
    open_loop = {} if quick else tuning(fits[0], store, PERIOD, seed, quick)
    chosen = choose(fits[0], store, seed, quick, steps, open_loop)
    flown: dict[str, list[Mapping[str, Any]]] = {name: [] for name in chosen}
    for k in range(seeds):
        fit, numbers = fits[k % len(fits)], range(1000 * (seed + k), 1000 * (seed + k) + starts)
        jobs = [jobs_of(fit.folder, pilot, numbers, steps, seed + k) for pilot in chosen.values()]
        found = records_of(jobs, store)
        for name, records in zip(chosen, found, strict=True):
            flown[name] += records
    return summary(fits[0].task, {name: pilot.words for name, pilot in chosen.items()}, flown)


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
        least = max(success[sampler].mean() for sampler in flown if sampler in SAMPLERS)
        above = 100 * float(success[name].mean() - least)
        rows.append(BenchRow(test, "goals held beyond the sampler with most", above, "%", ">= 0"))
    details = {name: {"pilot": words[name], "mean": float(cost[name].mean()), "interval": spans[name],
                      "success": float(success[name].mean()), "costs": cost[name], **off[name]}
               for name in flown}  # fmt: skip
    return Findings(rows, details)


def _mean(records: Sequence[Mapping[str, Any]], key: str) -> float:
    """Over the starts that have it."""
    found = [record[key] for record in records if record[key] is not None]
    return float(np.mean(found)) if found else float("nan")


def ten_hertz(fit: Fit, store: Store, seed: int, quick: bool) -> Findings:
    """16 ReLUs, horizon 5, 100 ms for everything; alone on the machine, beside the sampler tuned to these 100 ms."""
    starts, steps = (2, 15) if quick else (20, STEPS)
    settings = tuning(fit, store, PERIOD, seed, quick)
    sampler = min(settings, key=lambda name: settings[name]["cost"])
    net, numbers = (fit.method, RELUS), range(5000 + 1000 * seed, 5000 + 1000 * seed + starts)
    found = {}
    for pilot in (Pilot("mip", net, HORIZON), Pilot(sampler, net, HORIZON, settings[sampler]["settings"])):
        part = f"{fit.task} 10 Hz {pilot.words}"
        found[pilot.planner] = store.get(part, partial(_timed, fit, pilot, numbers, steps))
    own, peer = found["mip"], found[sampler]
    test, wall = f"{fit.task}, 10 Hz, 16 ReLUs, horizon {HORIZON}", np.array(own["seconds"])
    costs = np.array(own["costs"]), np.array(peer["costs"])
    given, sampled, cost = (np.array(own[key]) for key in ("given", "sampled", "planned"))
    p50, p99, slow = (1e3 * float(np.quantile(wall, q)) for q in (0.5, 0.99, 1.0))
    theirs = 1e3 * float(np.quantile(peer["seconds"], 0.99))
    rows = [
        BenchRow(test, f"mean cost, peer: {sampler} given 100 ms", float(costs[0].mean()), "1", None,
                 float(costs[1].mean()), bootstrap(np.mean, costs[0]), bootstrap(np.mean, costs[1])),
        BenchRow(test, "mean cost over the sampler's", ratio_of_means(*costs), "1", "<= 1",
                 interval=bootstrap(ratio_of_means, *costs)),
        BenchRow(test, "steps better than the start, given or sampled",
                 100 * float(strictly_less(cost, np.minimum(given, sampled)).mean()), "%", ">= 30"),
        BenchRow(test, "steps better than the last plan, shifted", 100 * float(strictly_less(cost, given).mean()), "%"),
        BenchRow(test, "time of a plan, p50", p50, "ms"),
        BenchRow(test, "time of a plan, p99", p99, "ms", "<= 120", theirs),
        BenchRow(test, "slowest plan", slow, "ms"),
        BenchRow(test, "plans over 100 ms", float((wall > PERIOD).sum()), "1", None,
                 float((np.array(peer["seconds"]) > PERIOD).sum())),
        BenchRow(test, "plans", float(len(wall)), "1"),
    ]  # fmt: skip
    return Findings(rows, {"seconds": wall})


def _timed(fit: Fit, pilot: Pilot, numbers: Sequence[int], steps: int) -> dict[str, list[float]]:
    """One loop in this process. A plan always acts a period later; how many took longer is counted apart."""
    problem = fit.problem(pilot.net, pilot.horizon)
    planner, task = make_planner(pilot.planner, problem, 0, pilot.settings), make_task(fit.task)
    twin = MipPlanner(problem)  # its searches draw what those of the planner that is timed draw
    kept: dict[str, list[float]] = {name: [] for name in ("costs", "seconds", "planned", "given", "sampled")}
    try:
        with one_thread():
            planner.warm()
            for number in numbers:
                task.reset(number)
                twin.reset()
                loop, costs = ClosedLoop(task, task.goal(number), steps, StepDelay("fixed")), []
                controller, last = RecedingHorizon(planner, PERIOD, delayed=True), None
                while not loop.over:
                    before = controller.applied
                    began = time.perf_counter()
                    plan = controller(task.state, loop.goal)
                    kept["seconds"].append(time.perf_counter() - began)
                    if last is not None:  # the first plan of a loop is given none
                        start = shifted(last.inputs)
                        kept["planned"].append(plan.cost)
                        kept["given"].append(plan.start_cost)
                        x = plan.states[0]
                        kept["sampled"].append(sampled_cost(twin, x, loop.goal, start, before))
                    else:
                        twin.sampled(plan.states[0], loop.goal, None, before)
                    last = plan
                    loop.answer(plan.inputs[0])
                    costs.append(float(task.spec.cost(task.state, loop.goal)))
                kept["costs"].append(float(np.mean(costs)))
    finally:
        planner.close()
        task.close()
    return kept
