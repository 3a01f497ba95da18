"""``control-stack push`` over ROS 2 as a user runs it, and the nodes' answers to what they should not be sent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sampling_toys import HEAD_ON_SEED, head_on, saved
from sensor_msgs.msg import JointState

from control_stack.artefacts.joints import read_joints
from control_stack.cli.processes import Nodes
from control_stack.learning.data import load
from control_stack.ros import messages, qos
from control_stack.ros.task_client import TaskClient

pytest.importorskip("pybullet")
OPTIONS = (
    "--controller",
    "cem",
    "--seed",
    str(HEAD_ON_SEED),
    "--goal=0.09,-0.087",
    "--effort",
    "0.07",
    "--steps",
    "25",
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(head_on(), tmp_path / "model.safetensors")


def start(out: Path, model: Path, domain: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "control_stack.cli", "push", "--model", str(model), "--out", str(out)]
    return subprocess.Popen(
        [*command, *OPTIONS, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ROS_DOMAIN_ID": domain},
    )  # fmt: skip


def running(out: Path, process: subprocess.Popen[str]) -> None:
    """Waits until the log has some steps; the wall time only bounds a hang."""
    deadline = time.monotonic() + 60.0
    while not ((out / "push.mcap").exists() and (out / "push.mcap").stat().st_size > 4000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def test_over_ros_in_lockstep_the_same_is_done_as_in_one_process(tmp_path: Path, model: Path, domain: str) -> None:
    outs = [tmp_path / name for name in ("ros", "alone")]
    for out, options in zip(outs, (("--namespace", "lab/table"), ("--no-ros",)), strict=True):
        process = start(out, model, domain, *options)
        printed, errors = process.communicate(timeout=120)
        assert "mean cost" in printed and process.returncode in (0, 1), errors
    one, two = (load(out) for out in outs)
    np.testing.assert_array_equal(one.states, two.states)
    np.testing.assert_array_equal(one.inputs, two.inputs)
    ros, alone = (json.loads((out / "summary.json").read_text()) for out in outs)
    for key in ("mean_cost", "success", "plans", "better_than_start", "steps_taken", "goal"):
        assert ros[key] == alone[key]
    assert ros["ros"] and not alone["ros"] and ros["rejections"] == {}
    assert (outs[0] / "push.png").stat().st_size > 10_000


def test_interrupted_it_leaves_a_complete_folder_and_no_process(tmp_path: Path, model: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, model, domain, "--steps", "10000")
    running(out, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"] and 0 < summary["steps_taken"] < 10000
    assert load(out / "push.mcap").steps == summary["steps_taken"]


def test_a_planner_that_cannot_be_built_is_said_in_one_line(tmp_path: Path, model: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, model, domain, "--steps", "10000")
    deadline = time.monotonic() + 60.0
    while not (out / "config.yaml").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    model.unlink()  # between the check and the node's start
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and len(errors.splitlines()) == 1
    assert "the planner node ended with code 2" in errors and "does not exist" in errors


class Table:
    """A task node, and a program that plays the planner."""

    def __init__(self, folder: Path, **parameters: Any):
        self.log = folder / "push.mcap"
        self.nodes = Nodes(folder)
        self.client = TaskClient("", self.nodes.alive)
        self.node: Node = self.client._node
        self.executor: SingleThreadedExecutor = self.client._executor
        self.states: list[JointState] = []
        self.commands = self.node.create_publisher(JointState, "actuators/command", qos.COMMAND)
        self.node.create_subscription(JointState, "joint_states", self.states.append, qos.PUBLISH)
        given = {"task": "pushing-disc", "seed": HEAD_ON_SEED, "log_path": str(self.log), **parameters}
        self.nodes.start("sim.tasks.node", "task", given)

    def until(self, done: Callable[[], bool], wall: float = 60.0) -> None:
        deadline = time.monotonic() + wall
        while not done():
            assert time.monotonic() < deadline
            self.nodes.alive()
            self.executor.spin_once(timeout_sec=0.02)

    def send(self, values: list[float], **changes: Any) -> None:
        stamp = messages.to_seconds(self.states[-1].header.stamp)
        message = messages.joints(["pusher.vx [m/s]", "pusher.vy [m/s]"], np.array(values), stamp, "inputs", "velocity")
        for key, value in changes.items():
            if key == "frame_id":
                message.header.frame_id = value
            elif key == "stamp":
                message.header.stamp = messages.to_time(value)
            else:
                setattr(message, key, value)
        self.commands.publish(message)

    def counts(self) -> dict[str, int]:
        return {k: int(v) for k, v in self.client.status.get("task", {}).items() if "/" in k}


@pytest.fixture
def table(tmp_path: Path, domain: str) -> Iterator[Callable[..., Table]]:
    made: list[Table] = []

    def make(**parameters: Any) -> Table:
        made.append(Table(tmp_path, **parameters))
        return made[-1]

    yield make
    for one in made:
        one.nodes.stop()
        one.client.close()


def test_answers_that_cannot_be_meant_leave_the_pusher_where_it_is(table: Callable[..., Table]) -> None:
    found = table(steps=8)
    found.until(lambda: len(found.states) == 1)
    bad: list[tuple[list[float], dict[str, Any], str]] = [
        ([np.nan, 0.0], {}, "command/nan"),
        ([0.1, 0.0], {"frame_id": "velocity"}, "command/frame_id"),
        ([0.1, 0.0], {"name": ["pusher.vx [m/s]", "pusher.vz [m/s]"]}, "command/names"),
        ([0.1], {}, "command/shape"),
    ]
    for k, (values, changes, reason) in enumerate(bad):
        found.send(values, **changes)
        found.until(lambda k=k: len(found.states) == k + 2)
        found.until(lambda reason=reason: found.counts().get(reason) == 1)
        assert found.states[-1].position[:2] == found.states[0].position[:2]
    found.send([0.1, 0.0], stamp=77.0)  # waited on: no state follows
    found.send([0.1, 0.0], stamp=77.0, frame_id="velocity")  # nor here
    found.send([0.1, 0.05])
    found.until(lambda: len(found.states) == 6)
    assert found.counts().get("command/stale", 0) <= 2
    moved = np.array(found.states[-1].position[:2]) - found.states[0].position[:2]
    np.testing.assert_allclose(moved, [0.01, 0.005], atol=1e-12)


def test_time_goes_on_without_a_planner_and_the_pusher_stands(table: Callable[..., Table]) -> None:
    found = table(steps=3, lockstep_timeout=0.2)
    found.until(lambda: found.client.phase == "over")
    found.until(lambda: len(found.states) >= 1 and messages.to_seconds(found.states[-1].header.stamp) > 0.25)
    assert found.client.status["task"]["missed"] == "3"
    found.nodes.stop()
    inputs = read_joints(found.log).topics["actuators/command"].fields["velocity"]
    assert all((column == 0.0).all() and len(column) == 3 for column in inputs.values())


def test_in_real_time_the_last_command_holds_until_its_time_is_over(table: Callable[..., Table]) -> None:
    found = table(steps=12, lockstep=False)
    found.until(lambda: len(found.states) >= 1)
    found.send([0.1, 0.0])
    found.until(lambda: found.client.phase == "over")
    found.nodes.stop()
    vx = read_joints(found.log).topics["actuators/command"].fields["velocity"]["pusher.vx [m/s]"]
    held = int((vx > 0.0).sum())
    assert len(vx) == 12 and 1 <= held <= 7 and vx[-1] == 0.0
    assert (np.abs(np.diff(vx > 0.0)).sum()) <= 2  # once on, once off


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"goal": "9,9"}, "lies outside"),
        ({"goal": "far"}, "a goal is x,y"),
        ({"task": "juggling"}, "value of parameter task"),
        ({"stepz": 3}, "unknown parameter of task"),
    ],
)
def test_bad_parameters_end_the_node_with_one_line(tmp_path: Path, domain: str, parameters: dict, message: str) -> None:
    nodes = Nodes(tmp_path)
    nodes.start("sim.tasks.node", "task", parameters)
    assert nodes.wait("task", 60.0) == 2 and message in nodes.last_line("task")


def test_the_planner_drops_goals_and_states_that_it_cannot_plan_for(tmp_path: Path, model: Path, domain: str) -> None:
    nodes = Nodes(tmp_path)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("table", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    answers: list[JointState] = []
    node.create_subscription(JointState, "actuators/command", answers.append, qos.COMMAND_IN)
    goals = node.create_publisher(JointState, "goal", qos.LATCHED)
    states = node.create_publisher(JointState, "joint_states", qos.PUBLISH)
    spec = head_on().spec

    def answer(values: list[float], t: float) -> JointState:
        before, deadline = len(answers), time.monotonic() + 60.0
        states.publish(messages.joints(spec.state, np.array(values), t, "map"))
        while len(answers) == before:
            assert time.monotonic() < deadline
            executor.spin_once(timeout_sec=0.05)
        return answers[-1]

    try:
        nodes.start("controllers.planning.node", "planner", {"controller": "cem", "model": str(model)})
        while states.get_subscription_count() == 0 or goals.get_subscription_count() == 0:
            nodes.alive()
            executor.spin_once(timeout_sec=0.05)
        good = [0.0, 0.0, 0.06, 0.0]
        assert answer(good, 0.0).header.frame_id == ""  # no goal yet
        goals.publish(messages.joints(["centre.x [m]", "centre.y [m]"], np.array([5.0, 0.0]), 0.0, "map"))
        assert answer(good, 0.1).header.frame_id == ""  # that is outside the workspace
        goals.publish(messages.joints(["centre.x [m]", "centre.y [m]"], np.array([0.15, 0.0]), 0.0, "map"))
        deadline, k = time.monotonic() + 60.0, 2
        while (found := answer(good, 0.1 * k)).header.frame_id != "inputs":  # the goal may arrive after the state
            k += 1
            assert time.monotonic() < deadline
        assert found.name == list(spec.inputs) and found.velocity[0] > 0.05
        assert messages.to_seconds(found.header.stamp) == pytest.approx(0.1 * k)
        assert answer([np.nan, 0.0, 0.06, 0.0], 10.0).header.frame_id == ""
        assert answer(good, 10.1).header.frame_id == "inputs"
    finally:
        nodes.stop()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
