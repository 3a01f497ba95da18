"""Arguments that more than one command takes, and their checks, which raise InvalidInput with one line."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from control_stack.errors import InvalidInput, MissingDependency

MAX_SEED = 2**31 - 1
_NAMESPACE = re.compile(r"([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?", re.ASCII)


def check_seed(seed: int) -> None:
    """A seed that all random generators and ROS parameters take."""
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput(f"--seed must be from 0 to {MAX_SEED}, got {seed}")


def output_folder(text: str) -> Path:
    """Path of ``--out``."""
    if not text:
        raise InvalidInput("--out needs a folder, got an empty name")
    return Path(text)


def check_namespace(text: str) -> str:
    """A ROS namespace, without the slashes around it."""
    inner = text.strip("/")
    if not _NAMESPACE.fullmatch(inner):
        raise InvalidInput(f"--namespace must be names of letters, digits and _, joined by /, got '{text}'")
    return inner


def check_realtime(factor: float | None) -> None:
    """A speed of simulated time against the wall clock's; None for lockstep."""
    if factor is not None and not 0.01 <= factor <= 100.0:
        raise InvalidInput(f"--realtime must be between 0.01 and 100, got {factor:g}")


def check_ros(action: str) -> None:
    """That ROS 2 is there. ``action``: what is done without it by --no-ros. Raises MissingDependency."""
    if importlib.util.find_spec("rclpy") is None:
        raise MissingDependency("rclpy", "ros", f"or {action} without it: --no-ros")


def output_file(option: str, text: str) -> Path:
    """Path of a file that can be written when the work is done, checked before it is begun."""
    path = Path(text)
    if not text or path.is_dir():
        raise InvalidInput(f"{option} needs a file, got {f'the folder {text}' if text else 'an empty name'}")
    if not path.parent.is_dir():
        raise InvalidInput(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InvalidInput(f"{option} {path}: the folder {path.parent} cannot be written to")
    return path
