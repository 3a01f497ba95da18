"""Does it help to count transitions close to a planner's own trajectories more (``fit sparse --near``)?

Two nets of the same task, seed and size: one trained on all data alike, one with weights from trajectories that the
first one's planner has flown. Both are asked to predict trajectories of the same kind that neither was trained on, and
both plan in closed loop from the same starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mip_closed_loop import steps_of
from benchmarks.mip_fits import Fit, Net, read_fit
from benchmarks.mip_loop import SHARE, Pilot, fly_all
from benchmarks.mip_open_loop import HORIZON, RELUS
from benchmarks.mip_statistics import bootstrap, over, ratio_of_means
from benchmarks.mip_work import Part, Work
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.learning.data import dataset
from control_stack.learning.prediction import prediction_errors
from controllers.planning.factory import make_planner
from controllers.planning.receding import RecedingHorizon
from sim.tasks.factory import make_task

_FLOWN = 6_000_000  # starts of the trajectories that are predicted
_LOOPS = 7_000_000  # starts of the closed loops


def measure(plain_fit: Fit, near: Fit, work: Work, seed: int, quick: bool) -> Findings:
    """Rows of the weighted net, with the other one as its peer."""
    task, net = near.task, (near.method, RELUS)
    _, steps = steps_of(task, quick)
    flights, starts = (4, 3) if quick else (12, 30)
    (flown,) = work([Part(trajectories, plain_fit, (net, range_of(_FLOWN, seed, flights), steps))])
    own, peer = work([Part(errors, fit, (net, flown)) for fit in (near, plain_fit)])
    test, rows = f"{task}, {RELUS} ReLUs, transitions near the planner's count more", []
    for k in sorted({0, len(own) - 1}):
        metric = f"error on the planner's trajectories, {k + 1} step{'s' * (k > 0)}"
        rows.append(BenchRow(test, f"{metric}, peer: all alike", own[k], "1", None, peer[k]))
        rows.append(BenchRow(test, f"{metric} over that of all alike", over(own[k], peer[k]), "1"))
        of_data = near.error(net)[k], plain_fit.error(net)[k]
        rows.append(BenchRow(test, f"error on test data, {k + 1} step{'s' * (k > 0)}, peer: all alike",
                             float(of_data[0]), "1", None, float(of_data[1])))  # fmt: skip
    pilot, numbers = Pilot("mip", net, HORIZON), range_of(_LOOPS, seed, starts)
    costs = [
        np.array([record["cost"] for record in records])
        for records in fly_all([(fit, pilot, numbers, steps, seed) for fit in (near, plain_fit)], work)
    ]
    means, spans = [float(cost.mean()) for cost in costs], [bootstrap(np.mean, cost) for cost in costs]
    rows.append(BenchRow(test, "mean cost in closed loop, peer: all alike", means[0], "1", None, means[1], *spans))
    rows.append(BenchRow(test, "mean cost over that of all alike", ratio_of_means(*costs), "1",
                         interval=bootstrap(ratio_of_means, *costs)))  # fmt: skip
    return Findings(rows, {"errors": {"near": own, "alike": peer}, "costs": {"near": costs[0], "alike": costs[1]}})


def range_of(first: int, seed: int, count: int) -> list[int]:
    """Numbers of starts."""
    return list(range(first + 1000 * seed, first + 1000 * seed + count))


def trajectories(folder: Path, net: Net, starts: Sequence[int], steps: int) -> dict[str, Any]:
    """States and inputs of a planner's loops on the true simulator, time waiting for each plan."""
    fit = read_fit(folder)
    planner, task = make_planner("mip", fit.problem(net, HORIZON)), make_task(fit.task)
    states: list[list[Any]] = []
    inputs: list[list[Any]] = []
    try:
        planner.warm()
        for number in starts:
            controller, goal = RecedingHorizon(planner, SHARE * task.spec.dt), task.goal(number)
            states.append([task.reset(number)])
            inputs.append([])
            for _ in range(steps):
                states[-1].append(task.step(controller(states[-1][-1], goal).inputs[0]))
                inputs[-1].append(task.applied)
    finally:
        planner.close()
        task.close()
    return {"states": states, "inputs": inputs}


def errors(folder: Path, net: Net, flown: Any) -> list[float]:
    """RMSE of a net, 1 to ``HORIZON`` steps ahead, in standard deviations of a change on these trajectories."""
    model = read_fit(folder).chain(net).unrolled().collapsed()
    episodes = [(np.array(x), np.array(u)) for x, u in zip(flown["states"], flown["inputs"], strict=True)]
    return prediction_errors(model, dataset(episodes, model.spec), HORIZON).rmse.tolist()
