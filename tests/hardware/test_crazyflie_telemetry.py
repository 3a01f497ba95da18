"""Packets of log blocks, one by one: what is missing, late, out of order or nonsense is counted and never published."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.crazyflie.quaternion import compress
from control_stack.crazyflie.wire import Info
from hardware.crazyflie.telemetry import Block, Clock, Telemetry, needed

ATTITUDE = dict(zip(needed(False)[6:], [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], strict=True))
MOTION = dict(zip(needed(False)[:6], [1.0, 2.0, 3.0, 0.1, 0.2, 0.3], strict=True))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_received_and_missing_add_up_to_what_was_sent(steps: list[int]) -> None:
    """Every packet of a 10 ms block is either received or missing."""
    block, raw = Block(0.01), 500
    assert block.take(raw) == 0.5
    for step in steps:
        raw += 10 * step
        assert block.take(raw) == pytest.approx(1e-3 * raw)
    assert block.counts["received"] == len(steps) + 1
    assert block.counts["received"] + block.counts["missing"] == sum(steps) + 1


def test_old_and_doubled_packets_are_dropped() -> None:
    block = Block(0.01)
    taken = [block.take(raw) for raw in (100, 120, 110, 120, 130)]
    assert taken == [0.1, pytest.approx(0.12), None, None, pytest.approx(0.13)]
    assert block.counts["out_of_order"] == 2


def test_stamps_go_on_where_their_24_bits_end() -> None:
    block, top = Block(0.01), (1 << 24) - 6
    assert [block.take(top), block.take(4)] == [pytest.approx(1e-3 * top), pytest.approx(1e-3 * top + 0.01)]


def test_one_wrong_stamp_does_not_stop_the_right_ones() -> None:
    block = Block(0.01)
    assert block.take(100) and block.take(5_000_000) is None
    assert block.take(110) == pytest.approx(0.11)
    # After a real gap the second packet is believed.
    assert block.take(9_000) is None and block.take(9_010) == pytest.approx(9.01)


def test_wrong_stamps_that_agree_are_left_again() -> None:
    """Two of them move the block away; two right ones bring it back."""
    block = Block(0.01)
    for raw in (1000, 500_000, 500_010):
        block.take(raw)
    assert block.stamp == pytest.approx(500.010)
    assert block.take(1010) is None
    assert block.take(1020) == pytest.approx(1.020)
    assert block.take(1030) == pytest.approx(1.030)


def test_the_clock_is_that_of_the_fastest_packets() -> None:
    clock = Clock()
    lateness = [clock.heard(0.01 * k, 100.0 + 0.01 * k + (0.03 if k % 3 else 0.002)) for k in range(300)]
    assert clock.offset == pytest.approx(100.002)
    assert max(lateness) == pytest.approx(0.028) and min(lateness) == pytest.approx(0.0, abs=1e-9)


def test_there_is_no_state_before_both_blocks() -> None:
    t = Telemetry()
    t.take_motion(10, MOTION)
    assert t.state is None
    t.take_attitude(20, ATTITUDE)
    t.take_motion(20, MOTION)
    np.testing.assert_array_equal(t.state.position_w, [1.0, 2.0, 3.0])
    assert t.state.stamp == 0.02


@pytest.mark.parametrize("key", [*ATTITUDE, *MOTION])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_counted_and_not_published(key: str, value: float) -> None:
    t = Telemetry()
    t.take_attitude(10, ATTITUDE)
    t.take_motion(10, MOTION)
    before = t.state
    t.take_attitude(20, {**ATTITUDE, **({key: value} if key in ATTITUDE else {})})
    t.take_motion(20, {**MOTION, **({key: value} if key in MOTION else {})})
    assert sum(block.counts["refused"] for block in t.blocks.values()) == 1
    assert t.state.is_finite()
    assert t.state is before or key in ATTITUDE  # motion goes on with the attitude before


def test_a_quaternion_of_no_unit_norm_is_refused() -> None:
    t = Telemetry()
    t.take_attitude(10, {**ATTITUDE, "stateEstimate.qw": 1.3})
    t.take_motion(10, MOTION)
    assert t.state is None and t.blocks["attitude"].counts["refused"] == 1


def test_attitude_is_carried_to_the_time_of_motion() -> None:
    """Blocks of the same period but another phase: q(t + dt) = q(t) exp(omega dt / 2)."""
    t = Telemetry()
    t.take_attitude(10, {**ATTITUDE, "gyro.z": 200.0})
    t.take_motion(17, MOTION)
    half = 0.5 * np.radians(200.0) * 0.007
    np.testing.assert_allclose(t.state.quat_xyzw, [0.0, 0.0, np.sin(half), np.cos(half)], atol=1e-12)
    np.testing.assert_allclose(t.state.omega_b, [0.0, 0.0, np.radians(200.0)])


@given(
    st.lists(st.integers(-32768, 32767), min_size=9, max_size=9),
    st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1),
)
def test_the_compressed_block_is_in_si(numbers: list[int], quat: tuple[float, ...]) -> None:
    t, names = Telemetry(compressed=True), needed(True)
    data = dict(zip((*names[:6], *names[7:]), numbers, strict=True))
    q = np.array(quat) / np.linalg.norm(quat)
    t.take_compressed(30, {**data, names[6]: compress(q), "pm.vbatMV": 3850, "supervisor.info": 11})
    state = t.state
    np.testing.assert_allclose([*state.position_w, *state.velocity_w, *state.omega_b], 1e-3 * np.array(numbers))
    assert abs(state.quat_xyzw @ q) > 0.99999
    assert t.voltage == pytest.approx(3.85) and t.info == Info.CAN_BE_ARMED | Info.ARMED | Info.CAN_FLY


def test_a_battery_that_is_not_a_number_is_not_known() -> None:
    t = Telemetry()
    t.take_health(10, {"pm.vbat": float("nan")})
    assert t.voltage is None and t.info is None


def test_health_is_as_old_as_the_states_that_came_since() -> None:
    t = Telemetry()
    assert t.health_age() == math.inf
    t.take_attitude(10, ATTITUDE)
    t.take_health(10, {"supervisor.info": 1})
    for stamp in range(10, 1510, 10):
        t.take_motion(stamp, MOTION)
    assert t.health_age() == pytest.approx(1.49)
    t.take_health(1510, {"supervisor.info": 1})  # a jump is believed when the next one follows on it
    t.take_health(1610, {"supervisor.info": 1})
    assert t.health_age() == 0.0
