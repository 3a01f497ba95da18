"""Bytes that arrive at the driver never make it send a flight command, arm, or publish a state that is not finite."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("cflib")

from emulated_crazyflie import Served, SteppedCrazyflie, connected

from control_stack.crazyflie.wire import Packet, Port, decode

FLIGHT = (Port.COMMANDER, Port.GENERIC, Port.HIGH_LEVEL, Port.SUPERVISOR)
PORTS = np.array([int(port) for port in Port])


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, SteppedCrazyflie]]:
    with connected(tmp_path_factory.getbasetemp() / "toc") as both:
        yield both


def datagrams(count: int) -> Iterator[bytes]:
    """Half anything at all, half of a known port, many of those in log blocks that exist."""
    random = np.random.default_rng(5)
    for k in range(count):
        data = random.bytes(random.integers(0, 32))
        if k % 2:
            data = Packet(int(random.choice(PORTS)), int(random.integers(0, 4)), data[:30]).encode()
        elif k % 4 == 0:
            block = bytes((int(random.integers(1, 4)),)) + random.bytes(3)
            data = Packet(Port.LOG, 2, block + random.bytes(int(random.choice([22, 24, 6])))).encode()
        if data:
            yield data


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [3000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_datagrams_over_the_socket(rig, count: int) -> None:
    served, vehicle = rig
    heard: list[Packet] = []
    handle = served.firmware.handle
    served.firmware.handle = lambda datagram: heard.append(decode(datagram)) or handle(datagram)
    bad = 0
    for k, datagram in enumerate(datagrams(count)):
        served.server._send(0, datagram, served.server._doors[0].peer)
        if k % 20 == 0:  # no faster than a radio: nothing is to be lost to a full buffer
            time.sleep(0.002)
            bad += not vehicle.state().is_finite()
    # What comes after it is taken again: the link still works.
    assert bad == 0
    before = vehicle.state().stamp
    served.advance(0.2)
    assert vehicle.telemetry.wait(before, 5.0) and vehicle.state().is_finite()
    assert not any(packet.port in FLIGHT for packet in heard if packet)
    platform = [packet for packet in heard if packet and packet.port == Port.PLATFORM and packet.channel == 0]
    assert not platform and not served.firmware.supervisor.armed
