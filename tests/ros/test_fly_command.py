"""``control-stack fly`` as a user runs it: a process of its own, ended in every way a user can end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ros_stack import Stack
from rosbags.highlevel import AnyReader

from control_stack.artefacts.record import read_flight
from control_stack.cli.processes import Nodes

KEYS = {
    "position_rmse_m", "position_max_error_m", "landed_upright", "real_time_factor", "loop_period_p99_s",
    "controller", "backend", "vehicle", "trajectory", "seed", "git_revision",
}  # fmt: skip


def start(out: Path, domain: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "control_stack.cli", "fly", "--out", str(out), "--backend", "analytic", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "ROS_DOMAIN_ID": domain}
    )


def in_flight(out: Path, process: subprocess.Popen[str]) -> None:
    """Waits until the sim node has said that the controller flies; the wall time only bounds a hang."""
    deadline = time.monotonic() + 60.0
    while "controller flies" not in ((out / "sim.log").read_text() if (out / "sim.log").exists() else ""):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def test_a_flight_leaves_summary_picture_config_and_log(tmp_path: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, domain, "--trajectory", "eight:laps=1", "--seed", "3")
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "position RMSE" in printed and "landed upright" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert KEYS <= set(summary)
    assert summary["landed_upright"] and summary["completed"] and summary["position_rmse_m"] < 0.02
    assert summary["seed"] == 3 and summary["level"] == "rotors"
    assert (out / "flight.png").stat().st_size > 20_000
    assert "trajectory: eight:laps=1" in (out / "config.yaml").read_text()
    with AnyReader([out / "flight.mcap"]) as reader:
        assert {"/odom", "/ground_truth", "/actuators/command", "/reference", "/joint_states"} <= {
            c.topic for c in reader.connections
        }


def test_interrupted_flight_lands_first(tmp_path: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, domain)
    in_flight(out, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    record = read_flight(out / "flight.mcap", states="ground_truth")
    assert not record.truncated and record.events[-1].name == "landed"
    assert json.loads((out / "summary.json").read_text())["landed_upright"]


def test_controller_that_raises_is_landed_and_reported(tmp_path: Path, domain: str) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from controllers.geometric import GeometricController\n"
        "class Fails(GeometricController):\n"
        "    def __call__(self, t, state, reference):\n"
        "        if state.position_w[2] > 0.9 and abs(state.position_w[0]) > 0.2:\n"
        "            raise RuntimeError('out of ideas')\n"
        "        return super().__call__(t, state, reference)\n"
    )
    out = tmp_path / "run"
    process = start(out, domain, "--controller", f"{mine}:Fails")
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 1 and "Traceback" not in errors
    assert "failed: RuntimeError: out of ideas (mine.py, line 5)" in errors.strip().splitlines()[-1]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["landed_upright"] and not summary["completed"] and "out of ideas" in summary["aborted"]


def test_sim_node_killed_in_flight_aborts_with_one_line(tmp_path: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, domain)
    in_flight(out, process)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "sim.node"], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in errors
    assert errors.strip().splitlines()[-1].startswith("aborted: the sim node ended with code -9")
    # The log of a killed writer is read up to the cut.
    assert read_flight(out / "flight.mcap").truncated


def test_a_second_flight_in_the_same_domain_is_refused(stack: Stack, tmp_path: Path) -> None:
    stack.start()
    process = start(tmp_path / "run", os.environ["ROS_DOMAIN_ID"])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "already running" in errors and len(errors.strip().splitlines()) == 1


def test_no_process_outlives_a_flight(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    nodes.start("sim.node", "sim", {"backend": "analytic"})
    pid = nodes.pid("sim")
    nodes.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
