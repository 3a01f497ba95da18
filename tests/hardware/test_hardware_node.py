"""The hardware node: emulated vehicles flown by nodes in processes of their own, and what ends such a flight."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("cflib")
pytest.importorskip("pymavlink")

import numpy as np
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from ros_stack import Stack, own_domain, quiet, running
from sensor_msgs.msg import BatteryState
from wall_vehicles import WallCrazyflie, WallPX4, WallVehicle, upright

from control_stack.cli.processes import Nodes
from control_stack.errors import FlightAborted
from control_stack.px4 import modes
from control_stack.ros import messages, qos
from control_stack.ros.client import FlightClient
from control_stack.safety.events import AIRBORNE, Phase
from control_stack.trajectories import Hover
from control_stack.types import QuadrotorState
from sim.config import SimulationConfig

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"crazyflie": WallCrazyflie, "px4": WallPX4}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    own_domain(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with running(tmp_path) as made:
        yield made


@pytest.fixture
def one(request: pytest.FixtureRequest) -> Iterator[WallVehicle]:
    vehicle = KINDS[request.param]()
    yield vehicle
    vehicle.close()


both = pytest.mark.parametrize("one", list(KINDS), indirect=True)
crazyflie = pytest.mark.parametrize("one", ["crazyflie"], indirect=True)
px4 = pytest.mark.parametrize("one", ["px4"], indirect=True)


def start(stack: Stack, one: WallVehicle, **parameters: object) -> None:
    stack.start_hardware(one.backend, one.uri, one.vehicle, **parameters)
    stack.client.wait_ready()
    stack.until(lambda: stack.client.phase is not None, "the phase")


def fly(stack: Stack, one: WallVehicle) -> None:
    """Up, and handed over to the controller."""
    start(stack, one, takeoff_height=0.5)
    stack.take_off()
    stack.client.alive = lambda: None  # from here on it is a node's end that is tested


def hover(state: QuadrotorState) -> Hover:
    return Hover(state.position_w + np.array([0.0, 0.0, 0.5]), 0.0, duration=1.0)


def refusal(stack: Stack, service: str, data: bool | None = None) -> str:
    with pytest.raises(FlightAborted) as refused:
        stack.client.call(service, data)
    return str(refused.value)


def happened(stack: Stack, *expected: str) -> bool:
    """Whether the log has these events in this order, the last as its last. A machine too busy for 100 Hz adds some."""
    events = [event.name for event in stack.record("odom").events]
    rest = iter(events)
    return events[-1] == expected[-1] and all(name in rest for name in expected)


def down(stack: Stack, one: WallVehicle, wall: float = 60.0) -> None:
    stack.until(lambda: not one.armed and upright(one), "a landed and disarmed vehicle", wall)


@both
def test_a_flight_ends_upright_and_disarmed(stack: Stack, one: WallVehicle) -> None:
    start(stack, one, takeoff_height=0.5)
    assert not one.armed
    stack.client.fly(hover, quiet)
    down(stack, one)
    assert stack.client.phase is Phase.DISARMED
    assert happened(stack, "armed", "takeoff", "takeoff_done", "landing", "landed")


@both
def test_the_surface_is_told_on_the_nodes_clock(stack: Stack, one: WallVehicle) -> None:
    batteries: list[BatteryState] = []
    states: list[Odometry] = []
    stack.node.create_subscription(BatteryState, "battery_state", batteries.append, qos.SENSOR)
    stack.node.create_subscription(Odometry, "odom", states.append, qos.SENSOR)
    start(stack, one)
    stack.until(lambda: all((batteries, states, stack.client.status("hardware"))), "battery, state and diagnostics")
    age = stack.node.get_clock().now().nanoseconds * 1e-9 - messages.to_seconds(states[-1].header.stamp)
    assert abs(age) < 10.0  # the vehicle's own clock began at its start, seconds ago
    assert batteries[-1].voltage > 3.0
    offered = {name for name, _ in stack.node.get_publisher_names_and_types_by_node("hardware", "/")}
    assert {"/odom", "/joint_states", "/battery_state", "/phase", "/diagnostics"} <= offered and "/clock" not in offered
    told = stack.client.status("hardware")
    assert {"phase", "state_age_s", "state_rate_hz", "link_quality", "time_s"} <= set(told)
    assert told["phase"] == "disarmed" and any(value.startswith("ok: ") for value in told.values())


@both
def test_without_the_parameter_arming_is_refused(stack: Stack, one: WallVehicle) -> None:
    start(stack, one, arm=False)
    assert "this node may not arm" in refusal(stack, "arm", True)
    assert stack.client.phase is Phase.DISARMED and not one.armed
    assert "arm first" in refusal(stack, "takeoff")


@both
def test_a_vehicle_that_somebody_else_has_armed_is_not_taken_over(stack: Stack, one: WallVehicle) -> None:
    start(stack, one)
    one.arm_by_somebody_else()
    stack.until(lambda: "armed by somebody else" in str(stack.client.status("hardware")), "word of it")
    assert "armed by somebody else" in refusal(stack, "arm", True)
    assert one.armed and stack.client.phase is Phase.DISARMED
    stack.client.call("emergency")  # which is for any vehicle, on the ground
    stack.until(lambda: not one.armed, "motors off")


@crazyflie
def test_a_failed_check_is_given_as_the_reason(stack: Stack, one: WallCrazyflie) -> None:
    one.firmware.supply = 3.3
    start(stack, one)
    assert "battery: 3.30 V" in refusal(stack, "arm", True)
    assert not one.armed


@px4
def test_what_the_autopilot_says_against_arming_is_the_reply(stack: Stack, one: WallPX4) -> None:
    one.autopilot.failures.append("Compass not calibrated")
    start(stack, one)
    assert "Preflight Fail: Compass not calibrated" in refusal(stack, "arm", True)
    stack.until(lambda: stack.client.phase is Phase.DISARMED, "disarmed again")
    assert not one.armed
    one.autopilot.failures.clear()
    stack.client.call("arm", True)
    stack.until(lambda: one.armed, "armed")


@pytest.mark.slow
@both
def test_a_killed_controller_is_held_and_landed(stack: Stack, one: WallVehicle) -> None:
    fly(stack, one)
    stack.nodes.kill("controller", signal.SIGKILL)
    down(stack, one)
    assert happened(stack, "takeoff_done", "command_timeout", "landing", "landed")


@pytest.mark.slow
@both
def test_told_to_end_in_flight_it_lands_first(stack: Stack, one: WallVehicle) -> None:
    fly(stack, one)
    stack.nodes.kill("controller", signal.SIGINT)  # as Ctrl-C on a launch: both are told
    child = stack.nodes._children["hardware"]
    child.send_signal(signal.SIGINT)
    assert child.wait(60.0) == 0
    assert not one.armed and upright(one)
    assert happened(stack, "takeoff_done", "landing", "landed")


@pytest.mark.slow
@both
def test_told_twice_it_cuts(stack: Stack, one: WallVehicle) -> None:
    fly(stack, one)
    child = stack.nodes._children["hardware"]
    child.send_signal(signal.SIGTERM)
    stack.until(lambda: stack.client.phase is Phase.LANDING, "the landing")
    child.send_signal(signal.SIGTERM)
    assert child.wait(60.0) == 0 and not one.armed
    assert happened(stack, "takeoff_done", "landing", "emergency")


@pytest.mark.slow
@crazyflie
def test_in_flight_it_is_not_deactivated(stack: Stack, one: WallVehicle) -> None:
    fly(stack, one)
    client = stack.node.create_client(ChangeState, "hardware/change_state")
    stack.until(client.service_is_ready, "the lifecycle service")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    future = client.call_async(request)
    stack.until(future.done, "the answer")
    assert not future.result().success
    stack.spin_for(0.5)
    assert stack.client.phase is Phase.FLYING and one.armed
    stack.client.land(quiet)
    down(stack, one)


def restart(stack: Stack, one: WallVehicle) -> None:
    """The node dies in flight without a word, and another one comes up."""
    stack.nodes.kill("hardware", signal.SIGKILL)
    stack.client.phase, stack.client.state = None, None
    parameters = {"backend": one.backend, "uri": one.uri, "vehicle": one.vehicle, "arm": True}
    stack.nodes.start("hardware.node", "hardware", parameters)
    stack.until(lambda: stack.client.state is not None, "states of the second node")
    stack.until(lambda: stack.client.phase is Phase.DISARMED, "its phase")


@pytest.mark.slow
@crazyflie
def test_a_restarted_node_leaves_a_crazyflie_to_its_firmware(stack: Stack, one: WallCrazyflie) -> None:
    """Levelled after 0.5 s, motors off after 2 s without setpoints; the second node sends none and arms nothing."""
    fly(stack, one)
    restart(stack, one)
    stack.until(lambda: not one.armed, "the firmware's time-out")
    stack.until(lambda: one.truth().position_w[2] < 0.1, "the ground")
    stack.spin_for(1.0)
    assert not one.armed and stack.client.phase is Phase.DISARMED


@pytest.mark.slow
@px4
def test_a_restarted_node_leaves_a_px4_vehicle_to_its_failsafe(stack: Stack, one: WallPX4) -> None:
    """Offboard loss here ends in a hover: the second node refuses to arm until somebody has landed it."""
    one.autopilot.parameters.set("COM_OBL_RC_ACT", 5.0)
    fly(stack, one)
    restart(stack, one)
    stack.until(lambda: one.autopilot.mode == modes.LOITER, "the autopilot's failsafe")
    assert "armed by somebody else" in refusal(stack, "arm", True)
    assert "refused" in refusal(stack, "land")
    stack.spin_for(1.0)
    assert one.armed and one.autopilot.mode == modes.LOITER
    assert one.events.count("OFFBOARD") == 1
    assert one.autopilot.set_mode(modes.LAND)  # the pilot
    down(stack, one)
    stack.until(lambda: "FAIL" not in str(stack.client.status("hardware")), "a clean pre-flight list")
    stack.client.call("arm", True)


@pytest.mark.slow
@px4
def test_a_pilot_who_takes_over_is_left_alone(stack: Stack, one: WallPX4) -> None:
    fly(stack, one)
    assert one.autopilot.set_mode(modes.LOITER)
    stack.until(lambda: stack.client.phase is Phase.EMERGENCY, "word of the loss")
    stack.spin_for(1.0)
    assert one.armed and one.autopilot.mode == modes.LOITER and one.truth().position_w[2] > 0.3
    assert "not landed" in refusal(stack, "emergency")  # it is not ours: the autopilot decides
    assert one.autopilot.set_mode(modes.LAND)
    down(stack, one)
    assert happened(stack, "takeoff_done", "control_lost")


@contextmanager
def second(stack: Stack, one: WallVehicle, uri: str) -> Iterator[Nodes]:
    """Another hardware node, in a namespace of its own, beside one that has the vehicle."""
    start(stack, one, takeoff_height=0.5)
    folder = stack.folder / "two"
    folder.mkdir()
    nodes = Nodes(folder)
    try:
        parameters = {"backend": one.backend, "uri": uri, "vehicle": one.vehicle, "arm": True}
        nodes.start("hardware.node", "hardware", parameters, namespace="two")
        yield nodes
    finally:
        nodes.stop()


@pytest.mark.slow
@both
def test_a_second_node_on_the_same_link_is_refused(stack: Stack, one: WallVehicle) -> None:
    with second(stack, one, one.uri) as nodes:
        assert nodes.wait("hardware") == 2
        said = nodes.last_line("hardware")
        assert said.startswith(one.uri) and ("is taken" in said or "in use" in said)
        stack.client.fly(hover, quiet)
    down(stack, one)


@pytest.mark.slow
@px4
def test_a_second_master_of_a_px4_vehicle_is_harmless(stack: Stack, one: WallPX4) -> None:
    """An autopilot hears all its ports: the second node sees the vehicle, and can neither arm nor steer nor stop it."""
    with second(stack, one, one.second_uri):
        other = FlightClient("two")
        try:
            other._wait(lambda: other.state is not None, 30.0, "no states of the second node")
            stack.take_off()
            for service, data, why in (
                ("arm", True, "armed by somebody else"),
                ("land", None, "not flying"),
                ("emergency", None, "not landed"),
            ):
                with pytest.raises(FlightAborted, match=why):
                    other.call(service, data)
        finally:
            other.close()
        stack.spin_for(0.5)
        assert stack.client.phase in AIRBORNE and one.armed and one.autopilot.mode == modes.OFFBOARD
        stack.client.land(quiet)
        down(stack, one)
    assert one.events == ["OFFBOARD", "armed", "disarmed"]


def command(one: WallVehicle, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``control-stack fly`` as a user types it: over ROS."""
    program = [sys.executable, "-m", "control_stack.cli", "fly", "--backend", one.backend, "--uri", one.uri]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*program, "--out", str(out), *options], env=environment, capture_output=True, text=True, timeout=180
    )


@crazyflie
def test_the_command_without_arm_only_checks(stack: Stack, one: WallCrazyflie, tmp_path: Path) -> None:
    done = command(one, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "ok   link: " in done.stdout and "not armed: --arm is needed to fly" in done.stdout
    assert not one.armed and not (tmp_path / "run").exists()


@pytest.mark.slow
@both
def test_the_command_flies_over_ros(stack: Stack, one: WallVehicle, tmp_path: Path) -> None:
    """On a machine too busy for 100 Hz it lands early, and says so."""
    done = command(one, tmp_path / "run", "--arm", "--trajectory", "hover:duration=1", "--takeoff-height", "0.5")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (done.returncode == 0) == summary["completed"], done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == (0 if summary["completed"] else 1)
    assert summary["ros"] and summary["landed_upright"] and summary["level"] == "ctbr"
    assert summary["events"][-1]["name"] == "landed"
    assert not one.armed and upright(one)


def test_external_poses_reach_the_estimator(stack: Stack) -> None:
    one = WallPX4(SimulationConfig(pose_source="external"))
    try:
        start(stack, one)
        assert "estimate" in refusal(stack, "arm", True)
        publisher = stack.node.create_publisher(PoseStamped, "external_pose", qos.EVENTS)
        pose = PoseStamped()
        pose.header.frame_id = "map"
        pose.pose.position.z, pose.pose.orientation.w = float(one.truth().position_w[2]), 1.0

        def send(age: float) -> None:
            now = stack.node.get_clock().now().nanoseconds * 1e-9
            pose.header.stamp = messages.to_time(now - age)
            publisher.publish(pose)

        def estimated() -> bool:
            send(0.0)
            return stack.client.state is not None and stack.client.state.valid

        stack.until(estimated, "an estimate made of the poses")
        send(60.0)
        stack.until(lambda: stack.counts("hardware").get("external_pose/stale", 0) > 0, "the stale one counted")
    finally:
        stack.nodes.stop()
        one.close()
