"""An arm over ROS 2: its node and its controller's node as processes, watched until the reference is at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_stack.cli.arm import ArmConfig
from control_stack.cli.arm_in_process import bar
from control_stack.cli.arm_report import ArmOutcome
from control_stack.cli.processes import Nodes
from control_stack.errors import FlightAborted

_SHARED = ("arm", "changes", "compute_delay")


def arm_parameters(config: ArmConfig, log: Path) -> dict[str, Any]:
    """Parameters of the arm node for this run."""
    own = ("reference", "duration", "seed", "friction", "sensors")
    return {
        **{name: getattr(config, name) for name in _SHARED + own},
        "lockstep": config.real_time_factor is None,
        "real_time_factor": float(config.real_time_factor or 1.0),
        "log_path": str(log.resolve()),
    }


def controller_parameters(config: ArmConfig) -> dict[str, Any]:
    """Parameters of the controller's node for this run."""
    own = ("controller", "model", "estimator", "deadline", "settings")
    return {
        **{name: getattr(config, name) for name in _SHARED + own},
        "lockstep": config.real_time_factor is None,
    }


def over_ros(config: ArmConfig, folder: Path, log: Path, check: Callable[[], None]) -> ArmOutcome:
    """Moves the arm; ``check`` raises KeyboardInterrupt when the user has ended it. The nodes end with the run."""
    from control_stack.ros.task_client import TaskClient

    nodes, outcome = Nodes(folder), ArmOutcome()

    def alive() -> None:
        check()
        nodes.alive()

    client = TaskClient(config.namespace, alive, ("arm", "controller"))
    try:
        with bar(round(config.duration * 50.0)) as progress:
            nodes.start("sim.arm.node", "arm", arm_parameters(config, log), config.namespace)
            nodes.start("controllers.arm.node", "controller", controller_parameters(config), config.namespace)
            client.watch(lambda steps: progress.update(steps - progress.n) and None)
    except KeyboardInterrupt:
        outcome.interrupted = True
    except FlightAborted as error:
        outcome.aborted = str(error)
    finally:
        nodes.stop()
        client.close()
    counts = {**client.status.get("arm", {}), **client.status.get("controller", {})}
    outcome.rejections = {key: int(count) for key, count in counts.items() if "/" in key}
    return outcome
