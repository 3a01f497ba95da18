"""What every managed node here has in common: autostart, exit codes, and an orderly end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from control_stack.errors import ControlStackError, FlightAborted
from control_stack.ros.parameters import Declared, declare
from control_stack.safety.events import Event, Severity

AUTOSTART = Declared("autostart", True, "configure and activate by itself once started")


def keep_discovery_local() -> None:
    """Discovery stays on this host unless the user says otherwise (ROS_AUTOMATIC_DISCOVERY_RANGE)."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


class ManagedNode(LifecycleNode):
    """A lifecycle node whose configure step reports a ControlStackError as one line and a failed transition."""

    def __init__(self, name: str, parameters: tuple[Declared, ...]):
        super().__init__(name)
        declare(self, (*parameters, AUTOSTART))
        self.failure: ControlStackError | None = None
        self._starting = False

    def parameter(self, name: str) -> Any:
        """Value of a declared parameter."""
        return self.get_parameter(name).value

    def log_event(self, event: Event) -> None:
        """One line of the node's log."""
        line = f"[{event.t:.2f} s] {event.message}"
        # Two calls, because rclpy ties a severity to the place that it is logged from.
        if event.severity is Severity.OK:
            self.get_logger().info(line)
        else:
            self.get_logger().warning(line)

    def guarded(self, action: Callable[[], None]) -> TransitionCallbackReturn:
        """Runs a transition; a ControlStackError becomes a failure, logged unless ``start`` raises it."""
        try:
            action()
        except ControlStackError as error:
            self.failure = error
            if not self._starting:
                self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> None:
        """Configures and activates when ``autostart`` is set; raises the error that prevented it."""
        if not self.parameter("autostart"):
            return
        self._starting = True
        self.trigger_configure()
        if self.failure is None:
            self.trigger_activate()
        self._starting = False
        if self.failure is not None:
            raise self.failure

    def may_end(self, asked: int) -> bool:
        """Whether the process may end now, having been told to ``asked`` times; looked at until it may."""
        return True

    def finish(self) -> None:
        """Releases what must not outlive the process; called once on the way out."""


def run(make: Callable[[], ManagedNode], arguments: list[str] | None = None) -> int:
    """Spins one node until it is told to stop.

    Returns:
        The exit code: 0; after one line on stderr, 1 for what failed in flight and 2 for bad input.
    """
    keep_discovery_local()
    # Own handlers: rclpy's would tear the context down before the log is closed.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    node: ManagedNode | None = None
    asked = 0

    def stop(signum: int, frame: object) -> None:
        # Only a count: an exception here could tear a message or the log apart.
        nonlocal asked
        asked += 1

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        node = make()
        node.start()
        executor.add_node(node)
        while rclpy.ok() and not (asked and node.may_end(asked)):
            executor.spin_once(timeout_sec=0.1)
    except ControlStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, FlightAborted) else 2
    finally:
        executor.shutdown()
        if node is not None:
            node.finish()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
