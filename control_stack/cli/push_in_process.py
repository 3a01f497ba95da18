"""A push in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from control_stack.artefacts.log import FlightLog
from control_stack.cli.episode import EpisodeOutcome, bar
from control_stack.cli.push import PushConfig
from control_stack.learning.sparse_relu import SparseReLUDynamics


def in_process(config: PushConfig, model: SparseReLUDynamics, log: Path, check: Callable[[], None]) -> EpisodeOutcome:
    """Plans and simulates in turn; ``check`` raises KeyboardInterrupt when the user has ended it."""
    from controllers.planning.constraints import read_constraints
    from controllers.planning.factory import deadline_of, make_planner, read_settings
    from controllers.planning.problem import Problem
    from controllers.planning.receding import RecedingHorizon
    from sim.tasks.closed_loop import ClosedLoop, StepDelay, chosen_goal
    from sim.tasks.factory import make_task

    settings = read_settings(config.settings, config.controller) if config.settings else {}
    effort = np.full(len(model.spec.inputs), config.effort)
    constraints = read_constraints(config.constraints, model.spec) if config.constraints else ()
    problem = Problem(model, config.horizon, effort=effort, constraints=constraints)
    planner = make_planner(config.controller, problem, config.seed, settings)
    deadline = deadline_of(config.controller, config.deadline, settings)
    task = make_task(config.task)
    outcome = EpisodeOutcome()
    try:
        with FlightLog(log) as recorder, bar("push", config.steps) as progress:
            if deadline is not None:
                planner.warm()
            controller = RecedingHorizon(planner, deadline, config.compute_delay != "none")
            goal = chosen_goal(task, config.goal, config.seed)
            task.reset(config.seed)
            loop = ClosedLoop(task, goal, config.steps, StepDelay(config.compute_delay), recorder)
            while not loop.over:
                check()
                began = time.monotonic()
                plan = controller(task.state, goal)
                loop.planned(loop.t, plan.values())
                loop.answer(plan.inputs[0], time.monotonic() - began)
                progress.update(loop.taken - progress.n)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        planner.close()
        task.close()
    return outcome
