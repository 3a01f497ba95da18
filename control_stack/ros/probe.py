"""Whether a message from another process arrives; run as a module, this file is the other process."""

from __future__ import annotations

import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from control_stack.ros.lifecycle import keep_discovery_local

TOPIC = "control_stack_doctor"


def talk(seconds: float = 10.0) -> None:
    """Says hello on TOPIC ten times a second. SIGTERM ends it without a word."""
    keep_discovery_local()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("doctor_talker")
    publisher = node.create_publisher(String, TOPIC, 1)
    for _ in range(round(10.0 * seconds)):
        publisher.publish(String(data="hello"))
        time.sleep(0.1)


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


if __name__ == "__main__":
    talk()
