"""Fly a PX4 vehicle over its link: ros2 launch control_stack px4.launch.py arm:=true.

The same as fly.launch.py backend:=px4, with all its other arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

BACKEND = "px4"


def generate_launch_description() -> Any:
    """Entry point for `ros2 launch`."""
    from launch import LaunchDescription
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    # A plain path, which --show-args can follow as well.
    fly = PythonLaunchDescriptionSource(str(Path(__file__).with_name("fly.launch.py")))
    return LaunchDescription([IncludeLaunchDescription(fly, launch_arguments={"backend": BACKEND}.items())])
