"""Single plans at equal wall time: regret to the best known plan, by planner and deadline.

States are met on the way of a cheap sampler on the true simulator; every planner begins from what is left of that
sampler's plan. A deadline covers everything, so also what the mixed-integer planner samples for a start.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit
from benchmarks.mip_loop import one_thread
from benchmarks.mip_statistics import Store, over, regret, strictly_less
from benchmarks.mip_tuning import Instance, tuned
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.branching import BranchAndBound
from controllers.planning.factory import PLANNERS, SAMPLERS, make_planner
from controllers.planning.mip.planner import MipPlanner
from controllers.planning.problem import Plan, Planner, Problem, shifted
from controllers.planning.sampling_cem import CEM, CEMSettings
from sim.tasks.factory import make_task

RELUS, HORIZON = 16, 5
DEADLINES = (0.1, 0.3, 1.0)
LONG_S = 1.5  # of every planner, for the reference
PROOF_S = 60.0  # in which a proof is to be found; one that is not, counts as such
HALF = "<= 0.5"
_DRIVER = CEMSettings(rollouts=128)
_MOST_STEPS = 20  # of the driver before a state is taken
_SETTLE_S = 0.3  # for a solver that was told to stop and goes on for a while


def instances(problem: Problem, count: int, first: int) -> list[Instance]:
    """From starts ``first`` on, each after 1 to ``_MOST_STEPS`` steps."""
    task, driver, found = make_task(problem.spec.task), CEM(problem, _DRIVER), []
    try:
        for number in range(first, first + count):
            driver.reset()
            x, goal = task.reset(number), task.goal(number)
            start, before = np.zeros((problem.horizon, problem.nu)), np.zeros(problem.nu)
            for _ in range(int(np.random.default_rng(number).integers(1, _MOST_STEPS + 1))):
                plan = driver.plan(x, goal, start, before)
                x, start = task.step(plan.inputs[0]), shifted(plan.inputs)
                before = problem.limited(task.applied)
            found.append(Instance(x, goal, problem.limited(start), before))
    finally:
        task.close()
    return found


def measure(fit: Fit, store: Store, seed: int, quick: bool) -> Findings:
    """Of one task at 16 ReLUs and horizon 5."""
    problem = fit.problem((fit.method, RELUS), HORIZON)
    count, proofs, long = (4, 0, 0.5) if quick else (16, 3, LONG_S)
    with one_thread():
        given = instances(problem, count, 1000 * seed)
        settings = {d: tuning(fit, store, d, seed, quick) for d in DEADLINES}
        plans: dict[tuple[str, float], list[dict[str, Any]]] = {}
        for name in PLANNERS:
            for deadline in (*DEADLINES, long):
                kept = settings.get(deadline, settings[DEADLINES[-1]]).get(name, {}).get("settings", {})
                part = f"{fit.task} open loop {name} {deadline}"
                plans[name, deadline] = store.get(part, partial(plans_of, name, problem, kept, given, deadline))
        sampled = store.get(f"{fit.task} open loop sampled", partial(_sampled, problem, given))
        proven = store.get(f"{fit.task} open loop proofs", partial(_proofs, problem, given[:proofs]))
    return summary(fit.task, plans, sampled, proven)


def tuning(fit: Fit, store: Store, deadline: float, seed: int, quick: bool) -> dict[str, Any]:
    """By sampler its settings at 16 ReLUs, horizon 5 and this deadline; on instances that nothing else is tried on."""
    trials, count = (2, 1) if quick else (9, 4)
    problem = fit.problem((fit.method, RELUS), HORIZON)

    def measured() -> dict[str, Any]:
        with one_thread():
            return tuned(problem, instances(problem, count, 2_000_000 + 1000 * seed), deadline, trials, seed)

    return store.get(f"{fit.task} open loop tuned {deadline}", measured)


def summary(
    task: str, plans: Mapping[tuple[str, float], list[dict[str, Any]]], sampled: Sequence[float],
    proven: Sequence[Mapping[str, Any]],
) -> Findings:  # fmt: skip
    """Rows from plans by planner and deadline, each a list over instances of cost, start_cost, bound and seconds.

    Args:
        plans: Those of deadlines that are not in ``DEADLINES`` count for the reference only.
        sampled: Cost of the start that the mixed-integer planner samples.
        proven: Of the first instances, cost and bound without a deadline.
    """
    reference = np.min([[p["cost"] for p in found] for found in plans.values()], axis=0)
    for k, proof in enumerate(proven):
        reference[k] = min(reference[k], proof["cost"])
    regrets = {key: regret([p["cost"] for p in found], reference) for key, found in plans.items()}
    names, rows = list(dict.fromkeys(name for name, _ in plans)), []
    for own in (name for name in names if name not in SAMPLERS):
        for deadline in DEADLINES:
            test = f"{task}, {own}, plans in {deadline:g} s"
            for figure, of in (("median", np.median), ("mean", np.mean)):
                each = {name: float(of(regrets[name, deadline])) for name in names}
                best = min((name for name in names if name in SAMPLERS), key=lambda name: each[name])
                metric = f"{figure} regret, peer: {best}"
                rows.append(BenchRow(test, metric, 100 * each[own], "%", None, 100 * each[best]))
                target = HALF if figure == "median" and own == "mip" else None
                ratio = over(each[own], each[best])
                rows.append(BenchRow(test, f"{figure} regret over the best sampler's", ratio, "1", target))
            rows += _against_start(test, plans[own, deadline], sampled if own == "mip" else None)
    test = f"{task}, reference"
    if proven:
        gaps = [float(regret(reference[k], p["bound"])) for k, p in enumerate(proven)]
        optimal = float(sum(p["status"] == "optimal" for p in proven))
        rows.append(BenchRow(test, "proven, of those tried", optimal, "1", f">= {len(proven)}", float(len(proven))))
        rows.append(BenchRow(test, "largest gap of those tried", 100 * max(gaps), "%"))
    details: dict[str, Any] = {"deadlines": list(DEADLINES), "reference": reference, "proofs": list(proven)}
    details["regret"] = {name: [regrets[name, d].tolist() for d in DEADLINES] for name in names}
    return Findings(rows, details)


def _against_start(
    test: str, plans: Sequence[Mapping[str, Any]], sampled: Sequence[float] | None
) -> list[BenchRow]:  # fmt: skip
    cost, start, bound, seconds = (np.array([p[key] for p in plans], float) for key in _KEPT)
    gap = (cost - bound) / np.maximum(np.abs(cost), 1e-9)
    better = [("the plan given", start)]
    if sampled is not None:
        better.append(("that and the sampled start", np.minimum(start, sampled)))
    return [
        BenchRow(test, "plans worse than their start", float((cost > start).sum()), "1", "== 0"),
        *(BenchRow(test, f"better than {what}", 100 * float(strictly_less(cost, than).mean()), "%")
          for what, than in better),
        BenchRow(test, "proven optimal", 100 * float(np.mean([p["status"] == "optimal" for p in plans])), "%"),
        BenchRow(test, "median proven gap", 100 * float(np.median(gap)), "%"),
        BenchRow(test, "slowest plan", float(seconds.max()), "s"),
    ]  # fmt: skip


_KEPT = ("cost", "start_cost", "bound", "seconds")


def plans_of(
    name: str, problem: Problem, settings: Mapping[str, Any], given: Sequence[Instance], deadline: float
) -> list[dict[str, Any]]:  # fmt: skip
    """By instance what a planner finds within the deadline."""
    planner = make_planner(name, problem, 0, settings)
    try:
        planner.warm()
        return [_one(planner, of, deadline) for of in given]
    finally:
        planner.close()


def _one(planner: Planner, of: Instance, deadline: float | None) -> dict[str, Any]:
    planner.reset()
    began = time.perf_counter()
    plan: Plan = planner.plan(*of, deadline)
    seconds = time.perf_counter() - began
    if isinstance(planner, MipPlanner) and deadline is not None:
        time.sleep(_SETTLE_S)
    bound = plan.bound if np.isfinite(plan.bound) else 0.0  # no cost is negative
    return {"cost": plan.cost, "start_cost": plan.start_cost, "bound": bound, "seconds": seconds, "status": plan.status}


def sampled_cost(
    planner: MipPlanner, x0: Array, goal: Goal, start: Array | None = None, before: Array | None = None
) -> float:  # fmt: skip
    """Of the best plan that a call begins with, besides its start."""
    plans = np.array(planner.sampled(x0, goal, start, before))
    return float(planner.problem.cost(planner.problem.model.rollout(x0, plans), plans, goal, before).min())


def _sampled(problem: Problem, given: Sequence[Instance]) -> list[float]:
    """Costs of the best start that the mixed-integer planner samples: its draws are the same every time."""
    found, planner = [], MipPlanner(problem)
    for of in given:
        planner.reset()
        found.append(sampled_cost(planner, *of))
    return found


def _proofs(problem: Problem, given: Sequence[Instance]) -> list[dict[str, Any]]:
    """Solved until they are proven, by our own branch and bound in the time that there is."""
    planner = BranchAndBound(problem, max_nodes=None)
    try:
        return [_one(planner, of, PROOF_S) for of in given]
    finally:
        planner.close()
