"""The arm node: a simulated arm on ROS 2, in lockstep with a controller or at a real-time factor.

Out: joint_states, reference (the whole of it, at equal intervals), phase, /diagnostics, /clock. In: actuators/command
(frame_id "joints", effort by joint name), and /diagnostics for the log. Where no command comes the brakes hold the arm.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from control_stack.arm.changes import changes_of
from control_stack.arm.draws import KINDS
from control_stack.arm.library import load_arm
from control_stack.artefacts.log import FlightLog
from control_stack.boundary import Rejections, frame, fresh
from control_stack.errors import InputRejected
from control_stack.ros import messages, qos
from control_stack.ros.exclusive import claim
from control_stack.ros.joint_messages import arm_state, trajectory
from control_stack.ros.lifecycle import ManagedNode, run
from control_stack.ros.parameters import Declared
from control_stack.ros_layout import COMMAND_TOPIC
from control_stack.types import JointCommand
from sim.arm.bullet import BulletArm
from sim.arm.closed_loop import FRAME, INPUTS, ArmLoop, delay_of, simulation, start_reference

PARAMETERS = (
    Declared("arm", "panda", "a shipped arm, or an arm file or URDF"),
    Declared("reference", "multi_sine", "what is followed", choices=KINDS),
    Declared("duration", 10.0, "of the reference, s", limits=(4.0, 60.0)),
    Declared("seed", 0, "of the reference and the sensors' noise", limits=(0, 2**31 - 1)),
    Declared("changes", "", "loads, as T:KG,X,Y,Z;T:KG"),
    Declared("friction", 1.0, "factor on the arm's own friction", limits=(0.0, 10.0)),
    Declared("sensors", "typical", "noise of what is measured", choices=("typical", "none")),
    Declared("lockstep", True, "hold time until the command for each state has arrived"),
    Declared(
        "lockstep_timeout", 10.0, "s of wall time to wait for a command before the brakes act", limits=(0.1, 600.0)
    ),
    Declared("real_time_factor", 1.0, "speed of simulated time when not in lockstep", limits=(0.01, 100.0)),
    Declared("compute_delay", "fixed", "when a command acts", choices=("none", "fixed", "measured")),
    Declared(
        "command_timeout", 0.1, "s without a command, outside lockstep, until the brakes act", limits=(0.04, 10.0)
    ),
    Declared("log_path", "", "MCAP file to write; empty for none"),
)
WAITING, RUNNING, OVER = "waiting", "running", "over"
_WATCH_PERIOD = 0.02  # s of wall time
_AGAIN = 1.0  # s of wall time: a controller that was gone for less is waited for


class ArmNode(ManagedNode):
    """Owns the arm and its time."""

    def __init__(self) -> None:
        super().__init__("arm", PARAMETERS)
        self._loop: ArmLoop | None = None
        self._log: FlightLog | None = None
        self._arm: BulletArm | None = None
        self._rejections = Rejections()
        self._inputs: list[Any] = []
        self._answered_at = self._opened_at = 0.0  # wall, steady
        self._command: JointCommand | None = None
        self._open = False  # a state waits for its command

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Builds the arm and draws the reference."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens the inputs; time starts when a controller is there."""
        self._inputs = [
            self.create_subscription(JointState, COMMAND_TOPIC, self._on_command, qos.COMMAND_IN),
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENTS, raw=True),
        ]
        period = _WATCH_PERIOD if self._lockstep else self._side().period / self.parameter("real_time_factor")
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(period, self._watch if self._lockstep else self._real_time, clock=steady)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stops time, with the brakes on."""
        self.destroy_timer(self._timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._open = False
        self._side().arm.disarm()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forgets the arm; a new one starts at time 0."""
        self.finish()
        for publisher in (self._states, self._references, self._phases, self._diagnostics, self._clock):
            self.destroy_publisher(publisher)
        self._claimed.close()
        return super().on_cleanup(state)

    def finish(self) -> None:
        """Closes the log and the simulator."""
        if self._log is not None:
            self._log.close()
        if self._arm is not None:
            self._arm.close()
        self._log = self._loop = self._arm = None

    def _configure(self) -> None:
        value = self.parameter
        self._claimed = claim(self.get_namespace())
        try:
            parameters, changes = load_arm(value("arm")), changes_of(value("changes"))
            reference = start_reference(parameters, value("reference"), value("seed"), value("duration"), changes)
            self._arm = BulletArm(parameters, simulation(value("seed"), value("sensors"), value("friction")))
            self._arm.connect()
            self._log = FlightLog(Path(value("log_path"))) if value("log_path") else None
        except BaseException:
            self.finish()
            self._claimed.close()
            raise
        delay = delay_of(value("compute_delay"), 1.0 / self._arm.spec.rate_hz)
        self._loop, self._lockstep = ArmLoop(self._arm, reference, changes, delay, self._log), value("lockstep")
        self._states = self.create_publisher(JointState, "joint_states", qos.PUBLISH)
        self._references = self.create_publisher(JointTrajectory, "reference", qos.LATCHED)
        self._phases = self.create_publisher(String, "phase", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        self._clock = self.create_publisher(ClockMessage, "/clock", qos.PUBLISH)
        self._references.publish(trajectory(parameters.joint_names, reference, FRAME))
        self._enter(WAITING)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._phases.publish(String(data=phase))

    def _side(self) -> ArmLoop:
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
        values = {"time_s": f"{loop.t:.3f}", "phase": self._phase, "steps": f"{loop.taken}", "missed": f"{loop.missed}"}
        values |= {key: str(count) for key, count in self._rejections.counts.items()}
        self._diagnostics.publish(messages.status_message(self.get_fully_qualified_name(), values, stamp))
        self._open, self._opened_at = not loop.over, time.monotonic()
        self._states.publish(arm_state(loop.arm.parameters.joint_names, loop.arm.state(), loop.t, FRAME))
        if loop.over:
            self._enter(OVER)

    def _answer(self, command: JointCommand | None) -> None:
        self._open = False
        self._side().answer(command, time.monotonic() - self._opened_at)
        self._give()

    def _on_command(self, message: JointState) -> None:
        loop = self._side()
        if loop.over:
            return
        try:
            stamp = messages.to_seconds(message.header.stamp)
            if not self._lockstep:
                fresh(stamp, loop.t, self.parameter("command_timeout"))
            elif not self._open or abs(stamp - loop.t) > 1e-6:
                raise InputRejected("stale", f"stamp {stamp:.3f}, waiting for {loop.t:.3f}")
            frame(message.header.frame_id, (INPUTS,))
            effort = messages.values_of(message, "effort", loop.arm.parameters.joint_names)
        except InputRejected as error:
            self._rejections.add("command", error)
            # A bad answer is an answer: the brakes hold the arm for a period.
            if error.reason != "stale" and self._lockstep and self._open:
                self._answer(None)
            return
        self._command, self._answered_at = JointCommand(effort, stamp), time.monotonic()
        if self._lockstep:
            self._answer(self._command)

    def _watch(self) -> None:
        if self._phase == WAITING and self._matched():
            self._enter(RUNNING)
            self._give()
        elif self._open:
            gone = self.count_publishers(COMMAND_TOPIC) == 0
            if time.monotonic() - self._opened_at > (_AGAIN if gone else self.parameter("lockstep_timeout")):
                self._answer(None)

    def _real_time(self) -> None:
        if self._phase == WAITING and self._matched():
            self._enter(RUNNING)
            self._answered_at = time.monotonic()
            self._give()
        elif self._phase == RUNNING:
            limit = self.parameter("command_timeout") / self.parameter("real_time_factor")
            self._answer(None if time.monotonic() - self._answered_at > limit else self._command)

    def _on_diagnostics(self, serialized: bytes) -> None:
        # Stored at the stamp of its header, after four bytes of encapsulation: the state's that it belongs to.
        seconds, nanoseconds = struct.unpack_from("<iI", serialized, 4)
        if self._log is not None:
            at = seconds + nanoseconds * 1e-9
            self._log.raw("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", at, bytes(serialized))


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``arm_node``."""
    return run(ArmNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
