"""Reads a flight log back as arrays, for the picture, the summary and model fitting."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.algebra import rotate, yaw_of
from control_stack.artefacts.log import FlightLog, typestore
from control_stack.errors import InputRejected, InvalidInput, MissingDependency
from control_stack.laws.cascade import command_columns
from control_stack.ros_layout import COMMAND_TOPIC, EVENT_PREFIX, SLOTS, command_from_fields
from control_stack.safety.events import Event, Phase, Severity
from control_stack.types import Array, CommandLevel


def _no_scalars() -> Array:
    return np.zeros(0)


def _no_vectors() -> Array:
    return np.zeros((0, 3))


def _no_fours() -> Array:
    return np.zeros((0, 4))


@dataclass(frozen=True)
class FlightRecord:
    """What a log says of one vehicle. Each stream has its own times, s: that of the log, the state its stamp.

    Attributes:
        t: (n,) with position_w (n, 3) m, velocity_w (n, 3) m/s, quat_xyzw (n, 4), omega_b (n, 3) rad/s and
            valid (n,).
        rotor_t, rotor_speed: (r,), (r, 4) rad/s, measured.
        commands: Per level that occurs, times (c,) and columns (c, k) as in ``laws.cascade.command_columns``.
        reference_t: (m,) with reference_position (m, 3) m, reference_velocity (m, 3) m/s,
            reference_acceleration (m, 3) m/s^2 and reference_yaw (m,) rad in (-pi, pi].
        wind_t, wind_w: (w,), (w, 3) m/s.
        events: In order of time.
        truncated: The file ends before its index: its writer was killed. What precedes the cut is all here.
        skipped: Messages on known topics that could not be understood.
    """

    t: Array = field(default_factory=_no_scalars)
    position_w: Array = field(default_factory=_no_vectors)
    velocity_w: Array = field(default_factory=_no_vectors)
    quat_xyzw: Array = field(default_factory=_no_fours)
    omega_b: Array = field(default_factory=_no_vectors)
    valid: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    rotor_t: Array = field(default_factory=_no_scalars)
    rotor_speed: Array = field(default_factory=_no_fours)
    commands: dict[CommandLevel, tuple[Array, Array]] = field(default_factory=dict)
    reference_t: Array = field(default_factory=_no_scalars)
    reference_position: Array = field(default_factory=_no_vectors)
    reference_velocity: Array = field(default_factory=_no_vectors)
    reference_acceleration: Array = field(default_factory=_no_vectors)
    reference_yaw: Array = field(default_factory=_no_scalars)
    wind_t: Array = field(default_factory=_no_scalars)
    wind_w: Array = field(default_factory=_no_vectors)
    events: list[Event] = field(default_factory=list)
    truncated: bool = False
    skipped: int = 0

    def phases(self) -> list[tuple[Phase, float, float]]:
        """(phase, start, end) s, in order, from events that carry a "phase"; the last lasts to the end."""
        marks: list[tuple[float, Phase]] = []
        for event in self.events:
            if event.values.get("phase") in {p.value for p in Phase}:
                phase = Phase(event.values["phase"])
                if not marks or marks[-1][1] is not phase:
                    marks.append((event.t, phase))
        if not marks:
            return []
        end = max(marks[-1][0], float(self.t[-1]) if len(self.t) else -np.inf)
        ends = [*(t for t, _ in marks[1:]), end]
        return [(phase, t, stop) for (t, phase), stop in zip(marks, ends, strict=True)]

    def interval(self, phase: Phase) -> tuple[float, float] | None:
        """First start and last end of a phase, s; None if it does not occur."""
        spans = [(start, stop) for p, start, stop in self.phases() if p is phase]
        return (spans[0][0], spans[-1][1]) if spans else None


def read_flight(path: str | Path, namespace: str = "", states: str = "odom") -> FlightRecord:
    """Reads the log of ``FlightLog``, or an uncompressed rosbag2 .mcap of the same topics.

    Args:
        path: The .mcap file. One whose writer was killed is read up to the cut.
        namespace: Of the vehicle; "" takes the topics whatever stands before them.
        states: The topic that gives the states: "odom" as measured, "ground_truth" as simulated.

    Raises:
        InvalidInput: The file does not exist or is no MCAP log.
        MissingDependency: mcap or rosbags is not installed.
    """
    streams = _Streams(states)
    prefix = f"/{namespace.strip('/')}/" if namespace.strip("/") else ""
    store = typestore()
    messages = Messages(Path(path))
    for topic, msgtype, t, data in messages:
        handler = streams.handler(topic, msgtype, prefix)
        if handler is None:
            continue
        try:
            message = store.deserialize_cdr(data, msgtype)
        except Exception:  # rosbags raises whatever a wrong offset in the bytes leads to
            streams.skipped += 1
            continue
        handler(t, message)
    return streams.record(messages.truncated)


def recover_flight(path: str | Path, out: str | Path) -> int:
    """Rewrites a log whose writer was killed as a complete, indexed one; returns the number of messages.

    rosbags refuses a file without an index, and so does mcap's seeking reader.

    Raises:
        InvalidInput: ``path`` is no MCAP log, or ``out`` exists.
    """
    count = 0
    messages = iter(Messages(Path(path)))
    first = list(islice(messages, 1))  # before ``out`` is made: what is no log leaves nothing behind
    with FlightLog(out) as log:
        for topic, msgtype, t, data in chain(first, messages):
            log.raw(topic, msgtype, t, data)
            count += 1
    return count


class Messages:
    """(topic, type, time s, CDR) of every message in the file, in the order written; stops at a cut."""

    def __init__(self, path: Path):
        self._path = path
        self.truncated = False

    def __iter__(self) -> Iterator[tuple[str, str, float, bytes]]:
        try:
            from mcap.exceptions import McapError
            from mcap.records import Channel, Message, Schema
            from mcap.stream_reader import StreamReader
        except ImportError:
            raise MissingDependency("mcap", "sim", "it reads the flight log") from None
        try:
            file = self._path.open("rb")
        except OSError as error:
            raise InvalidInput(f"cannot read the flight log {self._path}: {error.strerror}") from None
        with file:
            if file.read(5) != b"\x89MCAP":
                raise InvalidInput(f"{self._path} is not an MCAP log")
            file.seek(0)
            schemas: dict[int, str] = {}
            channels: dict[int, tuple[str, str]] = {}
            records = iter(StreamReader(file, validate_crcs=True).records)
            while True:
                try:
                    record = next(records, None)
                except (
                    McapError,
                    struct.error,
                    ValueError,
                ):  # a record cut short, or a chunk with a wrong CRC
                    self.truncated = True
                    return
                if record is None:
                    return
                if isinstance(record, Schema):
                    schemas[record.id] = record.name
                elif isinstance(record, Channel):
                    channels[record.id] = (record.topic, schemas.get(record.schema_id, ""))
                elif isinstance(record, Message) and record.channel_id in channels:
                    yield (*channels[record.channel_id], record.log_time * 1e-9, record.data)


class _Streams:
    """Collects messages by kind and turns them into a record."""

    def __init__(self, states: str) -> None:
        self._rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        self._commands: dict[CommandLevel, list[tuple[float, ...]]] = defaultdict(list)
        self._events: list[Event] = []
        self.skipped = 0
        self._handlers: dict[tuple[str, str], Any] = {
            (states, "nav_msgs/msg/Odometry"): self._state,
            (COMMAND_TOPIC, "sensor_msgs/msg/JointState"): self._command,
            ("joint_states", "sensor_msgs/msg/JointState"): self._rotors,
            ("reference", "trajectory_msgs/msg/MultiDOFJointTrajectory"): self._reference,
            ("wind", "geometry_msgs/msg/Vector3Stamped"): self._wind,
            ("diagnostics", "diagnostic_msgs/msg/DiagnosticArray"): self._diagnostics,
        }

    def handler(self, topic: str, msgtype: str, prefix: str) -> Any:
        if msgtype.startswith("diagnostic_msgs"):
            return self._handlers.get((topic.strip("/"), msgtype))
        for (name, kind), handler in self._handlers.items():
            if kind == msgtype and (topic == prefix + name if prefix else f"/{topic}".endswith(f"/{name}")):
                return handler
        return None

    def _state(self, t: float, m: Any) -> None:
        pose, twist = m.pose.pose, m.twist.twist
        q = (pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w)
        velocity_w = rotate(q, _xyz(twist.linear))
        stamp = (m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec) * 1e-9  # rounds as log times do
        valid = float(m.pose.covariance[0] != -1.0)
        self._rows["state"].append((stamp, *_xyz(pose.position), *velocity_w, *q, *_xyz(twist.angular), valid))

    def _command(self, t: float, m: Any) -> None:
        try:
            command = command_from_fields(m.header.frame_id, m.name, m.position, m.velocity, m.effort, t)
        except InputRejected:
            self.skipped += 1
            return
        self._commands[command.level].append((t, *command_columns(command)))

    def _rotors(self, t: float, m: Any) -> None:
        names = [name for name, _ in SLOTS[CommandLevel.ROTORS]]
        by_name = dict(zip(m.name, m.velocity, strict=False))
        if not set(names) <= set(by_name):
            self.skipped += 1
            return
        self._rows["rotor"].append((t, *(float(by_name[name]) for name in names)))

    def _reference(self, t: float, m: Any) -> None:
        if len(m.points) != 1 or not (m.points[0].transforms and m.points[0].velocities and m.points[0].accelerations):
            self.skipped += 1
            return
        point = m.points[0]
        pose, q = point.transforms[0], point.transforms[0].rotation
        row = (
            *_xyz(pose.translation),
            *_xyz(point.velocities[0].linear),
            *_xyz(point.accelerations[0].linear),
        )
        self._rows["reference"].append((t, *row, yaw_of((q.x, q.y, q.z, q.w))))

    def _wind(self, t: float, m: Any) -> None:
        self._rows["wind"].append((t, *_xyz(m.vector)))

    def _diagnostics(self, t: float, m: Any) -> None:
        for status in m.status:
            if status.name.startswith(EVENT_PREFIX):
                severity = Severity(min(int(status.level), int(Severity.ERROR)))
                values = {pair.key: pair.value for pair in status.values}
                name = status.name.removeprefix(EVENT_PREFIX)
                self._events.append(Event(t, severity, name, status.message, values))

    def record(self, truncated: bool) -> FlightRecord:
        def stacked(rows: list[tuple[float, ...]], width: int) -> Array:
            array = np.array(rows, dtype=float).reshape(-1, width)
            return array[np.argsort(array[:, 0], kind="stable")]  # topics of several processes may interleave

        state, reference = stacked(self._rows["state"], 15), stacked(self._rows["reference"], 11)
        rotor, wind = stacked(self._rows["rotor"], 5), stacked(self._rows["wind"], 4)
        commands = {}
        for level, rows in self._commands.items():
            columns = stacked(rows, 1 + len(SLOTS[level]))
            commands[level] = (columns[:, 0], columns[:, 1:])
        return FlightRecord(
            t=state[:, 0],
            position_w=state[:, 1:4],
            velocity_w=state[:, 4:7],
            quat_xyzw=state[:, 7:11],
            omega_b=state[:, 11:14],
            valid=state[:, 14] > 0.5,
            rotor_t=rotor[:, 0],
            rotor_speed=rotor[:, 1:],
            commands=commands,
            reference_t=reference[:, 0],
            reference_position=reference[:, 1:4],
            reference_velocity=reference[:, 4:7],
            reference_acceleration=reference[:, 7:10],
            reference_yaw=reference[:, 10],
            wind_t=wind[:, 0],
            wind_w=wind[:, 1:],
            events=sorted(self._events, key=lambda e: e.t),
            truncated=truncated,
            skipped=self.skipped,
        )


def _xyz(v: Any) -> tuple[float, float, float]:
    return v.x, v.y, v.z
