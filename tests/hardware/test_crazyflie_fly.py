"""``control-stack fly --backend crazyflie`` and ``control-stack sim serve --as crazyflie``, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cflib")

from emulated_crazyflie import Served, served

from control_stack.cli import main


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def one() -> Iterator[Served]:
    with served() as vehicle:
        yield vehicle


def fly(one: Served, *options: str) -> int:
    return main(["fly", "--backend", "crazyflie", "--uri", one.uri, "--no-ros", *options])


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_without_arm_it_only_checks(one: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert fly(one) == 0
    out = capsys.readouterr().out
    for name in ("link", "estimate", "upright", "battery", "supervisor"):
        assert f"ok   {name}: " in out
    assert "--arm" in out
    assert not one.firmware.supervisor.armed and not (tmp_path / "runs").exists()


def test_a_low_battery_is_told(one: Served, capsys: pytest.CaptureFixture[str]) -> None:
    one.firmware.supply = 3.3
    assert fly(one) == 0
    assert "FAIL battery: 3.30 V" in capsys.readouterr().out


def test_armed_it_takes_off_hovers_and_lands(one: Served, tmp_path: Path) -> None:
    assert fly(one, "--arm", "--trajectory", "hover:duration=1", "--takeoff-height", "0.3", "--out", "run") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["landed_upright"] and summary["completed"] and summary["level"] == "ctbr"
    assert not one.firmware.supervisor.armed
    assert one.firmware.parameters.values["flightmode.stabModeRoll"] == 1  # put back


@pytest.mark.slow
@pytest.mark.parametrize("level", ["ctbr", "attitude"])
def test_the_figure_eight(one: Served, tmp_path: Path, level: str) -> None:
    assert fly(one, "--arm", "--level", level, "--out", "run") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["landed_upright"] and summary["completed"] and summary["level"] == level


def test_nobody_there_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    uri = f"udp://127.0.0.1:{free_port()}"
    assert main(["fly", "--backend", "crazyflie", "--uri", uri, "--no-ros", "--arm"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1 and uri in captured.err
    assert not (tmp_path / "runs").exists()


def test_a_policy_for_rotors_is_refused_before_anything_is_opened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly", "--backend", "crazyflie", "--controller", "lqr", "--no-ros", "--arm"]) == 2
    captured = capsys.readouterr().err
    assert "rotors" in captured and "ctbr" in captured and captured.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vehicle", "x500"], "no block 'crazyflie'"),
        (["--port", "0"], "--port"),
        (["--port", "65530", "--count", "10"], "65535"),
        (["--count", "0"], "--count"),
        (["--vehicle", "none_such"], "unknown vehicle"),
        (["--host", "256.0.0.1"], "cannot listen"),
    ],
)
def test_serving_what_cannot_be_served(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "serve", "--as", "crazyflie", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_port_that_is_taken(one: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "serve", "--as", "crazyflie", "--port", str(one.server.ports[0])]) == 2
    assert "in use" in capsys.readouterr().err


def test_served_by_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "control_stack.cli", "sim", "serve", "--as", "crazyflie", "--port", str(port)]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert f"udp://127.0.0.1:{port}" in process.stdout.readline()
            assert main(["fly", "--backend", "crazyflie", "--uri", f"udp://127.0.0.1:{port}", "--no-ros"]) == 0
            process.send_signal(signal.SIGINT)
            assert process.wait(20.0) == 0
        finally:
            process.kill()
    assert "--arm" in capsys.readouterr().out
