"""cflib's tcp:// link against the emulator: the same packets in CPX frames; what is no frame is dropped."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cflib")

from emulated_crazyflie import Served, served

from control_stack.crazyflie.wire import Packet, Port, decode
from control_stack.errors import InvalidInput, LinkError
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import PositionCommand
from hardware.crazyflie import CrazyflieConfig, CrazyflieVehicle
from sim.emulators.crazyflie.tcp import TcpRelay

ECHO = Packet(Port.LINK, 0, b"hello")


@pytest.fixture
def one() -> Iterator[Served]:
    with served() as vehicle, TcpRelay(vehicle.server.ports):
        yield vehicle


def frame(packet: Packet, function: int = 3) -> bytes:
    data = packet.encode()
    return (len(data) + 2).to_bytes(2, "little") + bytes((0x19, function)) + data


def connected(one: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", one.server.ports[0]), timeout=5.0)


def answered(client: socket.socket) -> Packet | None:
    """The packet of the next frame, None if the relay has hung up."""
    head = client.recv(2)
    if not head:
        return None
    data, size = b"", int.from_bytes(head, "little")
    while len(data) < size:
        data += client.recv(size - len(data))
    assert data[1] == 3
    return decode(data[2:])


def test_the_driver_flies_over_tcp(one: Served, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    uri = f"tcp://127.0.0.1:{one.server.ports[0]}"
    vehicle = CrazyflieVehicle(load_vehicle("crazyflie"), uri, CrazyflieConfig(cache=tmp_path))
    vehicle.connect()
    try:
        vehicle.arm()
        assert one.firmware.supervisor.armed
        end = vehicle.state().stamp + 2.0
        while vehicle.state().stamp < end:
            vehicle.send(PositionCommand(np.array([0.0, 0.0, 0.4])))
            assert vehicle.wait_for_state(2.0) and vehicle.lost_control() is None
        assert one.firmware.vehicle.true_state().position_w[2] == pytest.approx(0.4, abs=0.05)
    finally:
        vehicle.close()
    deadline = time.monotonic() + 10.0  # the last words are still on their way
    while one.firmware.supervisor.armed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not one.firmware.supervisor.armed
    vehicle.connect()  # once more after it was closed
    assert vehicle.wait_for_state(2.0)
    vehicle.close()
    time.sleep(0.3)
    out, err = capfd.readouterr()
    assert out == "" and "Traceback" not in err


def test_frames_that_come_in_pieces_are_put_together(one: Served) -> None:
    data = frame(ECHO) * 3
    with connected(one) as client:
        for at in range(0, len(data), 5):
            client.sendall(data[at : at + 5])
            time.sleep(0.005)
        assert [answered(client) for _ in range(3)] == [ECHO] * 3


def test_other_functions_are_passed_over_and_other_protocols_are_hung_up_on(one: Served) -> None:
    with connected(one) as client:
        client.sendall(frame(Packet(Port.SUPERVISOR, 1, b"\1\1"), function=1) + frame(ECHO))
        assert answered(client) == ECHO
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert answered(client) is None
    with connected(one) as client:  # somebody else is served all the same
        client.sendall(frame(ECHO))
        assert answered(client) == ECHO
    assert not one.firmware.supervisor.armed


def test_random_streams_never_end_it(one: Served) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        with connected(one) as client:
            client.sendall(random.bytes(random.integers(1, 300)))
    with connected(one) as client:
        client.sendall(frame(ECHO))
        assert answered(client) == ECHO
    assert one.firmware.vehicle.true_state().is_finite()


def test_ports_that_cannot_be_had(one: Served) -> None:
    with pytest.raises(InvalidInput, match=f"cannot listen on tcp 127.0.0.1:{one.server.ports[0]}: Address already"):
        TcpRelay(one.server.ports)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as free:
        free.bind(("127.0.0.1", 0))
        uri = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        vehicle = CrazyflieVehicle(load_vehicle("crazyflie"), uri, CrazyflieConfig(cache=tmp_path))
        with pytest.raises(LinkError, match="Connection refused") as error:
            vehicle.connect()
    assert uri in str(error.value) and "\n" not in str(error.value)
