"""Hostile bytes: at the driver they never fly, at the emulator they never arm; nothing ever crashes."""

from __future__ import annotations

import math
import random
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pymavlink")
from hostile import framed
from px4_bench import Bench, Client, emulated_client
from pymavlink.dialects.v20 import common

from control_stack.types import PositionCommand

FLIGHT = {"COMMAND_LONG", "COMMAND_INT", "SET_MODE", "SET_POSITION_TARGET_LOCAL_NED", "SET_ATTITUDE_TARGET"}
shared = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


messages = st.builds(framed, st.sampled_from(sorted(common.mavlink_map)), st.binary(max_size=255))
hostile = st.lists(st.one_of(st.binary(max_size=300), messages), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.vehicle.connect()
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with emulated_client() as client:
        yield client


@shared
@given(hostile)
def test_bytes_at_the_driver_never_fly(bench: Bench, data: list[bytes]):
    """Even as well-formed messages in the vehicle's own name."""
    link, sent = bench.vehicle.link, []
    transmit = link.send
    link.send = lambda message: (sent.append(message.get_type()), transmit(message))  # type: ignore[method-assign, assignment, return-value]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            for part in data:
                wire.sendto(part, ("127.0.0.1", bench.port))
        state = bench.vehicle.state()
    finally:
        link.send = transmit  # type: ignore[method-assign]
    assert not FLIGHT & set(sent)
    assert state.is_finite() and math.isfinite(state.stamp) and math.isfinite(bench.vehicle.now())
    assert np.linalg.norm(state.quat_xyzw) == pytest.approx(1.0, abs=1e-6)
    assert not bench.emulator.autopilot.armed


@shared
@given(hostile)
def test_bytes_at_the_emulator_never_arm(client: Client, data: list[bytes]):
    """Arming needs COMMAND_LONG or COMMAND_INT 400 with 1 in its first place; anything else leaves it disarmed."""
    for part in data:
        if not (len(part) > 12 and part[0] == 0xFD and part[7] in (75, 76) and b"\x90\x01" in part):
            client.send_bytes(part)
    client.step(0.01)
    assert not client.emulator.autopilot.armed
    assert client.emulator.quad.true_state().is_finite()


def test_the_same_bytes_reach_an_airborne_emulator():
    """It may fly what a well-formed setpoint says, but stays finite and answers on."""
    bench = Bench()
    try:
        bench.vehicle.connect()
        bench.vehicle.arm()
        bench.fly(PositionCommand(np.array([0.0, 0.0, 2.0])), 3.0)
        rng = random.Random(0)
        numbers = sorted(common.mavlink_map)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            for turn in range(100):
                for _ in range(10):
                    number = rng.choice([82, 84, 76, 75, 331, 23, *numbers])
                    payload = rng.randbytes(rng.randrange(common.mavlink_map[number].unpacker.size + 1))
                    wire.sendto(framed(number, payload, system=200), ("127.0.0.1", bench.emulator.routes[0].port))
                if turn % 3 == 0:
                    bench.vehicle.send(PositionCommand(np.array([0.0, 0.0, 2.0])))
                bench.pass_time(0.01)
                assert bench.emulator.quad.true_state().is_finite()
        assert bench.vehicle.link.command(512, 148.0) == "accepted"
    finally:
        bench.close()
