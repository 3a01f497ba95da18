"""10 Hz on pushing: 16 ReLUs, horizon 5, 100 ms for everything, alone on the machine and on one core of it.

Beside the solver flies the sampler that does best with these 100 ms in the open loop. Plans follow one another as the
states come, with nothing in between but the simulator's step: what the start would have been is computed afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit, Net, read_fit
from benchmarks.mip_open_loop import HORIZON, RELUS, tuning
from benchmarks.mip_plans import sampled_cost
from benchmarks.mip_statistics import bootstrap, ratio_of_means, strictly_less
from benchmarks.mip_work import Part, Work
from control_stack.artefacts.runs import plain
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.learning.spec import Goal
from controllers.planning.factory import make_planner
from controllers.planning.mip.planner import MipPlanner
from controllers.planning.problem import shifted
from controllers.planning.receding import RecedingHorizon
from sim.tasks.closed_loop import ClosedLoop, StepDelay
from sim.tasks.factory import make_task

PERIOD = 0.1  # s
ASKED = 0.095  # s, of the solver's plan, so that its answer is there in 100 ms; the sampler is given all of these
STEPS = 30
_FIRST = 5000  # starts


def measure(fit: Fit, work: Work, seed: int, quick: bool) -> Findings:
    """Of one task."""
    starts, steps = (2, 15) if quick else (20, STEPS)
    settings = tuning(fit, work, (PERIOD,), seed, quick)[PERIOD]
    peer = min(settings, key=lambda name: settings[name]["cost"])
    net, numbers = (fit.method, RELUS), list(range(_FIRST + 1000 * seed, _FIRST + 1000 * seed + starts))
    parts = [Part(timed, fit, (net, name, kept, deadline, numbers, steps)) for name, kept, deadline in
             (("mip", {}, ASKED), (peer, settings[peer]["settings"], PERIOD))]  # fmt: skip
    own, other = work(parts, alone=True)
    (sampled,) = work([Part(starts_of, fit, (net, own["plans"]))])
    return summary(f"{fit.task}, 10 Hz, {RELUS} ReLUs, horizon {HORIZON}", own, peer, other, sampled)


def summary(
    test: str, own: Mapping[str, Any], peer: str, other: Mapping[str, Any], sampled: Sequence[float]
) -> Findings:  # fmt: skip
    """Rows from ``timed`` of both.

    Args:
        peer: Name of the sampler.
        sampled: Of each plan that had a plan before it, what the best sampled start costs.
    """
    wall, theirs = np.array(own["seconds"]), np.array(other["seconds"])
    costs = np.array(own["costs"]), np.array(other["costs"])
    given, cost = (np.array([plan[key] for plan in own["plans"] if plan["start"] is not None], float)
                   for key in ("given", "cost"))  # fmt: skip
    better = strictly_less(cost, np.minimum(given, np.array(sampled)))
    rows = [
        BenchRow(test, f"mean cost, peer: {peer} given 100 ms", float(costs[0].mean()), "1", None,
                 float(costs[1].mean()), bootstrap(np.mean, costs[0]), bootstrap(np.mean, costs[1])),
        BenchRow(test, "mean cost over the sampler's", ratio_of_means(*costs), "1", "<= 1",
                 interval=bootstrap(ratio_of_means, *costs)),
        BenchRow(test, "steps better than the start, given or sampled", 100 * float(better.mean()), "%", ">= 30"),
        BenchRow(test, "steps better than the last plan, shifted", 100 * float(strictly_less(cost, given).mean()), "%"),
        *(BenchRow(test, f"time of a plan, {name}, peer: {peer}", 1e3 * float(np.quantile(wall, q)), "ms", target,
                   1e3 * float(np.quantile(theirs, q)))
          for name, q, target in (("p50", 0.5, None), ("p99", 0.99, "<= 120"), ("slowest", 1.0, None))),
        BenchRow(test, "plans over 100 ms", float((wall > PERIOD).sum()), "1", None, float((theirs > PERIOD).sum())),
        BenchRow(test, "plans over 120 ms", float((wall > 1.2 * PERIOD).sum()), "1", None,
                 float((theirs > 1.2 * PERIOD).sum())),
        BenchRow(test, "plans", float(len(wall)), "1"),
    ]  # fmt: skip
    return Findings(rows, {"seconds": wall, "peer": peer, "peer_seconds": theirs})


def timed(
    folder: Path, net: Net, name: str, settings: Mapping[str, Any], deadline: float, numbers: Sequence[int], steps: int
) -> dict[str, list[Any]]:
    """Loops from some starts. A plan always acts a period later; how many took longer is counted apart.

    Returns:
        costs: Of each start, means over steps. seconds: Of each plan. plans: Of each plan how ``starts_of`` can draw
        again what it began with, what that given to it costs, and its own cost.
    """
    fit = read_fit(folder)
    planner, task = make_planner(name, fit.problem(net, HORIZON), 0, settings), make_task(fit.task)
    kept: dict[str, list[Any]] = {"costs": [], "seconds": [], "plans": []}
    try:
        planner.warm()
        for number in numbers:
            task.reset(number)
            loop, costs = ClosedLoop(task, task.goal(number), steps, StepDelay("fixed")), []
            controller, start = RecedingHorizon(planner, deadline, delayed=True), None
            while not loop.over:
                before = controller.applied
                began = time.perf_counter()
                plan = controller(task.state, loop.goal)
                kept["seconds"].append(time.perf_counter() - began)
                kept["plans"].append(plain({
                    "number": number, "x": plan.states[0], "goal": loop.goal, "before": before, "start": start,
                    "given": None if start is None else plan.start_cost, "cost": plan.cost,
                }))  # fmt: skip
                start = shifted(plan.inputs)
                loop.answer(plan.inputs[0])
                costs.append(float(task.spec.cost(task.state, loop.goal)))
            kept["costs"].append(float(np.mean(costs)))
    finally:
        planner.close()
        task.close()
    return kept


def starts_of(folder: Path, net: Net, plans: Sequence[Mapping[str, Any]]) -> list[float]:
    """What the best sampled start costs of each plan that had one before it, where there is time for all of it."""
    twin, found, last = MipPlanner(read_fit(folder).problem(net, HORIZON)), [], None
    for plan in plans:
        if plan["number"] != last:
            twin.reset()
            last = plan["number"]
        goal = Goal(*(np.array(plan["goal"][key]) for key in ("target", "half_width", "free")))
        start = None if plan["start"] is None else np.array(plan["start"])
        cost = sampled_cost(twin, np.array(plan["x"]), goal, start, np.array(plan["before"]))
        if start is not None:
            found.append(cost)
    return found
