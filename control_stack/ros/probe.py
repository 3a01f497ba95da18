"""Whether a message from another process arrives."""

from __future__ import annotations

import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String

from control_stack.ros.lifecycle import keep_discovery_local


def hears_topic(topic: str, timeout: float) -> float | None:
    """Seconds of wall time until the first std_msgs/String on the topic, or None."""
    keep_discovery_local()
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("doctor", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    heard: list[float] = []
    start = time.monotonic()
    node.create_subscription(String, topic, lambda m: heard.append(time.monotonic() - start), 1)
    while not heard and time.monotonic() - start < timeout:
        executor.spin_once(timeout_sec=0.1)
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    return heard[0] if heard else None
