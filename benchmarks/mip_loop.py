"""Planners in closed loop on the true simulator, several loops at a time, each in a process with one thread."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mip_fits import Net, read_fit
from benchmarks.mip_statistics import Store
from control_stack.types import Array
from controllers.planning.factory import make_planner
from controllers.planning.problem import Planner, Problem
from controllers.planning.receding import RecedingHorizon
from sim.tasks.closed_loop import ClosedLoop, StepDelay
from sim.tasks.factory import make_task

SHARE = 0.9  # of the sample time is a plan's deadline; what is over it makes the command a step later still
CHUNK = 10  # starts of a job
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
class Job:
    """Starts that one pilot is flown from; a start's number draws start and goal.

    Attributes:
        folder: Of the fit. starts: Numbers. steps: Of each. seed: Of the planner's draws.
    """

    folder: str
    pilot: Pilot
    starts: Sequence[int]
    steps: int
    seed: int = 0


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


def deadline_of(problem: Problem) -> float:
    """Wall time of a plan, s."""
    return SHARE * problem.spec.dt


def fly(job: Job) -> list[dict[str, Any]]:
    """All starts of a job. A command acts after as many whole steps as its plan took, at least one."""
    fit = read_fit(Path(job.folder))
    problem = fit.problem(job.pilot.net, job.pilot.horizon)
    planner = make_planner(job.pilot.planner, problem, job.seed, job.pilot.settings)
    task = make_task(fit.task)
    try:
        with one_thread():
            planner.warm()
            return [asdict(_from(start, job.steps, planner, task)) for start in job.starts]
    finally:
        planner.close()
        task.close()


def _from(start: int, steps: int, planner: Planner, task: Any) -> Flown:
    dt, delay = task.spec.dt, StepDelay("measured")
    controller = RecedingHorizon(planner, deadline_of(planner.problem), delayed=True)
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


def jobs_of(folder: Path, pilot: Pilot, starts: Sequence[int], steps: int, seed: int = 0) -> list[Job]:
    """Starts in chunks, so that a run that was stopped loses little."""
    chunks = [starts[k : k + CHUNK] for k in range(0, len(starts), CHUNK)]
    return [Job(str(folder), pilot, list(chunk), steps, seed) for chunk in chunks]


def fly_all(jobs: Sequence[Job], store: Store) -> list[list[dict[str, Any]]]:
    """Each job's starts, from the store where they are known; two at a time where there are two cores."""
    names = [f"flown {asdict(job)}" for job in jobs]
    missing = {name: job for name, job in zip(names, jobs, strict=True) if name not in store}
    if missing:
        with _environment(), ProcessPoolExecutor(workers(), get_context("spawn")) as pool:
            waiting = {pool.submit(fly, job): name for name, job in missing.items()}
            for done in as_completed(waiting):
                store.put(waiting[done], done.result())
    return [store.get(name, partial(fly, job)) for name, job in zip(names, jobs, strict=True)]


def records_of(jobs: Sequence[Sequence[Job]], store: Store) -> list[list[dict[str, Any]]]:
    """For each list of jobs its starts in order; all jobs are flown together."""
    flown = iter(fly_all([job for some in jobs for job in some], store))
    return [[record for _ in some for record in next(flown)] for some in jobs]


def workers() -> int:
    """Loops at a time."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """One thread of BLAS in processes that are started within."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread in this process, where threadpoolctl (extra ``dev``) is there to say so."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(1):
        yield
