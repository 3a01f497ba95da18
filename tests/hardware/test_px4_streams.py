"""PX4 over a stream instead of datagrams: a TCP address and a serial device, as telemetry radios and routers give."""

from __future__ import annotations

import os
import pty
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("pymavlink")
from px4_bench import free_port

from control_stack.errors import InvalidInput, LinkError
from control_stack.quadrotor.parameters import load_vehicle
from hardware.px4 import PX4Vehicle
from hardware.px4.transport import open_transport
from sim.emulators.px4 import PX4Emulator, PX4EmulatorOptions

TICK = 0.005
Stream = tuple[Callable[[], bytes], Callable[[bytes], object]]


class Relayed:
    """An emulator at the pace of the wall whose offboard port is carried over a stream, in pieces of any size."""

    def __init__(self, stream: Callable[[], Stream], handle: Callable[[], int]):
        port = free_port()
        self.emulator = PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=port))
        self._wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._wire.bind(("127.0.0.1", port))
        self._to = ("127.0.0.1", self.emulator.routes[0].port)
        self._stream, self._handle = stream, handle
        self._end = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._fly, self._relay)]
        for thread in self._threads:
            thread.start()

    def _fly(self) -> None:
        due = time.monotonic()
        while not self._end.is_set():
            self.emulator.step(TICK)
            due = max(due + TICK, time.monotonic() - 0.1)
            time.sleep(max(due - time.monotonic(), 0.0))

    def _relay(self) -> None:
        read, write = self._stream()
        while not self._end.is_set():
            ready, _, _ = select.select([self._wire, self._handle()], [], [], 0.05)
            if self._wire in ready:
                data = self._wire.recv(2048)
                for at in range(0, len(data), 11):  # frames span reads
                    write(data[at : at + 11])
            if self._handle() in ready:
                self._wire.sendto(read(), self._to)

    def close(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(5.0)
        self._wire.close()
        self.emulator.close()


@pytest.fixture
def tcp() -> Iterator[tuple[Relayed, str]]:
    door = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def stream() -> Stream:
        accepted.append(door.accept()[0])
        return lambda: accepted[0].recv(4096), accepted[0].sendall

    relayed = Relayed(stream, lambda: accepted[0].fileno())
    yield relayed, f"tcp:127.0.0.1:{door.getsockname()[1]}"
    relayed.close()
    for s in (door, *accepted):
        s.close()


@pytest.fixture
def serial() -> Iterator[tuple[Relayed, str]]:
    pytest.importorskip("serial")
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    relayed = Relayed(lambda: (lambda: os.read(ours, 4096), lambda data: os.write(ours, data)), lambda: ours)
    yield relayed, f"serial:{os.ttyname(theirs)}:115200"
    relayed.close()
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("kind", ["tcp", "serial"])
def test_it_is_found_armed_and_disarmed_over_a_stream(kind: str, request: pytest.FixtureRequest) -> None:
    relayed, uri = request.getfixturevalue(kind)
    vehicle = PX4Vehicle(load_vehicle("x500"), uri)
    vehicle.connect()
    try:
        assert not relayed.emulator.autopilot.armed
        vehicle.arm()
        assert relayed.emulator.autopilot.armed
        before = vehicle.state().stamp
        assert vehicle.wait_for_state(5.0) and vehicle.state().stamp > before
        vehicle.disarm()
        assert not relayed.emulator.autopilot.armed
    finally:
        vehicle.close()


def test_a_stream_that_ends_is_a_lost_link_and_no_busy_loop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        transport = open_transport(f"tcp:127.0.0.1:{door.getsockname()[1]}")
        door.accept()[0].close()
        assert transport.receive(1.0) is None
        started = time.monotonic()
        assert transport.receive(0.2) is None
        assert time.monotonic() - started > 0.15
        for _ in range(3):
            transport.send(b"to nobody")
        transport.close()


def test_a_device_that_is_pulled_out_is_a_lost_link() -> None:
    pytest.importorskip("serial")
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    transport = open_transport(f"serial:{os.ttyname(theirs)}")
    os.write(ours, b"\xfd")
    assert transport.receive(1.0) == b"\xfd"
    os.close(ours)
    os.close(theirs)
    for _ in range(3):
        assert transport.receive(0.01) is None
        transport.send(b"to nobody")
    transport.close()


def test_addresses_that_nothing_answers_at() -> None:
    with pytest.raises(LinkError, match=r"tcp:127\.0\.0\.1:9: Connection refused"):
        open_transport("tcp:127.0.0.1:9")
    pytest.importorskip("serial")
    with pytest.raises(LinkError, match="serial:/dev/nowhere:57600: .*No such file or directory"):
        open_transport("serial:/dev/nowhere:57600")
    with pytest.raises(InvalidInput, match="a device and a rate"):
        open_transport("serial::57600")
