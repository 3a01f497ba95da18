"""The autopilot's clock as the host knows it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.px4.clock import SteadyClock, VehicleTime

delays = st.floats(0.0, 0.4)


@given(st.floats(0.0, 1e6), st.lists(st.tuples(delays, delays), min_size=1, max_size=20))
def test_the_offset_is_known_to_within_half_the_shortest_round_trip(ahead: float, trips: list[tuple[float, float]]):
    """Whatever the delays there and back are, however unequal."""
    clock = VehicleTime()
    for number, (there, back) in enumerate(trips):
        asked = float(number)
        clock.answered(asked + there + ahead, asked, asked + there + back)
    shortest = min(there + back for there, back in trips)
    assert clock.round_trip == pytest.approx(shortest, abs=1e-9)
    assert abs(clock.host(100.0 + ahead) - 100.0) <= 0.5 * shortest + 1e-6


def test_answers_to_nothing_recent_are_not_believed():
    clock = VehicleTime()
    clock.answered(5.0, 10.0, 9.0)
    clock.answered(5.0, 1.0, 9.0)
    assert clock.round_trip == math.inf


def test_before_the_first_answer_the_least_delayed_message_counts():
    clock = VehicleTime()
    for boot, delay in ((10.0, 0.3), (11.0, 0.1), (12.0, 0.2)):
        clock.heard(boot, boot + delay)
    assert clock.host(12.0) == pytest.approx(12.1)


def test_time_that_runs_back_is_a_restart():
    clock = VehicleTime()
    clock.heard(100.0, 1.0)
    clock.heard(99.9, 1.1)
    assert clock.restarts == 0, "messages may overtake each other"
    clock.answered(101.0, 1.9, 2.0)
    clock.heard(0.5, 5.0)
    assert clock.restarts == 1 and clock.round_trip == math.inf
    assert clock.host(0.5) == pytest.approx(5.0)


def test_the_machines_clock_is_steady():
    clock = SteadyClock()
    before = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.01
