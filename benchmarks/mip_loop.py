"""Planners in closed loop on the true simulator, measured: each loop is a part on a core of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit, Net, read_fit
from benchmarks.mip_work import Part, Work
from control_stack.types import Array
from controllers.planning.factory import make_planner
from controllers.planning.problem import Planner, Problem
from controllers.planning.receding import RecedingHorizon
from sim.tasks.closed_loop import ClosedLoop, StepDelay
from sim.tasks.factory import make_task

SHARE = 0.6  # of the sample time is a plan's deadline; what is over it makes the command a step later still
CHUNK = 10  # starts of a part: what a run that was stopped loses
Stretch = tuple[list[Array], list[Array]]  # states met one after another, and the inputs applied between them


@dataclass(frozen=True)
class Pilot:
    """Who plans, and through what.

    Attributes:
        planner: As ``make_planner`` knows it. net: A rung of the fit. horizon: Steps planned ahead.
        settings: Of a sampler.
    """

    planner: str
    net: Net
    horizon: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """In a line."""
        return f"{self.planner} on {self.net[1]} ReLUs ({self.net[0]}), horizon {self.horizon}"


@dataclass(frozen=True)
class Flown:
    """Of one start.

    Attributes:
        cost: Mean over steps, of the true states. success: Whether the goal is held at the end.
        late: Steps whose command came later than one step. plans: Of the start.
        error, error_ahead: How far the planner's model was off, in the cost's unit: a step ahead, and over its horizon
            with the inputs that were applied; means over the states met.
    """

    start: int
    cost: float
    success: bool
    late: int
    plans: int
    error: float | None
    error_ahead: float | None


def fly(folder: Path, pilot: Pilot, starts: Sequence[int], steps: int, seed: int) -> list[dict[str, Any]]:
    """A pilot from some starts, whose numbers draw start and goal.

    A command acts after as many whole steps as its plan took, at least one. ``seed`` is of the planner's draws.
    """
    fit = read_fit(folder)
    problem = fit.problem(pilot.net, pilot.horizon)
    planner = make_planner(pilot.planner, problem, seed, pilot.settings)
    task = make_task(fit.task)
    try:
        planner.warm()
        return [asdict(_from(start, steps, planner, task)) for start in starts]
    finally:
        planner.close()
        task.close()


def _from(start: int, steps: int, planner: Planner, task: Any) -> Flown:
    dt, delay = task.spec.dt, StepDelay("measured")
    controller = RecedingHorizon(planner, SHARE * dt, delayed=True)
    task.reset(start)
    loop, costs, late, plans = ClosedLoop(task, task.goal(start), steps, delay), [], 0, 0
    stretches: list[Stretch] = [([task.state], [])]
    while not loop.over:
        began = time.monotonic()
        plan = controller(task.state, loop.goal)
        waited, before = time.monotonic() - began, loop.taken
        loop.answer(plan.inputs[0], waited)
        plans, late = plans + 1, late + (math.ceil(waited / dt - 1e-9) > 1)
        costs += [float(task.spec.cost(task.state, loop.goal))] * (loop.taken - before)
        if loop.taken == before + 1:
            stretches[-1][0].append(task.state)
            stretches[-1][1].append(task.applied)
        else:  # states in between were not seen
            stretches.append(([task.state], []))
    errors = [model_error(planner.problem, stretches, ahead) for ahead in (1, planner.problem.horizon)]
    held = bool(task.spec.success(task.state, loop.goal))
    return Flown(start, float(np.mean(costs)), held, late, plans, *errors)


def model_error(problem: Problem, stretches: Sequence[Stretch], ahead: int) -> float | None:
    """Mean over t of sum_k w_k |y_k(x_{t + ahead}) - y_k(prediction from x_t)|; None where no stretch is as long."""
    found = []
    for states, inputs in stretches:
        for t in range(len(inputs) - ahead + 1):
            end = problem.model.rollout(states[t], np.array(inputs[t : t + ahead]))[-1]
            found.append(float(problem.spec.weights @ np.abs(problem.spec.outputs @ (states[t + ahead] - end))))
    return float(np.mean(found)) if found else None


Flight = tuple[Fit, Pilot, Sequence[int], int, int]  # with starts, steps of each, and seed


def fly_all(flights: Sequence[Flight], work: Work) -> list[list[dict[str, Any]]]:
    """Of each flight its starts in order, as ``Flown``; all are flown side by side, as many as there are cores."""
    chunks = [
        [Part(fly, fit, (pilot, list(starts[k : k + CHUNK]), steps, seed)) for k in range(0, len(starts), CHUNK)]
        for fit, pilot, starts, steps, seed in flights
    ]
    found = iter(work([part for parts in chunks for part in parts]))
    return [[record for _ in parts for record in next(found)] for parts in chunks]
