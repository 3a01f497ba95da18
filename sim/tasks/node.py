"""The task node: a table with a pusher on ROS 2, in lockstep with a planner or at a real-time factor.

Out: joint_states (the state), goal, phase, /diagnostics, /clock. In: actuators/command, and plan and /diagnostics for
the log. Names are those of the task's spec, units included; entries are matched by name.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from control_stack.artefacts.log import FlightLog
from control_stack.boundary import Rejections, frame, fresh
from control_stack.errors import InputRejected
from control_stack.ros import messages, qos
from control_stack.ros.exclusive import claim
from control_stack.ros.lifecycle import ManagedNode, run
from control_stack.ros.parameters import Declared
from control_stack.ros_layout import COMMAND_TOPIC
from control_stack.types import Array
from sim.tasks.closed_loop import DELAYS, FRAME, INPUTS, ClosedLoop, StepDelay, chosen_goal, goal_entries
from sim.tasks.factory import TASKS, make_task

PARAMETERS = (
    Declared("task", "pushing-disc", "what is on the table", choices=tuple(TASKS)),
    Declared("goal", "", "pose of the object, x,y or x,y,angle in m and rad; empty: drawn by the seed"),
    Declared("seed", 0, "of start and goal", limits=(0, 2**31 - 1)),
    Declared("steps", 60, "after which it is over", limits=(1, 10_000)),
    Declared("lockstep", True, "hold time until the command for each state has arrived"),
    Declared(
        "lockstep_timeout", 10.0, "s of wall time to wait for a command before a step is made", limits=(0.1, 600.0)
    ),
    Declared("real_time_factor", 1.0, "speed of simulated time when not in lockstep", limits=(0.01, 100.0)),
    Declared("compute_delay", "none", "when a command acts", choices=DELAYS),
    Declared(
        "command_timeout", 0.5, "s without a command, outside lockstep, until the pusher stops", limits=(0.1, 10.0)
    ),
    Declared("log_path", "", "MCAP file to write; empty for none"),
)
WAITING, RUNNING, OVER = "waiting", "running", "over"
_WATCH_PERIOD = 0.02  # s of wall time
_AGAIN = 1.0  # s of wall time: a planner that was gone for less is waited for


class TaskNode(ManagedNode):
    """Owns the task and its time. Where no command comes the pusher stands still."""

    def __init__(self) -> None:
        super().__init__("task", PARAMETERS)
        self._loop: ClosedLoop | None = None
        self._log: FlightLog | None = None
        self._rejections = Rejections()
        self._inputs: list[Any] = []
        self._answered_at = self._opened_at = 0.0  # wall, steady
        self._command: Array | None = None
        self._open = False  # a state waits for its command
        self._missed = 0

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Builds the table and draws start and goal."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens the inputs; time starts when a planner is there."""
        alive = SubscriptionEventCallbacks(liveliness=lambda e: self._on_alive(e.alive_count > 0))
        self._inputs = [
            self.create_subscription(
                JointState, COMMAND_TOPIC, self._on_command, qos.COMMAND_IN, event_callbacks=alive
            ),
            self.create_subscription(JointTrajectory, "plan", self._on_plan, qos.EVENTS, raw=True),
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENTS, raw=True),
        ]  # fmt: skip
        period = _WATCH_PERIOD if self._lockstep else self._dt / self.parameter("real_time_factor")
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(period, self._watch if self._lockstep else self._real_time, clock=steady)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops time."""
        self.destroy_timer(self._timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._open = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forgets the table; a new one starts at time 0."""
        self.finish()
        for publisher in (self._states, self._goals, self._phases, self._diagnostics, self._clock):
            self.destroy_publisher(publisher)
        self._claimed.close()
        return super().on_cleanup(state)

    def finish(self) -> None:
        """Closes the log and the simulator."""
        if self._log is not None:
            self._log.close()
        if self._loop is not None:
            self._loop.task.close()
        self._log = self._loop = None

    def _configure(self) -> None:
        self._claimed = claim(self.get_namespace())
        task = make_task(self.parameter("task"))
        try:
            goal = chosen_goal(task, self.parameter("goal"), self.parameter("seed"))
            path = self.parameter("log_path")
            self._log = FlightLog(Path(path)) if path else None
        except BaseException:
            task.close()
            self._claimed.close()
            raise
        task.reset(self.parameter("seed"))
        delay = StepDelay(self.parameter("compute_delay"))
        self._loop = ClosedLoop(task, goal, self.parameter("steps"), delay, self._log)
        self._dt, self._lockstep = task.spec.dt, self.parameter("lockstep")
        self._states = self.create_publisher(JointState, "joint_states", qos.PUBLISH)
        self._goals = self.create_publisher(JointState, "goal", qos.LATCHED)
        self._phases = self.create_publisher(String, "phase", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        self._clock = self.create_publisher(ClockMessage, "/clock", qos.PUBLISH)
        self._goals.publish(messages.joints(*goal_entries(task.spec.output_names, goal), 0.0, FRAME))
        self._enter(WAITING)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._phases.publish(String(data=phase))

    def _side(self) -> ClosedLoop:
        if self._loop is None:
            raise RuntimeError("the node is not configured")
        return self._loop

    def _matched(self) -> bool:
        return self._states.get_subscription_count() > 0 and self.count_publishers(COMMAND_TOPIC) > 0

    def _give(self) -> None:
        """Publishes the state; from now on a command is waited for."""
        loop = self._side()
        stamp = messages.to_time(loop.t)
        if self._clock.get_subscription_count():
            self._clock.publish(ClockMessage(clock=stamp))
        values = {
            "time_s": f"{loop.t:.3f}",
            "phase": self._phase,
            "steps": f"{loop.taken}",
            "missed": f"{self._missed}",
        }
        values |= {key: str(count) for key, count in self._rejections.counts.items()}
        self._diagnostics.publish(messages.status_message(self.get_fully_qualified_name(), values, stamp))
        self._open, self._opened_at = not loop.over, time.monotonic()
        self._states.publish(messages.joints(loop.task.spec.state, loop.task.state, loop.t, FRAME))
        if loop.over:
            self._enter(OVER)

    def _answer(self, u: Array) -> None:
        loop = self._side()
        self._open = False
        loop.answer(u, time.monotonic() - self._opened_at)
        self._give()

    def _on_command(self, message: JointState) -> None:
        loop = self._side()
        if loop.over:
            return
        try:
            frame(message.header.frame_id, (INPUTS,))
            stamp = messages.to_seconds(message.header.stamp)
            if not self._lockstep:
                fresh(stamp, loop.t, self.parameter("command_timeout"))
            elif not self._open or abs(stamp - loop.t) > 1e-6:
                raise InputRejected("stale", f"stamp {stamp:.3f}, waiting for {loop.t:.3f}")
            u = messages.values_of(message, "velocity", loop.task.spec.inputs)
        except InputRejected as error:
            self._rejections.add("command", error)
            # A bad answer is an answer: the pusher stands for a step.
            if error.reason != "stale" and self._lockstep and self._open:
                self._answer(np.zeros(len(loop.task.spec.inputs)))
            return
        self._command, self._answered_at = u, time.monotonic()
        if self._lockstep:
            self._answer(u)

    def _on_alive(self, alive: bool) -> None:
        if not alive and self._phase == RUNNING:
            self.get_logger().warning(f"[{self._side().t:.2f} s] the planner's liveliness is lost")

    def _watch(self) -> None:
        if self._phase == WAITING and self._matched():
            self._enter(RUNNING)
            self._give()
        elif self._open:
            gone = self.count_publishers(COMMAND_TOPIC) == 0
            if time.monotonic() - self._opened_at > (_AGAIN if gone else self.parameter("lockstep_timeout")):
                self._stand()

    def _real_time(self) -> None:
        loop = self._side()
        if self._phase == WAITING and self._matched():
            self._enter(RUNNING)
            self._answered_at = time.monotonic()
            self._give()
        elif self._phase == RUNNING:
            limit = self.parameter("command_timeout") / self.parameter("real_time_factor")
            if time.monotonic() - self._answered_at > limit:
                self._stand()
            else:
                self._answer(np.zeros(len(loop.task.spec.inputs)) if self._command is None else self._command)

    def _stand(self) -> None:
        """A step without a command."""
        self._missed += 1
        self._answer(np.zeros(len(self._side().task.spec.inputs)))

    def _on_plan(self, serialized: bytes) -> None:
        self._keep("plan", "trajectory_msgs/msg/JointTrajectory", serialized)

    def _on_diagnostics(self, serialized: bytes) -> None:
        self._keep("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", serialized)

    def _keep(self, topic: str, kind: str, serialized: bytes) -> None:
        # Stored at the stamp of its header, after four bytes of encapsulation: the state's that it belongs to.
        seconds, nanoseconds = struct.unpack_from("<iI", serialized, 4)
        if self._log is not None:
            self._log.raw(topic, kind, seconds + nanoseconds * 1e-9, bytes(serialized))


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``task_node``."""
    return run(TaskNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
