"""Flies a mission through the ROS surface, as any user's program would: services, a trajectory, and the phase."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import MultiDOFJointTrajectory

from control_stack.errors import FlightAborted, InputRejected
from control_stack.protocols import Trajectory
from control_stack.ros import messages, qos
from control_stack.ros.lifecycle import keep_discovery_local
from control_stack.safety.events import AIRBORNE, Phase
from control_stack.types import QuadrotorState

_START_TIMEOUT = 30.0  # s of wall time for two processes to import, configure and find each other
_SERVICE_TIMEOUT = 10.0  # s of wall time


class FlightClient:
    """Arms, takes off, sends a trajectory, waits for its end in the vehicle's time, and lands.

    ``alive`` is asked while waiting: it raises when one of the processes has died.
    """

    def __init__(self, namespace: str = "", alive: Callable[[], None] = lambda: None):
        keep_discovery_local()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("fly", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.alive = alive
        self.phase: Phase | None = None
        self.state: QuadrotorState | None = None
        self._node.create_subscription(String, "phase", self._on_phase, qos.LATCHED)
        self._odom: Any = None
        self._time = 0.0
        self.watch_state(True)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENTS)
        self._status: dict[str, dict[str, str]] = {}
        self._trajectory = self._node.create_publisher(MultiDOFJointTrajectory, "command_trajectory", qos.PUBLISH)
        self._services: dict[str, Any] = {"arm": self._node.create_client(SetBool, "arm")}
        for name in ("takeoff", "land", "emergency"):
            self._services[name] = self._node.create_client(Trigger, name)

    @property
    def t(self) -> float:
        """The vehicle's time, s: of its newest state or status."""
        return self._time

    def watch_state(self, wanted: bool) -> None:
        """Whether ``state`` is kept up to date; in flight a third reader of every state only slows lockstep."""
        if wanted and self._odom is None:
            self._odom = self._node.create_subscription(Odometry, "odom", self._on_state, qos.SENSOR)
        elif not wanted and self._odom is not None:
            self._node.destroy_subscription(self._odom)
            self._odom = None

    def status(self, node: str) -> dict[str, str]:
        """Newest key values that a node of this vehicle told on /diagnostics."""
        namespace = self._node.get_namespace().rstrip("/")
        return self._status.get(f"{namespace}/{node}", {})

    def wait_ready(self) -> None:
        """Until states arrive and a controller listens for trajectories."""
        self.state, self._time = None, 0.0  # of an earlier vehicle, perhaps
        self.watch_state(True)
        self._wait(
            lambda: self.state is not None and self._trajectory.get_subscription_count() > 0,
            _START_TIMEOUT,
            "the vehicle and controller nodes did not come up",
        )

    def call(self, name: str, data: bool | None = None) -> None:
        """Calls arm, takeoff, land or emergency. Raises FlightAborted when refused."""
        client = self._services[name]
        self._wait(client.service_is_ready, _SERVICE_TIMEOUT, f"service {name} is not there")
        future = client.call_async(Trigger.Request() if data is None else SetBool.Request(data=data))
        self._wait(future.done, _SERVICE_TIMEOUT, f"service {name} did not answer")
        reply = future.result()
        if not reply.success:
            raise FlightAborted(f"{name}: {reply.message}")

    def fly(
        self, make_trajectory: Callable[[QuadrotorState], Trajectory], progress: Callable[[float, Phase], None]
    ) -> None:
        """The whole flight. ``make_trajectory`` gets the state before take-off."""
        self.wait_ready()
        if self.state is None:
            raise FlightAborted("no state has arrived")
        trajectory = make_trajectory(self.state)
        self._trajectory.publish(messages.trajectory_message(trajectory))
        self._trajectory.wait_for_all_acked()
        self.watch_state(False)
        self.call("arm", True)
        self._until(lambda: self.phase is not Phase.DISARMED, progress)
        self.call("takeoff")
        self._until(lambda: self.phase not in (Phase.ARMED, Phase.TAKEOFF, Phase.DISARMED), progress)
        end = self.t + trajectory.duration + 1.0
        self._until(lambda: self.t >= end or self.phase not in AIRBORNE, progress)
        self.land(progress)

    def land(self, progress: Callable[[float, Phase], None]) -> None:
        """Lands if airborne, disarms if not, and waits for that; returns at once if there is no vehicle yet."""
        if self.phase is None:
            return
        if self.phase in (Phase.ARMED, *AIRBORNE) and self.phase is not Phase.LANDING:
            try:
                self.call("land")
            except FlightAborted:  # not in the air, whatever was last heard
                self.call("arm", False)
        self._until(lambda: self.phase in (Phase.DISARMED, Phase.EMERGENCY), progress)
        stop = self.t + 0.2
        self._until(lambda: self.t >= stop, progress)

    def close(self) -> None:
        """Leaves the graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _until(self, done: Callable[[], bool], progress: Callable[[float, Phase], None]) -> None:
        seen, seen_at = self.t, time.monotonic()
        while not done():
            self.alive()
            self._executor.spin_once(timeout_sec=0.05)
            if self.t != seen:
                seen, seen_at = self.t, time.monotonic()
                progress(self.t, self.phase or Phase.DISARMED)
            elif time.monotonic() - seen_at > _START_TIMEOUT:
                raise FlightAborted(f"the vehicle's time stands still at {self.t:.2f} s")

    def _wait(self, done: Callable[[], bool], timeout: float, message: str) -> None:
        until = time.monotonic() + timeout
        while not done():
            self.alive()
            if time.monotonic() > until:
                raise FlightAborted(f"{message} within {timeout:g} s")
            self._executor.spin_once(timeout_sec=0.05)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._status[status.name] = values
            if "time_s" in values and status.name.rpartition("/")[0] == self._node.get_namespace().rstrip("/"):
                self._time = max(self._time, float(values["time_s"]))

    def _on_phase(self, message: String) -> None:
        self.phase = Phase(message.data)

    def _on_state(self, message: Odometry) -> None:
        with suppress(InputRejected):  # the vehicle's own diagnostics count it
            self.state = messages.state_from_odometry(message)
            self._time = self.state.stamp
