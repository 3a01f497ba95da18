"""The controller node: any controller of this room (or a user's file) on ROS 2, switchable in flight."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry, Path
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import MultiDOFJointTrajectory

from control_stack.boundary import Rejections, check_command
from control_stack.errors import InputRejected, UnknownName
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.setpoints import Setpoints
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.ros import messages, qos
from control_stack.ros.lifecycle import ManagedNode, run
from control_stack.ros.parameters import Declared
from control_stack.ros_layout import COMMAND_TOPIC, ROTORS
from control_stack.safety.barrier.filter import build_filter
from control_stack.safety.events import Phase
from control_stack.types import Array, CommandLevel, QuadrotorState
from controllers.loader import build_controller, check_proved

_LEVELS = tuple(level.value for level in CommandLevel if level is not CommandLevel.JOINTS)
PARAMETERS = (
    Declared("vehicle", "crazyflie", "vehicle name, or path of a vehicle file"),
    Declared("controller", "geometric", "the active controller, one of `controllers`", read_only=False),
    Declared("controllers", ["geometric"], "all that may fly: names, or file.py:Class"),
    Declared("fallback", "", "controllers that fly on when one fails, in order, joined by commas; empty for none"),
    Declared("filter", "", "scene file (YAML) of the filter that changes unsafe commands; empty for none"),
    Declared("verify", "", "box file, or report of verify, that policies must be proved by; empty for none"),
    Declared("levels", list(_LEVELS), "command levels that the vehicle accepts"),
    Declared("lockstep", True, "compute in the state callback; otherwise a timer drives the controller"),
    Declared("driven_by", "timer", "what makes it compute outside lockstep", choices=("timer", "states")),
    Declared("control_rate", 100.0, "calls per second", limits=(10.0, 1000.0)),
    Declared("real_time_factor", 1.0, "of the vehicle's clock, when not in lockstep", limits=(0.01, 100.0)),
    Declared("velocity_timeout", 0.3, "s after the last cmd_vel until it stops", limits=(0.05, 5.0)),
)
_DIAGNOSTICS_PERIOD = 0.2  # s
_FRESH = 0.05  # s between a state and the rotor speeds that belong to it, at most


class ControllerNode(ManagedNode):
    """State in, command out; setpoints from command_pose, command_trajectory or cmd_vel."""

    def __init__(self) -> None:
        super().__init__("controller", PARAMETERS)
        self._flying = False
        self._state: QuadrotorState | None = None
        self._rotors: tuple[float, Array] | None = None  # when, and how fast they turned
        self._entities: list[Any] = []
        self._diagnosed = -1.0
        self._rejections = Rejections()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Builds all controllers."""
        return self.guarded(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Opens inputs and outputs."""
        self._commands = self.create_publisher(JointState, COMMAND_TOPIC, qos.COMMAND)
        self._references = self.create_publisher(MultiDOFJointTrajectory, "reference", qos.EVENTS)
        self._plan = self.create_publisher(Path, "plan", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        # What is published before the state is read before it: see VehicleNode.publish_state.
        self._entities = [self.create_subscription(String, "phase", self._on_phase, qos.LATCHED)]
        if any("rotor_speed" in controller.spec.needs for controller in self._side.controllers.values()):
            profile = qos.subscribe(self._lockstep)
            self._entities.append(self.create_subscription(JointState, "joint_states", self._on_rotors, profile))
        self._entities += [
            self.create_subscription(PoseStamped, "command_pose", self._on_pose, qos.PUBLISH),
            self.create_subscription(MultiDOFJointTrajectory, "command_trajectory", self._on_trajectory, qos.PUBLISH),
            self.create_subscription(TwistStamped, "cmd_vel", self._on_velocity, qos.SENSOR),
            self.create_subscription(Odometry, "odom", self._on_state, qos.subscribe(self._lockstep)),
        ]
        if not self._on_each_state:
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._timer = self.create_timer(self._period, self._on_timer, clock=steady)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Without this publisher the vehicle's supervisor holds, then lands."""
        if not self._on_each_state:
            self.destroy_timer(self._timer)
        for subscription in self._entities:
            self.destroy_subscription(subscription)
        for publisher in (self._commands, self._references, self._plan, self._diagnostics):
            self.destroy_publisher(publisher)
        return super().on_deactivate(state)

    def _configure(self) -> None:
        parameters = load_vehicle(self.parameter("vehicle"))
        for name in self.parameter("levels"):
            if name not in _LEVELS:
                raise UnknownName("value in parameter levels", name, _LEVELS)
        levels = [CommandLevel(name) for name in self.parameter("levels")]
        fallback = [name for name in self.parameter("fallback").split(",") if name]
        names = list(dict.fromkeys([self.parameter("controller"), *self.parameter("controllers"), *fallback]))
        rate = self.parameter("control_rate")
        built = {name: build_controller(name, parameters, levels, rate) for name in names}
        check_proved(self.parameter("verify") or None, built)
        setpoints = Setpoints(parameters.limits, self.parameter("velocity_timeout"))
        self._lockstep = self.parameter("lockstep")
        self._on_each_state = self._lockstep or self.parameter("driven_by") == "states"
        self._period = 1.0 / (rate * self.parameter("real_time_factor"))
        deadline = math.inf if self._lockstep else self._period
        guard = build_filter(self.parameter("filter") or None, parameters, rate)
        self._side = ControllerSide(built, self.parameter("controller"), setpoints, fallback, deadline, guard)
        self.add_on_set_parameters_callback(self._on_parameters)

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if change.name == "controller":
                try:
                    self._side.switch(change.value)
                except UnknownName as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_phase(self, message: String) -> None:
        self._flying = message.data == Phase.FLYING.value
        if message.data == Phase.DISARMED.value:
            self._side.landed()

    def _on_rotors(self, message: JointState) -> None:
        try:
            speeds = messages.values_of(message, "velocity", ROTORS)
        except InputRejected as error:
            self._rejections.add("joint_states", error)
            return
        self._rotors = messages.to_seconds(message.header.stamp), speeds

    def _on_state(self, message: Odometry) -> None:
        try:
            state = messages.state_from_odometry(message)
        except InputRejected as error:
            self._rejections.add("odom", error)
            return
        if self._rotors is not None and abs(state.stamp - self._rotors[0]) < _FRESH:
            state = replace(state, rotor_speed=self._rotors[1])
        self._state = state
        if self._on_each_state:
            self._compute(self._state)

    def _on_timer(self) -> None:
        if self._state is not None:
            self._compute(self._state)

    def _compute(self, state: QuadrotorState) -> None:
        stamp = messages.to_time(state.stamp)
        try:
            command = self._side.compute(state.stamp, state, self._flying)
            check_command(command)
            answer = messages.joint_command(command, stamp)
        except InputRejected as error:
            self._rejections.add("command", error)
            answer = messages.no_command(stamp)
        reference = self._side.last_reference
        if self._flying and reference is not None:
            self._references.publish(messages.reference_message(reference, stamp))
        self._commands.publish(answer)
        for event in self._side.drain_events():
            self.log_event(event)
            self._diagnostics.publish(messages.event_message(event, self.get_fully_qualified_name()))
        if state.stamp - self._diagnosed >= _DIAGNOSTICS_PERIOD or state.stamp < self._diagnosed:
            self._diagnosed = state.stamp
            self._publish_diagnostics(stamp)

    def _on_pose(self, message: PoseStamped) -> None:
        self._take("command_pose", lambda: self._side.setpoints.go_to(*messages.goal_from(message)))

    def _on_trajectory(self, message: MultiDOFJointTrajectory) -> None:
        def follow() -> None:
            trajectory, start = messages.trajectory_from(message)
            self._side.setpoints.follow(trajectory, start)
            self._plan.publish(messages.path_message(trajectory))

        self._take("command_trajectory", follow)

    def _on_velocity(self, message: TwistStamped) -> None:
        t = self._state.stamp if self._state is not None else 0.0
        self._take("cmd_vel", lambda: self._side.setpoints.fly_velocity(t, messages.velocity_from(message)))

    def _take(self, topic: str, action: Any) -> None:
        """Runs an input's action; what is wrong with it is counted and the previous setpoint stays."""
        try:
            action()
        except InputRejected as error:
            self._rejections.add(topic, error)
            self.get_logger().warning(f"{topic} dropped: {error}")

    def _publish_diagnostics(self, stamp: Any) -> None:
        times, periods = np.array(self._side.solve_times), np.diff(self._side.call_times)
        if len(periods) == 0:
            return
        values = {
            "controller": self._side.active,
            "shadow": self._side.shadow or "",
            "solve_time_p50_s": f"{np.percentile(times, 50):.2e}",
            "solve_time_p99_s": f"{np.percentile(times, 99):.2e}",
            "loop_period_p50_s": f"{np.percentile(periods, 50):.3e}",
            "loop_period_p99_s": f"{np.percentile(periods, 99):.3e}",
            **self._period_errors(periods),
            "deadline_misses": str(int((times > 1.0 / self.parameter("control_rate")).sum())),
            **{key: f"{value:.6g}" for key, value in self._side.filter_report().items()},
            **{key: str(count) for key, count in self._rejections.counts.items()},
        }
        self._diagnostics.publish(messages.status_message(self.get_fully_qualified_name(), values, stamp))

    def _period_errors(self, periods: Any) -> dict[str, str]:
        """How far calls are from their period, where the wall clock is what drives them."""
        if self._lockstep:
            return {}
        errors = np.abs(periods - self._period)
        return {f"loop_period_error_p{q}_s": f"{np.percentile(errors, q):.3e}" for q in (50, 99)}


def main(arguments: list[str] | None = None) -> int:
    """Runs the node; the executable ``controller_node``."""
    return run(ControllerNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
