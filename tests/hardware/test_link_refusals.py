"""``fly --arm`` at links that cannot be flown: one line, exit code 2, no run folder, nothing armed; both back ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cflib")
pytest.importorskip("pymavlink")

from emulated_crazyflie import Served, served
from px4_bench import TICK, free_port
from pymavlink.dialects.v20 import common

from control_stack.cli.main import main
from control_stack.foundation.weights import shipped_path
from control_stack.px4.codec import Codec
from control_stack.quadrotor.parameters import load_vehicle
from sim.emulators.crazyflie.firmware import FirmwareOptions
from sim.emulators.px4 import PX4Emulator, PX4EmulatorOptions
from sim.emulators.px4 import messages as px4_messages

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """refused(*options) is the one line of a ``fly --arm`` that must end with 2 and leave nothing behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*options: str) -> str:
        assert main(["fly", "--no-ros", "--arm", *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and len(line) < 400, line
        assert not (tmp_path / "runs").exists()
        return line

    return run


@contextmanager
def px4(prepare: Callable[[PX4Emulator], Any] = lambda emulator: None) -> Iterator[tuple[PX4Emulator, str]]:
    """An emulated PX4 at the pace of the wall, and where it is found."""
    port, end = free_port(), threading.Event()
    emulator = PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=port))
    prepare(emulator)

    def run() -> None:
        due = time.monotonic()
        while not end.is_set():
            emulator.step(TICK)
            due = max(due + TICK, time.monotonic() - 0.1)
            time.sleep(max(due - time.monotonic(), 0.0))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield emulator, f"udpin:127.0.0.1:{port}"
    finally:
        end.set()
        thread.join(5.0)
        emulator.close()


def at(one: Served) -> tuple[str, ...]:
    return ("--backend", "crazyflie", "--uri", one.uri)


# A pre-flight list with a FAIL on it.


def test_a_crazyflie_with_a_low_battery_is_not_armed(refused: Refused) -> None:
    with served(FirmwareOptions(supply=3.3)) as one:
        assert "not armed: battery: 3.30 V (at least 3.5 V)" in refused(*at(one))
        assert not one.firmware.supervisor.armed


def test_a_crazyflie_that_measures_no_battery_is_flown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As the firmware's host build, which has none."""
    with served(FirmwareOptions(supply=0.0)) as one:
        assert main(["fly", "--no-ros", *at(one), "--out", str(tmp_path / "run")]) == 0
    assert "ok   battery: not measured by this vehicle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prepare", "fragment"),
    [
        (lambda e: setattr(e.autopilot, "battery", 0.2), "battery: 20%"),
        (lambda e: e.autopilot.arm(), "disarmed: armed by somebody else"),
        (lambda e: e.autopilot.parameters.set("THR_MDL_FAC", 0.4), "THR_MDL_FAC: 0.4 on the vehicle, 0 in the"),
        (
            lambda e: e.autopilot.parameters.set("MPC_THR_HOVER", 0.3),
            "MPC_THR_HOVER: 0.3 on the vehicle, 0.7145 in the vehicle file (hover_thrust): another airframe?",
        ),
    ],
    ids=["battery", "armed", "model", "hover"],
)
def test_a_px4_whose_checks_fail_is_not_armed(refused: Refused, prepare: Callable, fragment: str) -> None:
    with px4(prepare) as (emulator, uri):
        line = refused("--backend", "px4", "--uri", uri)
        armed = [name for t, name in emulator.autopilot.events if name == "armed" and t > 0.0]
    assert "not armed: " in line and fragment in line
    assert armed == []


# Wrong addresses, wrong vehicles.


@pytest.mark.parametrize("uri", ["radio", "http://127.0.0.1:1", "udp://127.0.0.1", "udpin:127.0.0.1:14540"])
def test_an_address_of_no_crazyflie(refused: Refused, uri: str) -> None:
    assert uri in refused("--backend", "crazyflie", "--uri", uri)


@pytest.mark.parametrize("uri", ["14540", "udp://127.0.0.1:14540", "udpin:127.0.0.1:0", "tcp:127.0.0.1", "serial:"])
def test_an_address_of_no_px4(refused: Refused, uri: str) -> None:
    assert uri in refused("--backend", "px4", "--uri", uri)


@pytest.mark.parametrize(("backend", "form"), [("crazyflie", "tcp://127.0.0.1:{}"), ("px4", "tcp:127.0.0.1:{}")])
def test_a_port_that_nobody_has(refused: Refused, backend: str, form: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
        free.bind(("127.0.0.1", 0))
        uri = form.format(free.getsockname()[1])
        line = refused("--backend", backend, "--uri", uri)
    assert uri in line and "Connection refused" in line


def test_a_name_that_is_no_host(refused: Refused) -> None:
    assert "udpout:no.such.host.invalid:14540" in refused(
        "--backend", "px4", "--uri", "udpout:no.such.host.invalid:14540"
    )
    assert "udp://no.such.host.invalid:19850" in refused(
        "--backend", "crazyflie", "--uri", "udp://no.such.host.invalid:19850"
    )


def test_a_crazyflie_of_another_protocol_version(refused: Refused) -> None:
    with served(FirmwareOptions(protocol=3)) as one:
        line = refused(*at(one))
        assert not one.firmware.supervisor.armed
    assert "speaks protocol version 3; this driver needs 4 to 12" in line


def test_a_crazyflie_that_lacks_a_parameter(refused: Refused) -> None:
    with served(FirmwareOptions(without=frozenset({"flightmode.stabModeYaw"}))) as one:
        line = refused(*at(one))
        assert not one.firmware.supervisor.armed
    assert "has no parameter 'flightmode.stabModeYaw', which this driver needs" in line


def test_a_px4_of_another_protocol_version(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(px4_messages, "CAPABILITIES", px4_messages.CAPABILITIES & ~8192)
    with px4() as (emulator, uri):
        line = refused("--backend", "px4", "--uri", uri)
        assert emulator.autopilot.events == []
    assert "PX4 1.18.0, which lacks MAVLINK2" in line


def test_a_px4_that_lacks_a_parameter(refused: Refused) -> None:
    def lacking(emulator: PX4Emulator) -> None:
        table = emulator.autopilot.parameters
        find = table.find
        table.find = lambda name, index: None if name == "COM_OF_LOSS_T" else find(name, index)  # type: ignore[method-assign]

    with px4(lacking) as (emulator, uri):
        line = refused("--backend", "px4", "--uri", uri)
        assert emulator.autopilot.events == []
    assert "does not have the parameter COM_OF_LOSS_T" in line


@pytest.mark.parametrize(
    ("kind", "autopilot", "found"),
    [(1, 12, "MAV_AUTOPILOT_PX4, MAV_TYPE_FIXED_WING"), (2, 3, "MAV_AUTOPILOT_ARDUPILOTMEGA, MAV_TYPE_QUADROTOR")],
)
def test_another_airframe_or_autopilot(refused: Refused, kind: int, autopilot: int, found: str) -> None:
    port, end = free_port(), threading.Event()
    codec = Codec(common, 1, 1, True)

    def beat() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            while not end.wait(0.1):
                wire.sendto(codec.encode(common.MAVLink_heartbeat_message(kind, autopilot, 0, 0, 4, 3)), to)

    to = ("127.0.0.1", port)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        line = refused("--backend", "px4", "--uri", f"udpin:127.0.0.1:{port}")
    finally:
        end.set()
        thread.join(5.0)
    assert "needs a heartbeat of a PX4 autopilot of a quadrotor" in line and f"system 1 ({found})" in line


@pytest.mark.parametrize("backend", ["crazyflie", "px4"])
def test_a_vehicle_file_that_does_not_exist_or_is_of_the_other(refused: Refused, backend: str) -> None:
    assert "unknown vehicle 'octocopter'" in refused("--backend", backend, "--vehicle", "octocopter")
    other = {"crazyflie": "x500", "px4": "crazyflie"}[backend]
    line = refused("--backend", backend, "--vehicle", other)
    assert f"vehicle '{other}' has no {backend}: block" in line


# Weights that are not there: said before anything starts, over ROS as well.


@pytest.mark.parametrize("ros", [[], ["--no-ros"]])
@pytest.mark.parametrize("name", ["foundation:nowhere", "foundation:nowhere.safetensors", "foundation"])
def test_missing_weights(
    name: str, ros: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "foundation" and shipped_path().is_file():
        monkeypatch.setattr("control_stack.foundation.weights.shipped_path", lambda: tmp_path / "none.safetensors")
    if not ros:
        pytest.importorskip("rclpy")
    monkeypatch.chdir(tmp_path)
    assert main(["fly", "--backend", "analytic", "--controller", name, *ros]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and ("nowhere" in line or "no weights come with this build" in line)
    assert not (tmp_path / "runs").exists()


def test_help_names_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fly", "--help"])
    assert "foundation[:FILE.safetensors]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--uri", "udpin:127.0.0.1:1"], "is a link of px4: add --backend px4"),
        (["--uri", "radio://0/80/2M"], "is a link of crazyflie: add --backend crazyflie"),
        (["--arm"], "--arm is for a vehicle behind a link, simulators have none: add --backend"),
    ],
)
def test_a_link_without_its_back_end_is_told_which_to_add(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fly", "--no-ros", *options]) == 2
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1
