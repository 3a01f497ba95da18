"""MAVLink by the million in process, by the ten thousand over a socket: nothing flies, nothing grows, all is counted.

``COUNT`` packets at a time in the quick run; the slow one takes the million.
"""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymavlink")
from hostile import mavlink_datagrams, resident
from px4_bench import Bench, Client, emulated_client, free_port
from pymavlink.dialects.v20 import common

from control_stack.px4.codec import Codec
from control_stack.quadrotor.parameters import load_vehicle
from hardware.px4 import PX4Config
from sim.emulators.px4 import PX4Emulator, PX4EmulatorOptions

FLIGHT = {"COMMAND_LONG", "COMMAND_INT", "SET_MODE", "SET_POSITION_TARGET_LOCAL_NED", "SET_ATTITUDE_TARGET"}
MILLION, COUNT = 1_000_000, 10_000
GROWTH = 10_000_000  # bytes that the second half may add: a leak of 20 bytes a packet
volumes = pytest.mark.parametrize(
    "count", [COUNT, pytest.param(MILLION, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)


class Wire:
    """Stands where a socket or a transport was: gives out datagrams, counts what is sent."""

    datagrams = True

    def __init__(self, data: Iterator[bytes]):
        self._data, self.sent = data, 0

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        data = next(self._data, None)
        if data is None:
            raise BlockingIOError
        return data, ("127.0.0.1", 1)

    def sendto(self, data: bytes, peer: Any) -> None:
        self.sent += 1

    def receive(self, timeout: float) -> bytes | None:
        return next(self._data, None)

    def accept(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        self.sent += 1

    def close(self) -> None:
        pass


@volumes
@pytest.mark.parametrize("datagrams", [True, False], ids=["datagrams", "stream"])
def test_the_decoder(count: int, datagrams: bool) -> None:
    """Every whole datagram is a message or a counted drop; what is kept does not grow."""
    codec, heard, halves = Codec(common, 1, 1, datagrams), 0, []
    for half in (0, 1):
        for data in mavlink_datagrams(count // 2, half, system=1):
            before = heard + sum(codec.decoder.drops.values())
            heard += sum(1 for _ in codec.decode(data))
            assert not datagrams or heard + sum(codec.decoder.drops.values()) > before
            assert len(codec.decoder._deframer._rest) < 300
        halves.append(resident())
    assert set(codec.decoder.drops) <= {"crc", "signature", "malformed", "unknown", "noise"}
    assert heard > 0.1 * count and codec.decoder.drops["crc"] > 0.01 * count
    assert halves[1] - halves[0] < GROWTH


@volumes
def test_the_driver(count: int) -> None:
    """Messages in the vehicle's own name: no flight command goes out, and states stay finite."""
    bench = Bench()
    try:
        bench.vehicle.connect()
        link, sent, halves = bench.vehicle.link, Counter[str](), []
        transmit = link.send
        link.send = lambda message: (sent.update([message.get_type()]), transmit(message))  # type: ignore[method-assign, assignment, return-value]
        before = link._transport
        for half in (0, 1):
            link._transport = Wire(mavlink_datagrams(count // 2, 10 + half, system=1))  # type: ignore[assignment]
            for _ in range(count // 1000 + 1):
                link.poll()
                state = bench.vehicle.state()
                assert state.is_finite() and math.isfinite(state.stamp) and math.isfinite(bench.vehicle.now())
                assert np.linalg.norm(state.quat_xyzw) == pytest.approx(1.0, abs=1e-6)
                assert all(math.isfinite(v) for v in link.telemetry.parameters.values())
            halves.append(resident())
        link._transport = before
        assert not FLIGHT & set(sent)
        assert sum(link.codec.decoder.drops.values()) > 0.1 * count and link.foreign["system"] > 0
        assert not bench.emulator.autopilot.armed
        assert halves[1] - halves[0] < GROWTH
    finally:
        bench.close()


@volumes
def test_the_emulator(count: int) -> None:
    """Nothing but a well-formed arm message arms it; it answers on and its state stays finite."""
    emulator = PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=free_port()))
    route, halves = emulator.routes[0], []
    real = route._socket
    try:
        for half in (0, 1):
            wire = Wire(mavlink_datagrams(count // 2, 20 + half, system=200))
            route._socket = wire  # type: ignore[assignment]
            for _ in range(count // 2000 + 1):
                emulator.step(0.005)
                assert not emulator.autopilot.armed and emulator.quad.true_state().is_finite()
            assert wire.sent > 0
            halves.append(resident())
    finally:
        route._socket = real
        emulator.close()
    assert sum(emulator.drops.values()) > 0.2 * count
    assert halves[1] - halves[0] < GROWTH


# Over real sockets.


def test_ten_thousand_at_the_drivers_port() -> None:
    bench = Bench()
    try:
        bench.vehicle.connect()
        link, sent = bench.vehicle.link, Counter[str]()
        transmit = link.send
        link.send = lambda message: (sent.update([message.get_type()]), transmit(message))  # type: ignore[method-assign, assignment, return-value]
        stream = mavlink_datagrams(10_000, 30, system=1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            while burst := list(islice(stream, 50)):
                for data in burst:
                    wire.sendto(data, ("127.0.0.1", bench.port))
                assert bench.vehicle.state().is_finite()
        assert not FLIGHT & set(sent) and not bench.emulator.autopilot.armed
        assert sum(link.codec.decoder.drops.values()) > 1000
    finally:
        bench.close()


def test_ten_thousand_at_the_emulators_port() -> None:
    stream = mavlink_datagrams(10_000, 31, system=200)
    with emulated_client() as client:
        while burst := list(islice(stream, 50)):
            for data in burst:
                client.send_bytes(data)
            client.step(0.005)
            assert not client.emulator.autopilot.armed and client.emulator.quad.true_state().is_finite()
        assert sum(client.emulator.drops.values()) > 1000
        assert client.command(512, 148.0) == 0, "it answers on"


BEAT = common.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3)


def bad_crc(codec: Codec, signed: bool) -> bytes:
    data = bytearray(codec.encode(BEAT))
    data[-14 if signed else -1] ^= 0xFF
    return bytes(data)


def arm_for(system: int) -> Any:
    return common.MAVLink_command_long_message(system, 1, 400, 0, 1.0, 0, 0, 0, 0, 0, 0)


def test_wrong_checksums_and_targets_are_dropped_and_counted_at_the_emulator() -> None:
    """Even where they say to arm."""
    with emulated_client() as client:
        for _ in range(200):
            data = bytearray(client.codec.encode(arm_for(1)))
            data[-1] ^= 0xFF
            client.send_bytes(bytes(data))
            client.send(arm_for(77))
            client.step(0.005)
        assert client.emulator.drops == {"crc": 200, "COMMAND_LONG/target": 200}
        assert not client.emulator.autopilot.armed


def test_wrong_signatures_are_dropped_and_counted_at_the_emulator() -> None:
    port = free_port()
    emulator = PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=port, signing_key="ours"))
    client = Client(emulator, port, key="ours")
    stranger, unsigned = Codec(common, 250, 190, True, "theirs"), Codec(common, 250, 190, True)
    try:
        for _ in range(100):
            for codec in (stranger, unsigned):
                client.send_bytes(codec.encode(arm_for(1)))
            client.step(0.005)
        assert emulator.drops == {"signature": 200} and not emulator.autopilot.armed
        assert client.command(400, 1.0) == 0 and emulator.autopilot.armed, "signed by ours it is heard"
    finally:
        client.close()
        emulator.close()


@pytest.mark.parametrize("key", [None, "ours"], ids=["unsigned", "signed"])
def test_wrong_checksums_signatures_and_systems_are_dropped_and_counted_at_the_driver(key: str | None) -> None:
    bench = Bench(config=PX4Config(signing_key=key), signing_key=key)
    try:
        bench.vehicle.connect()
        link = bench.vehicle.link
        before, foreign = Counter(link.codec.decoder.drops), Counter(link.foreign)
        vehicle = Codec(common, 1, 1, True, key)
        other, stranger = Codec(common, 9, 1, True, key), Codec(common, 1, 1, True, "theirs" if key else None)
        armed = common.MAVLink_heartbeat_message(2, 12, 128, 0, 4, 3)  # as an armed vehicle would say
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            for _ in range(100):
                wire.sendto(bad_crc(vehicle, key is not None), ("127.0.0.1", bench.port))
                wire.sendto(other.encode(armed), ("127.0.0.1", bench.port))
                if key:
                    wire.sendto(stranger.encode(armed), ("127.0.0.1", bench.port))
                bench.vehicle.state()
        dropped = link.codec.decoder.drops - before
        assert dropped == ({"crc": 100, "signature": 100} if key else {"crc": 100})
        assert link.foreign - foreign == {"system": 100}
        assert link.telemetry.armed is False
    finally:
        bench.close()
