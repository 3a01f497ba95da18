"""The log of a flight: one MCAP file of ROS 2 messages (CDR) that Foxglove and rosbag2 open. Needs no ROS.

Messages are serialised by rosbags' type store and stored by the mcap writer: one bare file, indexed even when
the flight ends in an exception, and written out once per second of log time, so that a killed process loses
at most its last second. ``record.read_flight`` reads such a file up to the cut, ``record.recover_flight``
completes it. (rosbags' own writer would leave no index after an exception, and up to 1 MiB unwritten.)

Topic types, the namespace in front being the caller's:

    odom              nav_msgs/Odometry               twist in base_link; pose covariance[0] -1 if not valid
    actuators/command sensor_msgs/JointState          what the vehicle was told, laid out by ``ros_layout``
    joint_states      sensor_msgs/JointState          rotor_0..3, velocity in rad/s
    reference         trajectory_msgs/MultiDOFJointTrajectory, one point: position to acceleration, yaw
    wind              geometry_msgs/Vector3Stamped    m/s, world
    /diagnostics      diagnostic_msgs/DiagnosticArray   events, named "event/<name>"
    /clock            rosgraph_msgs/Clock
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from control_stack.algebra import quat_from_yaw, rotate_inverse
from control_stack.errors import ControlStackError, InvalidInput, MissingDependency
from control_stack.ros_layout import EVENT_PREFIX, ROTORS, joint_fields
from control_stack.types import Array, Command, QuadrotorState, Reference

WORLD_FRAME, BODY_FRAME = "odom", "base_link"
_FLUSH_NS = 1_000_000_000
_NOTHING = np.zeros(0)
_KNOWN = np.zeros(36)
_UNKNOWN = np.array([-1.0, *np.zeros(35)])


@lru_cache(maxsize=1)
def typestore() -> Any:
    """rosbags' definitions of the Jazzy messages, loaded once. Raises MissingDependency."""
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        raise MissingDependency("rosbags", "sim", "it serialises the flight log") from None
    return get_typestore(Stores.ROS2_JAZZY)


class FlightLog:
    """Writes one log. Use it as a context manager, from one thread; times are s on the vehicle's clock, >= 0.

    The file is streamed, never held in memory.
    """

    def __init__(self, path: str | Path):
        """Creates the file and its folder.

        Raises:
            InvalidInput: The file exists or cannot be made.
            MissingDependency: mcap or rosbags is not installed.
        """
        try:
            from mcap.writer import CompressionType, Writer
        except ImportError:
            raise MissingDependency("mcap", "sim", "it stores the flight log") from None
        self._store = typestore()
        self._types = self._store.types
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb")
        except OSError as error:
            raise InvalidInput(f"cannot make the flight log {path}: {error.strerror}") from None
        self._writer = Writer(self._file, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library="control_stack")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, tuple[int, str]] = {}
        self._flushed_ns = 0
        self._closed = False

    def __enter__(self) -> FlightLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is pending and the index. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.finish()
        finally:
            self._file.close()

    def raw(self, topic: str, msgtype: str, t: float, cdr: bytes) -> None:
        """Stores a message that is serialised already, e.g. as it came from rclpy ("nav_msgs/msg/Path").

        Raises:
            InvalidInput: The type is not one of Jazzy's, or the topic has another type already.
            ControlStackError: The log is closed.
        """
        if self._closed:
            raise ControlStackError(f"the flight log {self.path.name} is closed")
        topic = topic if topic.startswith("/") else f"/{topic}"  # rosbag2 and Foxglove know absolute names only
        channel, known_type = self._channels.get(topic) or self._open_channel(topic, msgtype)
        if known_type != msgtype:
            raise InvalidInput(f"topic {topic} holds {known_type}, not {msgtype}")
        ns = _nanoseconds(t)
        self._writer.add_message(channel, ns, cdr, ns)
        if abs(ns - self._flushed_ns) >= _FLUSH_NS:
            self._writer.flush()
            self._flushed_ns = ns

    def write(self, topic: str, msgtype: str, t: float, message: Any) -> None:
        """Stores a message built from ``typestore().types``."""
        self.raw(topic, msgtype, t, self._store.serialize_cdr(message, msgtype))

    def state(self, topic: str, t: float, state: QuadrotorState) -> None:
        """A state as odometry; its stamp goes to the header, ``t`` is when it was logged."""
        types = self._types
        quat, velocity = state.quat_xyzw.tolist(), state.velocity_w.tolist()
        velocity_b = rotate_inverse(quat, velocity)
        message = types["nav_msgs/msg/Odometry"](
            self._header(state.stamp, WORLD_FRAME),
            BODY_FRAME,
            types["geometry_msgs/msg/PoseWithCovariance"](
                types["geometry_msgs/msg/Pose"](
                    types["geometry_msgs/msg/Point"](*state.position_w.tolist()),
                    types["geometry_msgs/msg/Quaternion"](*quat),
                ),
                _KNOWN if state.valid else _UNKNOWN,
            ),
            types["geometry_msgs/msg/TwistWithCovariance"](self._twist(velocity_b, state.omega_b.tolist()), _KNOWN),
        )
        self.write(topic, "nav_msgs/msg/Odometry", t, message)

    def command(self, topic: str, t: float, command: Command) -> None:
        """A command of any level, in the layout of ``actuators/command``."""
        self.joints(topic, t, *joint_fields(command), frame=command.level.value, stamp=command.stamp)

    def rotor_speeds(self, topic: str, t: float, rotor_speed: Array) -> None:
        """Measured rotor speeds (4,), rad/s."""
        self.joints(topic, t, ROTORS, velocity=np.asarray(rotor_speed, dtype=float), frame=BODY_FRAME)

    def joints(
        self, topic: str, t: float, names: Sequence[str], position: Array = _NOTHING, velocity: Array = _NOTHING,
        effort: Array = _NOTHING, *, frame: str, stamp: float | None = None,
    ) -> None:  # fmt: skip
        """Named values, each field (n,) or empty; the header's stamp is ``t`` unless given."""
        header = self._header(t if stamp is None else stamp, frame)
        message = self._types["sensor_msgs/msg/JointState"](header, list(names), position, velocity, effort)
        self.write(topic, "sensor_msgs/msg/JointState", t, message)

    def reference(self, topic: str, t: float, reference: Reference) -> None:
        """A reference as a trajectory of one point. The jerk has no place in the message and is left out."""
        types = self._types
        zero = (0.0, 0.0, 0.0)
        point = types["trajectory_msgs/msg/MultiDOFJointTrajectoryPoint"](
            [
                types["geometry_msgs/msg/Transform"](
                    self._vector(reference.position_w.tolist()),
                    types["geometry_msgs/msg/Quaternion"](*quat_from_yaw(float(reference.yaw))),
                )
            ],
            [self._twist(reference.velocity_w.tolist(), (0.0, 0.0, float(reference.yaw_rate)))],
            [self._twist(reference.acceleration_w.tolist(), zero)],
            types["builtin_interfaces/msg/Duration"](0, 0),
        )
        message = types["trajectory_msgs/msg/MultiDOFJointTrajectory"](
            self._header(t, WORLD_FRAME), [BODY_FRAME], [point]
        )
        self.write(topic, "trajectory_msgs/msg/MultiDOFJointTrajectory", t, message)

    def wind(self, topic: str, t: float, wind_w: Array) -> None:
        """Wind in the world (3,), m/s."""
        message = self._types["geometry_msgs/msg/Vector3Stamped"](
            self._header(t, WORLD_FRAME), self._vector(wind_w.tolist())
        )
        self.write(topic, "geometry_msgs/msg/Vector3Stamped", t, message)

    def event(self, t: float, level: int, name: str, message: str, values: Mapping[str, str] | None = None) -> None:
        """An event of the safety layer (level 0 ok, 1 warning, 2 error) on /diagnostics."""
        self.status(t, EVENT_PREFIX + name, values or {}, level, message)

    def status(self, t: float, name: str, values: Mapping[str, str], level: int = 0, message: str = "") -> None:
        """The key values of a node, or of something it did, on /diagnostics."""
        types = self._types
        pairs = [types["diagnostic_msgs/msg/KeyValue"](str(k), str(v)) for k, v in values.items()]
        status = types["diagnostic_msgs/msg/DiagnosticStatus"](int(level), name, message, "", pairs)
        array = types["diagnostic_msgs/msg/DiagnosticArray"](self._header(t, ""), [status])
        self.write("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", t, array)

    def clock(self, t: float) -> None:
        """The vehicle's clock."""
        self.write("/clock", "rosgraph_msgs/msg/Clock", t, self._types["rosgraph_msgs/msg/Clock"](self._time(t)))

    def _open_channel(self, topic: str, msgtype: str) -> tuple[int, str]:
        if msgtype not in self._types:
            raise InvalidInput(f"topic {topic}: unknown message type {msgtype}")
        if msgtype not in self._schemas:
            definition = self._store.generate_msgdef(msgtype, ros_version=2)[0]
            self._schemas[msgtype] = self._writer.register_schema(msgtype, "ros2msg", definition.encode())
        metadata = {"offered_qos_profiles": "[]", "topic_type_hash": self._store.hash_rihs01(msgtype)}
        channel = self._writer.register_channel(topic, "cdr", self._schemas[msgtype], metadata)
        self._channels[topic] = (channel, msgtype)
        return self._channels[topic]

    def _time(self, t: float) -> Any:
        seconds, nanoseconds = divmod(_nanoseconds(t), 1_000_000_000)
        return self._types["builtin_interfaces/msg/Time"](seconds, nanoseconds)

    def _header(self, t: float, frame: str) -> Any:
        return self._types["std_msgs/msg/Header"](self._time(t), frame)

    def _vector(self, v: Any) -> Any:
        return self._types["geometry_msgs/msg/Vector3"](*v)

    def _twist(self, linear: Any, angular: Any) -> Any:
        return self._types["geometry_msgs/msg/Twist"](self._vector(linear), self._vector(angular))


def _nanoseconds(t: float) -> int:
    """Log time of t seconds. MCAP times are unsigned: what comes before the clock's zero is put at zero."""
    if not math.isfinite(t):
        raise InvalidInput(f"a message cannot be logged at time {t}")
    return max(round(t * 1e9), 0)
