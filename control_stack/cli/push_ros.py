"""A push over ROS 2: the task's node and the planner's node as processes, watched until the task is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_stack.cli.processes import Nodes
from control_stack.cli.push import PushConfig
from control_stack.cli.push_in_process import bar
from control_stack.cli.push_report import PushOutcome
from control_stack.errors import FlightAborted


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
        "seed": config.seed,
        "delayed": config.compute_delay != "none",
        "lockstep": config.real_time_factor is None,
    }


def over_ros(config: PushConfig, folder: Path, log: Path, check: Callable[[], None]) -> PushOutcome:
    """Pushes; ``check`` raises KeyboardInterrupt when the user has ended it. The nodes end with the push."""
    from control_stack.ros.task_client import TaskClient

    nodes, outcome = Nodes(folder), PushOutcome()

    def alive() -> None:
        check()
        nodes.alive()

    client = TaskClient(config.namespace, alive)
    try:
        with bar(config.steps) as progress:
            nodes.start("sim.tasks.node", "task", task_parameters(config, log), config.namespace)
            nodes.start("controllers.planning.node", "planner", planner_parameters(config), config.namespace)
            client.watch(lambda steps: progress.update(steps - progress.n) and None)
    except KeyboardInterrupt:
        outcome.interrupted = True
    except FlightAborted as error:
        outcome.aborted = str(error)
    finally:
        nodes.stop()
        client.close()
    counts = {**client.status.get("task", {}), **client.status.get("planner", {})}
    outcome.rejections = {key: int(count) for key, count in counts.items() if "/" in key}
    return outcome
