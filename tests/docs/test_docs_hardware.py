"""docs/hardware_*.md: what they tell of commands, checks, parameters and times is what the code does."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from control_stack.cli.main import build_parser, main
from control_stack.crazyflie.wire import LEVEL_OUT_AFTER, MOTORS_OFF_AFTER, NEWEST_PROTOCOL, OLDEST_PROTOCOL, Info
from control_stack.quadrotor.parameters import _BLOCKS, load_vehicle, parse_vehicle
from control_stack.types import QuadrotorState
from hardware.crazyflie import link as crazyflie_link
from hardware.crazyflie import preflight as crazyflie_preflight
from hardware.factory import BACKENDS, make_vehicle
from hardware.px4 import PX4Config
from hardware.px4 import preflight as px4_preflight
from hardware.px4.transport import open_transport

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"crazyflie": "hardware_crazyflie", "px4": "hardware_px4"}
kinds = pytest.mark.parametrize("kind", sorted(PAGES))


def commands(text: str) -> list[list[str]]:
    """Arguments of every line that calls this program."""
    return [shlex.split(line)[1:] for line in re.findall(r"^control-stack .*$", text, re.M)]


def flat(text: str) -> str:
    return " ".join(text.split())


@kinds
def test_flights_are_of_the_pages_vehicle_and_over_links_that_the_driver_takes(page: Callable, kind: str) -> None:
    parser = build_parser()
    flights = [parser.parse_args(c) for c in commands(page(PAGES[kind]).text) if c[0] == "fly"]
    assert len(flights) >= 6 and {options.backend for options in flights} == {kind}
    assert any(options.arm for options in flights) and any(not options.arm for options in flights)
    for options in flights:
        if not str(options.vehicle).endswith(".yaml"):
            make_vehicle(kind, load_vehicle(options.vehicle or BACKENDS[kind].vehicle), options.uri)
    serves = [parser.parse_args(c) for c in commands(page(PAGES[kind]).text) if c[0] == "sim"]
    assert {options.kind for options in serves} == {kind}


def test_every_address_in_the_tables_is_one(page: Callable) -> None:
    for kind, page_name in PAGES.items():
        for block in re.findall(r"^\| URI .*?(?=\n\n)", page(page_name).text, re.M | re.S):
            for uri in re.findall(r"^\| `([^`]+)`", block, re.M):
                if kind == "crazyflie":
                    crazyflie_link.check_uri(uri)
                else:
                    assert uri.split(":")[0] in ("udpin", "udpout", "tcp", "serial")
    open_transport("udpout:192.0.2.1:14550").close()


@kinds
def test_pages_say_what_was_tried_and_what_was_not(page: Callable, kind: str) -> None:
    text = flat(page(PAGES[kind]).text)
    assert "**What was tried.**" in text and "Nothing on it was flown on a real vehicle yet" in text
    assert text.count("(*vehicle*)") >= 3 and text.count("- [ ]") >= 8
    assert f"../docs/{PAGES[kind]}.md" in (ROOT / "README.md").read_text().replace("](docs/", "](../docs/")


def test_the_crazyflies_checks_are_the_drivers(page: Callable) -> None:
    where = QuadrotorState(np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))
    found = crazyflie_preflight.checks(
        "udp://x", 12, where, 0.0, crazyflie_preflight.Health(4.0, Info.CAN_BE_ARMED | Info.ARMED)
    )
    listed = [row["line"] for row in page("hardware_crazyflie").table("Look before you fly")]
    assert listed == [check.name for check in found]
    text = flat(page("hardware_crazyflie").text)
    assert f"below {crazyflie_preflight._LOW_BATTERY:g} V at rest" in text
    assert f"older than {1e3 * crazyflie_preflight._STALE:.0f} ms" in text
    assert f"protocol version {OLDEST_PROTOCOL} or later, and knows versions up to {NEWEST_PROTOCOL}" in text
    assert f"levels it {LEVEL_OUT_AFTER:g} s after the last setpoint" in text
    assert f"stops the motors after {MOTORS_OFF_AFTER:g} s" in text


def test_px4s_checks_and_parameters_are_the_drivers(page: Callable) -> None:
    text, own = page("hardware_px4"), Path(px4_preflight.__file__).read_text(encoding="utf-8")
    listed = [row["line"] for row in text.table("Look before you fly")]
    named = re.findall(r'Check\(\s*"([^"]+)"', own)
    assert sorted(listed) == sorted(named) and len(listed) == 8
    rows = [row["parameter"] for row in text.table("Out of the box (*vehicle*)")]
    assert set(rows[:6]) == set(px4_preflight._PARAMETERS) and rows[6:] == ["EKF2_EV_CTRL"]
    words = flat(text.text)
    assert f"more than a factor of {px4_preflight._SCALE:g}" in words
    assert f"{100 * px4_preflight._LOW_BATTERY:.0f} % or less" in words
    assert f"older than {1e3 * px4_preflight._STALE:.0f} ms" in words
    config = PX4Config()
    assert f"setpoints of no thrust for {config.stream_before:g} s" in words
    assert f"repeated for {config.repeat_for:g} s at most" in words


@kinds
def test_the_vehicle_files_block_is_described(page: Callable, kind: str) -> None:
    rows = page(PAGES[kind]).table("The vehicle's file")
    keys = {key.strip() for row in rows for key in row["key"].split(",")}
    assert keys == set(_BLOCKS[kind])


def test_the_file_of_sih_is_a_vehicle_and_the_formula_holds(page: Callable, tmp_path: Path) -> None:
    (text,) = page("hardware_px4").blocks("yaml")
    sih, x500 = parse_vehicle(text, "sih.yaml"), load_vehicle("x500")
    make_vehicle("px4", sih)
    assert sih.px4 and x500.px4
    assert sih.px4.hover_thrust == pytest.approx(float(sih.mass) * 9.80665 / 20.0, abs=1e-4)
    error = (1.0 - sih.px4.hover_thrust / x500.px4.hover_thrust) * 9.81 / x500.gains.position[2]
    assert f"{error:.2f} m too high" in flat(page("hardware_px4").text)
    (tmp_path / "sih.yaml").write_text(text, encoding="utf-8")
    out = ["--out", str(tmp_path / "run"), "--trajectory", "eight:laps=1"]
    assert main(["fly", "--no-ros", "--backend", "analytic", "--vehicle", str(tmp_path / "sih.yaml"), *out]) == 0


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.wall_clock
@kinds
def test_the_rehearsal_runs_as_written(page: Callable, kind: str, tmp_path: Path) -> None:
    """On another port, so that it disturbs nobody."""
    pytest.importorskip({"crazyflie": "cflib", "px4": "pymavlink"}[kind])
    usual, port = {"crazyflie": "19850", "px4": "14540"}[kind], str(free_port())
    _install, terminal, other, *_ = page(PAGES[kind]).blocks("sh")
    lines = [[part.replace(usual, port) for part in command] for command in commands(f"{terminal}\n{other}")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    program = [sys.executable, "-m", "control_stack.cli"]
    with subprocess.Popen(
        [*program, *lines[0]], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None and port in server.stdout.readline()
            for line in lines[1:]:
                done = subprocess.run(
                    [*program, *line], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200
                )
                assert done.returncode == 0, (line, done.stdout, done.stderr)
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(20.0) == 0
    assert len(list((tmp_path / "runs").iterdir())) == sum("--arm" in line for line in lines)


@pytest.mark.slow
@pytest.mark.wall_clock
def test_cflibs_own_client_flies_the_emulator(tmp_path: Path) -> None:
    pytest.importorskip("cflib")
    from emulated_crazyflie import served

    with served() as one:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "crazyflie_cflib.py"), one.uri],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok   ") == 7
