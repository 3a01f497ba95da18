"""control-stack push: pushes an object to a goal through a learned model, over ROS 2 or in one process.

A node owns the table (PyBullet), another plans through the model and sends the pusher's velocity. DIR gets config.yaml,
summary.json, push.mcap and push.png. The exit code is 0 if the goal is held at the end.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_stack.artefacts.runs import RunFolder
from control_stack.cli.arguments import check_namespace, check_realtime, check_ros, check_seed
from control_stack.cli.collect import TASKS
from control_stack.cli.episode import add_run_options
from control_stack.cli.interrupts import noted
from control_stack.errors import InvalidInput
from control_stack.learning.shipped import model_of
from control_stack.learning.sparse_relu import SparseReLUDynamics

PUSHED = tuple(name for name in TASKS if name not in ("piecewise", "cartpole"))
_MOST_STEPS, _MOST_HORIZON = 10_000, 50
_EPILOG = """examples:
  control-stack push --controller mip                     a disc, mixed-integer planner, over ROS 2
  control-stack push --controller cem --no-ros --seed 3   sampling, in one process
  control-stack push --controller mppi --task pushing-t --model fit/t/model.safetensors --goal=0.1,-0.1,0.5
"""


@dataclass(frozen=True)
class PushConfig:
    """A run, resolved: saved as config.yaml in the run folder. deadline: 0 for the controller's own budget."""

    controller: str
    task: str
    model: str
    goal: str
    seed: int
    steps: int
    horizon: int
    effort: float
    deadline: float
    settings: str
    constraints: str
    compute_delay: str
    real_time_factor: float | None
    ros: bool
    namespace: str


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command with its options."""
    parser = commands.add_parser(
        "push",
        help="push an object to a goal through a learned model; leaves a run folder with log, picture and summary",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--controller", default="mip", metavar="NAME", help="mip, branching, cem, icem or mppi (default mip)")
    add("--task", default="pushing-disc", choices=PUSHED, help="what is pushed (default pushing-disc)")
    add("--model", metavar="FILE", help="a model.safetensors of control-stack fit sparse (default: the shipped one)")
    add("--goal", default="", metavar="X,Y[,ANGLE]",
        help="pose of the object, m and rad; with = where it begins with -: --goal=-0.1,0.1 "
        "(default: drawn by the seed)")  # fmt: skip
    add("--seed", default=0, type=int, help="of start, goal and draws (default 0)")
    add("--steps", default=60, type=int, metavar="N", help="of 0.1 s (default 60)")
    add("--horizon", default=8, type=int, metavar="N", help="steps that are planned ahead (default 8)")
    add("--effort", default=0.003, type=float, metavar="S/M",
        help="cost of the pusher's speed, so that it rests at the goal (default 0.003)")  # fmt: skip
    add("--deadline", default=0.0, type=float, metavar="S",
        help="wall time of each plan, s (default: 0.1 for solvers; samplers count their rollouts)")  # fmt: skip
    add("--settings", default="", metavar="FILE", help="the controller's settings, as of scripts/tune_samplers.py")
    add("--constraints", default="", metavar="FILE",
        help="YAML of linear constraints on states and inputs by name: docs/mip_planning.md")  # fmt: skip
    add("--compute-delay", default="none", metavar="WHEN",
        help="when a command acts: none: at once (default); fixed: a step later; measured: after the whole steps that "
        "it took to compute")  # fmt: skip
    add_run_options(parser, "table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Pushes and reports; returns the exit code."""
    config, model = resolve(options)
    from control_stack.cli.push_report import report

    with noted() as check:  # a run folder, once it is there, is completed
        folder = RunFolder(options.out)
        folder.write_config(config)
        log = folder.file("push.mcap")
        if config.ros:
            from control_stack.cli.push_ros import over_ros

            outcome = over_ros(config, folder.path, log, check)
        else:
            from control_stack.cli.push_in_process import in_process

            outcome = in_process(config, model, log, check)
        return report(folder, config, model, outcome)


def resolve(options: argparse.Namespace) -> tuple[PushConfig, SparseReLUDynamics]:
    """Checks everything that can be checked before anything starts. Raises ControlStackError."""
    from controllers.planning.constraints import read_constraints
    from controllers.planning.factory import make_planner, read_settings
    from controllers.planning.problem import Problem
    from sim.tasks.closed_loop import StepDelay, chosen_goal
    from sim.tasks.factory import make_task

    check_seed(options.seed)
    for name, value, most in (("steps", options.steps, _MOST_STEPS), ("horizon", options.horizon, _MOST_HORIZON)):
        if not 1 <= value <= most:
            raise InvalidInput(f"--{name} must be from 1 to {most}, got {value}")
    if not (math.isfinite(options.deadline) and 0.0 <= options.deadline <= 60.0):
        raise InvalidInput(f"--deadline must be from 0 to 60 s, got {options.deadline:g}")
    if not (math.isfinite(options.effort) and options.effort >= 0.0):
        raise InvalidInput(f"--effort must be at least 0, got {options.effort:g}")
    check_realtime(options.realtime)
    if options.realtime is not None and options.no_ros:
        raise InvalidInput("--realtime needs ROS: with --no-ros the table waits for every plan")
    namespace = check_namespace(options.namespace)
    StepDelay(options.compute_delay)
    path = Path(options.model) if options.model is not None else model_of(options.task)
    model = load_for(path, options.task)
    settings = read_settings(options.settings, options.controller) if options.settings else {}
    constraints = read_constraints(options.constraints, model.spec) if options.constraints else ()
    problem = Problem(model, options.horizon, constraints=constraints)
    make_planner(options.controller, problem, options.seed, settings).close()
    task = make_task(options.task)
    try:
        chosen_goal(task, options.goal, options.seed)
    finally:
        task.close()
    if not options.no_ros:
        check_ros("push")
    config = PushConfig(
        controller=options.controller,
        task=options.task,
        model=str(path.resolve()),
        goal=options.goal,
        seed=options.seed,
        steps=options.steps,
        horizon=options.horizon,
        effort=options.effort,
        deadline=options.deadline,
        settings=str(Path(options.settings).resolve()) if options.settings else "",
        constraints=str(Path(options.constraints).resolve()) if options.constraints else "",
        compute_delay=options.compute_delay,
        real_time_factor=options.realtime,
        ros=not options.no_ros,
        namespace=namespace,
    )
    return config, model


def load_for(path: Path, task: str) -> SparseReLUDynamics:
    """The model in a file, of this task. Raises InvalidInput for a model of another one."""
    model = SparseReLUDynamics.load(path)
    found: Any = getattr(model.spec, "task", None)
    if found != task:
        raise InvalidInput(f"{path}: a model of {found or 'no task'}, not of {task}")
    return model
