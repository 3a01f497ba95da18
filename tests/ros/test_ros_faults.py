"""Faults of a controller as the vehicle's process sees them: silence, exceptions, a bad successor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_stack import Stack, quiet
from sensor_msgs.msg import JointState

from control_stack.artefacts.metrics import landing
from control_stack.ros import qos
from control_stack.safety.events import Phase
from control_stack.trajectories import Lissajous
from control_stack.types import QuadrotorState

USER_FILE = """
import numpy as np
from control_stack.types import AttitudeThrustCommand, CommandLevel
from controllers.geometric import GeometricController


class Fails(GeometricController):
    flown = 0

    def __call__(self, t, state, reference):
        self.flown += state.position_w[2] > 0.95
        if self.flown > 20:
            raise RuntimeError("out of ideas")
        return super().__call__(t, state, reference)


class Raises(GeometricController):
    def __call__(self, t, state, reference):
        raise RuntimeError("never had one")


class Nan(GeometricController):
    def __call__(self, t, state, reference):
        return AttitudeThrustCommand(np.array([0.0, 0.0, 0.0, 1.0]), float("nan"))
"""


@pytest.fixture
def user(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(USER_FILE, encoding="utf-8")
    return file


def assert_landed(stack: Stack) -> list[str]:
    """That the flight ended upright on the ground; returns the names of its events."""
    record = stack.record()
    end = landing(record.t, record.position_w, record.velocity_w, record.quat_xyzw)
    assert end.upright and end.touchdown_speed < 0.6
    return [event.name for event in record.events]


def test_a_controller_that_raises_is_landed(stack: Stack, user: Path) -> None:
    stack.start_sim(real_time_factor=8.0)
    stack.start_controller(controller=f"{user}:Fails")
    stack.client.wait_ready()
    stack.client.alive = lambda: None  # its end is expected
    stack.take_off()
    stack.until(lambda: stack.client.phase is Phase.DISARMED, "the landing")
    assert stack.nodes.wait("controller") != 0
    assert "out of ideas" in stack.nodes.last_line("controller")
    assert assert_landed(stack)[-3:] == ["command_timeout", "landing", "landed"]


@pytest.mark.parametrize("name", ["Raises", "Nan"])
def test_a_successor_that_fails_its_warm_up_never_takes_over(stack: Stack, user: Path, name: str) -> None:
    stack.start(controller={"controllers": ["geometric", f"{user}:{name}"]})
    stack.take_off()
    change = Parameter("controller", value=f"{user}:{name}").to_parameter_msg()
    client = stack.node.create_client(SetParameters, "controller/set_parameters")
    stack.until(client.service_is_ready, "the parameter service")
    future = client.call_async(SetParameters.Request(parameters=[change]))
    stack.until(future.done, "the answer")
    log = stack.folder / "controller.log"
    stack.until(lambda: "failed its warm-up, 'geometric' flies on" in log.read_text(), "word of the refusal")
    stack.spin_for(0.5)
    assert stack.client.phase is Phase.FLYING
    assert stack.client.status("controller")["controller"] == "geometric"


def test_silence_is_waited_for_and_then_landed(stack: Stack) -> None:
    """Its process lives, so its liveliness is fine, but it answers no more: the lockstep time-out."""
    silent: list[bool] = []

    def answer(state: Odometry) -> None:
        if silent:
            return
        message = JointState(name=[f"rotor_{i}" for i in range(4)], velocity=[1743.65] * 4)
        message.header.stamp, message.header.frame_id = state.header.stamp, "rotors"
        publisher.publish(message)

    publisher = stack.node.create_publisher(JointState, "actuators/command", qos.COMMAND)
    stack.node.create_subscription(Odometry, "odom", answer, qos.PUBLISH)
    stack.start_sim(lockstep_timeout=0.5, real_time_factor=8.0)
    stack.until(lambda: stack.client.state is not None, "the first state")
    stack.take_off()
    silent.append(True)
    stack.until(lambda: stack.client.phase is Phase.DISARMED, "the landing")
    assert "no command for 0.5 s: time runs on" in (stack.folder / "sim.log").read_text()
    assert assert_landed(stack)[-3:] == ["command_timeout", "landing", "landed"]


@pytest.mark.parametrize("sensors", ["mocap", "vio"])
def test_states_that_are_late_or_repeated_keep_the_lockstep(stack: Stack, sensors: str) -> None:
    """A delay makes stamps older than the clock, a dropout repeats them: each is echoed all the same."""
    stack.start(sim={"sensors": sensors})
    stack.take_off()
    stack.spin_for(1.0)
    assert stack.client.phase is Phase.FLYING
    assert "time runs on" not in (stack.folder / "sim.log").read_text()
    assert not stack.counts("sim")


def test_the_next_flight_does_not_go_back_to_the_last(stack: Stack) -> None:
    stack.start()

    def away(state: QuadrotorState) -> Lissajous:
        return Lissajous(state.position_w + np.array([0.0, 0.0, 1.0]), size=(0.4, 0.2), laps=1, lap=3.0, ramp=1.0)

    stack.client.fly(away, quiet)
    stack.client.watch_state(True)
    stack.client.call("arm", True)
    stack.client.call("takeoff")
    stack.until(lambda: stack.client.phase is Phase.FLYING, "the second flight")
    where = stack.client.state.position_w
    stack.spin_for(2.0)
    assert np.linalg.norm(stack.client.state.position_w - where) < 0.05
