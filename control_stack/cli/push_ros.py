"""A push over ROS 2: the task's node and the planner's node as processes, watched until the task is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_stack.cli import episode
from control_stack.cli.episode import EpisodeOutcome
from control_stack.cli.processes import NodeProgram
from control_stack.cli.push import PushConfig


def task_parameters(config: PushConfig, log: Path) -> dict[str, Any]:
    """Parameters of the task node for this push."""
    return {
        "task": config.task,
        "goal": config.goal,
        "seed": config.seed,
        "steps": config.steps,
        "lockstep": config.real_time_factor is None,
        "real_time_factor": float(config.real_time_factor or 1.0),
        "compute_delay": config.compute_delay,
        "log_path": str(log.resolve()),
    }


def planner_parameters(config: PushConfig) -> dict[str, Any]:
    """Parameters of the planner node for this push."""
    return {
        "controller": config.controller,
        "model": config.model,
        "horizon": config.horizon,
        "effort": config.effort,
        "deadline": config.deadline,
        "settings": config.settings,
        "constraints": config.constraints,
        "seed": config.seed,
        "delayed": config.compute_delay != "none",
        "lockstep": config.real_time_factor is None,
    }


def over_ros(config: PushConfig, folder: Path, log: Path, check: Callable[[], None]) -> EpisodeOutcome:
    """Pushes; ``check`` raises KeyboardInterrupt when the user has ended it. The nodes end with the push."""
    table = NodeProgram("sim.tasks.node", "task", task_parameters(config, log))
    planner = NodeProgram("controllers.planning.node", "planner", planner_parameters(config))
    return episode.over_ros(table, planner, config.namespace, folder, episode.bar("push", config.steps), check)
