"""``control-stack arm`` over ROS 2 as a user runs it, and the arm node's answers to what it should not be sent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from control_stack.arm.library import load_arm
from control_stack.artefacts.joints import read_joints, topic_in
from control_stack.cli.processes import Nodes
from control_stack.ros import messages, qos

pytest.importorskip("pybullet")
OPTIONS = ("--load", "2,0.05,0,0.1", "--estimator", "payload", "--drop", "2", "--duration", "4", "--seed", "3")
NAMES = load_arm("panda").joint_names


def start(out: Path, domain: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "control_stack.cli", "arm", "--out", str(out), *OPTIONS, *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "ROS_DOMAIN_ID": domain}
    )


def test_over_ros_in_lockstep_the_same_is_done_as_in_one_process(tmp_path: Path, domain: str) -> None:
    outs = [tmp_path / name for name in ("ros", "alone")]
    for out, options in zip(outs, (("--namespace", "lab/arm"), ("--no-ros",)), strict=True):
        printed, errors = (process := start(out, domain, *options)).communicate(timeout=240)
        assert process.returncode == 0 and "flange error" in printed, errors
    logs = [read_joints(out / "arm.mcap") for out in outs]
    for topic, field in (("joint_states", "position"), ("actuators/command", "effort"), ("reference", "position")):
        one, two = (topic_in(log, topic, "log").columns(field, NAMES) for log in logs)
        np.testing.assert_array_equal(one, two)
    ros, alone = (json.loads((out / "summary.json").read_text()) for out in outs)
    for key in ("flange_rmse_m", "flange_max_m", "steps_taken", "completed", "saturation"):
        assert ros[key] == alone[key]
    assert ros["ros"] and not alone["ros"] and ros["rejections"] == {}


def test_interrupted_it_leaves_a_complete_folder_and_no_process(tmp_path: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, domain, "--realtime", "0.2")
    deadline = time.monotonic() + 120.0
    while not ((out / "arm.mcap").exists() and (out / "arm.mcap").stat().st_size > 40_000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.strip().endswith("interrupted")
    assert json.loads((out / "summary.json").read_text())["interrupted"] and (out / "arm.png").is_file()


def test_bad_commands_are_dropped_and_the_brakes_hold(tmp_path: Path, domain: str) -> None:
    nodes, context = Nodes(tmp_path), rclpy.Context()
    rclpy.init(context=context)
    node, executor = Node("tester", context=context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    states: list[JointState] = []
    node.create_subscription(JointState, "joint_states", states.append, qos.PUBLISH)
    commands = node.create_publisher(JointState, "actuators/command", qos.COMMAND)
    nodes.start("sim.arm.node", "arm", {"log_path": str(tmp_path / "arm.mcap"), "sensors": "none"})

    def until(count: int) -> JointState:
        deadline = time.monotonic() + 60.0
        while len(states) < count:
            nodes.alive()
            assert time.monotonic() < deadline
            executor.spin_once(timeout_sec=0.05)
        return states[-1]

    def say(names=NAMES, effort=(0.0,) * 7, frame: str = "joints") -> None:
        message = messages.joints(names, np.array(effort), 0.0, frame, field="effort")
        message.header.stamp = states[-1].header.stamp
        commands.publish(message)

    try:
        at_rest = until(1)
        say(frame="rotors")
        until(2)
        say(names=("a", *NAMES[1:]))
        until(3)
        say(effort=(float("nan"), *(0.0,) * 6))
        last = until(4)
        assert list(last.position) == list(at_rest.position) and not any(last.velocity)
        say(names=NAMES[::-1], effort=(0.0,) * 6 + (40.0,))  # matched by name: all of it is the first joint's
        until(5)
        say(effort=(40.0, *(0.0,) * 6))
        moved = until(6)
        assert moved.velocity[0] > 0.01
    finally:
        nodes.stop()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
