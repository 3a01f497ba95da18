"""The surface of the nodes: services, setpoints, rejections, lifecycle, parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TwistStamped
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_stack import Stack
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from control_stack.errors import FlightAborted
from control_stack.ros import messages, qos
from control_stack.ros.exclusive import claim
from control_stack.safety.events import Phase


def call(stack: Stack, kind: type, name: str, request: object) -> object:
    client = stack.node.create_client(kind, name)
    stack.until(client.service_is_ready, f"service {name}")
    future = client.call_async(request)
    stack.until(future.done, f"answer of {name}")
    return future.result()


def pose(x: float, y: float, z: float, frame: str = "map", w: float = 1.0) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y, message.pose.position.z = x, y, z
    message.pose.orientation.w = w
    return message


def counted(stack: Stack, node: str, key: str, count: int = 1) -> None:
    stack.until(lambda: stack.counts(node).get(key, 0) >= count, f"{count} x {key} in the diagnostics of {node}")


def test_services_refuse_what_is_out_of_order(stack: Stack) -> None:
    stack.start()
    with pytest.raises(FlightAborted, match="arm first"):
        stack.client.call("takeoff")
    with pytest.raises(FlightAborted, match="not flying"):
        stack.client.call("land")
    stack.take_off()
    with pytest.raises(FlightAborted, match="land, or call emergency"):
        stack.client.call("arm", False)
    stack.client.call("emergency")
    stack.until(lambda: stack.client.phase is Phase.EMERGENCY, "emergency")
    with pytest.raises(FlightAborted, match="latched"):
        stack.client.call("arm", True)
    stack.spin_for(1.5)
    record = stack.record()
    after = record.rotor_speed[record.rotor_t > record.events[-1].t + 1.4]
    assert len(after) and after.max() < 0.01 * record.rotor_speed.max()


def test_time_does_not_start_without_a_controller(stack: Stack) -> None:
    stack.start_sim()
    service = stack.node.create_client(GetState, "sim/get_state")
    stack.until(service.service_is_ready, "the sim node")
    seen: list[Odometry] = []
    stack.node.create_subscription(Odometry, "odom", seen.append, qos.SENSOR)
    for _ in range(20):
        stack.client._executor.spin_once(timeout_sec=0.02)
    assert not seen
    stack.start_controller()
    stack.until(lambda: bool(seen), "the first state")
    assert messages.to_seconds(seen[0].header.stamp) < 0.5


def test_both_kinds_of_subscriber_hear_the_state(stack: Stack) -> None:
    heard: dict[str, int] = {"reliable": 0, "best": 0}

    def count(kind: str) -> object:
        return lambda message: heard.__setitem__(kind, heard[kind] + 1)

    reliable = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    best = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    stack.node.create_subscription(Odometry, "odom", count("reliable"), reliable)
    stack.node.create_subscription(Odometry, "odom", count("best"), best)
    stack.start()
    stack.until(lambda: min(heard.values()) > 5, "states on both subscriptions")


def test_pose_setpoint_is_flown_and_bad_ones_are_dropped(stack: Stack) -> None:
    stack.start()
    publisher = stack.node.create_publisher(PoseStamped, "command_pose", qos.EVENTS)
    stack.until(lambda: publisher.get_subscription_count() > 0, "the controller's subscription")
    stack.take_off()
    publisher.publish(pose(0.8, -0.4, 1.3))
    stack.spin_for(4.0)
    for bad, reason in (
        (pose(math.nan, 0, 1), "nan"),
        (pose(5, 5, 5, frame="base_link"), "frame_id"),
        (pose(5, 5, 5, w=0.5), "quaternion"),
    ):
        publisher.publish(bad)
        counted(stack, "controller", f"command_pose/{reason}")
    stack.spin_for(1.0)
    record = stack.record()
    assert np.allclose(record.position_w[-1], [0.8, -0.4, 1.3], atol=0.01)


def test_bad_trajectory_is_dropped(stack: Stack) -> None:
    stack.start()
    publisher = stack.node.create_publisher(MultiDOFJointTrajectory, "command_trajectory", qos.EVENTS)
    stack.until(lambda: publisher.get_subscription_count() > 0, "the controller's subscription")
    good = messages.reference_message(messages.Reference(np.array([0.0, 0.0, 1.0])), messages.to_time(0.0))
    empty = MultiDOFJointTrajectory()
    empty.header.frame_id = "map"
    backwards = MultiDOFJointTrajectory(points=[good.points[0], good.points[0]])
    backwards.header.frame_id = "map"
    pointless = MultiDOFJointTrajectory(points=[MultiDOFJointTrajectoryPoint()])
    pointless.header.frame_id = "map"
    for bad, reason, count in ((empty, "empty", 1), (backwards, "trajectory", 1), (pointless, "empty", 2)):
        publisher.publish(bad)
        counted(stack, "controller", f"command_trajectory/{reason}", count)


def test_velocity_setpoint_moves_in_the_heading_frame_and_times_out(stack: Stack) -> None:
    stack.start()
    publisher = stack.node.create_publisher(TwistStamped, "cmd_vel", qos.EVENTS)
    stack.until(lambda: publisher.get_subscription_count() > 0, "the controller's subscription")
    stack.take_off()
    message = TwistStamped()
    message.header.frame_id = "base_link"
    message.twist.linear.x = 0.5
    start, where = stack.client.t, stack.client.state.position_w
    while stack.client.t < start + 2.0:
        publisher.publish(message)
        stack.spin_for(0.1)
    moved = stack.client.state.position_w - where
    assert 0.6 < moved[0] < 1.2 and abs(moved[1]) < 0.05
    stack.spin_for(2.0)
    assert np.linalg.norm(stack.client.state.velocity_w) < 0.02


def test_commands_from_a_stranger_are_checked(stack: Stack) -> None:
    """A second publisher on the command topic: what is malformed, stale or not offered never reaches the rotors."""
    stack.start()
    publisher = stack.node.create_publisher(JointState, "actuators/command", qos.COMMAND)
    stack.take_off()
    old = JointState(name=[f"rotor_{i}" for i in range(4)], velocity=[2500.0] * 4)
    old.header.frame_id = "rotors"
    publisher.publish(old)  # stamp 0
    counted(stack, "sim", "command/stale")
    for _ in range(200):
        publisher.publish(old)
    stack.spin_for(0.5)
    assert stack.client.phase is Phase.FLYING
    assert abs(stack.client.state.velocity_w[2]) < 0.1


@pytest.mark.parametrize(
    ("names", "velocity", "frame", "reason"),
    [
        (["rotor_0", "rotor_1", "rotor_2", "rotor_3"], [math.nan] * 4, "rotors", "nan"),
        (["rotor_0", "rotor_1", "rotor_2", "motor_3"], [1.0] * 4, "rotors", "names"),
        (["rotor_0"], [1.0], "thrusters", "level"),
    ],
)
def test_a_controller_that_sends_rubbish_is_landed(
    stack: Stack, names: list[str], velocity: list[float], frame: str, reason: str
) -> None:
    """The only controller, written by somebody else, answers every state in time, but with rubbish."""

    broken: list[bool] = []

    def answer(state: Odometry) -> None:
        if stack.client.phase is Phase.FLYING:
            broken.append(True)
        if broken:
            message = JointState(name=names, velocity=velocity)
            message.header.stamp, message.header.frame_id = state.header.stamp, frame
        else:
            message = JointState(name=[f"rotor_{i}" for i in range(4)], velocity=[1743.65] * 4)
            message.header.stamp, message.header.frame_id = state.header.stamp, "rotors"
        publisher.publish(message)

    publisher = stack.node.create_publisher(JointState, "actuators/command", qos.COMMAND)
    stack.node.create_subscription(Odometry, "odom", answer, qos.PUBLISH)
    stack.start_sim()
    stack.until(lambda: stack.client.state is not None, "the first state")
    stack.take_off()
    stack.until(lambda: stack.client.phase is Phase.DISARMED, "the landing")
    stack.until(lambda: stack.counts("sim").get(f"command/{reason}", 0) > 10, "counted rejections")
    record = stack.record()
    assert [e.name for e in record.events][-3:] == ["command_timeout", "landing", "landed"]


def test_external_pose_feeds_the_estimator(stack: Stack) -> None:
    stack.start(sim={"pose_source": "external"})
    with pytest.raises(FlightAborted, match="not valid"):
        stack.client.call("arm", True)
    publisher = stack.node.create_publisher(PoseStamped, "external_pose", qos.EVENTS)
    stack.until(lambda: publisher.get_subscription_count() > 0, "the sim's subscription")

    def published_and_counted(reason: str, frame: str, stamped: bool) -> None:
        # Again and again: discovery is one-sided for a moment, and what is sent then is heard by nobody.
        def heard() -> bool:
            wrong = pose(0.0, 0.0, 0.0145, frame=frame)
            if stamped:
                wrong.header.stamp = messages.to_time(stack.client.t)
            publisher.publish(wrong)
            return stack.counts("sim").get(f"external_pose/{reason}", 0) >= 1

        stack.until(heard, f"external_pose/{reason} in the diagnostics")

    published_and_counted("frame_id", "base_link", stamped=True)
    stack.spin_for(0.5)
    published_and_counted("stale", "map", stamped=False)  # stamp 0

    def feed() -> bool:
        right = pose(0.3, 0.2, 0.0145)
        right.header.stamp = messages.to_time(stack.client.t)
        publisher.publish(right)
        return stack.client.state.valid

    stack.until(feed, "a valid state")
    assert np.allclose(stack.client.state.position_w, [0.3, 0.2, 0.0145])
    stack.client.call("arm", True)


def test_hot_swap_in_flight(stack: Stack) -> None:
    stack.start(controller={"controllers": ["geometric", "lqr"]})
    stack.take_off()
    change = SetParameters.Request(parameters=[Parameter("controller", value="lqr").to_parameter_msg()])
    assert call(stack, SetParameters, "controller/set_parameters", change).results[0].successful
    stack.until(lambda: stack.client.status("controller").get("controller") == "lqr", "the switch")
    stack.spin_for(1.0)
    assert stack.client.phase is Phase.FLYING
    assert np.linalg.norm(stack.client.state.velocity_w) < 0.05
    unknown = SetParameters.Request(parameters=[Parameter("controller", value="magic").to_parameter_msg()])
    refused = call(stack, SetParameters, "controller/set_parameters", unknown).results[0]
    assert not refused.successful and "expected one of: geometric, lqr" in refused.reason
    fixed = SetParameters.Request(parameters=[Parameter("control_rate", value=50.0).to_parameter_msg()])
    assert not call(stack, SetParameters, "controller/set_parameters", fixed).results[0].successful


def test_lifecycle_by_hand_and_deactivation_in_flight(stack: Stack) -> None:
    stack.start_sim(real_time_factor=8.0)
    stack.start_controller(autostart=False)

    def state() -> int:
        return call(stack, GetState, "controller/get_state", GetState.Request()).current_state.id

    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return call(stack, ChangeState, "controller/change_state", request).success

    assert state() == State.PRIMARY_STATE_UNCONFIGURED
    assert change(Transition.TRANSITION_CONFIGURE) and state() == State.PRIMARY_STATE_INACTIVE
    assert change(Transition.TRANSITION_ACTIVATE) and state() == State.PRIMARY_STATE_ACTIVE
    stack.client.wait_ready()
    stack.take_off()
    assert change(Transition.TRANSITION_DEACTIVATE)
    stack.until(lambda: stack.client.phase is Phase.DISARMED, "landing after deactivation")


def test_the_vehicle_can_be_cleaned_up_and_configured_again(stack: Stack) -> None:
    stack.start(sim={"log_path": ""})
    stack.take_off()

    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return call(stack, ChangeState, "sim/change_state", request).success

    for transition in (
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    ):
        assert change(transition)
    stack.client.wait_ready()
    assert stack.client.state.position_w[2] < 0.02
    stack.take_off()
    assert stack.node.count_publishers("odom") == 1


@pytest.mark.parametrize(
    ("module", "node", "parameters", "message"),
    [
        ("sim.node", "sim", {"wnid": "1,0,0"}, "unknown parameter of sim 'wnid'; expected one of: backend"),
        ("sim.node", "sim", {"backend": "gazebo"}, "unknown value of parameter backend 'gazebo'"),
        ("sim.node", "sim", {"vehicle": "tank"}, "unknown vehicle 'tank'; expected one of: crazyflie"),
        ("sim.node", "sim", {"control_rate": 5.0}, "control_rate (control periods per second) must be from 10 to 1000"),
        ("sim.node", "sim", {"control_rate": 100}, "control_rate (control periods per second) must be a number with a"),
        ("sim.node", "sim", {"seed": -1}, "seed (of gusts and sensor noise) must be from 0 to 2147483647, got -1"),
        ("sim.node", "sim", {"lockstep": "yes please"}, "must be true or false, got 'yes please'"),
        ("controllers.node", "controller", {"levels": "rotors"}, "must be a list of texts, got 'rotors'"),
        ("sim.node", "sim", {"wind": "strong"}, "wind"),
        ("controllers.node", "controller", {"controller": "pdi"}, "unknown controller 'pdi'"),
        ("controllers.node", "controller", {"levels": ["velocity"]}, "no common command level"),
    ],
)
def test_bad_parameters_end_a_node_with_one_line(
    stack: Stack, module: str, node: str, parameters: dict, message: str
) -> None:
    stack.nodes.start(module, node, parameters)
    assert stack.nodes.wait(node) == 2
    (line,) = (stack.folder / f"{node}.log").read_text().splitlines()
    assert line.startswith("error: ") and message in line


def test_two_vehicles_do_not_share_a_namespace(stack: Stack) -> None:
    stack.start()
    stack.nodes.start("sim.node", "second", {})
    assert stack.nodes.wait("second") == 2
    assert "a vehicle node is already running in ROS domain" in stack.nodes.last_line("second")
    # Elsewhere there is room, and when the first is gone there is room again.
    with claim("elsewhere"):
        pass
    stack.nodes.stop()
    claim("").close()
