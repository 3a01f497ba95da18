"""Checks that hold for every trajectory."""

from __future__ import annotations

import numpy as np
import pytest


def assert_derivatives(trajectory, t0: float, t1: float, tolerance: float = 1e-5, count: int = 200) -> None:
    """Velocity, acceleration, jerk and yaw rate are derivatives (by central differences)."""
    h = 1e-5
    for t in np.random.default_rng(1).uniform(t0 + h, t1 - h, count):
        before, here, after = trajectory(t - h), trajectory(t), trajectory(t + h)
        for lower, upper in (
            ("position_w", "velocity_w"),
            ("velocity_w", "acceleration_w"),
            ("acceleration_w", "jerk_w"),
            ("yaw", "yaw_rate"),
        ):
            slope = (np.asarray(getattr(after, lower)) - np.asarray(getattr(before, lower))) / (2 * h)
            np.testing.assert_allclose(getattr(here, upper), slope, atol=tolerance, err_msg=f"{upper} at {t}")


def assert_at_rest(reference, jerk: bool = True) -> None:
    names = ("velocity_w", "acceleration_w") + (("jerk_w",) if jerk else ())
    for name in names:
        np.testing.assert_allclose(getattr(reference, name), 0.0, atol=1e-9)
    assert abs(float(reference.yaw_rate)) < 1e-9


def assert_held_outside(trajectory) -> None:
    """Before 0 and after the duration: the end poses, with zero derivatives."""
    for inside, outside in ((0.0, -3.0), (trajectory.duration, trajectory.duration + 3.0)):
        reference = trajectory(outside)
        np.testing.assert_allclose(reference.position_w, trajectory(inside).position_w, atol=1e-9)
        assert float(reference.yaw) == pytest.approx(float(trajectory(inside).yaw))
        assert_at_rest(reference)


@pytest.fixture
def check():
    """The checks above, by name."""

    class Checks:
        derivatives = staticmethod(assert_derivatives)
        at_rest = staticmethod(assert_at_rest)
        held_outside = staticmethod(assert_held_outside)

    return Checks
