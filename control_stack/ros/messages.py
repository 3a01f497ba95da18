"""Messages to and from the core's types. What comes in is checked here; InputRejected says why it is dropped."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, Transform, Twist, TwistStamped
from nav_msgs.msg import Odometry, Path
from sensor_msgs.msg import BatteryState, JointState
from trajectory_msgs.msg import (
    JointTrajectory,
    JointTrajectoryPoint,
    MultiDOFJointTrajectory,
    MultiDOFJointTrajectoryPoint,
)

from control_stack.algebra import quat_from_yaw, rotate, rotate_inverse, yaw_of
from control_stack.boundary import finite, frame, unit_quaternion
from control_stack.errors import InputRejected, InvalidInput
from control_stack.flight.setpoints import BodyVelocity
from control_stack.protocols import Battery, Trajectory
from control_stack.ros_layout import EVENT_PREFIX, NO_COMMAND, ROTORS, command_from_fields, joint_fields
from control_stack.safety.events import Event, Severity
from control_stack.trajectories import SampledTrajectory, sample
from control_stack.types import Array, Command, QuadrotorState, Reference

WORLD_FRAMES = ("map", "odom")
BODY_FRAME = "base_link"
_UNKNOWN = -1.0  # covariance[0] of an estimate that is not to be trusted, as sensor_msgs defines it


def to_time(seconds: float) -> Time:
    """Seconds as a stamp, to the nanosecond."""
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def to_seconds(time: Time) -> float:
    """A stamp in seconds."""
    return time.sec + time.nanosec * 1e-9


def odometry(state: QuadrotorState) -> Odometry:
    """State in odom, twist in base_link (REP-105); an invalid state has covariance[0] = -1."""
    message = Odometry()
    message.header.stamp = to_time(state.stamp)
    message.header.frame_id, message.child_frame_id = "odom", BODY_FRAME
    pose, twist = message.pose.pose, message.twist.twist
    quat = state.quat_xyzw.tolist()
    pose.position.x, pose.position.y, pose.position.z = state.position_w.tolist()
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = quat
    velocity_b = rotate_inverse(quat, state.velocity_w.tolist())
    twist.linear.x, twist.linear.y, twist.linear.z = velocity_b
    twist.angular.x, twist.angular.y, twist.angular.z = state.omega_b.tolist()
    if not state.valid:
        message.pose.covariance[0] = _UNKNOWN
    return message


def state_from_odometry(message: Odometry) -> QuadrotorState:
    """The state in an odometry message in map or odom. Raises InputRejected."""
    frame(message.header.frame_id, WORLD_FRAMES)
    frame(message.child_frame_id, (BODY_FRAME,))
    p, q = message.pose.pose.position, message.pose.pose.orientation
    v, w = message.twist.twist.linear, message.twist.twist.angular
    quat = unit_quaternion((q.x, q.y, q.z, q.w))
    velocity_b = finite((v.x, v.y, v.z), "velocity").tolist()
    return QuadrotorState(
        position_w=finite((p.x, p.y, p.z), "position"),
        velocity_w=np.array(rotate(tuple(quat.tolist()), velocity_b)),  # type: ignore[arg-type]
        quat_xyzw=quat,
        omega_b=finite((w.x, w.y, w.z), "body rates"),
        stamp=to_seconds(message.header.stamp),
        valid=bool(message.pose.covariance[0] >= 0.0),
    )


def joint_command(command: Command, stamp: Time) -> JointState:
    """A command in the layout of ``actuators/command``; see ``ros_layout``."""
    message = JointState()
    message.header.stamp, message.header.frame_id = stamp, command.level.value
    names, position, velocity, effort = joint_fields(command)
    message.name = names
    message.position, message.velocity, message.effort = position.tolist(), velocity.tolist(), effort.tolist()
    return message


def no_command(stamp: Time) -> JointState:
    """The answer to a state for which there is no command: the vehicle side counts it and flies nothing of it."""
    message = JointState()
    message.header.stamp, message.header.frame_id = stamp, NO_COMMAND
    return message


def command_from_joints(message: JointState) -> Command:
    """The command in a message on ``actuators/command``. Raises InputRejected."""
    return command_from_fields(
        message.header.frame_id,
        message.name,
        message.position,
        message.velocity,
        message.effort,
        to_seconds(message.header.stamp),
    )


def joints(names: Sequence[str], values: Array, stamp: float, frame_id: str, field: str = "position") -> JointState:
    """Named values (n,) in one field."""
    message = JointState(name=list(names), **{field: [float(value) for value in values]})
    message.header.stamp, message.header.frame_id = to_time(stamp), frame_id
    return message


def values_of(message: JointState, field: str, names: Sequence[str], infinite: bool = False) -> Array:
    """(n,) values of these names in a field, whatever else and in whatever order the message has them.

    Raises:
        InputRejected: "names" missing or twice, "shape" of a field as long as the names are not, "nan".
    """
    given, place = getattr(message, field), {name: i for i, name in enumerate(message.name)}
    if len(place) != len(message.name) or not set(names) <= set(place):
        raise InputRejected("names", f"expected each of {', '.join(names)} once, got {', '.join(message.name)}")
    if len(given) != len(message.name):
        raise InputRejected("shape", f"{field} has {len(given)} entries for {len(message.name)} names")
    values = np.array([given[place[name]] for name in names], dtype=float)
    if np.isnan(values).any() or not (infinite or np.isfinite(values).all()):
        raise InputRejected("nan", f"{field} is not finite")
    return values


def plan_message(names: Sequence[str], states: Array, dt: float, stamp: float, frame_id: str) -> JointTrajectory:
    """Planned states (T + 1, n), dt s apart, from the stamp on."""
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp, message.header.frame_id = to_time(stamp), frame_id
    for t, values in enumerate(states):
        point = JointTrajectoryPoint(positions=values.tolist())
        point.time_from_start.sec, point.time_from_start.nanosec = divmod(round(t * dt * 1e9), 1_000_000_000)
        message.points.append(point)
    return message


def rotor_states(rotor_speed: Array, stamp: Time) -> JointState:
    """Measured rotor speeds, rad/s."""
    message = JointState(name=list(ROTORS), velocity=rotor_speed.tolist())
    message.header.stamp, message.header.frame_id = stamp, BODY_FRAME
    return message


def battery_state(battery: Battery, stamp: Time) -> BatteryState:
    """What is known of a battery; NaN where it is not, as the message defines it."""
    message = BatteryState(voltage=battery.voltage, percentage=battery.share)
    message.header.stamp, message.header.frame_id = stamp, BODY_FRAME
    message.current = message.charge = message.capacity = message.design_capacity = message.temperature = math.nan
    message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    message.present = math.isfinite(battery.voltage)
    return message


def pose_from(message: PoseStamped | Odometry) -> tuple[Array, Array]:
    """(position_w, quat_xyzw) of a pose in the world."""
    frame(message.header.frame_id, WORLD_FRAMES)
    pose = message.pose if isinstance(message, PoseStamped) else message.pose.pose
    p, q = pose.position, pose.orientation
    return finite((p.x, p.y, p.z), "position"), unit_quaternion((q.x, q.y, q.z, q.w))


def goal_from(message: PoseStamped) -> tuple[Array, float]:
    """(position_w, yaw) that a pose asks for; its tilt is ignored."""
    position, quat = pose_from(message)
    return position, float(yaw_of(tuple(quat.tolist())))  # type: ignore[arg-type]


def velocity_from(message: TwistStamped) -> BodyVelocity:
    """The velocity that a twist in base_link asks for. Raises InputRejected."""
    frame(message.header.frame_id, (BODY_FRAME,))
    v, w = message.twist.linear, message.twist.angular
    yaw_rate = float(finite(w.z, "yaw rate"))
    return BodyVelocity(finite((v.x, v.y, v.z), "velocity"), yaw_rate)


def _twist(linear: Array, yaw_rate: float = 0.0) -> Twist:
    twist = Twist()
    twist.linear.x, twist.linear.y, twist.linear.z = (float(c) for c in linear)
    twist.angular.z = float(yaw_rate)
    return twist


def _point(
    t: float, position: Array, velocity: Array, acceleration: Array, yaw: float, rate: float
) -> MultiDOFJointTrajectoryPoint:
    place = Transform()
    place.translation.x, place.translation.y, place.translation.z = (float(c) for c in position)
    q = place.rotation
    q.x, q.y, q.z, q.w = quat_from_yaw(float(yaw))
    point = MultiDOFJointTrajectoryPoint(
        transforms=[place], velocities=[_twist(velocity, rate)], accelerations=[_twist(acceleration)]
    )
    point.time_from_start.sec, nanosec = divmod(round(t * 1e9), 1_000_000_000)
    point.time_from_start.nanosec = nanosec
    return point


def trajectory_message(trajectory: Trajectory, rate_hz: float = 50.0) -> MultiDOFJointTrajectory:
    """A finite trajectory sampled; a zero stamp starts it when the controller takes over, or now if it flies."""
    message = MultiDOFJointTrajectory(joint_names=[BODY_FRAME])
    message.header.frame_id = "map"
    rows = sample(trajectory, rate_hz)
    message.points = [_point(*row) for row in zip(*rows, strict=True)]
    return message


def trajectory_from(message: MultiDOFJointTrajectory) -> tuple[Trajectory, float | None]:
    """(trajectory, start time or None for a zero stamp)."""
    frame(message.header.frame_id, WORLD_FRAMES)
    if not message.points or any(not p.transforms for p in message.points):
        raise InputRejected("empty", "a trajectory needs points with a transform each")
    place = np.array([[getattr(p.transforms[0].translation, c) for c in "xyz"] for p in message.points])
    quats = np.array([[getattr(p.transforms[0].rotation, c) for c in "xyzw"] for p in message.points])
    times = np.array([p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points])
    yaws = [float(yaw_of(tuple(unit_quaternion(q).tolist()))) for q in quats]  # type: ignore[arg-type]
    velocities = accelerations = rates = None
    if all(p.velocities for p in message.points):
        velocities = np.array([[getattr(p.velocities[0].linear, c) for c in "xyz"] for p in message.points])
        rates = np.array([p.velocities[0].angular.z for p in message.points])
        if all(p.accelerations for p in message.points):
            accelerations = np.array([[getattr(p.accelerations[0].linear, c) for c in "xyz"] for p in message.points])
    try:
        trajectory = SampledTrajectory(times, place, velocities, accelerations, yaws, rates)
    except InvalidInput as error:
        raise InputRejected("trajectory", str(error)) from None
    stamp = to_seconds(message.header.stamp)
    return trajectory, stamp if stamp > 0.0 else None


def reference_message(reference: Reference, stamp: Time) -> MultiDOFJointTrajectory:
    """A reference as a trajectory of one point."""
    message = MultiDOFJointTrajectory(joint_names=[BODY_FRAME])
    message.header.frame_id, message.header.stamp = "map", stamp
    r = reference
    message.points = [_point(0.0, r.position_w, r.velocity_w, r.acceleration_w, float(r.yaw), float(r.yaw_rate))]
    return message


def path_message(trajectory: Trajectory, points: int = 200) -> Path:
    """The way ahead, for a viewer."""
    path = Path()
    path.header.frame_id = "map"
    for t in np.linspace(0.0, min(trajectory.duration, 600.0), points):
        pose = PoseStamped()
        pose.header.frame_id = "map"
        position = trajectory(float(t)).position_w
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = position.tolist()
        pose.pose.orientation.w = 1.0
        path.poses.append(pose)
    return path


def status_message(
    name: str, values: dict[str, str], stamp: Time, level: int = 0, message: str = "", hardware_id: str = ""
) -> DiagnosticArray:
    """One status with its key values."""
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    status = DiagnosticStatus(level=bytes([level]), name=name, message=message, hardware_id=hardware_id, values=pairs)
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def event_message(event: Event, node: str) -> DiagnosticArray:
    """An event of a node (its full name), told apart from the periodic statuses by the prefix of its name."""
    values = {**event.values, "t": f"{event.t:.3f}", "node": node}
    stamp = to_time(max(event.t, 0.0))
    return status_message(EVENT_PREFIX + event.name, values, stamp, int(event.severity), event.message)


def events_from(message: DiagnosticArray) -> list[tuple[str, Event]]:
    """(full name of the node, event) of every event in a message, at the time of its stamp, s."""
    out = []
    for status in message.status:
        if status.name.startswith(EVENT_PREFIX):
            values = {pair.key: pair.value for pair in status.values}
            severity = Severity(min(int.from_bytes(status.level, "little"), int(Severity.ERROR)))
            name, t = status.name.removeprefix(EVENT_PREFIX), to_seconds(message.header.stamp)
            node, _ = values.pop("node", ""), values.pop("t", "")
            out.append((node, Event(t, severity, name, status.message, values)))
    return out
