"""CRTP by the million in process and by the ten thousand over a socket: nothing flies, arms or grows."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from itertools import islice

import pytest

pytest.importorskip("cflib")
pytest.importorskip("pymavlink")

from cflib.crtp.crtpstack import CRTPPacket
from emulated_crazyflie import Served, SteppedCrazyflie, connected, served
from hostile import crtp_datagrams, resident

from control_stack.crazyflie.wire import Packet, Port, decode

FLIGHT = (Port.COMMANDER, Port.GENERIC, Port.HIGH_LEVEL, Port.SUPERVISOR)
ARMING = {(Port.SUPERVISOR, 1, b"\1\1"), (Port.PLATFORM, 0, b"\1\1")}
GROWTH = 10_000_000  # bytes that the second half may add: a leak of 20 bytes a packet
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, SteppedCrazyflie]]:
    logging.disable(logging.CRITICAL)  # cflib writes a traceback for every packet that it cannot read
    try:
        with connected(tmp_path_factory.getbasetemp() / "toc") as both:
            yield both
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "count", [10_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_the_driver(rig: tuple[Served, SteppedCrazyflie], count: int) -> None:
    """Through the client library's own dispatch and ours: no flight command, no arming, finite states."""
    one, vehicle = rig
    heard: list[Packet] = []
    handle = one.firmware.handle

    def noted(datagram: bytes) -> list[bytes]:
        packet = decode(datagram)
        if packet and (packet.port in FLIGHT or (packet.port == Port.PLATFORM and packet.channel == 0)):
            heard.append(packet)
        return handle(datagram)

    one.firmware.handle = noted  # type: ignore[method-assign]
    queue, halves = vehicle.cf.link.in_queue, []
    for half in (0, 1):
        stream = crtp_datagrams(count // 2, half)
        while burst := list(islice(stream, 1000)):
            for data in burst:
                queue.put(CRTPPacket(data[0], list(data[1:])))
            while not queue.empty():
                time.sleep(0.001)
            state = vehicle.state()
            assert state.is_finite() and state.stamp < 1e9
        halves.append(resident())
    assert heard == [] and not one.firmware.supervisor.armed
    assert sum(block.counts["received"] for block in vehicle.telemetry.blocks.values()) > 0
    assert halves[1] - halves[0] < GROWTH
    before = vehicle.state().stamp
    one.advance(1.5)  # the link works again, at the latest when the second that a wrong stamp may claim is over
    assert vehicle.telemetry.wait(before, 5.0) and vehicle.state().is_finite()


def test_ten_thousand_at_the_emulators_port() -> None:
    """As any process on the machine could send them, while somebody's link is up."""
    with served() as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        to = ("127.0.0.1", one.server.ports[0])
        for k, data in enumerate(crtp_datagrams(10_000, 2)):
            packet = decode(data)
            if packet is None or (packet.port, packet.channel, packet.data) not in ARMING:
                wire.sendto(data, to)
            if k % 50 == 0:
                time.sleep(0.002)
                assert not one.firmware.supervisor.armed
        wire.sendto(Packet(Port.LINK, 0, b"still there").encode(), to)
        wire.settimeout(10.0)
        while True:
            answer = decode(wire.recv(64))
            if answer == Packet(Port.LINK, 0, b"still there"):
                break
        assert one.firmware.vehicle.true_state().is_finite() and not one.firmware.supervisor.armed
