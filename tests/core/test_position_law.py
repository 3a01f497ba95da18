"""Position law and specific force: what is asked for, within tilt, magnitude and lift."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_stack.laws.position import specific_force, tracking_acceleration
from control_stack.quadrotor.parameters import GRAVITY

number = st.floats(-50.0, 50.0)
triples = st.tuples(number, number, number)


@given(triples, st.floats(0.1, 1.4), st.floats(10.0, 60.0))
def test_tilt_magnitude_and_lift_are_limited(acceleration, tilt, most):
    x, y, z = specific_force(acceleration, math.tan(tilt), most)
    assert math.hypot(x, y) <= math.tan(tilt) * z * (1.0 + 1e-9)
    assert math.sqrt(x * x + y * y + z * z) <= most * (1.0 + 1e-9)
    assert 0.25 * GRAVITY < z <= most
    assert x * acceleration[1] == pytest.approx(y * acceleration[0], abs=1e-6)  # the horizontal direction is kept
    assert x * acceleration[0] >= 0.0 and y * acceleration[1] >= 0.0


@given(st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.floats(-3.0, 3.0)))
def test_within_the_limits_it_is_acceleration_plus_gravity(acceleration):
    force = specific_force(acceleration, math.tan(1.2), 30.0)
    assert np.allclose(force, np.array(acceleration) + [0.0, 0.0, GRAVITY], rtol=1e-9, atol=1e-9)


def test_height_comes_before_horizontal_motion():
    """At the limit of thrust all of it goes up."""
    x, y, z = specific_force((10.0, 10.0, 30.0), math.tan(1.0), 20.0)
    assert z == 20.0 and abs(x) < 1e-9 and abs(y) < 1e-9


@given(triples, triples, triples)
def test_tracking_law_is_proportional_within_the_clip_and_bounded_outside(position, velocity, feed_forward):
    kp, kv = (6.0, 5.0, 8.0), (4.0, 3.0, 5.0)
    out = tracking_acceleration(position, velocity, feed_forward, kp, kv, max_error=1.5)
    e = np.clip(position, -1.5, 1.5)
    assert np.allclose(out, np.array(kp) * e + np.array(kv) * velocity + feed_forward, atol=1e-9)


def test_no_error_asks_for_the_reference_acceleration():
    assert tracking_acceleration((0.0,) * 3, (0.0,) * 3, (1.0, -2.0, 3.0), (6.0,) * 3, (4.0,) * 3) == (
        1.0,
        -2.0,
        3.0,
    )
