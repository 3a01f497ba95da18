"""References of joints: smooth, at rest at their ends, inside the arm's limits, within 80 % of its torques."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.arm.draws import KINDS, TORQUE_SHARE, draw_load, draw_reference, torque_share
from control_stack.arm.library import arm_names, load_arm
from control_stack.arm.load import Load
from control_stack.arm.references import MultiSine, PointToPoint
from control_stack.errors import InvalidInput, UnknownName
from control_stack.protocols import JointTrajectory

TIMES = np.linspace(0.0, 10.0, 4001)
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_derivatives_are_derivatives_and_both_ends_rest(kind):
    reference = draw_reference(load_arm("panda"), 3, kind)
    assert isinstance(reference, JointTrajectory) and reference.duration == pytest.approx(10.0)
    r, dt = reference(TIMES), TIMES[1]
    slope = np.gradient(r.position, dt, axis=0)[2:-2]
    np.testing.assert_allclose(slope, r.velocity[2:-2], atol=2e-4)
    np.testing.assert_allclose(np.gradient(r.velocity, dt, axis=0)[2:-2], r.acceleration[2:-2], atol=2e-2)
    for end in (0.0, 10.0, -1.0, 12.0):
        assert np.abs(reference(end).velocity).max() < 1e-9 and np.abs(reference(end).acceleration).max() < 1e-9
    np.testing.assert_array_equal(reference(12.0).position, reference(10.0).position)
    one = reference(float(TIMES[1234]))
    np.testing.assert_allclose(one.position, r.position[1234], rtol=1e-12)


@every_kind
@pytest.mark.parametrize("name", arm_names())
def test_draws_stay_inside_every_limit(name, kind):
    arm = load_arm(name)
    for seed in range(4):
        reference = draw_reference(arm, seed, kind)
        r = reference(TIMES)
        assert np.all((r.position > arm.position_lower) & (r.position < arm.position_upper))
        assert np.all(np.abs(r.velocity) <= reference.speed + 1e-12)
        assert np.all(np.abs(r.acceleration) <= reference.acceleration + 1e-12)
        assert np.all(reference.speed <= 0.8 * arm.velocity_limit + 1e-12)
        assert np.all(reference.acceleration <= 0.8 * arm.acceleration_limit + 1e-12)
        assert np.ptp(r.position, axis=0).min() > 0.02
        assert torque_share(arm, reference).max() <= TORQUE_SHARE


@every_kind
def test_seeds_repeat_and_differ(kind):
    arm = load_arm("panda")
    a, b, c = (draw_reference(arm, seed, kind)(TIMES[::50]).position for seed in (5, 5, 6))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.1


def test_loads_are_drawn_so_that_the_arm_can_carry_them():
    arm, rng = load_arm("panda"), np.random.default_rng(0)
    references = [draw_reference(arm, seed) for seed in (0, 1)]
    loads = [draw_load(arm, references, rng) for _ in range(12)]
    for load in loads:
        assert max(torque_share(arm, r, load).max() for r in references) <= TORQUE_SHARE
    masses = np.array([load.mass for load in loads])
    assert masses.min() < 1.5 and masses.max() > 2.0
    both = draw_reference(arm, 9, loads=loads[:2])
    assert max(torque_share(arm, both, load).max() for load in loads[:2]) <= TORQUE_SHARE


def test_torque_share_of_a_still_arm_is_its_gravity_torque():
    """A planar arm that holds still: the shoulder carries both rods and the load."""
    arm = load_arm("planar")
    still = PointToPoint(np.zeros((2, 2)), move=1.0)
    share = torque_share(arm, still, Load(1.5, np.zeros(3)))
    expected = 9.80665 * np.array([3.0 * 0.25 + 2.0 * 0.7 + 1.5 * 0.9, 2.0 * 0.2 + 1.5 * 0.4])
    np.testing.assert_allclose(share, expected / arm.torque_limit, rtol=1e-12)


def test_what_no_arm_can_carry_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr("control_stack.arm.draws._TRIES", 5)
    arm = load_arm("planar")
    with pytest.raises(InvalidInput, match="planar: none of 5 drawn references .* 40 kg"):
        draw_reference(arm, 0, loads=[Load(40.0)])
    with pytest.raises(InvalidInput, match="planar: cannot carry any of 5"):
        draw_load(arm, [draw_reference(arm, 0)], np.random.default_rng(0), mass=(30.0, 40.0))
    with pytest.raises(UnknownName, match="multi_sine, point_to_point"):
        draw_reference(arm, 0, "circle")
    with pytest.raises(InvalidInput, match="amplitude"):
        MultiSine([0.0, 0.0], [[1.0]], [[0.0]])
    with pytest.raises(InvalidInput, match="ramp"):
        MultiSine([0.0], [[1.0]], [[0.0]], duration=2.0, ramp=1.5)
    with pytest.raises(InvalidInput, match="two postures"):
        PointToPoint([[0.0, 1.0]])
