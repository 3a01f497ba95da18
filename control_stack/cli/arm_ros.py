"""An arm over ROS 2: its node and its controller's node as processes, watched until the reference is at its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_stack.cli import episode
from control_stack.cli.arm import ArmConfig
from control_stack.cli.episode import EpisodeOutcome
from control_stack.cli.processes import NodeProgram

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


def over_ros(config: ArmConfig, folder: Path, log: Path, check: Callable[[], None]) -> EpisodeOutcome:
    """Moves the arm; ``check`` raises KeyboardInterrupt when the user has ended it. The nodes end with the run."""
    arm = NodeProgram("sim.arm.node", "arm", arm_parameters(config, log))
    controller = NodeProgram("controllers.arm.node", "controller", controller_parameters(config))
    progress = episode.bar("arm", round(config.duration * 50.0))
    return episode.over_ros(arm, controller, config.namespace, folder, progress, check)
