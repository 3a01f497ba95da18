"""The node of an arm's controller: reference and states in; commands and the figures of each call out."""

from __future__ import annotations

import sys
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from control_stack.arm.changes import changes_of
from control_stack.arm.library import load_arm
from control_stack.arm.sampled import SampledJoints
from control_stack.boundary import Rejections
from control_stack.errors import InputRejected
from control_stack.ros import messages, qos
from control_stack.ros.joint_messages import arm_state_from, trajectory_from
from control_stack.ros.lifecycle import ManagedNode, run
from control_stack.ros.parameters import Declared
from control_stack.ros_layout import COMMAND_TOPIC
from control_stack.types import CommandLevel
from controllers.arm.base import following
from controllers.arm.factory import CONTROLLERS, assumed_delay, make_controller, read_settings
from controllers.arm.models import ESTIMATORS, NONE, OWN
from controllers.arm.report import values

PARAMETERS = (
    Declared("arm", "panda", "a shipped arm, or an arm file or URDF"),
    Declared("controller", "nmpc", "the control law", choices=CONTROLLERS),
    Declared("model", "nominal", "nominal, oracle, learned, or a path of control-stack fit lagrangian"),
    Declared("estimator", OWN, "of what the model does not know", choices=(OWN, NONE, *ESTIMATORS)),
    Declared("changes", "", "loads that the oracle is told, as T:KG,X,Y,Z;T:KG"),
    Declared("compute_delay", "fixed", "as of the arm node", choices=("none", "fixed", "measured")),
    Declared("deadline", 0.0, "s of wall time of an NMPC call; 0: none", limits=(0.0, 1.0)),
    Declared("settings", "", "a JSON file of settings; empty: as tuned"),
    Declared("lockstep", True, "as of the arm node: every state is waited for"),
)
_BASE = "base_link"


class ArmControllerNode(ManagedNode):
    """Answers each state in its callback, so that a slow call skips the states in between outside lockstep."""

    def __init__(self) -> None:
        super().__init__("controller", PARAMETERS)
        self._reference: SampledJoints | None = None
        self._rejections = Rejections()
        self._inputs: list[Any] = []

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and builds the solver."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens inputs and outputs."""
        self._controller.reset()
        self._commands = self.create_publisher(JointState, COMMAND_TOPIC, qos.COMMAND)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        self._inputs = [self.create_subscription(JointTrajectory, "reference", self._on_reference, qos.LATCHED)]
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Without this publisher the brakes hold the arm."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for publisher in (self._commands, self._diagnostics):
            self.destroy_publisher(publisher)
        return super().on_deactivate(state)

    def _configure(self) -> None:
        value = self.parameter
        self._arm = load_arm(value("arm"))
        self._controller = make_controller(
            self._arm,
            value("controller"),
            value("model"),
            value("estimator"),
            changes=changes_of(value("changes")),
            delay=assumed_delay(value("compute_delay")),
            deadline=value("deadline") or None,
            settings=read_settings(value("settings")) if value("settings") else None,
        )

    def _on_reference(self, message: JointTrajectory) -> None:
        try:
            self._reference = trajectory_from(message, self._arm.joint_names, _BASE)
        except InputRejected as error:
            self._rejections.add("reference", error)
            self.get_logger().warning(f"reference dropped: {error}")
        if self._reference is not None and len(self._inputs) == 1:
            # Only now: the arm's time begins when its states are listened to.
            states = qos.subscribe(self.parameter("lockstep"))
            self._inputs.append(self.create_subscription(JointState, "joint_states", self._on_state, states))

    def _given(self) -> SampledJoints:
        if self._reference is None:
            raise InputRejected("trajectory", "no reference has come yet")
        return self._reference

    def _on_state(self, message: JointState) -> None:
        answer = messages.no_command(message.header.stamp)
        t = messages.to_seconds(message.header.stamp)
        try:
            state = arm_state_from(message, self._arm.joint_names, _BASE)
            command = self._controller(t, state, following(self._given(), t))
        except InputRejected as error:
            self._rejections.add("state", error)
        else:
            joints = CommandLevel.JOINTS.value
            answer = messages.joints(self._arm.joint_names, command.effort, t, joints, field="effort")
        self._commands.publish(answer)
        told = {**values(self._controller), **{key: str(count) for key, count in self._rejections.counts.items()}}
        self._diagnostics.publish(
            messages.status_message(self.get_fully_qualified_name(), told, message.header.stamp)
        )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``arm_controller_node``."""
    return run(ArmControllerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
