"""Single plans at equal wall time, measured: instances, settings tuned to a deadline, plans, starts and proofs.

States are met on the way of a cheap sampler on the true simulator; every planner begins from what is left of that
sampler's plan. A deadline covers everything, so also what the mixed-integer planner samples for a start. Plans follow
one another without a pause: a solver that goes on after its deadline takes the time of its own next plan.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.mip_fits import Net, read_fit
from control_stack.artefacts.runs import plain
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.branching import BranchAndBound
from controllers.planning.factory import make_planner, sampler
from controllers.planning.mip.planner import MipPlanner
from controllers.planning.problem import Planner, Problem, shifted
from controllers.planning.sampling import Settings
from controllers.planning.sampling_cem import CEM, CEMSettings
from controllers.planning.tuning import Tuning
from sim.tasks.factory import make_task

PIECES = (1, 2, 4)  # searches in the time of a plan, as settings are drawn
LEAST_ROLLOUTS = 64
_DRIVER = CEMSettings(rollouts=128)
_MOST_STEPS = 20  # of the driver before a state is taken
_CALIBRATIONS, _CALIBRATION_S = 3, 0.2
_WARM_S = 0.05


class Instance(NamedTuple):
    """What is planned, in the order of ``plan``'s arguments."""

    x0: Array
    goal: Goal
    start: Array | None = None
    before: Array | None = None

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Instance:
        """As ``instances`` gives it."""
        goal = Goal(*(np.array(kept["goal"][name]) for name in ("target", "half_width", "free")))
        return cls(np.array(kept["x0"]), goal, np.array(kept["start"]), np.array(kept["before"]))


def instances(folder: Path, net: Net, horizon: int, count: int, first: int) -> list[dict[str, Any]]:
    """From starts ``first`` on, each after 1 to ``_MOST_STEPS`` steps; plain, for ``Instance.read``."""
    fit = read_fit(folder)
    problem = fit.problem(net, horizon)
    task, driver, found = make_task(fit.task), CEM(problem, _DRIVER), []
    try:
        for number in range(first, first + count):
            driver.reset()
            x, goal = task.reset(number), task.goal(number)
            start, before = np.zeros((problem.horizon, problem.nu)), np.zeros(problem.nu)
            for _ in range(int(np.random.default_rng(number).integers(1, _MOST_STEPS + 1))):
                plan = driver.plan(x, goal, start, before)
                x, start = task.step(plan.inputs[0]), shifted(plan.inputs)
                before = problem.limited(task.applied)
            found.append(plain(Instance(x, goal, problem.limited(start), before)._asdict()))
    finally:
        task.close()
    return found


def plans(
    folder: Path, net: Net, horizon: int, given: Sequence[Any], name: str, settings: Mapping[str, Any], deadline: float
) -> list[dict[str, Any]]:  # fmt: skip
    """By instance what a planner finds within the deadline."""
    problem = read_fit(folder).problem(net, horizon)
    return _planned(make_planner(name, problem, 0, settings), given, deadline)


def proof(folder: Path, net: Net, horizon: int, given: Any, seconds: float, device: str = "cpu") -> dict[str, Any]:
    """Our own branch and bound on one instance, for as long as it takes, at most this many seconds."""
    problem = read_fit(folder).problem(net, horizon)
    return _planned(BranchAndBound(problem, max_nodes=None, device=device), [given], seconds)[0]


def device_plans(folder: Path, net: Net, horizon: int, given: Sequence[Any], deadline: float, device: str) -> list[Any]:
    """``plans`` of our own branch and bound on a device of torch."""
    problem = read_fit(folder).problem(net, horizon)
    return _planned(BranchAndBound(problem, max_nodes=None, device=device), given, deadline)


def _planned(planner: Planner, given: Sequence[Any], deadline: float) -> list[dict[str, Any]]:
    try:
        planner.warm()
        if not isinstance(planner, MipPlanner):
            planner.plan(*Instance.read(given[0]), _WARM_S)
        return [_one(planner, Instance.read(of), deadline) for of in given]
    finally:
        planner.close()


def _one(planner: Planner, of: Instance, deadline: float) -> dict[str, Any]:
    planner.reset()
    began = time.perf_counter()
    plan = planner.plan(*of, deadline)
    seconds = time.perf_counter() - began
    bound = plan.bound if np.isfinite(plan.bound) else 0.0  # no cost is negative
    found = {"cost": plan.cost, "start_cost": plan.start_cost, "bound": bound, "seconds": seconds}
    return {**found, "status": plan.status, "nodes": getattr(planner, "nodes", None)}


def sampled(folder: Path, net: Net, horizon: int, given: Sequence[Any]) -> list[float]:
    """Costs of the best start that the mixed-integer planner samples where it has time for all of it."""
    found, planner = [], MipPlanner(read_fit(folder).problem(net, horizon))
    for of in map(Instance.read, given):
        planner.reset()
        found.append(sampled_cost(planner, *of))
    return found


def sampled_cost(
    planner: MipPlanner, x0: Array, goal: Goal, start: Array | None = None, before: Array | None = None
) -> float:  # fmt: skip
    """Of the best plan that a call begins with, besides its start."""
    found = np.array(planner.sampled(x0, goal, start, before))
    return float(planner.problem.cost(planner.problem.model.rollout(x0, found), found, goal, before).min())


def tuned(
    folder: Path, net: Net, horizon: int, given: Sequence[Any], name: str, deadline: float, trials: int, seed: int
) -> dict[str, Any]:  # fmt: skip
    """A sampler's settings of least mean cost over the instances, each planned within the deadline.

    Returns:
        settings; cost; pieces: searches that fit into the deadline with them.
    """
    problem = read_fit(folder).problem(net, horizon)
    of = [Instance.read(one) for one in given]
    rollouts = allowed(name, problem, deadline, of[0])
    drawn = [drawn_settings(name, k, max(rollouts // PIECES[k % 3], LEAST_ROLLOUTS), seed) for k in range(trials)]
    costs = []
    for settings in drawn:
        planner = sampler(name)[0](problem, settings)
        costs.append(float(np.mean([planner.plan(*one, deadline).cost for one in of])))
    best = int(np.argmin(costs))
    return {"settings": drawn[best].values(), "cost": costs[best], "pieces": PIECES[best % 3]}


def drawn_settings(name: str, trial: int, rollouts: int, seed: int) -> Settings:
    """Of a trial of a sampler; the first has the default settings."""
    return Tuning((name,), trial + 1, rollouts, seed, {}).draw(name, trial)


def allowed(name: str, problem: Problem, deadline: float, of: Instance) -> int:
    """Rollouts that a sampler's default settings come to within a deadline; of a long one as a part of it tells."""
    kind, settings = sampler(name)
    planner, part = kind(problem, settings()), min(deadline, _CALIBRATION_S)
    counts = []
    for _ in range(_CALIBRATIONS):
        planner.reset()
        planner.plan(*of, part)
        counts.append(planner.rollouts)
    return int(np.median(counts) * deadline / part)


def rollouts_allowed(folder: Path, name: str, nets: Sequence[Net], horizons: Sequence[int], share: float) -> list[int]:
    """By net and horizon what ``allowed`` says of a sampler for a share of the sample time."""
    fit = read_fit(folder)
    problems = [fit.problem(net, horizon) for net in nets for horizon in horizons]
    return [allowed(name, of, share * of.spec.dt, middle(of)) for of in problems]


def middle(problem: Problem) -> Instance:
    """An instance to take times with: the middle of all states, and the middle of all goals."""
    spec = problem.spec
    low, high = spec.output_range()
    goal = Goal(0.5 * (low + high), np.full(len(low), np.inf), np.zeros(len(low)))
    return Instance(0.5 * (spec.state_lower + spec.state_upper), goal)
