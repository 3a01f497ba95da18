"""examples/fly_over_ros.py, started as docs/ros.md says, flies a vehicle over ROS in lockstep."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from ros_stack import Stack

ROOT = Path(__file__).resolve().parents[2]
_EXECUTABLES = {"sim_node": ["-m", "sim.node"], "controller_node": ["-m", "controllers.node"], "python": []}


def commands_of_the_page() -> list[list[str]]:
    """One per terminal, with the executables of an installed package replaced by their modules."""
    text = (ROOT / "docs" / "ros.md").read_text(encoding="utf-8")
    section = text.partition("### Without the `ros2` command\n")[2]
    block = re.search(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    assert block is not None
    words = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    return [[sys.executable, *_EXECUTABLES[first], *rest] for first, *rest in words]


def test_the_example_flies(stack: Stack) -> None:
    sim, controller, example = commands_of_the_page()
    # Only the simulator is another one, so that this flies where PyBullet is missing.
    sim += ["--ros-args", "-p", "backend:=analytic"]
    started = [subprocess.Popen(c, cwd=ROOT, stdout=subprocess.DEVNULL) for c in (sim, controller)]
    flown_by, phases, places = set(), [], []
    try:
        # Until both ends have found each other: the example itself may be through in two seconds.
        stack.until(lambda: bool(stack.client.status("controller")), "the controller's diagnostics")
        pilot = subprocess.Popen(example, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(pilot)
        while pilot.poll() is None:
            stack.client._executor.spin_once(timeout_sec=0.02)
            flown_by.add(stack.client.status("controller").get("controller"))
            phases += [stack.client.phase] if stack.client.phase not in phases[-1:] else []
            places += [stack.client.state.position_w] if stack.client.state is not None else []
        printed = pilot.communicate()[0]
    finally:
        for process in started:
            process.terminate()
        codes = [process.wait(20.0) for process in started]
    assert pilot.returncode == 0, printed
    assert codes[:2] == [0, 0]
    assert printed.splitlines()[-1] == "landed" and "lqr takes over" in printed
    assert {"geometric", "lqr"} <= flown_by
    assert [phase.value for phase in phases if phase][-4:] == ["takeoff", "flying", "landing", "disarmed"]
    assert np.linalg.norm(np.array(places) - [0.5, 0.3, 1.2], axis=1).min() < 0.06
    assert places[-1][2] < 0.05 and np.linalg.norm(places[-1][:2]) < 0.1
