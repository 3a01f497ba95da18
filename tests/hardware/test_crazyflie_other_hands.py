"""A Crazyflie that somebody else has: it is neither armed nor taken away, however little is heard of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cflib")

from emulated_crazyflie import Served, SteppedCrazyflie, connected, emulator, served

from control_stack.crazyflie.wire import Info, Packet, Port, decode
from control_stack.errors import LinkError, VehicleRefused
from control_stack.quadrotor.parameters import load_vehicle
from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle
from hardware.crazyflie.link import vehicle_key
from hardware.crazyflie.preflight import Health, checks, in_other_hands
from sim.emulators.crazyflie.server import UdpServer
from sim.emulators.crazyflie.tcp import TcpRelay
from sim.emulators.slowness import Slowness

BOTH = frozenset({"battery", "supervisor"})
ECHO = Packet(Port.LINK, 0, b"hello").encode()


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, SteppedCrazyflie]]:
    with connected(tmp_path_factory.getbasetemp() / "toc") as both:
        yield both


def failed(vehicle: CrazyflieVehicle) -> dict[str, str]:
    return {check.name: check.detail for check in vehicle.preflight() if not check.ok}


def without_health(one: Served) -> None:
    """From now on the vehicle's own words of battery and supervisor are lost on the way: those ten times a second."""
    step = one.firmware.step

    def kept(dt: float) -> list[bytes]:
        return [d for d in step(dt) if not (d[0] >> 4 == Port.LOG and d[0] & 3 == 2 and len(d) == 5 + 4 + 2)]

    one.firmware.step = kept


def test_what_is_told_and_was_not_heard_fails_and_what_is_not_told_passes() -> None:
    def names(health: Health) -> set[str]:
        return {check.name for check in checks("udp://x", 12, None, 0.0, health) if not check.ok} - {"estimate"}

    assert names(Health()) == set()
    assert names(Health(told=BOTH)) == {"battery", "supervisor"}
    assert names(Health(4.0, Info.CAN_BE_ARMED, BOTH, age=0.1)) == set()
    assert names(Health(4.0, Info.CAN_BE_ARMED, BOTH, age=3.0)) == {"battery", "supervisor"}
    assert names(Health(None, Info.CAN_BE_ARMED, BOTH, age=0.1)) == set()  # heard, and not measured
    assert names(Health(told=frozenset({"battery"}))) == {"battery"}


def test_bits_that_nobody_hears_any_more_fail_and_it_is_not_armed(rig) -> None:
    one, vehicle = rig
    assert not failed(vehicle)
    without_health(one)
    vehicle.pass_time(1.5)
    assert failed(vehicle).keys() == {"battery", "supervisor"}
    assert "nothing was heard of it for 1." in failed(vehicle)["supervisor"]
    with pytest.raises(VehicleRefused, match="nothing was heard"):
        vehicle.arm()
    assert not one.firmware.supervisor.armed


def test_a_vehicle_in_the_air_of_which_no_bits_are_heard_is_not_armed(tmp_path: Path) -> None:
    """Armed and flown by others, and the link loses what says so from the first packet on."""
    with served() as one:
        without_health(one)
        one.firmware.supervisor.arm(one.firmware.time, True)
        vehicle = CrazyflieVehicle(load_vehicle("crazyflie"), one.uri, CrazyflieConfig(cache=tmp_path))
        vehicle.connect()
        try:
            assert "nothing was heard of it since it was connected" in failed(vehicle)["supervisor"]
            with pytest.raises(VehicleRefused, match="supervisor"):
                vehicle.arm()
        finally:
            vehicle.close()


def test_a_vehicle_that_somebody_else_has_armed_is_refused_by_the_driver_itself(rig) -> None:
    one, vehicle = rig
    one.firmware.supervisor.arm(one.firmware.time, True)
    vehicle.pass_time(0.3)
    assert failed(vehicle)["disarmed"] == "armed by somebody else"
    with pytest.raises(VehicleRefused, match="armed by somebody else"):
        vehicle.arm()
    assert one.firmware.supervisor.armed  # left to whoever has it


def test_our_own_disarming_is_not_somebody_elses_arming(rig) -> None:
    _, vehicle = rig
    for _ in range(3):
        vehicle.arm()
        vehicle.pass_time(0.25)  # the bits say armed by now
        vehicle.disarm()  # and no newer ones have come when it is armed again


@pytest.mark.parametrize(
    ("info", "whose"),
    [
        (Info.AUTO_ARMED | Info.ARMED, None),
        (Info.AUTO_ARMED | Info.ARMED | Info.FLYING, "flies"),
        (Info.ARMED | Info.FLYING, "flies"),
        (Info.ARMED, "armed by somebody else"),
        (Info.CAN_BE_ARMED | Info.FLYING, None),  # landed and disarmed less than two seconds ago
    ],
)
def test_whose_it_is_by_its_bits(info: Info, whose: str | None) -> None:
    said = in_other_hands(info)
    assert said is None if whose is None else said is not None and whose in said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("radio://0/80/2M", "radio://0/80/2M/E7E7E7E7E7", True),
        ("radio://0/80/2M/e7e7e7e7e7", "radio://1/80/2M/E7E7E7E7E7?rate_limit=100", True),
        ("radio://0/80/2M/1", "radio://0/80/2M/0000000001", True),
        ("radio://0", "radio://0/2/2M", True),
        ("udp://127.0.0.1:19850", "tcp://127.0.0.1:19850", True),
        ("udp://localhost:19850", "udp://127.0.0.1:19850/", True),
        ("radio://0/80/2M", "radio://0/81/2M", False),
        ("radio://0/80/2M", "radio://0/80/2M/E7E7E7E7E8", False),
        ("udp://127.0.0.1:19850", "udp://127.0.0.1:19851", False),
        ("usb://0", "usb://1", False),
    ],
)
def test_addresses_of_one_vehicle(one: str, other: str, same: bool) -> None:
    assert (vehicle_key(one) == vehicle_key(other)) is same


def test_the_same_vehicle_by_another_address_is_taken(tmp_path: Path) -> None:
    with served() as one, TcpRelay(one.server.ports):
        port = one.server.ports[0]
        first, second = (
            CrazyflieVehicle(load_vehicle("crazyflie"), uri, CrazyflieConfig(cache=tmp_path))
            for uri in (one.uri, f"tcp://localhost:{port}")
        )
        first.connect()
        try:
            with pytest.raises(LinkError, match="is taken"):
                second.connect()
            before = first.state().stamp
            assert first.telemetry.wait(before + 0.05, 5.0)
        finally:
            first.close()


def test_a_second_client_is_not_answered_and_takes_nothing_away() -> None:
    """One that knows nothing of the lock. When the first has gone, the next is answered at once."""
    firmware, said = emulator(), []
    server = UdpServer([firmware], say=said.append)
    where = ("127.0.0.1", server.ports[0])
    first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    try:
        for client in (first, second):
            client.bind(("127.0.0.1", 0))
            client.settimeout(5.0)
        first.sendto(ECHO, where)
        server.advance()
        assert first.recv(64) == ECHO
        for arm in (ECHO, Packet(Port.SUPERVISOR, 1, b"\1\1").encode(), Packet(Port.LOG, 1, b"\5").encode()):
            second.sendto(arm, where)
            server.advance()
        assert not firmware.supervisor.armed and firmware.dropped["second client"] == 3
        assert len(said) == 1 and "second client" in said[0] and str(second.getsockname()[1]) in said[0]
        second.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            second.recv(64)
        second.settimeout(5.0)
        first.settimeout(0.0)
        assert decode(first.recv(64)).channel == 3  # is it there? the empty packet asks nothing of it
        first.close()
        second.sendto(ECHO, where)
        server.advance()
        assert second.recv(64) == ECHO
    finally:
        first.close()
        second.close()
        server.close()


def test_a_client_that_has_fallen_silent_has_the_vehicle_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    server = UdpServer([emulator()])
    where = ("127.0.0.1", server.ports[0])
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        second.settimeout(5.0)
        first.sendto(ECHO, where)
        server.advance()
        later = time.monotonic() + 1.5
        monkeypatch.setattr(time, "monotonic", lambda: later)
        second.sendto(ECHO, where)
        server.advance()
        monkeypatch.undo()
        assert second.recv(64) == ECHO
    server.close()


def test_a_machine_that_is_too_slow_is_said_so_while_it_is_and_not_too_often() -> None:
    said: list[str] = []
    slowness = Slowness(said.append)
    for k in range(100):
        slowness.give_up(0.3, 0.3 * k)
    assert slowness.seconds == pytest.approx(30.0)
    assert len(said) == 3 and all("\n" not in line and "too slow" in line for line in said)
