"""control-stack sim serve and fly over a PX4 link, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("pymavlink")
from px4_bench import free_port

from control_stack.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "control_stack.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def served(port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """An emulator of its own process, listening."""
    arguments = [*COMMAND, "sim", "serve", "--as", "px4", "--port", str(port), *options]
    server = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert f"to udp 127.0.0.1:{port}" in line
        yield server
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(10.0) == 0


def fly(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "fly", "--no-ros", *options], env=ENVIRONMENT, capture_output=True, text=True, timeout=180
    )


def test_without_arm_it_is_only_checked(tmp_path: Path):
    port, out = free_port(), tmp_path / "run"
    with served(port):
        done = fly("--backend", "px4", "--uri", f"udpin:127.0.0.1:{port}", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "ok   autopilot: PX4 1.18.0, system 1" in done.stdout and "not armed: --arm is needed to fly" in done.stdout
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--uri", "14540"], ["'14540' is no MAVLink address", "udpin:HOST:PORT"]),
        (["--uri", "udpin:127.0.0.1:99999"], ["a port from 1 to 65535"]),
        (["--vehicle", "crazyflie"], ["vehicle 'crazyflie' has no px4: block"]),
        (["--controller", "lqr"], ["rotors", "ctbr, attitude, velocity, position", "no common command level"]),
        (["--controller", "foundation"], ["rotors", "control-stack export foundation"]),
        (["--level", "rotors"], ["--level rotors", "px4 takes only ctbr"]),
        (["--wind", "1,0,0"], ["--wind is for simulators"]),
        (["--sensors", "mocap"], ["--sensors is for simulators"]),
    ],
)
def test_bad_input_is_one_line(options: list[str], fragments: list[str], tmp_path: Path, capsys):
    out = tmp_path / "run"
    assert main(["fly", "--no-ros", "--backend", "px4", "--arm", "--out", str(out), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and all(fragment in line for fragment in fragments), line
    assert not out.exists()


def test_a_port_in_use_is_one_line(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        uri = f"udpin:127.0.0.1:{other.getsockname()[1]}"
        assert main(["fly", "--no-ros", "--backend", "px4", "--uri", uri]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {uri}: Address already in use: another program listens there already")
    assert said.count("\n") == 1


def test_options_of_a_link_are_no_simulators(capsys):
    for option in (["--arm"], ["--uri", "udpin:127.0.0.1:14540"]):
        assert main(["fly", "--no-ros", "--backend", "analytic", *option]) == 2
        assert "--backend px4" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("level", ["ctbr", "attitude"])
def test_the_figure_eight_is_flown_as_in_the_simulator(level: str, tmp_path: Path):
    """Within 1.5 times the error of the direct simulator at the same level, on the wall's clock."""
    port = free_port()
    with served(port):
        uri = f"udpin:127.0.0.1:{port}"
        done = fly("--backend", "px4", "--uri", uri, "--arm", "--level", level, "--out", str(tmp_path / "link"))
    assert done.returncode == 0, done.stdout + done.stderr
    direct = fly("--backend", "analytic", "--vehicle", "x500", "--level", level, "--out", str(tmp_path / "direct"))
    assert direct.returncode == 0, direct.stderr
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("link", "direct")]
    link, direct_error = (s["position_rmse_m"] for s in summaries)
    assert summaries[0]["level"] == level and summaries[0]["landed_upright"]
    assert link <= 1.5 * direct_error, f"{1e3 * link:.1f} mm, direct {1e3 * direct_error:.1f} mm"
