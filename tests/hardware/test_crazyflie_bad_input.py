"""Wrong addresses and wrong vehicles: one clear line that names what was found and what is needed; nothing is armed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("cflib")

from emulated_crazyflie import served

from control_stack.errors import ControlStackError, InvalidInput, LinkError
from control_stack.quadrotor.parameters import load_vehicle
from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle
from sim.emulators.crazyflie.firmware import FirmwareOptions


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[str], CrazyflieVehicle]]:
    made = []

    def to(uri: str) -> CrazyflieVehicle:
        config = CrazyflieConfig(cache=tmp_path, patience=3.0, silence=0.4)
        made.append(CrazyflieVehicle(load_vehicle("crazyflie"), uri, config))
        made[-1].connect()
        return made[-1]

    yield to
    for vehicle in made:
        vehicle.close()


def line_of(error: pytest.ExceptionInfo[ControlStackError]) -> str:
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text and len(text) < 300, text
    return text


@pytest.mark.parametrize("uri", ["", "crazyflie", "http://127.0.0.1:1", "udp://127.0.0.1", "udp://:19850", "udp://x:y"])
def test_addresses_of_no_link(connect: Callable, uri: str) -> None:
    with pytest.raises(InvalidInput) as error:
        connect(uri)
    assert "--uri" in line_of(error)


def test_a_port_where_nobody_listens(connect: Callable) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LinkError) as error:
        connect(f"udp://127.0.0.1:{port}")
    assert f"udp://127.0.0.1:{port}" in line_of(error)


def test_a_link_that_is_taken(connect: Callable) -> None:
    with served() as one:
        first = connect(one.uri)
        with pytest.raises(LinkError) as error:
            connect(one.uri)
        assert f"{one.uri} is taken" in line_of(error)
        assert first.wait_for_state(2.0) and first.state().valid
        first.close()
        connect(one.uri)


def test_somebody_who_does_not_answer(connect: Callable) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(LinkError) as error:
            connect(f"udp://127.0.0.1:{silent.getsockname()[1]}")
    assert "nothing answers" in line_of(error)


def test_no_radio_is_plugged_in(connect: Callable) -> None:
    with pytest.raises(LinkError) as error:
        connect("radio://0/80/2M/E7E7E7E7E7")
    assert "radio://0/80/2M/E7E7E7E7E7" in line_of(error)


def test_a_vehicle_of_another_protocol_version(connect: Callable) -> None:
    with served(FirmwareOptions(protocol=3)) as vehicle:
        with pytest.raises(LinkError) as error:
            connect(vehicle.uri)
        assert not vehicle.firmware.supervisor.armed
    assert "version 3" in line_of(error) and "4" in line_of(error)


@pytest.mark.parametrize(
    ("missing", "kind"), [("flightmode.stabModeYaw", "parameter"), ("stateEstimate.qw", "log variable")]
)
def test_firmware_that_lacks_what_is_needed(connect: Callable, missing: str, kind: str) -> None:
    with served(FirmwareOptions(without=frozenset({missing}))) as vehicle:
        with pytest.raises(LinkError) as error:
            connect(vehicle.uri)
    assert missing in line_of(error) and kind in line_of(error)


def test_firmware_that_lacks_what_is_only_nice_is_flown(connect: Callable) -> None:
    """No supervisor bits, no battery, no gains of the attitude law."""
    without = {"supervisor.info", "pm.vbat", "pid_attitude.roll_kp"}
    with served(FirmwareOptions(protocol=7, without=frozenset(without))) as one:
        vehicle = connect(one.uri)
        assert all(check.ok for check in vehicle.preflight())
        vehicle.arm()
        vehicle.close()


def test_a_vehicle_file_without_the_block() -> None:
    with pytest.raises(InvalidInput, match="crazyflie: block"):
        CrazyflieVehicle(load_vehicle("x500"), "udp://127.0.0.1:19850")


@pytest.mark.parametrize("rate", [0.0, 30.0, 200.0, -100.0, float("nan")])
def test_rates_that_the_firmware_does_not_log_at(rate: float) -> None:
    with pytest.raises(InvalidInput, match="10 ms"):
        CrazyflieConfig(rate_hz=rate)
