"""The ROS surface of any vehicle: what the sim node and the hardware node share.

Out: odom, joint_states, battery_state, phase, /diagnostics. In: actuators/command, external_pose, for the log reference
and the controller's events on /diagnostics, and the services arm, takeoff, land, emergency. The room's own node decides
when a control period begins and ends. Inside, all times are the vehicle's; ``epoch`` makes stamps of them, and of
stamps that come in times again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import BatteryState, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import MultiDOFJointTrajectory

from control_stack.artefacts.log import FlightLog
from control_stack.boundary import fresh
from control_stack.errors import InputRejected
from control_stack.flight.recorder import Recorder
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import TellsBattery, Vehicle
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.ros import messages, qos
from control_stack.ros.exclusive import claim
from control_stack.ros.lifecycle import ManagedNode
from control_stack.ros.parameters import Declared
from control_stack.ros_layout import COMMAND_TOPIC
from control_stack.safety.events import Event, Reply
from control_stack.safety.fence import parse_fence
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import QuadrotorState

_DEFAULT = SafetyConfig()
VEHICLE_PARAMETERS = (
    Declared("vehicle", "crazyflie", "vehicle name, or path of a vehicle file"),
    Declared("log_path", "", "MCAP file to write; empty for none"),
    Declared("takeoff_height", _DEFAULT.takeoff_height, "m above the take-off point", limits=(0.1, 100.0)),
    Declared("command_timeout", _DEFAULT.command_timeout, "s without a command until hold", limits=(0.01, 5.0)),
    Declared("hold_time", _DEFAULT.hold_time, "s of holding without a command until landing", limits=(0.0, 60.0)),
    Declared("land_speed", _DEFAULT.land_speed, "m/s", limits=(0.05, 2.0)),
    Declared("climb_speed", _DEFAULT.climb_speed, "m/s", limits=(0.05, 5.0)),
    Declared(
        "max_state_age",
        _DEFAULT.max_state_age,
        "s; commands below velocity level are not flown on older states",
        limits=(0.01, 1.0),
    ),
    Declared("fence", "none", "where it may fly: none, or x_min,y_min,x_max,y_max,height in m"),
    Declared("max_input_age", 0.2, "s; poses with an older or later stamp are dropped", limits=(0.01, 10.0)),
)
_DIAGNOSTICS_PERIOD = 0.2  # s on the vehicle's clock


class VehicleNode(ManagedNode):
    """Publishes a vehicle and takes commands for it. Subclasses give the vehicle and the clock.

    Attributes:
        epoch: A stamp minus the vehicle's time, s: 0 where that time is the clock.
    """

    def __init__(self, name: str, parameters: tuple[Declared, ...]):
        super().__init__(name, (*parameters, *VEHICLE_PARAMETERS))
        self.side: VehicleSide | None = None
        self.epoch = 0.0
        self.recorder = Recorder(None)
        self._phase = ""
        self._diagnosed = -1.0
        self._inputs: list[Any] = []
        self._own = {*self.publishers, *self.services}  # what rclpy itself opened

    def now(self) -> float:
        """Time on the vehicle's clock, s."""
        raise NotImplementedError

    def on_command(self, message: JointState) -> None:
        """A message on actuators/command."""
        raise NotImplementedError

    def on_controller_alive(self, alive: bool) -> None:
        """The liveliness of the command's publisher changed."""

    def build(self, vehicle: Vehicle, parameters: QuadrotorParameters) -> None:
        """Configures: connects the vehicle and creates publishers and services. Nothing is held if it fails."""
        safety = SafetyConfig(
            command_timeout=self.parameter("command_timeout"),
            hold_time=self.parameter("hold_time"),
            takeoff_height=self.parameter("takeoff_height"),
            climb_speed=self.parameter("climb_speed"),
            land_speed=self.parameter("land_speed"),
            fence=parse_fence(self.parameter("fence")),
            max_state_age=self.parameter("max_state_age"),
        )
        self._claimed = claim(self.get_namespace())
        try:
            vehicle.connect()
            side = VehicleSide(vehicle, parameters, safety)
            path = self.parameter("log_path")
            self.recorder = Recorder(FlightLog(Path(path)) if path else None)
        except BaseException:
            vehicle.close()
            self._claimed.close()
            raise
        self.side = side
        side.on_event = self.tell
        self._odom = self.create_publisher(Odometry, "odom", qos.PUBLISH)
        self._joints = self.create_publisher(JointState, "joint_states", qos.PUBLISH)
        self._battery = (
            self.create_publisher(BatteryState, "battery_state", qos.PUBLISH)
            if isinstance(vehicle, TellsBattery)
            else None
        )
        self._phase_out = self.create_publisher(String, "phase", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
        self._tf = self._transform_publisher()
        self.create_service(SetBool, "arm", self._serve_arm)
        for name, action in (("takeoff", self._takeoff), ("land", self.land), ("emergency", self.emergency)):
            self.create_service(Trigger, name, _trigger(action))

    def open_inputs(self, lockstep: bool) -> None:
        """Activates: a subscription exists only while commands are wanted, so 'matched' means 'active'."""
        alive = SubscriptionEventCallbacks(liveliness=lambda e: self.on_controller_alive(e.alive_count > 0))
        reliable = qos.subscribe(lockstep)
        self._inputs = [
            self.create_subscription(MultiDOFJointTrajectory, "reference", self._on_reference, qos.EVENTS, raw=True),
            self.create_subscription(JointState, COMMAND_TOPIC, self.on_command, qos.COMMAND_IN, event_callbacks=alive),
            self.create_subscription(PoseStamped, "external_pose", self._on_external_pose, reliable),
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENTS),
        ]

    def close_inputs(self) -> None:
        """Deactivates: what others say is not heard any more."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []

    def matched(self) -> bool:
        """Whether an active controller listens and speaks."""
        return self._odom.get_subscription_count() > 0 and self.count_publishers(COMMAND_TOPIC) > 0

    def publish_state(self, state: QuadrotorState, lockstep: bool = False) -> None:
        """Phase first, so that a controller in lockstep knows it when the state arrives.

        Outside lockstep nobody is waited for: a controller that was killed would hold the vehicle's loop up.
        """
        state = replace(state, stamp=state.stamp + self.epoch)
        stamp = messages.to_time(state.stamp)
        side = self._side()
        if side.phase.value != self._phase:
            self._phase = side.phase.value
            self._phase_out.publish(String(data=self._phase))
            if lockstep:
                self._phase_out.wait_for_all_acked()
        if state.rotor_speed is not None and self._joints.get_subscription_count():
            self._joints.publish(messages.rotor_states(state.rotor_speed, stamp))
        odometry = messages.odometry(state)
        self._odom.publish(odometry)
        if self._tf is not None:
            self._tf(odometry)
        if self.now() - self._diagnosed >= _DIAGNOSTICS_PERIOD:
            self._diagnosed = self.now()
            self._publish_diagnostics(self.diagnostics())
            if self._battery is not None:
                self._battery.publish(messages.battery_state(side.vehicle.battery(), stamp))  # type: ignore[attr-defined]

    def diagnostics(self) -> dict[str, str]:
        """Key values of the vehicle's own status; subclasses add theirs."""
        side = self._side()
        age = self.now() - side.state.stamp
        return {
            "time_s": f"{self.now() + self.epoch:.3f}",
            "phase": side.phase.value,
            "state_age_s": f"{age:.4f}",
            **{k: str(v) for k, v in side.rejections.counts.items()},
        }

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets go of the vehicle, the log and the surface; configure builds them anew."""
        self.finish()
        for publisher in set(self.publishers) - self._own:
            self.destroy_publisher(publisher)
        for service in set(self.services) - self._own:
            self.destroy_service(service)
        self.side, self._phase, self._diagnosed = None, "", -1.0
        self._claimed.close()
        return super().on_cleanup(state)

    def finish(self) -> None:
        """Closes the log and the vehicle."""
        self.recorder.close()
        self.recorder = Recorder(None)
        if self.side is not None:
            self.side.vehicle.close()

    def _side(self) -> VehicleSide:
        if self.side is None:
            raise RuntimeError("the node is not configured")
        return self.side

    def arm(self) -> Reply:
        """Asked to arm."""
        return self._side().supervisor.arm(self.now(), self._side().state)

    def land(self) -> Reply:
        """Asked to land."""
        return self._side().supervisor.land(self.now(), self._side().state)

    def emergency(self) -> Reply:
        """Asked for an emergency: the motors stop now, not at the next period."""
        reply = self._side().supervisor.emergency(self.now())
        self._side().act(self.now())
        return reply

    def tell(self, event: Event) -> None:
        """Logs and publishes an event, whose time is the vehicle's."""
        self.recorder.event(event)
        self.log_event(event)
        told = replace(event, t=event.t + self.epoch)
        self._diagnostics.publish(messages.event_message(told, self.get_fully_qualified_name()))

    def _publish_diagnostics(self, values: dict[str, str]) -> None:
        name, stamp = self.get_fully_qualified_name(), messages.to_time(max(self.now() + self.epoch, 0.0))
        vehicle = self.parameter("vehicle")
        self._diagnostics.publish(messages.status_message(name, values, stamp, hardware_id=vehicle))

    def _on_reference(self, serialized: bytes) -> None:
        # Only for the log: stored at the stamp of its header (after four bytes of encapsulation), which is the state's
        # that it belongs to; it may arrive before or after the command computed from it.
        seconds, nanoseconds = struct.unpack_from("<iI", serialized, 4)
        stamp = seconds + nanoseconds * 1e-9 - self.epoch
        if self.epoch:
            own = messages.to_time(max(stamp, 0.0))
            serialized = serialized[:4] + struct.pack("<iI", own.sec, own.nanosec) + serialized[12:]
        self.recorder.raw("reference", "trajectory_msgs/msg/MultiDOFJointTrajectory", stamp, serialized)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # Only for the log, which has this node's own events already; those of other vehicles belong to other logs.
        for node, event in messages.events_from(message):
            namespace = node.rpartition("/")[0] or "/"
            if namespace == self.get_namespace() and node != self.get_fully_qualified_name():
                self.recorder.event(replace(event, t=event.t - self.epoch))

    def _on_external_pose(self, message: PoseStamped) -> None:
        side = self._side()
        try:
            stamp = messages.to_seconds(message.header.stamp) - self.epoch
            fresh(stamp, self.now(), self.parameter("max_input_age"))
            position, quat = messages.pose_from(message)
            side.vehicle.external_pose(position, quat, stamp)
        except InputRejected as error:
            side.rejections.add("external_pose", error)

    def _serve_arm(self, request: Any, response: Any) -> Any:
        reply = self.arm() if request.data else self._side().supervisor.disarm(self.now())
        response.success, response.message = reply.accepted, reply.message
        return response

    def _takeoff(self) -> Reply:
        return self._side().supervisor.takeoff(self.now(), self._side().state)

    def _transform_publisher(self) -> Callable[[Odometry], None] | None:
        try:
            from geometry_msgs.msg import TransformStamped
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self.get_logger().info("tf2_msgs is not installed: /tf is not published")
            return None
        publisher = self.create_publisher(TFMessage, "/tf", qos.EVENTS)

        def publish(odometry: Odometry) -> None:
            transform = TransformStamped(header=odometry.header, child_frame_id=odometry.child_frame_id)
            position, transform.transform.rotation = odometry.pose.pose.position, odometry.pose.pose.orientation
            to = transform.transform.translation
            to.x, to.y, to.z = position.x, position.y, position.z
            publisher.publish(TFMessage(transforms=[transform]))

        return publish


def _trigger(action: Callable[[], Reply]) -> Callable[[Any, Any], Any]:
    def serve(request: Any, response: Any) -> Any:
        reply = action()
        response.success, response.message = reply.accepted, reply.message
        return response

    return serve
