"""Whatever bytes arrive: the emulator answers or drops them, never arms by chance, and its state stays finite."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from emulated_crazyflie import emulator
from hypothesis import given, settings
from hypothesis import strategies as st

from control_stack.crazyflie.wire import MAX_PAYLOAD, Packet, Port, decode
from sim.emulators.crazyflie.firmware import EmulatedCrazyflie

ARMING = {(Port.SUPERVISOR, 1, b"\1\1"), (Port.PLATFORM, 0, b"\1\1")}
ports = st.sampled_from([int(port) for port in Port]) | st.integers(0, 15)
first = st.integers(0, 13).map(lambda n: bytes((n,)))
# Bytes that look like a packet, with the lengths that decoders wait for, and bytes that look like nothing.
payloads = st.builds(lambda a, b: a + b, first, st.binary(max_size=29) | st.binary(min_size=16, max_size=16))
datagrams = st.builds(lambda p, c, d: Packet(p, c, d).encode(), ports, st.integers(0, 3), payloads) | st.binary(
    max_size=40
)


@pytest.fixture(scope="module")
def cf() -> Iterator[EmulatedCrazyflie]:
    one = emulator()
    yield one
    one.close()


def arms(datagram: bytes) -> bool:
    packet = decode(datagram)
    return packet is not None and (packet.port, packet.channel, packet.data) in ARMING


@settings(max_examples=300)
@given(st.lists(datagrams, min_size=1, max_size=8))
def test_any_bytes(cf: EmulatedCrazyflie, stream: list[bytes]) -> None:
    for datagram in stream:
        before = cf.supervisor.armed
        for answer in cf.handle(datagram):
            assert 1 <= len(answer) <= 1 + MAX_PAYLOAD
        assert cf.supervisor.armed <= (before or arms(datagram))
        for sent in cf.step(0.01):
            assert len(sent) <= 1 + MAX_PAYLOAD
    assert cf.vehicle.true_state().is_finite()
    if np.abs(cf.vehicle.true_state().position_w).max() > 1e3:
        cf.vehicle.reset()


@settings(max_examples=100)
@given(st.lists(datagrams.filter(lambda d: not arms(d)), min_size=1, max_size=20))
def test_any_bytes_in_flight(cf: EmulatedCrazyflie, stream: list[bytes]) -> None:
    """Valid setpoints among them are flown, as on the real thing; the state stays finite all the same."""
    cf.vehicle.reset()
    cf.supervisor.__init__()  # type: ignore[misc]
    cf.parameters.values["stabilizer.stop"] = 0
    cf.supervisor.arm(cf.time, True)
    for datagram in stream:
        cf.handle(datagram)
        cf.step(0.01)
        assert cf.vehicle.true_state().is_finite()


def random_datagrams(count: int, seed: int) -> Iterator[bytes]:
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 34, count)
    for length in lengths:
        yield random.bytes(length)


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_many_packets_leave_memory_flat(cf: EmulatedCrazyflie, count: int) -> None:
    for datagram in random_datagrams(5000, 1):  # log blocks that can be made are made
        cf.handle(datagram)
    tracemalloc.start()
    try:
        for datagram in random_datagrams(count, 2):
            armed = cf.supervisor.armed
            cf.handle(datagram)
            assert cf.supervisor.armed <= (armed or arms(datagram))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 200_000, f"{grown} bytes more"
    assert sum(cf.dropped.values()) > 0 and cf.vehicle.true_state().is_finite()
