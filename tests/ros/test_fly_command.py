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


def start(out: Path, domain: str, *arguments: str, ignored: bool = False) -> subprocess.Popen[str]:
    """``ignored``: with SIGINT ignored, as a shell starts a command in the background."""
    command = [sys.executable, "-m", "control_stack.cli", "fly", "--out", str(out), "--backend", "analytic", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": domain},
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
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
    assert summary["landed_upright"] and summary["completed"] and summary["position_rmse_m"] < 0.05
    assert summary["seed"] == 3 and summary["level"] == "rotors"
    assert (out / "flight.png").stat().st_size > 20_000
    assert "trajectory: eight:laps=1" in (out / "config.yaml").read_text()
    with AnyReader([out / "flight.mcap"]) as reader:
        assert {"/odom", "/ground_truth", "/actuators/command", "/reference", "/joint_states"} <= {
            c.topic for c in reader.connections
        }


def test_the_rotors_are_brought_to_a_controller_that_needs_them(tmp_path: Path, domain: str) -> None:
    """The foundation policy learns its vehicle from them during the take-off; without them it sinks by 0.1 m."""
    out = tmp_path / "run"
    process = start(out, domain, "--controller", "foundation", "--trajectory", "hover:duration=3")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads((out / "summary.json").read_text())["position_max_error_m"] < 0.04


def test_a_flight_in_a_namespace_is_reported_like_any_other(tmp_path: Path, domain: str) -> None:
    out = tmp_path / "run"
    asked = ("--controller", "geometric", "--trajectory", "hover:duration=1", "--namespace", "lab/one")
    process = start(out, domain, *asked)
    printed, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["landed_upright"] and summary["completed"] and summary["position_rmse_m"] < 0.1
    assert summary["loop_period_p50_s"] > 0.0 and "position RMSE" in printed
    with AnyReader([out / "flight.mcap"]) as reader:
        assert any(c.topic.endswith("/ground_truth") for c in reader.connections)


@pytest.mark.parametrize(
    ("number", "ignored"),
    [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["Ctrl-C", "Ctrl-C where the shell ignores it", "SIGTERM"],
)
def test_interrupted_flight_lands_first(tmp_path: Path, domain: str, number: int, ignored: bool) -> None:
    out = tmp_path / "run"
    process = start(out, domain, ignored=ignored)
    in_flight(out, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted: the vehicle was brought down first\n")
    record = read_flight(out / "flight.mcap", states="ground_truth")
    assert not record.truncated and record.events[-1].name == "landed"
    assert json.loads((out / "summary.json").read_text())["landed_upright"]


def test_a_second_interrupt_cuts(tmp_path: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, domain, "--realtime")
    in_flight(out, process)
    process.send_signal(signal.SIGINT)
    while "landing on request" not in (out / "sim.log").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted: the motors were cut\n")
    record = read_flight(out / "flight.mcap", states="ground_truth")
    assert not record.truncated and record.events[-1].name == "emergency"
    assert not json.loads((out / "summary.json").read_text())["landed_upright"]


@pytest.mark.parametrize("there", ["config.yaml", "controller.log"])
def test_interrupted_before_take_off_the_folder_is_complete(tmp_path: Path, domain: str, there: str) -> None:
    """While the nodes start: wherever it is, nothing is left half done and nobody is left behind."""
    out = tmp_path / "run"
    process = start(out, domain)
    while not (out / there).exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted: before take-off\n")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"] and not summary["completed"] and summary["position_rmse_m"] is None
    log = out / "flight.mcap"
    assert not log.exists() or not read_flight(log).truncated


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("raise RuntimeError('out of ideas')", "ended with code 1: controller '{}' failed: RuntimeError: out of ideas"),
        ("sys.exit(0)", "ended with code 1: controller '{}' failed: SystemExit: 0 (mine.py, line 6)"),
        ("os._exit(0)", "ended with code 0, without a word"),
    ],
    ids=["exception", "exit", "exit that nothing can catch"],
)
def test_controller_that_fails_is_landed_and_reported(tmp_path: Path, domain: str, statement: str, told: str) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import os, sys\n"
        "from controllers.geometric import GeometricController\n"
        "class Fails(GeometricController):\n"
        "    def __call__(self, t, state, reference):\n"
        "        if state.position_w[2] > 0.9 and abs(state.position_w[0]) > 0.2:\n"
        f"            {statement}\n"
        "        return super().__call__(t, state, reference)\n"
    )
    out = tmp_path / "run"
    process = start(out, domain, "--controller", f"{mine}:Fails")
    _, errors = process.communicate(timeout=90)
    (line,) = errors.splitlines()
    assert process.returncode == 1
    assert line.startswith(f"aborted: the controller node {told.format(f'{mine}:Fails')}")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["landed_upright"] and not summary["completed"] and line == f"aborted: {summary['aborted']}"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("return RatesThrustCommand(np.zeros(3), 0.0)", "level"),
        ("return None", "type"),
        ("return RotorCommand(np.zeros(3))", "shape"),
    ],
    ids=["level that was not declared", "no command", "three rotors"],
)
def test_commands_that_break_the_controllers_word_are_not_flown(
    tmp_path: Path, domain: str, statement: str, reason: str
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import numpy as np\n"
        "from control_stack.types import CommandLevel, RatesThrustCommand, RotorCommand\n"
        "from controllers.geometric import GeometricController\n"
        "class Breaks(GeometricController):\n"
        "    levels = (CommandLevel.ROTORS,)\n"
        "    def __call__(self, t, state, reference):\n"
        "        if state.position_w[2] > 0.9 and abs(state.position_w[0]) > 0.2:\n"
        f"            {statement}\n"
        "        return super().__call__(t, state, reference)\n"
    )
    out = tmp_path / "run"
    process = start(out, domain, "--controller", f"{mine}:Breaks")
    printed, errors = process.communicate(timeout=90)
    assert process.returncode == 1 and len(errors.splitlines()) == 1, errors
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["rejections"]) == {f"command/{reason}", "command/none"}
    assert [event["name"] for event in summary["events"]][-3:] == ["command_timeout", "landing", "landed"]
    assert summary["landed_upright"] and not summary["completed"] and summary["level"] == "rotors"
    assert f"dropped: command/{reason}" in printed
    assert "time runs on" not in (out / "sim.log").read_text()  # every state was answered
    assert "Traceback" not in (out / "controller.log").read_text()


def test_sim_node_killed_in_flight_aborts_with_one_line(tmp_path: Path, domain: str) -> None:
    out = tmp_path / "run"
    process = start(out, domain)
    in_flight(out, process)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "sim.node"], capture_output=True, text=True, check=True
    )
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == "aborted: the sim node ended with code -9: " + errors.partition("-9: ")[2]
    assert len(errors.splitlines()) == 1
    # The log of a killed writer is read up to the cut.
    assert read_flight(out / "flight.mcap").truncated
    summary = json.loads((out / "summary.json").read_text())
    assert not summary["completed"] and not summary["landed_upright"]


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
