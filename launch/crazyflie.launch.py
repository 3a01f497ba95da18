"""Fly a Crazyflie over its link: ros2 launch control_stack crazyflie.launch.py arm:=true.

The same as fly.launch.py backend:=crazyflie, with all its other arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from control_stack.launching import included

BACKEND = "crazyflie"


def generate_launch_description() -> Any:
    """Entry point for `ros2 launch`."""
    return included(Path(__file__).with_name("fly.launch.py"), backend=BACKEND)
