"""Watches a task through its ROS surface, as any user's program could."""

from __future__ import annotations

import time
from collections.abc import Callable

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from control_stack.errors import FlightAborted
from control_stack.ros import qos
from control_stack.ros.lifecycle import keep_discovery_local

_START_TIMEOUT = 60.0  # s of wall time for two processes to import, configure and find each other
_SETTLE = 0.3  # s of wall time for the last plan to reach the log


class TaskClient:
    """Waits for the end of a task.

    Args:
        namespace: Of both nodes.
        alive: Is asked while waiting: it raises when a process has died.
        nodes: Names of the one that owns the time, and of the one that answers it.
    """

    def __init__(self, namespace: str, alive: Callable[[], None], nodes: tuple[str, str] = ("task", "planner")):
        keep_discovery_local()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("push", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._alive, self._nodes = alive, nodes
        self.phase = ""
        self.steps = 0
        self.status: dict[str, dict[str, str]] = {}
        self._node.create_subscription(String, "phase", self._on_phase, qos.LATCHED)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENTS)

    def watch(self, progress: Callable[[int], None]) -> None:
        """Until the task is over. Raises FlightAborted if it does not begin."""
        until = time.monotonic() + _START_TIMEOUT
        while self.phase != "over":
            self._alive()
            if self.phase != "running" and time.monotonic() > until:
                raise FlightAborted(f"{' and '.join(self._nodes)} did not come up within {_START_TIMEOUT:g} s")
            self._executor.spin_once(timeout_sec=0.05)
            progress(self.steps)
        until = time.monotonic() + _SETTLE
        while time.monotonic() < until:
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """Leaves the graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _on_phase(self, message: String) -> None:
        self.phase = message.data

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        own = self._node.get_namespace().rstrip("/")
        for status in message.status:
            place, _, name = status.name.rpartition("/")
            if place == own:
                self.status[name] = {pair.key: pair.value for pair in status.values}
        self.steps = int(self.status.get(self._nodes[0], {}).get("steps", self.steps))
