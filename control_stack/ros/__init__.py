"""The ROS 2 surface shared by all nodes. Only this folder and each room's node.py import rclpy and messages."""

from __future__ import annotations

from control_stack.errors import MissingDependency

try:
    import rclpy  # noqa: F401
except ImportError as error:  # the message tells which of a ROS installation or the extra is missing
    raise MissingDependency("rclpy", "ros", f"or source a ROS 2 Jazzy installation ({error})") from None
