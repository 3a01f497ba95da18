"""Figures of a flight against values known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.artefacts.metrics import interpolated_at, landing, period_statistics, tilt, tracking_metrics
from control_stack.errors import InvalidInput

T = np.linspace(0.0, 10.0, 1001)
UPRIGHT = np.tile([0.0, 0.0, 0.0, 1.0], (len(T), 1))


def test_a_constant_offset_is_both_rmse_and_maximum():
    reference = np.stack([np.sin(T), np.cos(T), T], axis=1)
    figures = tracking_metrics(T, reference + np.array([0.03, 0.0, 0.04]), reference)
    assert figures["position_rmse_m"] == pytest.approx(0.05)
    assert figures["position_max_error_m"] == pytest.approx(0.05)


def test_a_sine_error_has_rmse_amplitude_over_root_two():
    error = np.zeros((1000, 3))
    error[:, 1] = 0.2 * np.sin(2.0 * np.pi * np.arange(1000) / 1000)
    figures = tracking_metrics(np.arange(1000.0), error, np.zeros((1000, 3)))
    assert figures["position_rmse_m"] == pytest.approx(0.2 / math.sqrt(2.0))
    assert figures["position_max_error_m"] == pytest.approx(0.2)


def test_only_the_interval_counts_its_start_included_its_end_not():
    position = np.zeros((5, 3))
    position[:, 0] = [9.0, 1.0, 1.0, 9.0, 9.0]
    figures = tracking_metrics(np.arange(5.0), position, np.zeros((5, 3)), (1.0, 3.0))
    assert figures == {"position_rmse_m": 1.0, "position_max_error_m": 1.0}


def test_nothing_measured_or_a_hole_in_it_is_nan_never_zero():
    zero = np.zeros((3, 3))
    assert math.isnan(tracking_metrics(np.arange(3.0), zero, zero, (7.0, 8.0))["position_rmse_m"])
    hole = zero.copy()
    hole[1, 2] = math.nan
    figures = tracking_metrics(np.arange(3.0), hole, zero)
    assert all(math.isnan(value) for value in figures.values())


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(InvalidInput):
        tracking_metrics(np.arange(3.0), np.zeros((3, 3)), np.zeros((2, 3)))


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.lists(st.floats(-1.0, 11.0), min_size=1, max_size=8))
def test_interpolation_is_exact_on_a_straight_line_and_held_at_its_ends(slope, start, times):
    known = np.arange(11.0)
    line = (start + slope * known)[:, None]
    expected = start + slope * np.clip(times, 0.0, 10.0)
    np.testing.assert_allclose(interpolated_at(times, known, line)[:, 0], expected, atol=1e-12)


def test_interpolation_does_not_bridge_gaps():
    known, values = np.array([0.0, 0.1, 5.0, 5.1]), np.array([[0.0], [1.0], [2.0], [3.0]])
    found = interpolated_at([0.05, 1.0, 5.0, 5.05, 5.2, 9.0], known, values, max_gap=0.25)[:, 0]
    assert np.isnan(found[[1, 5]]).all()
    np.testing.assert_allclose(found[[0, 3, 4]], [0.5, 2.5, 3.0])
    assert np.isnan(interpolated_at([1.0], [], np.zeros((0, 3)))).all()


def test_tilt_of_known_attitudes():
    s = math.sin(math.radians(15.0))
    c = math.cos(math.radians(15.0))
    quats = [[0, 0, 0, 1], [0, 0, 1, 0], [s, 0, 0, c], [0, -s, 0, c], [1, 0, 0, 0]]
    np.testing.assert_allclose(np.degrees(tilt(quats)), [0.0, 0.0, 30.0, 30.0, 180.0], atol=1e-6)


def flight(sink_speed: float, floor: float = 0.015):
    """Up at 1 m/s to 2 m above rest, then down at sink_speed until the floor."""
    z = np.clip(np.minimum(floor + T, floor + 2.0 - sink_speed * (T - 2.0)), floor, None)
    position = np.stack([0.0 * T, 0.0 * T, z], axis=1)
    velocity = np.zeros_like(position)
    velocity[:, 2] = np.gradient(z, T)
    return position, velocity


def test_a_clean_landing_with_its_touchdown():
    position, velocity = flight(sink_speed=0.5)
    result = landing(T, position, velocity, UPRIGHT)
    assert result.upright
    assert result.touchdown_speed == pytest.approx(0.5)
    assert result.touchdown_t == pytest.approx(2.0 + 1.98 / 0.5, abs=0.02)
    assert result.height == pytest.approx(0.0, abs=1e-12)


def test_not_upright_when_flipped_moving_or_still_in_the_air():
    position, velocity = flight(sink_speed=0.5)
    flipped = UPRIGHT.copy()
    flipped[-1] = [1.0, 0.0, 0.0, 0.0]
    assert not landing(T, position, velocity, flipped).upright
    sliding = velocity.copy()
    sliding[-1] = [0.5, 0.0, 0.0]
    assert not landing(T, position, sliding, UPRIGHT).upright
    lost = velocity.copy()
    lost[-1] = math.nan
    assert not landing(T, position, lost, UPRIGHT).upright
    hovering = landing(T[:300], position[:300], velocity[:300], UPRIGHT[:300])
    assert not hovering.upright
    assert math.isnan(hovering.touchdown_speed)


def test_a_vehicle_that_never_left_the_ground_has_no_touchdown():
    still = np.zeros((len(T), 3))
    result = landing(T, still, still, UPRIGHT)
    assert result.upright and math.isnan(result.touchdown_t)
    with pytest.raises(InvalidInput):
        landing([], np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 4)))


def test_periods_of_a_steady_clock_with_one_hiccup():
    stamps = np.arange(1001) * 0.01
    stamps[500:] += 0.2
    figures = period_statistics(stamps)
    assert figures["period_p50_s"] == pytest.approx(0.01)
    assert figures["period_p99_s"] == pytest.approx(0.01)
    assert figures["period_max_s"] == pytest.approx(0.21)
    assert all(math.isnan(value) for value in period_statistics([1.0]).values())
