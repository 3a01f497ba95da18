"""The flight log: ROS's own bytes in a file that other programs open, and that reads back, whole or cut."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader, make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

import control_stack
from control_stack.artefacts.log import FlightLog, typestore
from control_stack.artefacts.record import read_flight, recover_flight
from control_stack.errors import ControlStackError, InvalidInput
from control_stack.laws.cascade import command_columns
from control_stack.safety.events import Phase, Severity
from control_stack.types import (
    AttitudeThrustCommand,
    CommandLevel,
    PositionCommand,
    QuadrotorState,
    RatesThrustCommand,
    Reference,
    RotorCommand,
    VelocityCommand,
)

QUARTER_TURN = np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])  # yaw +90 degrees: body x is world y


def state_at(t: float, seed: int = 0, valid: bool = True) -> QuadrotorState:
    rng = np.random.default_rng(seed)
    quat = rng.normal(size=4)
    return QuadrotorState(
        rng.normal(size=3),
        rng.normal(size=3),
        quat / np.linalg.norm(quat),
        rng.normal(size=3),
        None,
        t,
        valid,
    )


def write_flight(path: Path, seconds: float = 3.0, namespace: str = "") -> int:
    """A log with every topic at 50 Hz, 100 where it is the state; returns the number of messages."""
    count = 0
    with FlightLog(path) as log:
        log.event(0.0, Severity.OK, "takeoff", "climbing", {"phase": "takeoff"})
        log.event(1.0, Severity.OK, "flying", "controller flies", {"phase": "flying"})
        log.event(2.0, Severity.WARN, "command_timeout", "holding", {"phase": "hold"})
        for k in range(round(seconds * 100)):
            t = k * 0.01
            log.state(f"{namespace}/odom", t, state_at(t, k))
            count += 1
            if k % 2 == 0:
                log.clock(t)
                log.reference(f"{namespace}/reference", t, Reference(np.full(3, t), yaw=0.3))
                log.command(f"{namespace}/actuators/command", t, RotorCommand(np.arange(4.0) + k, t))
                log.rotor_speeds(f"{namespace}/joint_states", t, np.arange(4.0) + 10.0 * k)
                log.wind(f"{namespace}/wind", t, np.array([1.0, t, 0.0]))
                count += 5
    return count + 3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), t=st.floats(0.0, 1e6), valid=st.booleans())
def test_states_and_references_read_back(tmp_path_factory, seed, t, valid):
    path = tmp_path_factory.mktemp("log") / "flight.mcap"
    state = state_at(t, seed, valid)
    rng = np.random.default_rng(seed)
    reference = Reference(*rng.normal(size=(3, 3)), yaw=rng.uniform(-3.1, 3.1))
    with FlightLog(path) as log:
        log.state("/odom", t, state)
        log.reference("/reference", t, reference)
    record = read_flight(path)
    assert record.t[0] == pytest.approx(t, abs=1e-9)
    for key in ("position_w", "velocity_w", "quat_xyzw", "omega_b"):
        np.testing.assert_allclose(getattr(record, key)[0], getattr(state, key), atol=1e-14)
    assert record.valid[0] == valid
    np.testing.assert_array_equal(record.reference_position[0], reference.position_w)
    np.testing.assert_array_equal(record.reference_velocity[0], reference.velocity_w)
    np.testing.assert_array_equal(record.reference_acceleration[0], reference.acceleration_w)
    assert record.reference_yaw[0] == pytest.approx(reference.yaw)
    # The same instant, logged and stamped, is the same number: samples can be matched.
    assert record.t[0] == record.reference_t[0]


def test_the_twist_is_in_the_body_frame(tmp_path):
    path = tmp_path / "flight.mcap"
    moving_north = QuadrotorState(np.zeros(3), np.array([0.0, 2.0, 0.5]), QUARTER_TURN, np.array([0.1, 0.2, 0.3]))
    with FlightLog(path) as log:
        log.state("/odom", 0.0, moving_north)
    with path.open("rb") as file:
        (_, _, _, message), *_ = make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    forward = message.twist.twist.linear
    np.testing.assert_allclose([forward.x, forward.y, forward.z], [2.0, 0.0, 0.5], atol=1e-12)
    assert message.twist.twist.angular.z == 0.3


COMMANDS = [
    RotorCommand(np.array([1.0, 2.0, 3.0, 4.0])),
    RatesThrustCommand(np.array([0.1, -0.2, 0.3]), 0.26),
    AttitudeThrustCommand(QUARTER_TURN, 0.26, np.array([1.0, 2.0, 3.0])),
    VelocityCommand(np.array([1.0, 2.0, 3.0]), 0.5, -0.1),
    PositionCommand(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]), 0.5),
]


def test_commands_of_all_levels_share_a_topic_and_read_back(tmp_path):
    path = tmp_path / "flight.mcap"
    with FlightLog(path) as log:
        for k, command in enumerate(COMMANDS):
            log.command("/actuators/command", 0.5 * k, command)
    record = read_flight(path)
    assert set(record.commands) == {command.level for command in COMMANDS}
    for k, command in enumerate(COMMANDS):
        times, columns = record.commands[command.level]
        assert times.tolist() == [0.5 * k]
        assert tuple(columns[0].tolist()) == command_columns(command)


def test_a_whole_flight_reads_back_with_its_phases(tmp_path):
    path = tmp_path / "flight.mcap"
    write_flight(path)
    record = read_flight(path)
    assert not record.truncated and record.skipped == 0
    assert len(record.t) == 300 and len(record.reference_t) == 150
    np.testing.assert_allclose(np.diff(record.t), 0.01, atol=1e-9)
    assert record.rotor_speed[7].tolist() == [140.0, 141.0, 142.0, 143.0]
    assert record.commands[CommandLevel.ROTORS][1][7].tolist() == [14.0, 15.0, 16.0, 17.0]
    np.testing.assert_allclose(record.wind_w[:, 1], record.wind_t, atol=1e-9)
    assert [e.name for e in record.events] == ["takeoff", "flying", "command_timeout"]
    assert record.events[2].severity is Severity.WARN and record.events[2].message == "holding"
    end = float(record.t[-1])
    assert record.phases() == [(Phase.TAKEOFF, 0.0, 1.0), (Phase.FLYING, 1.0, 2.0), (Phase.HOLD, 2.0, end)]
    assert record.interval(Phase.FLYING) == (1.0, 2.0)
    assert record.interval(Phase.EMERGENCY) is None


def test_other_readers_open_it(tmp_path):
    path = tmp_path / "flight.mcap"
    count = write_flight(path)
    with AnyReader([path]) as bag:
        assert bag.message_count == count
        types = {c.topic: c.msgtype for c in bag.connections}
        positions = [
            bag.deserialize(data, c.msgtype).pose.pose.position.x
            for c, _, data in bag.messages([c for c in bag.connections if c.topic == "/odom"])
        ]
    assert types == {
        "/clock": "rosgraph_msgs/msg/Clock",
        "/odom": "nav_msgs/msg/Odometry",
        "/reference": "trajectory_msgs/msg/MultiDOFJointTrajectory",
        "/actuators/command": "sensor_msgs/msg/JointState",
        "/joint_states": "sensor_msgs/msg/JointState",
        "/wind": "geometry_msgs/msg/Vector3Stamped",
        "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    }
    np.testing.assert_array_equal(positions, read_flight(path).position_w[:, 0])
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        decoded = list(reader.iter_decoded_messages())
        assert len(decoded) == count
        assert all(
            channel.message_encoding == "cdr"
            and schema.encoding == "ros2msg"
            and channel.metadata["topic_type_hash"].startswith("RIHS01_")
            and "offered_qos_profiles" in channel.metadata
            for schema, channel, _, _ in decoded
        )


def test_ros_itself_reads_and_writes_the_same_bytes(tmp_path):
    serialization = pytest.importorskip("rclpy.serialization")
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import JointState

    path = tmp_path / "flight.mcap"
    state = state_at(1.25, 3)
    odometry = Odometry()
    odometry.pose.pose.position.x, odometry.pose.pose.orientation.w = 7.0, 1.0
    with FlightLog(path) as log:
        log.state("/odom", 1.25, state)
        log.command("/actuators/command", 1.25, RatesThrustCommand(np.array([0.1, 0.2, 0.3]), 0.26, 1.25))
        log.raw("/uav1/odom", "nav_msgs/msg/Odometry", 2.0, serialization.serialize_message(odometry))
    with AnyReader([path]) as bag:
        raw = {c.topic: data for c, _, data in bag.messages()}
    read = serialization.deserialize_message(raw["/odom"], Odometry)
    assert read.pose.pose.position.x == state.position_w[0]
    assert (read.header.stamp.sec, read.header.stamp.nanosec) == (1, 250_000_000)
    command = serialization.deserialize_message(raw["/actuators/command"], JointState)
    assert (command.header.frame_id, list(command.name)) == ("ctbr", ["rate_x", "rate_y", "rate_z", "thrust"])
    assert command.effort[3] == 0.26
    assert read_flight(path, "uav1").position_w.tolist() == [[7.0, 0.0, 0.0]]


def test_namespaces_are_told_apart_and_slashes_do_not_matter(tmp_path):
    path = tmp_path / "flight.mcap"
    with FlightLog(path) as log:
        log.state("a/odom", 1.0, state_at(1.0))
        log.state("/b/odom", 2.0, state_at(2.0))
        log.state("b/odom", 3.0, state_at(3.0))
    assert read_flight(path, "a").t.tolist() == [1.0]
    assert read_flight(path, "/b/").t.tolist() == [2.0, 3.0]
    assert len(read_flight(path).t) == 3
    with AnyReader([path]) as bag:
        assert sorted(c.topic for c in bag.connections) == ["/a/odom", "/b/odom"]


def test_the_states_are_those_of_the_topic_asked_for(tmp_path):
    path = tmp_path / "flight.mcap"
    measured, true = state_at(1.0, seed=1), state_at(1.0, seed=2)
    with FlightLog(path) as log:
        log.state("odom", 1.0, measured)
        log.state("ground_truth", 1.0, true)
    np.testing.assert_array_equal(read_flight(path).position_w, [measured.position_w])
    np.testing.assert_array_equal(read_flight(path, states="ground_truth").position_w, [true.position_w])


def test_an_exception_in_flight_leaves_a_complete_log(tmp_path):
    path = tmp_path / "flight.mcap"
    with pytest.raises(KeyboardInterrupt), FlightLog(path) as log:
        log.state("/odom", 0.0, state_at(0.0))
        raise KeyboardInterrupt
    with AnyReader([path]) as bag:
        assert bag.message_count == 1
    log.close()
    with pytest.raises(ControlStackError, match="closed"):
        log.clock(1.0)


KILLED = """
import os, signal, sys
import numpy as np
from control_stack.artefacts.log import FlightLog
from control_stack.types import QuadrotorState
log = FlightLog(sys.argv[1])
for k in range(550):
    t, level, zero = k * 0.01, np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3)
    log.state("/odom", t, QuadrotorState(np.full(3, k), zero, level, zero, None, t))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    path = tmp_path_factory.mktemp("killed") / "flight.mcap"
    environment = {**os.environ, "PYTHONPATH": str(Path(control_stack.__file__).resolve().parents[1])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return path


def test_a_killed_writer_loses_at_most_its_last_second(killed):
    record = read_flight(killed)
    assert record.truncated
    assert record.t[-1] >= 5.49 - 1.0
    np.testing.assert_array_equal(record.position_w[:, 0], np.arange(len(record.t)))


def test_a_cut_log_can_be_completed_for_other_readers(killed, tmp_path):
    with pytest.raises(Exception, match="end magic"), AnyReader([killed]):
        pass
    streamed = 0
    with pytest.raises(McapError), killed.open("rb") as file:  # mcap reads to the cut, then complains
        for _ in NonSeekingReader(file).iter_messages(log_time_order=False):
            streamed += 1
    whole = tmp_path / "whole.mcap"
    assert recover_flight(killed, whole) == streamed == len(read_flight(killed).t)
    with AnyReader([whole]) as bag:
        assert bag.message_count == streamed
    assert not read_flight(whole).truncated
    with pytest.raises(InvalidInput, match="File exists"):
        recover_flight(killed, whole)
    with pytest.raises(InvalidInput, match="No such file"):
        recover_flight(tmp_path / "none.mcap", tmp_path / "new.mcap")
    assert not (tmp_path / "new.mcap").exists()


@pytest.mark.parametrize("part", [0.999, 0.8, 0.5, 0.1, 0.01])
def test_a_log_cut_anywhere_is_read_up_to_the_cut(tmp_path, part):
    path, cut = tmp_path / "flight.mcap", tmp_path / "cut.mcap"
    write_flight(path)
    whole = path.read_bytes()
    cut.write_bytes(whole[: int(part * len(whole))])
    record, full = read_flight(cut), read_flight(path)
    assert record.truncated
    np.testing.assert_array_equal(record.position_w, full.position_w[: len(record.t)])


def test_damage_inside_a_chunk_is_noticed(tmp_path):
    path = tmp_path / "flight.mcap"
    write_flight(path)
    data = bytearray(path.read_bytes())
    for place in range(5000, 5064):  # inside a chunk
        data[place] ^= 0xFF
    path.write_bytes(data)
    record = read_flight(path)
    assert record.truncated and len(record.t) < 300


def test_messages_that_make_no_sense_are_counted_and_skipped(tmp_path):
    path = tmp_path / "flight.mcap"
    types = typestore().types
    with FlightLog(path) as log:
        log.state("/odom", 0.0, state_at(0.0))
        log.raw("/odom", "nav_msgs/msg/Odometry", 0.1, b"\x00\x01\x00\x00\xff\xff")
        log.command("/actuators/command", 0.2, RotorCommand(np.array([1.0, 2.0, np.nan, 4.0])))
        log.rotor_speeds("/joint_states", 0.3, np.ones(3))
        header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "odom")
        empty = types["trajectory_msgs/msg/MultiDOFJointTrajectory"](header, [], [])
        log.write("/reference", "trajectory_msgs/msg/MultiDOFJointTrajectory", 0.4, empty)
    record = read_flight(path)
    assert record.skipped == 4
    assert len(record.t) == 1 and not record.commands and not len(record.reference_t) and not len(record.rotor_t)


def test_periodic_diagnostics_are_not_events(tmp_path):
    path = tmp_path / "flight.mcap"
    types = typestore().types
    status = types["diagnostic_msgs/msg/DiagnosticStatus"](0, "controller_node: loop", "100 Hz", "", [])
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](0, 0), "")
    with FlightLog(path) as log:
        array = types["diagnostic_msgs/msg/DiagnosticArray"](header, [status])
        log.write("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", 0.0, array)
        log.event(1.0, 2, "cut", "motors off")
    assert [(e.t, e.name, e.severity) for e in read_flight(path).events] == [(1.0, "cut", Severity.ERROR)]


def test_an_empty_log_is_an_empty_record(tmp_path):
    path = tmp_path / "flight.mcap"
    FlightLog(path).close()
    record = read_flight(path)
    assert not record.truncated and record.position_w.shape == (0, 3) and record.phases() == []


def test_misuse_is_told_in_one_line(tmp_path):
    path = tmp_path / "flight.mcap"
    with FlightLog(path) as log:
        log.clock(0.0)
        with pytest.raises(InvalidInput, match="holds rosgraph_msgs"):
            log.raw("/clock", "nav_msgs/msg/Odometry", 0.0, b"")
        with pytest.raises(InvalidInput, match="unknown message type"):
            log.raw("/odd", "my_msgs/msg/Odd", 0.0, b"")
        with pytest.raises(InvalidInput, match="time nan"):
            log.clock(float("nan"))
    with pytest.raises(InvalidInput, match="File exists"):
        FlightLog(path)
    with pytest.raises(InvalidInput, match="No such file"):
        read_flight(tmp_path / "none.mcap")
    (tmp_path / "text.mcap").write_text("hello")
    with pytest.raises(InvalidInput, match="not an MCAP log"):
        read_flight(tmp_path / "text.mcap")
